//go:build !unix

package h1

import "errors"

// Supported reports whether this package works on this operating system. Without non-blocking
// sockets, every connection counts as dead, and no request is sent.
const Supported = false

var errAgain = errors.New("never returned")

func peek(uintptr) (int, error) { return 0, errors.ErrUnsupported }

func write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func read(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

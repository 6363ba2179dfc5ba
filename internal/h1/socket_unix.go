//go:build unix

package h1

import "syscall"

// Supported reports whether this package works on this operating system.
const Supported = true

const errAgain = syscall.EAGAIN

// peek returns the number of bytes that have arrived, at most 1, and leaves them there. 0 without an
// error means that the server has closed the connection. The sockets of the net package never block.
func peek(fd uintptr) (int, error) { return retry(recv, fd, make([]byte, 1)) }

func recv(fd int, p []byte) (int, error) {
	n, _, err := syscall.Recvfrom(fd, p, syscall.MSG_PEEK)
	return n, err
}

func write(fd uintptr, p []byte) (int, error) { return retry(syscall.Write, fd, p) }

func read(fd uintptr, p []byte) (int, error) { return retry(syscall.Read, fd, p) }

// retry repeats a call that a signal interrupted.
func retry(call func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		if n, err := call(int(fd), p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

package h1

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// conn is a connection to the server. It has one request in flight at a time. Read and Write are
// those of the TCP connection, for TLS; requests use exchange and stream. Close closes the TCP
// connection without a word to TLS, because that could wait for a server that reads nothing.
type conn struct {
	net.Conn
	raw  syscall.RawConn
	tls  *tls.Conn // nil without TLS
	send func(fd uintptr) bool
	swap func(fd uintptr) bool

	used      bool // it has carried a request before
	idleSince time.Time
	memo      any

	// The state of an exchange.
	out      []byte // what is still to be written
	accepted int    // bytes that the kernel has accepted
	began    bool   // swap has tried to write
	failed   error  // why send or swap gave up
	n        int    // bytes in first
	first    [4096]byte

	records
}

var errUnasked = errors.New("the server sent data before the request")

func newConn(tcp net.Conn, config *tls.Config) (*conn, error) {
	s, ok := tcp.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T is not a connection of the operating system", tcp)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: tcp, raw: raw}
	c.send, c.swap = c.sendStep, c.swapStep
	if config != nil {
		c.tls = tls.Client(c, config)
		c.records = records{left: recordHeader, in: make([]byte, 4096)}
	}
	return c, nil
}

// stream is where replies are read.
func (c *conn) stream() io.Reader {
	if c.tls != nil {
		return c.tls
	}
	return c.Conn
}

// exchange writes the request and reads the first bytes of the reply. If it fails and accepted is
// 0, nothing was sent.
//
// Without TLS, both happen in one call of RawConn.Read. It forgets earlier readiness before it calls
// swapStep for the first time. So after the write, the poller can wait for the reply at once, without
// a read that would find nothing.
func (c *conn) exchange(until time.Time, request []byte) (err error) {
	c.accepted, c.began, c.failed, c.n = 0, false, nil, 0
	if err := c.SetDeadline(until); err != nil {
		return err
	}
	if c.tls != nil {
		_, err = c.tls.Write(request)
	} else {
		c.out = request
		if err = c.raw.Read(c.swap); err == nil {
			err = c.failed
		}
		if err == nil && len(c.out) > 0 {
			_, err = c.Write(c.out)
		}
		c.out = nil
	}
	if err == nil && c.n == 0 {
		c.n, err = c.stream().Read(c.first[:])
	}
	return err
}

// Write writes to the TCP connection, after a check that the server has sent nothing.
func (c *conn) Write(p []byte) (int, error) {
	c.out = p
	err := c.raw.Write(c.send)
	rest := len(c.out)
	c.out = nil
	if err == nil {
		err = c.failed
	}
	return len(p) - rest, err
}

// sendStep is called when the connection can be written to. It reports whether Write is done.
func (c *conn) sendStep(fd uintptr) bool {
	c.write(fd)
	return c.failed != nil || len(c.out) == 0
}

// swapStep is called at once, and then whenever the connection can be read.
func (c *conn) swapStep(fd uintptr) bool {
	if !c.began {
		c.began = true
		c.write(fd)
		return c.failed != nil || len(c.out) > 0
	}
	n, err := read(fd, c.first[:])
	if err == errAgain {
		return false
	}
	if c.n = n; err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	c.failed = err
	return true
}

// hookChecked is called between the check and the write. Only tests change it.
var hookChecked = func(*conn) {}

// write writes until all is written or the kernel accepts no more. On a connection that may have
// bytes of an earlier reply, it writes only if none have arrived: the next reply would be taken for
// the wrong message. A new connection with TLS is not checked, because session tickets arrive there.
func (c *conn) write(fd uintptr) {
	for len(c.out) > 0 {
		if c.used || c.tls == nil && c.accepted == 0 {
			if c.failed = c.check(fd); c.failed != nil {
				return
			}
			hookChecked(c)
		}
		n, err := write(fd, c.out)
		if err == errAgain {
			return
		}
		if err != nil {
			c.failed = os.NewSyscallError("write", err)
			return
		}
		c.out, c.accepted = c.out[n:], c.accepted+n
	}
}

// check returns nil if the connection is open and nothing has arrived on it.
func (c *conn) check(fd uintptr) error {
	switch n, err := peek(fd); {
	case err == errAgain:
		return nil
	case n > 0 && c.accepted > 0:
		return ErrEarly
	case n > 0:
		return errUnasked
	case err == nil:
		return io.ErrUnexpectedEOF
	default:
		return os.NewSyscallError("recv", err)
	}
}

// quiet reports whether the connection is open and nothing has arrived on it.
func (c *conn) quiet() (is bool) {
	err := c.raw.Control(func(fd uintptr) { is = c.check(fd) == nil })
	return err == nil && is
}

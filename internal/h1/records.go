package h1

import (
	"encoding/binary"
	"os"
)

// recordHeader is the length of the header of a TLS record: its type, version and length.
// https://www.rfc-editor.org/rfc/rfc8446#section-5.1
const recordHeader = 5

// records is the state of reading TLS records. crypto/tls reads ahead, so a surplus reply could wait
// in its buffers, where the check of the connection does not see it. So it gets at most the rest of
// one record at a time, and what was read ahead stays here.
type records struct {
	in      []byte
	r, w    int // in[r:w] is not yet handed out
	header  [recordHeader]byte
	inBody  bool
	left    int  // of the header or of the body
	probing bool // Read must not wait
}

// Read reads from the TCP connection, for TLS.
func (c *conn) Read(p []byte) (int, error) {
	s := &c.records
	if s.r == s.w {
		if s.probing {
			return 0, os.ErrDeadlineExceeded // a temporary error, which crypto/tls does not remember
		}
		n, err := c.Conn.Read(s.in)
		if n == 0 {
			return 0, err
		}
		s.r, s.w = 0, n
	}
	n := copy(p, s.in[s.r:min(s.w, s.r+s.left)])
	if !s.inBody {
		copy(s.header[recordHeader-s.left:], p[:n])
	}
	s.r, s.left = s.r+n, s.left-n
	if s.left == 0 {
		s.next()
	}
	return n, nil
}

// next begins the body after a header, or the header after a body.
func (s *records) next() {
	if s.inBody = !s.inBody; s.inBody {
		s.left = int(binary.BigEndian.Uint16(s.header[3:]))
	}
	if s.left == 0 { // an empty body, or the end of a body
		s.inBody, s.left = false, recordHeader
	}
}

// drained reports whether everything that was read from the connection has been used. With TLS, it
// also consumes records without data, such as session tickets.
func (c *conn) drained() bool {
	if c.tls == nil {
		return true
	}
	c.probing = true
	n, err := c.tls.Read(make([]byte, 1))
	c.probing = false
	return n == 0 && err == os.ErrDeadlineExceeded && c.r == c.w && !c.inBody && c.left == recordHeader
}

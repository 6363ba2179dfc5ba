package h1

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

// maxInformational bounds the informational replies before a reply.
const maxInformational = 16

var errInformational = errors.New("too many informational replies")

// read reads the reply whose first bytes exchange has read. keep reports whether the connection can
// carry another request.
func (c *Client) read(conn *conn, buf []byte, limit int) (reply roundtrip.Reply, keep bool, err error) {
	if !c.AllHeaders {
		if status, body, ok := parseOrdinary(conn.first[:conn.n]); ok && len(body) <= limit {
			return roundtrip.Reply{Status: status, Body: body}, conn.drained(), nil
		}
	}
	seen, rest := bytes.NewReader(conn.first[:conn.n]), &failing{Reader: conn.stream()}
	from := &io.LimitedReader{R: io.MultiReader(seen, rest), N: DefaultMaxHead}
	if c.MaxHead > 0 {
		from.N = c.MaxHead
	}
	in := bufio.NewReader(from)
	for range maxInformational + 1 {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return reply, false, cmp.Or(rest.err, err)
		}
		if r.StatusCode/100 == 1 && r.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		from.N = math.MaxInt64 // the body has its own bound
		reply = roundtrip.Read(r, buf, limit)
		keep = reply.Err == nil && !r.Close && in.Buffered() == 0 && seen.Len() == 0 && conn.drained()
		return reply, keep, nil
	}
	return reply, false, errInformational
}

// failing keeps the first error of a reader but io.EOF. net/http may hide it: a line that a timeout
// cuts counts as malformed.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if f.err == nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

var (
	version    = []byte("HTTP/1.1 2")
	lineEnd    = []byte("\r\n")
	contentLen = []byte("Content-Length")
	connection = []byte("Connection")
	keepAlive  = []byte("keep-alive")
	elsewhere  = [][]byte{[]byte("Transfer-Encoding"), []byte("Content-Encoding"), []byte("Retry-After"), []byte("Trailer")}
)

// parseOrdinary parses a successful reply that has arrived as a whole, with a Content-Length and
// without anything that changes the meaning of its body. All other replies are read by net/http, also
// malformed ones. It saves about 2 µs and 20 allocations per message.
func parseOrdinary(b []byte) (status int, body []byte, ok bool) {
	head, body, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	line, head, _ := bytes.Cut(head, lineEnd)
	if !whole || len(line) < 13 || !bytes.HasPrefix(line, version) || line[12] != ' ' || !isText(line) {
		return 0, nil, false
	}
	status = number(line[9:12])
	if status < 0 || status == http.StatusNoContent {
		return 0, nil, false
	}
	length := -1
	for len(head) > 0 {
		line, head, _ = bytes.Cut(head, lineEnd)
		name, value, colon := bytes.Cut(line, []byte(":"))
		if !colon || !isToken(name) || !isText(value) {
			return 0, nil, false
		}
		switch value = bytes.Trim(value, " \t"); {
		case bytes.EqualFold(name, contentLen):
			if length >= 0 {
				return 0, nil, false
			}
			length = number(value)
		case bytes.EqualFold(name, connection):
			if !bytes.EqualFold(value, keepAlive) {
				return 0, nil, false
			}
		default:
			for _, other := range elsewhere {
				if bytes.EqualFold(name, other) {
					return 0, nil, false
				}
			}
		}
	}
	return status, body, length == len(body)
}

// isText reports whether a line has only printable ASCII characters and tabs.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c > '~' {
			return false
		}
	}
	return true
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return len(b) > 0
}

// number parses 1 to 9 digits. It returns -1 for anything else.
func number(b []byte) (n int) {
	if len(b) == 0 || len(b) > 9 {
		return -1
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// Package roundtrip makes one HTTP request and reads its reply to the end, within a deadline and a
// bound. Everything that is read from a provider, a users service or a key server is read here:
// replies to messages and tokens, answers about users, keys.
//
// It never follows a redirect, never repeats a request, and never hands a connection out. The end
// of the request's context ends the reading too, whatever the transport makes of that context. It
// is safe for concurrent use.
package roundtrip

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Reply is what a server answered. It holds no connection.
type Reply struct {
	Status int
	Header http.Header
	// Body is what came of the body, decompressed, at most as many bytes as the caller asked for.
	Body []byte
	// Err says why Body is not the whole body, nil if it is.
	Err error
}

// Reasons why a body is not whole. Other errors are those of the connection, which may quote what
// the server sent.
var (
	ErrTooLong = errors.New("the reply is too long")
	ErrUpgrade = errors.New("the reply switches to another protocol")
)

// Do makes the request and reads at most limit bytes of the reply's body, into buf if they fit. The
// error is the transport's. r should have a deadline.
func Do(transport http.RoundTripper, r *http.Request, buf []byte, limit int) (Reply, error) {
	reply, err := transport.RoundTrip(r)
	if err != nil {
		return Reply{}, err
	}
	// net/http ends the reading by itself; other transports may not.
	defer context.AfterFunc(r.Context(), func() { reply.Body.Close() })()
	return Read(reply, buf, limit), nil
}

// Read reads at most limit bytes of the body of a reply, into buf if they fit, and closes it.
func Read(reply *http.Response, buf []byte, limit int) Reply {
	defer reply.Body.Close()
	result := Reply{Status: reply.StatusCode, Header: reply.Header, Body: buf[:0]}
	// The body of a 101 is the connection itself, which net/http hands out and for which it forgets
	// the request's context.
	if reply.StatusCode == http.StatusSwitchingProtocols {
		result.Err = ErrUpgrade
		return result
	}
	result.Body, result.Err = read(reply, buf, limit)
	return result
}

// read reads the body into buf, or into a larger buffer, and returns nil if that was all.
func read(reply *http.Response, buf []byte, limit int) ([]byte, error) {
	from, size := io.Reader(reply.Body), max(reply.ContentLength, 511)+1
	if isGzip(reply.Header.Get("Content-Encoding")) {
		z, err := gzip.NewReader(reply.Body)
		if err != nil {
			return buf[:0], err
		}
		from = z
	}
	body := slices.Grow(buf[:0], int(min(size, int64(limit))))
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := from.Read(body[len(body):min(cap(body), limit+1)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			return body[:limit], ErrTooLong
		case err == io.EOF:
			return body, nil
		case err != nil:
			return body, err
		}
	}
}

// isGzip knows both names, in any case: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
func isGzip(coding string) bool {
	return strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip")
}

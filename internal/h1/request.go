package h1

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ErrRequest means that a request would not be read as the one that was meant.
var ErrRequest = errors.New("the method, target or a header of the request cannot be sent")

// AppendRequest appends a request to b as it is sent. The Content-Length is that of the request;
// only methods with a body have a Content-Length of 0.
func AppendRequest(b []byte, r *http.Request) ([]byte, error) {
	b, err := AppendStart(b, r.Method, r.URL.RequestURI())
	if err != nil {
		return b, err
	}
	if b, err = AppendHeader(b, "Host", r.Host); err != nil || !httpguts.ValidHostHeader(r.Host) {
		return b, ErrRequest
	}
	for name, values := range r.Header {
		for _, value := range values {
			if b, err = AppendHeader(b, name, value); err != nil {
				return b, err
			}
		}
	}
	b = AppendLength(b, r.Method, int(r.ContentLength))
	if r.Body == nil || r.ContentLength == 0 {
		return b, nil
	}
	defer r.Body.Close()
	at := len(b)
	b = append(b, make([]byte, r.ContentLength)...)
	_, err = io.ReadFull(r.Body, b[at:])
	return b, err
}

// AppendStart appends the first line of a request without its end.
func AppendStart(b []byte, method, target string) ([]byte, error) {
	if !httpguts.ValidHeaderFieldName(method) || !ValidTarget(target) {
		return b, ErrRequest
	}
	b = append(append(append(b, method...), ' '), target...)
	return append(b, " HTTP/1.1"...), nil
}

// ValidTarget reports whether a request target begins with a slash and has neither blanks nor control
// characters.
func ValidTarget(target string) bool {
	return strings.HasPrefix(target, "/") && !strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// AppendHeader appends the end of the line before and a header.
func AppendHeader(b []byte, name, value string) ([]byte, error) {
	if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return b, ErrRequest
	}
	b = append(append(append(b, "\r\n"...), name...), ": "...)
	return append(b, value...), nil
}

// AppendLength appends the length of the body and the end of the header.
func AppendLength(b []byte, method string, length int) []byte {
	if length > 0 || method != http.MethodGet {
		b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(length), 10)
	}
	return append(b, "\r\n\r\n"...)
}

package adapters

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
)

// boundRequest is a request in which the holes of options are replaced by their values.
type boundRequest struct {
	*requestTemplate
	block    *sendBlock // nil for a token request
	reply    *reply
	base     *url.URL
	path     template
	fixed    *url.URL // the URL without the `query` block; nil if it depends on the message
	header   http.Header
	blank    *http.Request // a request without URL, headers and body, copied for each message
	boundary string        // of a multipart body; random, so that no value contains it
	dynamic  []header
	query    []*field
	fields   []*field
	sign     signer
	head     fixedHead
}

// errLacksOption means that the options of an account do not suffice to make a request.
var errLacksOption = errors.New("an option in the path is missing or leads to another folder")

// bind replaces the holes of options by their values.
func (o *requestTemplate) bind(base *url.URL, reply *reply, options map[string]string) (*boundRequest, error) {
	c := &boundRequest{requestTemplate: o, reply: reply, base: base, header: http.Header{"User-Agent": userAgent}}
	c.blank = &http.Request{Method: o.method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	switch reply.format {
	case wire.JSON:
		c.header["Accept"] = []string{"application/json"}
	case wire.XML:
		c.header["Accept"] = []string{"application/xml, text/xml"}
	}
	if o.body == wire.Multipart {
		c.boundary = rand.Text()
		c.header["Content-Type"] = []string{"multipart/form-data; boundary=" + c.boundary}
	} else if o.mediaType != "" {
		c.header["Content-Type"] = []string{o.mediaType}
	}
	c.dynamic = o.bindHeaders(options, c.header)
	escaped := make(map[string]string, len(options))
	for name, value := range options {
		escaped[name] = pathSegment(value)
	}
	path, ok := o.path.bind(escaped)
	if !ok {
		return nil, errLacksOption
	}
	c.path = path
	var err error
	if c.query, err = bindFields(o.query, options); err != nil {
		return nil, err
	}
	if c.fields, err = bindFields(o.fields, options); err != nil {
		return nil, err
	}
	if fixed, ok := path.fixed(); ok {
		u, err := join(base, fixed)
		if err != nil {
			return nil, err
		}
		c.fixed = u
	}
	if o.sign != nil {
		c.sign, err = o.sign.bind(options)
	}
	c.head = c.fixHead()
	return c, err
}

// bindHeaders sets the headers whose values are known, and returns the others.
func (o *requestTemplate) bindHeaders(options map[string]string, into http.Header) (dynamic []header) {
	for _, h := range o.header {
		t, ok := h.value.bind(options)
		if !ok {
			continue
		}
		fixed, is := t.fixed()
		switch {
		case h.basic:
			into[h.name] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(fixed))}
		case is:
			into[h.name] = []string{fixed}
		default:
			dynamic = append(dynamic, header{name: h.name, value: t})
		}
	}
	return dynamic
}

// pathSegment escapes a value for a path. It returns "" for "." and "..", which lead to another
// folder.
func pathSegment(s string) string {
	if s == "." || s == ".." {
		return ""
	}
	return url.PathEscape(s)
}

// join appends an escaped path to the base URL. The path may contain a query.
func join(base *url.URL, path string) (*url.URL, error) {
	u := *base
	path, u.RawQuery, _ = strings.Cut(path, "?")
	u.RawPath = base.EscapedPath() + path
	var err error
	u.Path, err = url.PathUnescape(u.RawPath)
	return &u, err
}

// request makes an unsigned request and returns it together with the bytes of its body,
// without those of files.
func (c *boundRequest) request(ctx context.Context, v *vars) (*http.Request, []byte, error) {
	target := c.fixed
	if target == nil {
		path, ok := c.path.escaped(v, pathSegment)
		if !ok {
			return nil, nil, wire.ErrNotWritable
		}
		var err error
		if target, err = join(c.base, path); err != nil {
			return nil, nil, wire.ErrNotWritable
		}
	}
	u := *target
	query, err := c.encode(wire.Form, c.query, v, 0)
	if err != nil {
		return nil, nil, err
	}
	if len(query.Bytes) > 0 {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += string(query.Bytes)
	}
	header := maps.Clone(c.header)
	for _, h := range c.dynamic {
		if s, ok := h.value.value(v); ok {
			header[h.name] = []string{s}
		}
	}
	body, err := c.encode(c.body, c.fields, v, max(1, len(v.text)))
	if err != nil {
		return nil, nil, err
	}
	r := c.blank.WithContext(ctx)
	r.URL, r.Host, r.Header = &u, u.Host, header
	setBody(r, body)
	return r, body.Bytes, nil
}

// encode writes members in a format.
func (c *boundRequest) encode(f wire.Format, fields []*field, v *vars, size int) (wire.Body, error) {
	e := wire.NewEncoder(f, c.boundary, size)
	write(&e, fields, v)
	return e.Body()
}

// setBody sets the body so that net/http never sends a request twice. If a kept-alive connection
// fails, net/http repeats a request on a new connection when two things are true: the method is GET
// or the request has an Idempotency-Key, and the body can be read again. setBody makes such bodies
// readable only once. net/http repeats all other requests only if it certainly wrote nothing of
// them, which is safe.
func setBody(r *http.Request, b wire.Body) {
	body := b.Bytes
	repeats := r.Method == http.MethodGet || r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
	switch {
	case !b.Whole():
		streamed := b // or b would be allocated for each text too
		r.Body, r.ContentLength = streamed.Open(), streamed.Len()
		if !repeats {
			r.GetBody = func() (io.ReadCloser, error) { return streamed.Open(), nil }
		}
		return
	case len(body) == 0 && repeats:
		r.Body = io.NopCloser(strings.NewReader(""))
		if r.Method == http.MethodGet {
			// Otherwise net/http tries to read a byte of the body, and announces "chunked" if it
			// does not find the end within 200 ms.
			r.TransferEncoding = []string{"identity"}
		}
		return
	case len(body) == 0:
		r.Body = http.NoBody // net/http then sends Content-Length: 0, which some servers require
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	if !repeats {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
}

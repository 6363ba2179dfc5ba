package adapters

import (
	"context"
	"net/url"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/h1"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// BaseURL returns the URL that the paths of all requests for messages begin with.
func (a *Adapter) BaseURL() *url.URL {
	base := *a.sends[0].base
	return &base
}

// ReadsHeaders reports whether the result of a successful reply depends on its headers.
func (a *Adapter) ReadsHeaders() bool {
	for _, c := range a.sends {
		if len(c.reply.headers) > 0 {
			return true
		}
	}
	return false
}

// fixedHead is what the heads of all requests have in common: start is the method and the path with
// its query, end is the version, Host and the headers that never change. It is empty if the request
// is signed or its path depends on the message.
type fixedHead struct{ start, end []byte }

// fixHead makes the fixedHead of a request. A head that cannot be sent is left to AppendRequest,
// which refuses it.
func (c *boundRequest) fixHead() (head fixedHead) {
	if c.fixed == nil || c.sign != nil || !h1.ValidTarget(c.fixed.RequestURI()) {
		return head
	}
	end, err := h1.AppendHeader([]byte(" HTTP/1.1"), "Host", c.fixed.Host)
	for name, values := range c.header {
		if err == nil {
			end, err = h1.AppendHeader(end, name, values[0])
		}
	}
	if err == nil {
		end, err = h1.AppendHeader(end, "Accept-Encoding", "gzip")
	}
	if err != nil {
		return head
	}
	return fixedHead{append([]byte(c.method+" "), c.fixed.RequestURI()...), end}
}

// AppendRequest makes the request for part i as Request does, but appends it to b as it is sent. The
// Request of the call is nil. If Streams is true, only Request can make the request.
func (p *Plan) AppendRequest(b []byte, i int, token sms.Hidden, now time.Time) (*Call, []byte, error) {
	part := &p.parts[i]
	call := &Call{adapter: p.adapter, request: part.request, message: part.vars.message, token: token}
	if part.request.head.start != nil && p.Uploads(i) == 0 {
		part.vars.token, part.vars.now = token, now
		b, refusal := part.request.appendTo(b, &part.vars)
		if refusal != nil {
			return nil, b, refusal
		}
		return call, b, nil
	}
	whole, err := p.Request(context.Background(), i, token, now)
	if err != nil {
		return nil, b, err
	}
	whole.Request.Header["Accept-Encoding"] = []string{"gzip"}
	if b, err = h1.AppendRequest(b, whole.Request); err != nil {
		return nil, b, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
	}
	return call, b, nil
}

// appendTo is build for a request with a fixedHead.
func (c *boundRequest) appendTo(b []byte, v *vars) ([]byte, *sms.Refusal) {
	v.included = 0
	b, err := c.appendQuery(append(b, c.head.start...), v)
	b = append(b, c.head.end...)
	for _, h := range c.dynamic {
		if value, ok := h.value.value(v); ok && err == nil {
			b, err = h1.AppendHeader(b, h.name, value)
		}
	}
	body, encodeErr := c.encode(c.body, c.fields, v, max(1, len(v.text)))
	if err != nil || encodeErr != nil || !body.Whole() {
		return b, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
	}
	if refusal := c.checkContent(v); refusal != nil {
		return b, refusal
	}
	return append(h1.AppendLength(b, c.method, len(body.Bytes)), body.Bytes...), nil
}

// appendQuery appends the `query` block to the target of a request.
func (c *boundRequest) appendQuery(b []byte, v *vars) ([]byte, error) {
	query, err := c.encode(wire.Form, c.query, v, 0)
	if err != nil || len(query.Bytes) == 0 {
		return b, err
	}
	if c.fixed.RawQuery != "" {
		return append(append(b, '&'), query.Bytes...), nil
	}
	return append(append(b, '?'), query.Bytes...), nil
}

package adapters

import (
	"context"
	"net/url"
	"time"

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

// AppendRequest makes the request for part i as Request does, but appends it to b as it is sent. The
// Request of the call is nil.
func (p *Plan) AppendRequest(b []byte, i int, token sms.Hidden, now time.Time) (*Call, []byte, error) {
	call, err := p.Request(context.Background(), i, token, now)
	if err != nil {
		return nil, b, err
	}
	call.Request.Header["Accept-Encoding"] = []string{"gzip"}
	if b, err = h1.AppendRequest(b, call.Request); err != nil {
		return nil, b, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
	}
	call.Request = nil
	return call, b, nil
}

package delivery

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// attempt makes one request for a part of a message.
func (d *Deliverer) attempt(ctx context.Context, end time.Time, route Route, m, part *sms.Message, token sms.Hidden) (r sms.Receipt) {
	ctx, cancel := context.WithDeadline(ctx, d.until(end))
	defer cancel()
	way := progress{stop: cancel}
	x, err := route.Adapter.Prepare(httptrace.WithClientTrace(ctx, way.trace()), part, token, time.Now())
	if err != nil {
		return unable(route, err)
	}
	if again := x.Request.GetBody; again != nil {
		x.Request.GetBody = func() (io.ReadCloser, error) { return way.repeat(again) }
	}
	x.Request.Header["Accept-Encoding"] = acceptGzip
	m.Begun = true
	if route.Took != nil {
		defer func(began time.Time) { route.Took(r.Outcome, time.Since(began)) }(time.Now())
	}
	reply, err := route.Transport.RoundTrip(x.Request)
	if err != nil {
		r = d.failed(err, &way)
		r.Adapter, r.Attempts = route.Adapter.Name, 1
		return r
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	body, whole := readReply(reply, *buf)
	r = x.Read(reply.StatusCode, reply.Header, body, whole)
	*buf = body
	r.Attempts = 1
	return r
}

// failed says what a request that got no reply came to. Only where it is certain that no connection came about was
// nothing sent; what happened on a connection is unknown. On HTTP/2 the error may be that of a second connection.
func (d *Deliverer) failed(err error, way *progress) sms.Receipt {
	if way.asked.Load() && !way.connected.Load() || d.NotSent != nil && !way.http2.Load() && d.NotSent(err) {
		return sms.Receipt{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, Detail: err.Error(),
		}
	}
	// The error may quote what the provider sent, so it is told by its kind.
	detail := "the connection broke before the reply"
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		detail = "no reply in time"
	}
	return sms.Receipt{
		Outcome: sms.OutcomeUnknown, Refusal: &sms.Refusal{Cause: sms.Unknown, ByProvider: true}, Detail: detail,
	}
}

// acceptGzip is set by us because net/http takes longer: it copies the header for it.
var acceptGzip = []string{"gzip"}

// buffers are for replies: what is read from one keeps nothing of it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readReply reads at most adapters.MaxReply bytes, into buf if they fit, and says whether that was all.
func readReply(reply *http.Response, buf []byte) (body []byte, whole bool) {
	defer reply.Body.Close()
	from, size := io.Reader(reply.Body), max(reply.ContentLength, 511)+1
	if isGzip(reply.Header.Get("Content-Encoding")) {
		z, err := gzip.NewReader(reply.Body)
		if err != nil {
			return nil, false
		}
		from = z
	}
	body = slices.Grow(buf[:0], int(min(size, adapters.MaxReply)))
	for len(body) <= adapters.MaxReply {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := from.Read(body[len(body):min(cap(body), adapters.MaxReply+1)])
		body = body[:len(body)+n]
		if err != nil {
			return body, err == io.EOF
		}
	}
	return body[:adapters.MaxReply], false
}

// isGzip knows both names, in any case: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
func isGzip(coding string) bool {
	return strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip")
}

// progress records how far net/http came with a request. Its hooks run before RoundTrip returns.
type progress struct {
	asked, connected, http2 atomic.Bool
	stop                    func()
	hooks                   httptrace.ClientTrace
}

func (p *progress) trace() *httptrace.ClientTrace {
	p.hooks = httptrace.ClientTrace{
		GetConn: func(string) { p.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) {
			if p.http2.Load() { // a second time, after the request went out
				p.stop()
			}
			p.connected.Store(true)
		},
		WroteHeaderField: func(name string, _ []string) {
			if strings.HasPrefix(name, ":") { // only HTTP/2 has these
				p.http2.Store(true)
			}
		},
	}
	return &p.hooks
}

// repeat gives a body a second time, which net/http asks for when a kept connection died before anything was written. On
// HTTP/2 it also asks after errors that may come late, and repeats requests without a body unasked.
func (p *progress) repeat(again func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	if p.http2.Load() {
		return nil, errNoRepeat
	}
	return again()
}

var errNoRepeat = errors.New("a message is not sent twice")

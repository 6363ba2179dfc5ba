package delivery

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// attempt makes one request for a part of a message, after it has uploaded its files.
func (run *run) attempt(ctx context.Context, route Route, plan *adapters.Plan, i int, token sms.Hidden) (r sms.Result) {
	if r, ok := run.upload(ctx, route, plan, i, token); !ok {
		return r
	}
	if direct, is := route.Transport.(Direct); is && !plan.Streams(i) {
		return run.attemptDirect(direct, route, plan, i, token)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), run.until(time.Now(), run.end))
	defer cancel()
	way := progress{stop: cancel, connections: route.Account.connections}
	x, err := plan.Request(httptrace.WithClientTrace(ctx, way.trace()), i, token, time.Now())
	if err != nil {
		return unable(route, err)
	}
	if again := x.Request.GetBody; again != nil {
		x.Request.GetBody = func() (io.ReadCloser, error) { return way.repeat(again) }
	}
	x.Request.Header["Accept-Encoding"] = acceptGzip
	run.log.Attempt()
	if route.Observe != nil {
		defer func(began time.Time) { route.Observe(r.Outcome, time.Since(began)) }(time.Now())
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	reply, err := roundtrip.Do(route.Transport, x.Request, *buf, adapters.MaxReply)
	if err != nil {
		r = run.failed(err, &way)
		r.Adapter, r.Attempts = route.Adapter.Name, 1
		return r
	}
	*buf = reply.Body
	r = x.Read(reply.Status, reply.Header, reply.Body, reply.Err == nil)
	r.Attempts = 1
	if !way.http2.Load() { // HTTP/2 assigns each reply to its request
		route.Account.connections.check(way.conn, plan.Part(i).ID, &r, way.early.Load(), x.SharesID())
	}
	return r
}

// failed is the result of a request without a reply. It is Refused only if certainly no connection
// was established. After a connection was established, the outcome is unknown. On HTTP/2 the error
// may belong to a second connection, so NotSent is not asked there.
func (d *Deliverer) failed(err error, way *progress) sms.Result {
	if way.asked.Load() && !way.connected.Load() || d.NotSent != nil && !way.http2.Load() && d.NotSent(err) {
		return neverSent(err)
	}
	return unconfirmed(err)
}

// neverSent is the result of a request that certainly was not sent.
func neverSent(err error) sms.Result {
	return sms.Result{
		Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, Detail: err.Error(),
	}
}

// unconfirmed is the result of a request that may have been sent.
func unconfirmed(err error) sms.Result {
	// The error may quote what the provider sent, so only its kind is shown.
	detail := "the connection broke before the reply"
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		detail = "no reply in time"
	}
	return sms.Result{
		Outcome: sms.OutcomeUnknown, Refusal: &sms.Refusal{Cause: sms.Unconfirmed, ByProvider: true}, Detail: detail,
	}
}

// acceptGzip is set here because net/http would copy all headers to add it.
var acceptGzip = []string{"gzip"}

// buffers are reused to read replies. No result may keep a part of a buffer.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// progress records how far net/http got with a request. Its hooks run before RoundTrip returns.
type progress struct {
	asked, connected, http2 atomic.Bool
	wrote, early            atomic.Bool // early: the reply began before the request was written
	conn                    net.Conn    // set before connected
	connections             *connections
	stop                    func()
	hooks                   httptrace.ClientTrace
}

func (p *progress) trace() *httptrace.ClientTrace {
	p.hooks = httptrace.ClientTrace{
		GetConn: func(string) { p.asked.Store(true) },
		GotConn: func(got httptrace.GotConnInfo) {
			if p.http2.Load() { // net/http repeats a request that already went out
				p.stop()
			}
			if !got.Reused {
				p.connections.opened(got.Conn)
			}
			p.conn = got.Conn
			p.wrote.Store(false)
			p.connected.Store(true)
		},
		// net/http calls WroteRequest before the last bytes of the request leave. So a reply that
		// comes before the call cannot be the reply to this request.
		WroteRequest: func(httptrace.WroteRequestInfo) { p.wrote.Store(true) },
		GotFirstResponseByte: func() {
			if !p.wrote.Load() {
				p.early.Store(true)
			}
		},
		WroteHeaderField: func(name string, _ []string) {
			if strings.HasPrefix(name, ":") { // only HTTP/2 has these
				p.http2.Store(true)
			}
		},
	}
	return &p.hooks
}

// repeat returns the body a second time. net/http asks for it when a kept connection broke before
// anything was written. On HTTP/2 it also asks after errors that may occur later, so repeat
// refuses. A request without a body would be repeated on HTTP/2 without a call of GetBody; GotConn
// stops that.
func (p *progress) repeat(again func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	if p.http2.Load() {
		return nil, errNoRepeat
	}
	return again()
}

var errNoRepeat = errors.New("a message is not sent twice")

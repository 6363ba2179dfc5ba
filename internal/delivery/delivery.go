// Package delivery is the only place from which a message leaves.
package delivery

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The default budgets. Apps give up after about 30 seconds.
const (
	DefaultTimeout        = 20 * time.Second
	DefaultAttemptTimeout = 10 * time.Second
)

// Route is one way out: an adapter and what carries its requests.
type Route struct {
	Adapter   *adapters.Adapter
	Transport http.RoundTripper
}

// Deliverer hands messages to providers. It is safe for concurrent use.
type Deliverer struct {
	// Routes are tried in order, the next one only if the one before certainly did not take the message.
	Routes []Route
	// Timeout is the budget of a message, AttemptTimeout that of one request to a provider.
	Timeout, AttemptTimeout time.Duration
	// NotSent reports transport errors that mean that no connection came about; nil if there are no such.
	NotSent func(error) bool
}

// Deliver sends a message and says what became of it. The phone hanging up changes nothing: only the context's values
// count, not its end.
func (d *Deliverer) Deliver(ctx context.Context, m *sms.Message) sms.Receipt {
	ctx = context.WithoutCancel(ctx)
	end := time.Now().Add(d.Timeout)
	var worst sms.Receipt
	for i, route := range d.Routes {
		now := time.Now()
		if i > 0 && !now.Before(end) {
			break
		}
		until := now.Add(d.AttemptTimeout)
		if until.After(end) {
			until = end
		}
		r := d.attempt(ctx, until, route, m)
		r.Attempts += worst.Attempts
		if r.Outcome != sms.Refused {
			return r
		}
		if i == 0 || r.Refusal.Cause < worst.Refusal.Cause {
			worst = r
		}
		worst.Attempts = r.Attempts
		if !r.Refusal.Cause.TryNext(r.Refusal.ByProvider) {
			break
		}
	}
	return worst
}

// attempt makes one request, which ends at a time.
func (d *Deliverer) attempt(ctx context.Context, until time.Time, route Route, m *sms.Message) sms.Receipt {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	var way progress
	x, err := route.Adapter.Prepare(httptrace.WithClientTrace(ctx, way.trace()), m, time.Now())
	if err != nil {
		var refusal *sms.Refusal
		if !errors.As(err, &refusal) {
			refusal = sms.Refuse(sms.Internal)
		}
		return sms.Receipt{Outcome: sms.Refused, Refusal: refusal, Adapter: route.Adapter.Name}
	}
	m.Begun = true
	reply, err := route.Transport.RoundTrip(x.Request)
	if err != nil {
		r := d.failed(err, &way)
		r.Adapter, r.Attempts = route.Adapter.Name, 1
		return r
	}
	body, whole := readReply(reply)
	r := x.Read(reply.StatusCode, reply.Header, body, whole)
	r.Attempts = 1
	return r
}

// failed says what a request that got no reply came to. Only where it is certain that no connection came about was
// nothing sent; what happened on a connection is unknown.
func (d *Deliverer) failed(err error, way *progress) sms.Receipt {
	if way.asked.Load() && !way.connected.Load() || d.NotSent != nil && d.NotSent(err) {
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

// readReply reads at most adapters.MaxReply bytes and says whether that was all.
func readReply(reply *http.Response) (body []byte, whole bool) {
	defer reply.Body.Close()
	size := int64(512)
	if reply.ContentLength > 0 {
		size = min(reply.ContentLength+1, adapters.MaxReply)
	}
	body = make([]byte, 0, size)
	for len(body) <= adapters.MaxReply {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := reply.Body.Read(body[len(body):min(cap(body), adapters.MaxReply+1)])
		body = body[:len(body)+n]
		if err != nil {
			return body, err == io.EOF
		}
	}
	return body[:adapters.MaxReply], false
}

// progress records how far net/http came with a request. Its hooks run before RoundTrip returns.
type progress struct{ asked, connected atomic.Bool }

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { p.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { p.connected.Store(true) },
	}
}

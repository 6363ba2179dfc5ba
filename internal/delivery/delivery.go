// Package delivery is the only place from which a message leaves.
package delivery

import (
	"compress/gzip"
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// DefaultMaxParts is in how many messages a long text is sent at most.
const DefaultMaxParts = 10

// Route is one way out: an adapter and what carries its requests.
type Route struct {
	Adapter   *adapters.Adapter
	Transport http.RoundTripper
	// Tokens keeps the token of the adapter's account, nil if it needs none.
	Tokens *Tokens
	// Bars says why a message may not take this route, NoCause if it may; nil if all may.
	Bars func(*sms.Message) sms.Cause
	// Weight is how often this route is the first among neighbours that have one too; 0 keeps its place.
	Weight int
}

// Deliverer hands messages to providers. It is safe for concurrent use.
type Deliverer struct {
	// Routes are tried in order, those that a message may take, the next one only if the one before certainly did not take it.
	Routes []Route
	// Timeout is the budget of a message, AttemptTimeout that of one request to a provider.
	Timeout, AttemptTimeout time.Duration
	// MaxParts is in how many messages a text is sent that is longer than a provider's longest.
	MaxParts int
	// NotSent reports transport errors that mean that no connection came about; nil if there are no such.
	NotSent func(error) bool
}

// Deliver sends a message and says what became of it. The phone hanging up changes nothing: only the context's values
// count, not its end.
func (d *Deliverer) Deliver(ctx context.Context, m *sms.Message) sms.Receipt {
	ctx = context.WithoutCancel(ctx)
	begin := time.Now()
	if !m.Received.IsZero() { // the app's patience began then
		begin = m.Received
	}
	end := begin.Add(d.Timeout)
	if d.tooLate(end) {
		return sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Limited), Detail: "the time was spent before it could be sent"}
	}
	routes, bar := d.routes(m)
	if len(routes) == 0 {
		return barred(bar)
	}
	var tried []sms.Receipt
	attempts, told := 0, 0 // told is the refusal that says most of what to do
	for i, route := range routes {
		if i > 0 && d.tooLate(end) {
			break
		}
		r := d.deliverBy(ctx, end, route, m)
		attempts += r.Attempts
		if r.Outcome != sms.Refused {
			r.Attempts, r.Passed = attempts, tried
			return r
		}
		tried = append(tried, r)
		if r.Refusal.Cause < tried[told].Refusal.Cause {
			told = i
		}
		if !r.Refusal.Cause.TryNext(r.Refusal.ByProvider) {
			break
		}
	}
	r := tried[told]
	r.Attempts, r.Passed = attempts, slices.Delete(tried, told, told+1)
	return r
}

// routes are those that a message may take, in the order in which they are tried. Without any, bar is the weightiest of the
// reasons. Of neighbours with a weight the message's id draws the order, so that it is always the same for one message.
func (d *Deliverer) routes(m *sms.Message) (routes []Route, bar sms.Cause) {
	if !slices.ContainsFunc(d.Routes, func(r Route) bool { return r.Bars != nil || r.Weight > 0 }) {
		return d.Routes, sms.NoCause
	}
	var draw *rand.Rand
	var drawn []float64 // what was drawn for the routes, 0 without a weight
	first := 0          // before which no later one may stand
	for _, r := range d.Routes {
		share := 0.0
		if r.Weight == 0 {
			first = len(routes)
		} else {
			if draw == nil {
				draw = drawFor(m.ID)
			}
			share = draw.ExpFloat64() / float64(r.Weight) // the least is a route's as often as its weight says
		}
		if r.Bars != nil {
			if cause := r.Bars(m); cause != sms.NoCause {
				if bar == sms.NoCause || cause < bar {
					bar = cause
				}
				continue
			}
		}
		at := len(routes)
		for at > first && drawn[at-1] > share {
			at--
		}
		routes, drawn = slices.Insert(routes, at, r), slices.Insert(drawn, at, share)
	}
	return routes, bar
}

// drawFor is randomness that is always the same for one message.
func drawFor(id string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, id)
	return rand.New(rand.NewPCG(h.Sum64(), 0))
}

// barred is the receipt of a message that may take no route.
func barred(cause sms.Cause) sms.Receipt {
	refusal := sms.Refuse(cause)
	if cause == sms.Misconfigured {
		refusal = sms.RefuseAs(cause, sms.NoAdapter)
	}
	return sms.Receipt{Outcome: sms.Refused, Refusal: refusal, Detail: "no adapter's conditions hold for this message"}
}

// deliverBy sends a message by one route, in parts if it is too long for one. The id is that of the first part.
func (d *Deliverer) deliverBy(ctx context.Context, end time.Time, route Route, m *sms.Message) sms.Receipt {
	parts, err := route.Adapter.Parts(m, d.MaxParts)
	if err != nil {
		return unable(route, err)
	}
	var all sms.Receipt
	for i, part := range parts {
		if i > 0 && d.tooLate(end) {
			return partly(all, i, len(parts))
		}
		r := d.sendPart(ctx, end, route, m, part)
		r.Attempts += all.Attempts
		switch {
		case i == 0:
			all = r
		case r.Outcome != sms.Accepted:
			all = partly(r, i, len(parts))
		default:
			all.Attempts = r.Attempts
		}
		if r.Outcome != sms.Accepted {
			break
		}
	}
	all.Parts = len(parts)
	return all
}

// partly is the receipt of a message of which some parts went out: whatever became of the next one, the rest must not be
// sent by itself, and the whole not again.
func partly(r sms.Receipt, sent, parts int) sms.Receipt {
	r.Outcome, r.ID, r.Parts = sms.OutcomeUnknown, "", parts
	r.Refusal = sms.RefuseAs(sms.Unknown, sms.Partly, "sent", strconv.Itoa(sent), "parts", strconv.Itoa(parts))
	return r
}

// leastAttempt is the time that an attempt needs to have a chance, half the budget if that is less. One that ends too early leaves a message whose fate is
// unknown, where a refusal could have been told.
const leastAttempt = 3 * time.Second

// tooLate reports whether there is no time for another attempt.
func (d *Deliverer) tooLate(end time.Time) bool {
	return time.Until(end) < min(d.AttemptTimeout, d.Timeout/2, leastAttempt)
}

// sendPart sends a part of a message, or all of it. If the provider no longer takes a token that was kept, it is sent once
// more with a new one.
func (d *Deliverer) sendPart(ctx context.Context, end time.Time, route Route, m, part *sms.Message) sms.Receipt {
	if route.Tokens == nil {
		return d.attempt(ctx, end, route, m, part, sms.Hidden{})
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	fetch := func(ctx context.Context) (adapters.Token, sms.Receipt) { return d.fetchToken(ctx, end, route) }
	attempts := 0
	for again := false; ; again = true {
		token, fresh, r := route.Tokens.get(ctx, fetch)
		switch {
		case token.Empty():
		case (fresh || again) && d.tooLate(end):
			r = unable(route, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true})
			r.Detail = "the time was spent on the token"
		default:
			r = d.attempt(ctx, end, route, m, part, token)
		}
		r.Attempts += attempts
		if token.Empty() || r.Status != http.StatusUnauthorized || r.Outcome != sms.Refused {
			return r
		}
		route.Tokens.drop(ctx, token, fresh || again, r)
		if fresh || again {
			return r
		}
		attempts = r.Attempts
	}
}

// fetchToken asks the provider for a token.
func (d *Deliverer) fetchToken(ctx context.Context, end time.Time, route Route) (adapters.Token, sms.Receipt) {
	ctx, cancel := context.WithDeadline(ctx, d.until(end))
	defer cancel()
	r, err := route.Adapter.TokenRequest(ctx, time.Now())
	if err != nil {
		return adapters.Token{}, unable(route, err)
	}
	reply, err := route.Transport.RoundTrip(r)
	if err != nil { // whatever broke, no message was on the way
		return adapters.Token{}, sms.Receipt{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, Adapter: route.Adapter.Name,
			Detail: "no token: the provider cannot be reached",
		}
	}
	body, whole := readReply(reply, nil)
	return route.Adapter.ReadToken(reply.StatusCode, reply.Header, body, whole, time.Now())
}

// until is when an attempt that begins now has to end.
func (d *Deliverer) until(end time.Time) time.Time {
	if until := time.Now().Add(d.AttemptTimeout); until.Before(end) {
		return until
	}
	return end
}

// unable is the receipt for what an adapter cannot say to its provider.
func unable(route Route, err error) sms.Receipt {
	r := sms.Receipt{Outcome: sms.Refused, Adapter: route.Adapter.Name}
	if !errors.As(err, &r.Refusal) {
		r.Refusal = sms.Refuse(sms.Internal)
	}
	if err != error(r.Refusal) {
		r.Detail = err.Error()
	}
	return r
}

// attempt makes one request for a part of a message.
func (d *Deliverer) attempt(ctx context.Context, end time.Time, route Route, m, part *sms.Message, token sms.Hidden) sms.Receipt {
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
	reply, err := route.Transport.RoundTrip(x.Request)
	if err != nil {
		r := d.failed(err, &way)
		r.Adapter, r.Attempts = route.Adapter.Name, 1
		return r
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	body, whole := readReply(reply, *buf)
	r := x.Read(reply.StatusCode, reply.Header, body, whole)
	*buf = body
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

// acceptGzip is set by us because net/http takes longer: it copies the header for it.
var acceptGzip = []string{"gzip"}

// buffers are for replies: what is read from one keeps nothing of it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readReply reads at most adapters.MaxReply bytes, into buf if they fit, and says whether that was all.
func readReply(reply *http.Response, buf []byte) (body []byte, whole bool) {
	defer reply.Body.Close()
	from, size := io.Reader(reply.Body), max(reply.ContentLength, 511)+1
	if reply.Header.Get("Content-Encoding") == "gzip" {
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

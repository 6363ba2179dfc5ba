// Package delivery sends messages: it tries the adapters that accept a message, in order, within
// one time budget, and returns the result. It is the only place from which a message leaves.
//
// It never sends a message again whose outcome is unknown. It never sends two parts of a message by
// different adapters. The gateway calls Deliver once for each message that it has claimed. A
// Deliverer, an Account and Tokens are safe for concurrent use.
package delivery

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The default budgets. Apps give up after about 30 seconds.
const (
	DefaultTimeout        = 20 * time.Second
	DefaultAttemptTimeout = 10 * time.Second
)

// filesTimeout is the least budget of a message with pictures or files, which must be downloaded
// first. It leaves 5 s for the reply to reach the app.
const filesTimeout = 25 * time.Second

// DefaultRetries is the largest number of retries of a message.
const DefaultRetries = 3

// DefaultMaxParts is the largest number of messages that a long text is split into.
const DefaultMaxParts = 10

// Route is an adapter, the transport of its requests and the state of its account.
type Route struct {
	Adapter   *adapters.Adapter
	Transport http.RoundTripper
	// Account is shared by all routes that use the same account at the provider.
	Account *Account
	// Exclude returns the cause why a message must not use this route, or NoCause. A nil Exclude
	// excludes no message.
	Exclude func(*sms.Message) sms.Cause
	// Observe is called with the outcome and the duration of each request; it may be nil.
	Observe func(sms.Outcome, time.Duration)
	// Weight balances load between consecutive routes with a weight. A route with weight 0 keeps
	// its place.
	Weight int
}

// MediaLimits returns the pictures and files that the route's account accepts in a message. ok is
// false if it cannot send any.
func (r Route) MediaLimits() (limits sms.MediaLimits, ok bool) { return r.Adapter.MediaLimits() }

// Deliverer sends messages to providers. It is safe for concurrent use.
type Deliverer struct {
	// Routes are tried in order. The next route is tried only if the one before certainly did not
	// accept the message.
	Routes []Route
	// Timeout is the time budget of a message. AttemptTimeout is that of one request to a provider.
	Timeout, AttemptTimeout time.Duration
	// Retries is the largest number of retries of a message, with a pause before each. Only
	// adapters are retried that certainly did not accept the message and may accept it soon.
	Retries int
	// MaxParts is the largest number of messages that a text is split into.
	MaxParts int
	// Paused reports whether sending is paused. A nil Paused means that sending is never paused.
	Paused func() bool
	// NotSent reports whether a transport error means that no connection was established. It may be
	// nil.
	NotSent func(error) bool
}

// Deliver sends a message and returns the result. If the log contains accepted parts, it sends only
// the missing ones. It ignores the context's cancellation and deadline: a message is sent even if
// the app closes its connection.
func (d *Deliverer) Deliver(ctx context.Context, m *sms.Message, log Log) sms.Result {
	run := &run{Deliverer: d, ctx: ctx, end: d.End(m), message: m, log: log}
	if adapter, split, accepted := log.Sent(); accepted > 0 {
		return run.resume(adapter, split, accepted)
	}
	if d.tooLate(run.end) {
		return sms.Result{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Limited, Variant: sms.NoTime, RetryAfter: time.Minute}, Detail: noTime,
		}
	}
	routes, cause := d.routes(m)
	if len(routes) == 0 {
		return noRoute(cause)
	}
	r := run.tryRoutes(routes)
	for retry := 0; retry < d.Retries && r.Outcome == sms.Refused; retry++ {
		ready := run.pause(retry, routes)
		if len(ready) == 0 {
			break
		}
		r = run.tryRoutes(ready)
	}
	r.Attempts = run.attempts
	for _, passed := range run.tried {
		if passed.Adapter != r.Adapter {
			r.OtherRefusals = append(r.OtherRefusals, passed.Result)
		}
	}
	return r
}

// Segments is the number of segments of a message that is split into parts, the largest over all
// adapters. It is 0 if no adapter splits the message.
func (d *Deliverer) Segments(m *sms.Message) (most int) {
	for _, route := range d.Routes {
		if plan, refusal := route.Adapter.Plan(m, d.MaxParts); refusal == nil && plan.Split().Parts > 1 {
			most = max(most, plan.Segments())
		}
	}
	return most
}

// End is when the budget of a message ends.
func (d *Deliverer) End(m *sms.Message) time.Time {
	begin := m.Received // the app has waited since then
	if begin.IsZero() {
		begin = time.Now()
	}
	if m.FilesDigest != "" {
		return begin.Add(max(d.Timeout, filesTimeout))
	}
	return begin.Add(d.Timeout)
}

// CollectUntil is when the download of a message's files must end, so that there is time for an
// attempt.
func (d *Deliverer) CollectUntil(m *sms.Message) time.Time {
	return d.End(m).Add(-min(d.AttemptTimeout, DefaultAttemptTimeout) - 2*time.Second)
}

const noTime = "the time was spent before it could be sent"

// minAttempt is the shortest useful time for an attempt; least lowers it to AttemptTimeout or
// half of Timeout, if that is less. A shorter attempt would often end with an unknown outcome,
// where a refusal is still possible.
const minAttempt = 3 * time.Second

func (d *Deliverer) least() time.Duration { return min(d.AttemptTimeout, d.Timeout/2, minAttempt) }

// tooLate reports whether there is no time for another attempt.
func (d *Deliverer) tooLate(end time.Time) bool { return time.Until(end) < d.least() }

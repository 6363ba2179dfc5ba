// Package delivery is the only place from which a message leaves.
package delivery

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// The default budgets. Apps give up after about 30 seconds.
const (
	DefaultTimeout        = 20 * time.Second
	DefaultAttemptTimeout = 10 * time.Second
)

// DefaultRetries is how often a message is tried again.
const DefaultRetries = 3

// DefaultMaxParts is in how many messages a long text is sent at most.
const DefaultMaxParts = 10

// Route is one way out: an adapter and what carries its requests.
type Route struct {
	Adapter   *adapters.Adapter
	Transport http.RoundTripper
	// Account is what the routes of one account share.
	Account *Account
	// Bars says why a message may not take this route, NoCause if it may; nil if all may.
	Bars func(*sms.Message) sms.Cause
	// Took is told what each request came to, and how long it took; nil if nobody asks.
	Took func(sms.Outcome, time.Duration)
	// Weight is how often this route is the first among neighbours that have one too; 0 keeps its place.
	Weight int
}

// Deliverer hands messages to providers. It is safe for concurrent use.
type Deliverer struct {
	// Routes are tried in order, those that a message may take, the next one only if the one before certainly did not take it.
	Routes []Route
	// Timeout is the budget of a message, AttemptTimeout that of one request to a provider.
	Timeout, AttemptTimeout time.Duration
	// Retries is how often a message is tried again, after a pause, by the adapters that certainly did not take it and may soon.
	Retries int
	// MaxParts is in how many messages a text is sent that is longer than a provider's longest.
	MaxParts int
	// Held reports whether nothing is to be sent for now; nil if that never is.
	Held func() bool
	// NotSent reports transport errors that mean that no connection came about; nil if there are no such.
	NotSent func(error) bool
}

// Log is where it is written down how much of a message went out.
type Log interface {
	// Sent says by which adapter some parts of the message were sent before, how its text was split, and how many parts
	// were accepted: none, if it is new.
	Sent() (adapter string, split sms.Split, accepted int)
	// ID is the provider's id of the first part that was accepted.
	ID() string
	// Part writes down that one more was accepted.
	Part(adapter, id string, split sms.Split)
}

// Untracked is the log of a message that never comes again.
type Untracked struct{ id *string }

// Sent implements Log.
func (u *Untracked) Sent() (adapter string, split sms.Split, accepted int) { return "", split, 0 }

// ID implements Log.
func (u *Untracked) ID() string { return *u.id }

// Part implements Log.
func (u *Untracked) Part(_, id string, _ sms.Split) {
	if u.id == nil {
		u.id = &id
	}
}

// Deliver sends a message, or the parts of it that the log says are missing, and says what became of it. The phone hanging up
// changes nothing: only the context's values count, not its end.
func (d *Deliverer) Deliver(ctx context.Context, m *sms.Message, log Log) sms.Receipt {
	j := &journey{Deliverer: d, ctx: context.WithoutCancel(ctx), end: d.End(m), message: m, log: log}
	if adapter, split, accepted := log.Sent(); accepted > 0 {
		return j.resume(adapter, split, accepted)
	}
	if d.tooLate(j.end) {
		return sms.Receipt{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Limited, Variant: sms.NoTime, RetryAfter: time.Minute}, Detail: noTime,
		}
	}
	routes, bar := d.routes(m)
	if len(routes) == 0 {
		return barred(bar)
	}
	r := j.chain(routes)
	for retry := 0; retry < d.Retries && r.Outcome == sms.Refused; retry++ {
		ready := j.pause(retry, routes)
		if len(ready) == 0 {
			break
		}
		r = j.chain(ready)
	}
	r.Attempts = j.attempts
	for _, passed := range j.tried {
		if passed.Adapter != r.Adapter {
			r.Passed = append(r.Passed, passed.Receipt)
		}
	}
	return r
}

// Segments is in how many segments a message is sent at most, in the parts that adapters split it into.
func (d *Deliverer) Segments(m *sms.Message) (most int) {
	for _, route := range d.Routes {
		parts, err := route.Adapter.Parts(m, d.MaxParts)
		if err != nil || len(parts) == 1 {
			continue
		}
		sum := 0
		for _, part := range parts {
			sum += text.Segments(part.Body.Reveal())
		}
		most = max(most, sum)
	}
	return most
}

// End is when the budget of a message ends.
func (d *Deliverer) End(m *sms.Message) time.Time {
	begin := m.Received // the app's patience began then
	if begin.IsZero() {
		begin = time.Now()
	}
	return begin.Add(d.Timeout)
}

const noTime = "the time was spent before it could be sent"

// journey is one message on its way.
type journey struct {
	*Deliverer
	ctx      context.Context
	end      time.Time
	message  *sms.Message
	log      Log
	attempts int
	tried    []refused // the last of each adapter
}

// refused is a message that an adapter did not take, and when that may be asked again.
type refused struct {
	sms.Receipt
	ready time.Time
}

// chain tries one route after the other, until one takes the message or no other may. Of several refusals it returns the one
// that says most of what to do.
func (j *journey) chain(routes []Route) (told sms.Receipt) {
	for i, route := range routes {
		if i > 0 && j.tooLate(j.end) {
			break
		}
		r := j.by(route, 0)
		j.attempts += r.Attempts
		if r.Outcome != sms.Refused {
			return r
		}
		j.tried = slices.DeleteFunc(j.tried, func(other refused) bool { return other.Adapter == r.Adapter })
		j.tried = append(j.tried, refused{r, time.Now().Add(r.Refusal.RetryAfter)})
		if !r.Refusal.Cause.TryNext(r.Refusal.ByProvider) {
			break
		}
	}
	told = j.tried[0].Receipt
	for _, r := range j.tried[1:] {
		if r.Refusal.Cause < told.Refusal.Cause {
			told = r.Receipt
		}
	}
	return told
}

// pause waits until some of the routes may take the message after all, and returns these: none, if that would be too late, or one
// has said that it is of no use.
func (j *journey) pause(retry int, routes []Route) (ready []Route) {
	var earliest time.Time
	for _, r := range j.tried {
		if !r.Refusal.Cause.TryNext(r.Refusal.ByProvider) {
			return nil
		}
	}
	for _, route := range routes {
		if r := j.refusedBy(route); r != nil && maySoon(route, r.Refusal) {
			if ready = append(ready, route); earliest.IsZero() || r.ready.Before(earliest) {
				earliest = r.ready
			}
		}
	}
	if len(ready) == 0 || !j.sleep(retry, time.Until(earliest)) {
		return nil
	}
	return slices.DeleteFunc(ready, func(route Route) bool { return time.Now().Before(j.refusedBy(route).ready) })
}

func (j *journey) refusedBy(route Route) *refused {
	for i := range j.tried {
		if j.tried[i].Adapter == route.Adapter.Name {
			return &j.tried[i]
		}
	}
	return nil
}

// maySoon reports whether a route that did not take a message may take it a little later.
func maySoon(route Route, r *sms.Refusal) bool {
	return r.ByProvider && (r.Cause == sms.Busy || r.Cause == sms.Unavailable) && !route.Account.resting()
}

// firstPause is the longest pause before the first retry. Before each that follows it is twice as long.
const firstPause = 500 * time.Millisecond

// sleep waits before a retry, at least for as long as was asked for. It reports false if that would be too late.
func (j *journey) sleep(retry int, asked time.Duration) bool {
	wait := firstPause << retry
	wait -= rand.N(wait / 2) // so that those who failed together do not come back together
	wait = max(wait, asked)
	if j.tooLate(j.end.Add(-wait)) {
		return false
	}
	time.Sleep(wait)
	return true
}

// resume sends the parts that are missing. They are sent by the same adapter, because another may split the text otherwise.
func (j *journey) resume(adapter string, split sms.Split, accepted int) sms.Receipt {
	stuck := sms.Receipt{Refusal: sms.PartlySent(accepted, split.Parts), Adapter: adapter, Parts: split.Parts, Resumable: true}
	if j.tooLate(j.end) {
		stuck.Detail = noTime
		return stuck
	}
	at := slices.IndexFunc(j.Routes, func(r Route) bool { return r.Adapter.Name == adapter })
	if at < 0 {
		stuck.Detail = "the adapter that sent the first parts is gone"
		return stuck
	}
	if list, err := j.Routes[at].Adapter.Parts(j.message, j.MaxParts); err != nil || !split.Is(list) {
		stuck.Detail = "the adapter that sent the first parts splits the text otherwise now"
		return stuck
	}
	return j.by(j.Routes[at], accepted)
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

// by sends a message by one route, in parts if it is too long for one, those that were accepted before aside. The id is that of
// the first part.
func (j *journey) by(route Route, accepted int) (r sms.Receipt) {
	parts, err := route.Adapter.Parts(j.message, j.MaxParts)
	if err != nil {
		return unable(route, err)
	}
	attempts, split := 0, sms.SplitOf(parts)
	for i := accepted; i < len(parts); i++ {
		switch {
		case i > accepted && j.tooLate(j.end):
			r = sms.Receipt{Outcome: sms.Refused, Adapter: r.Adapter}
		case i == 0:
			r = j.part(route, parts[i])
		default:
			r = j.persist(route, parts[i])
		}
		attempts += r.Attempts
		if r.Outcome != sms.Accepted {
			if i > 0 {
				r = partly(r, i, len(parts))
			}
			break
		}
		j.log.Part(route.Adapter.Name, r.ID, split)
	}
	r.Attempts, r.Parts = attempts, len(parts)
	if r.Outcome == sms.Accepted {
		r.ID = j.log.ID()
	}
	return r
}

// persist sends a part that belongs to others which this adapter has taken: no other adapter may take it over, so this one is asked
// again, if it certainly did not take the part and may soon.
func (j *journey) persist(route Route, part *sms.Message) sms.Receipt {
	attempts := 0
	for retry := 0; ; retry++ {
		r := j.part(route, part)
		attempts += r.Attempts
		if r.Outcome != sms.Refused || retry == j.Retries || !maySoon(route, r.Refusal) || !j.sleep(retry, r.Refusal.RetryAfter) {
			r.Attempts = attempts
			return r
		}
	}
}

// partly is the receipt of a message of which some parts went out: the whole must not be sent again, whatever became of the next
// part, and the rest only if that certainly did not go out.
func partly(r sms.Receipt, sent, parts int) sms.Receipt {
	r.Resumable = r.Outcome == sms.Refused
	r.Outcome, r.ID, r.Refusal = sms.OutcomeUnknown, "", sms.PartlySent(sent, parts)
	return r
}

// leastAttempt is the time that an attempt needs to have a chance, half the budget if that is less. One that ends too early leaves a message whose fate is
// unknown, where a refusal could have been told.
const leastAttempt = 3 * time.Second

func (d *Deliverer) least() time.Duration { return min(d.AttemptTimeout, d.Timeout/2, leastAttempt) }

// tooLate reports whether there is no time for another attempt.
func (d *Deliverer) tooLate(end time.Time) bool { return time.Until(end) < d.least() }

// part sends a part of a message, or all of it, when it is its turn. Where the provider knows a message by its id, it is asked once
// more if it gave no clear answer.
func (j *journey) part(route Route, part *sms.Message) sms.Receipt {
	r := j.turn(route, part)
	if r.Outcome == sms.OutcomeUnknown && route.Adapter.Idempotent() && !j.tooLate(j.end) {
		second := j.turn(route, part)
		second.Attempts += r.Attempts
		if second.Outcome == sms.Accepted {
			return second
		}
		r.Attempts = second.Attempts // that it is not taken now says nothing of the first time
	}
	return r
}

// turn sends a part when the account has room for it, unless it rests.
func (j *journey) turn(route Route, part *sms.Message) sms.Receipt {
	leave, refusal, why := route.Account.enter(j.message.User, j.end.Add(-j.least()), j.Held)
	if refusal != nil {
		r := unable(route, refusal)
		r.Detail = why
		return r
	}
	r := sms.Receipt{Refusal: sms.Refuse(sms.Unknown)} // should it panic
	defer func() { leave(r) }()
	r = j.send(route, part)
	return r
}

// send sends a part. If the provider no longer takes a token that was kept, it is sent once more with a new one.
func (j *journey) send(route Route, part *sms.Message) sms.Receipt {
	d, m, end := j.Deliverer, j.message, j.end
	if !route.Adapter.NeedsToken() {
		return d.attempt(j.ctx, end, route, m, part, sms.Hidden{})
	}
	ctx, cancel := context.WithDeadline(j.ctx, end)
	defer cancel()
	fetch := func(ctx context.Context) (adapters.Token, sms.Receipt) { return d.fetchToken(ctx, end, route) }
	attempts := 0
	for again := false; ; again = true {
		token, fresh, r := route.Account.tokens.get(ctx, fetch)
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
		route.Account.tokens.drop(ctx, token, fresh || again, r)
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

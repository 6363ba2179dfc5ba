package delivery

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// sendPart sends a part of a message, or all of it. If the outcome is unknown and the provider
// recognises duplicates by their id, sendPart sends the same request once more.
func (run *run) sendPart(route Route, plan *adapters.Plan, i int) sms.Result {
	r := run.sendWhenAllowed(route, plan, i)
	if r.Outcome == sms.OutcomeUnknown && route.Adapter.Idempotent() && !run.tooLate(run.end) {
		second := run.sendWhenAllowed(route, plan, i)
		second.Attempts += r.Attempts
		if second.Outcome == sms.Accepted {
			return second
		}
		r.Attempts = second.Attempts // a refusal of the second attempt says nothing about the first
	}
	return r
}

// sendWhenAllowed sends a part once the account has room for it. It refuses the part if the
// account's circuit breaker is open or its quota is reached.
func (run *run) sendWhenAllowed(route Route, plan *adapters.Plan, i int) sms.Result {
	leave, refusal, why := route.Account.enter(run.message, run.end.Add(-run.least()), run.Paused)
	if refusal != nil {
		r := unable(route, refusal)
		r.Detail = why
		return r
	}
	var r sms.Result
	returned := false
	defer func() {
		if !returned { // sendWithToken panics
			r = sms.Result{Refusal: sms.Refuse(sms.Unconfirmed)}
		}
		leave(r)
	}()
	r = run.sendWithToken(route, plan, i)
	returned = true
	return r
}

// sendWithToken sends a part. If the provider rejects a cached token, it sends the part once more
// with a new token.
func (run *run) sendWithToken(route Route, plan *adapters.Plan, i int) sms.Result {
	d, end := run.Deliverer, run.end
	if !route.Adapter.NeedsToken() {
		return run.attempt(run.ctx, route, plan, i, sms.Hidden{})
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(run.ctx), end)
	defer cancel()
	fetch := func(ctx context.Context) (adapters.Token, sms.Result) { return d.fetchToken(ctx, end, route) }
	attempts := 0
	for again := false; ; again = true {
		token, fresh, r := route.Account.tokens.get(ctx, fetch)
		switch {
		case token.Empty():
		case (fresh || again) && d.tooLate(end):
			r = unable(route, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true})
			r.Detail = "the time was spent on the token"
		default:
			r = run.attempt(ctx, route, plan, i, token)
		}
		r.Attempts += attempts
		if token.Empty() || r.Status != http.StatusUnauthorized || r.Outcome != sms.Refused {
			return r
		}
		route.Account.tokens.drop(token, fresh || again, r)
		if fresh || again {
			return r
		}
		attempts = r.Attempts
	}
}

// fetchToken requests a token from the provider.
func (d *Deliverer) fetchToken(ctx context.Context, end time.Time, route Route) (adapters.Token, sms.Result) {
	ctx, cancel := context.WithDeadline(ctx, d.until(time.Now(), end))
	defer cancel()
	r, err := route.Adapter.TokenRequest(ctx, time.Now())
	if err != nil {
		return adapters.Token{}, unable(route, err)
	}
	reply, err := roundtrip.Do(route.Transport, r, nil, adapters.MaxReply)
	if err != nil { // a request for a token never sends a message
		return adapters.Token{}, sms.Result{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, Adapter: route.Adapter.Name,
			Detail: "no token: the provider cannot be reached",
		}
	}
	return route.Adapter.ReadToken(reply.Status, reply.Header, reply.Body, reply.Err == nil, time.Now())
}

// until is the deadline of an attempt.
func (d *Deliverer) until(began, end time.Time) time.Time {
	if until := began.Add(d.AttemptTimeout); until.Before(end) {
		return until
	}
	return end
}

// unable is the result of a message for which no request can be made.
func unable(route Route, err error) sms.Result {
	r := sms.Result{Outcome: sms.Refused, Adapter: route.Adapter.Name}
	if !errors.As(err, &r.Refusal) {
		r.Refusal = sms.Refuse(sms.Internal)
	}
	if err != error(r.Refusal) {
		r.Detail = err.Error()
	}
	return r
}

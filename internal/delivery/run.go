package delivery

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// run is the delivery of one message. It is not safe for concurrent use.
type run struct {
	*Deliverer
	ctx      context.Context // only its values count, not its end
	end      time.Time
	message  *sms.Message
	log      Log
	attempts int
	tried    []refused // the last refusal by each adapter
	plans    []routePlan
}

// routePlan is an adapter's plan for the message, or its refusal.
type routePlan struct {
	adapter *adapters.Adapter
	plan    *adapters.Plan
	refusal *sms.Refusal
}

// plan returns the adapter's plan for the message. The plan is made once and reused for retries.
func (run *run) plan(route Route) (*adapters.Plan, *sms.Refusal) {
	at := slices.IndexFunc(run.plans, func(p routePlan) bool { return p.adapter == route.Adapter })
	if at < 0 {
		plan, refusal := route.plan(run.message, run.MaxParts)
		at, run.plans = len(run.plans), append(run.plans, routePlan{route.Adapter, plan, refusal})
	}
	return run.plans[at].plan, run.plans[at].refusal
}

// refused is the refusal by an adapter. The adapter may be asked again at the time ready.
type refused struct {
	sms.Result
	ready time.Time
}

// tryRoutes tries one route after the other, until one accepts the message or a result forbids the
// next try. Of several refusals it returns the most useful one for the sender.
func (run *run) tryRoutes(routes []Route) (told sms.Result) {
	for i, route := range routes {
		if i > 0 && run.tooLate(run.end) {
			break
		}
		r := run.sendVia(route, 0)
		run.attempts += r.Attempts
		if r.Outcome != sms.Refused {
			return r
		}
		run.tried = slices.DeleteFunc(run.tried, func(other refused) bool { return other.Adapter == r.Adapter })
		run.tried = append(run.tried, refused{r, time.Now().Add(r.Refusal.RetryAfter)})
		if !r.Refusal.Cause.TryNext(r.Refusal.ByProvider) {
			break
		}
	}
	told = run.tried[0].Result
	for _, r := range run.tried[1:] {
		if says(r.Refusal, told.Refusal) {
			told = r.Result
		}
	}
	return told
}

// says reports whether a refusal is more useful to the sender than another: its cause has more
// weight, or, of two reached quotas, only it has a time for the next try, or an earlier time.
func says(r, other *sms.Refusal) bool {
	if r.Cause != other.Cause || r.Cause != sms.Quota {
		return r.Cause < other.Cause
	}
	return r.RetryAfter > 0 && (other.RetryAfter == 0 || r.RetryAfter < other.RetryAfter)
}

// pause waits until some of the routes may accept the message, and returns these routes. It returns
// none if the wait would exceed the budget, or if a refusal means that no adapter will accept the
// message.
func (run *run) pause(retry int, routes []Route) (ready []Route) {
	var earliest time.Time
	for _, r := range run.tried {
		if !r.Refusal.Cause.TryNext(r.Refusal.ByProvider) {
			return nil
		}
	}
	for _, route := range routes {
		if r := run.refusedBy(route); r != nil && maySoon(route, r.Refusal) {
			if ready = append(ready, route); earliest.IsZero() || r.ready.Before(earliest) {
				earliest = r.ready
			}
		}
	}
	if len(ready) == 0 || !run.sleep(retry, time.Until(earliest)) {
		return nil
	}
	return slices.DeleteFunc(ready, func(route Route) bool { return time.Now().Before(run.refusedBy(route).ready) })
}

func (run *run) refusedBy(route Route) *refused {
	for i := range run.tried {
		if run.tried[i].Adapter == route.Adapter.Name {
			return &run.tried[i]
		}
	}
	return nil
}

// maySoon reports whether a route that refused a message may accept it after a short pause.
func maySoon(route Route, r *sms.Refusal) bool {
	return r.ByProvider && (r.Cause == sms.Busy || r.Cause == sms.Unavailable) && !route.Account.breakerOpen()
}

// firstPause is the upper bound of the pause before the first retry. It doubles with each retry.
const firstPause = 500 * time.Millisecond

// sleep waits before a retry, at least as long as the provider asked for. It reports false, without
// a wait, if no time for an attempt would remain.
func (run *run) sleep(retry int, asked time.Duration) bool {
	wait := firstPause << retry
	wait -= rand.N(wait / 2) // so that messages that failed together are not retried together
	wait = max(wait, asked)
	if run.tooLate(run.end.Add(-wait)) {
		return false
	}
	time.Sleep(wait)
	return true
}

// resume sends the missing parts by the same adapter, because another adapter may split the text
// differently.
func (run *run) resume(adapter string, split sms.Split, accepted int) sms.Result {
	stuck := sms.Result{Refusal: sms.PartlySent(accepted, split.Parts), Adapter: adapter, Parts: split.Parts, RestNotSent: true}
	if run.tooLate(run.end) {
		stuck.Detail = noTime
		return stuck
	}
	at := slices.IndexFunc(run.Routes, func(r Route) bool { return r.Adapter.Name == adapter })
	if at < 0 {
		stuck.Detail = "the adapter that sent the first parts is gone"
		return stuck
	}
	if plan, refusal := run.plan(run.Routes[at]); refusal != nil || !split.Matches(plan.Split()) {
		stuck.Detail = "the adapter that sent the first parts splits the text otherwise now"
		return stuck
	}
	return run.sendVia(run.Routes[at], accepted)
}

// sendVia sends the parts of a message by one route, and skips the parts that were accepted before.
// The result has the provider's id of the first part.
func (run *run) sendVia(route Route, accepted int) (r sms.Result) {
	plan, refusal := run.plan(route)
	if refusal != nil {
		return unable(route, refusal)
	}
	attempts, split := 0, plan.Split()
	for i := accepted; i < split.Parts; i++ {
		switch {
		case i > accepted && run.tooLate(run.end):
			r = sms.Result{Outcome: sms.Refused, Adapter: r.Adapter}
		case i == 0:
			r = run.sendPart(route, plan, i)
		default:
			r = run.retryPart(route, plan, i)
		}
		attempts += r.Attempts
		if r.Outcome != sms.Accepted {
			if i > 0 {
				r = partly(r, i, split.Parts)
			}
			break
		}
		if r.PrivateID.Empty() {
			run.log.Part(route.Adapter.Name, r.ID, split)
		} else {
			run.log.PrivatePart(route.Adapter.Name, r.PrivateID, split)
		}
	}
	r.Attempts, r.Parts, r.MMS = attempts, split.Parts, split.MMS()
	if r.Outcome == sms.Accepted {
		r.ID, r.PrivateID = run.log.ProviderID(), run.log.PrivateID()
	}
	return r
}

// retryPart sends a part of a message after this adapter has accepted earlier parts. No other
// adapter may send it. So the part is retried here, if the adapter certainly did not accept it and
// may accept it soon.
func (run *run) retryPart(route Route, plan *adapters.Plan, i int) sms.Result {
	attempts := 0
	for retry := 0; ; retry++ {
		r := run.sendPart(route, plan, i)
		attempts += r.Attempts
		if r.Outcome != sms.Refused || retry == run.Retries || !maySoon(route, r.Refusal) || !run.sleep(retry, r.Refusal.RetryAfter) {
			r.Attempts = attempts
			return r
		}
	}
}

// partly is the result of a message sent in part. It is never sent again as a whole; the missing
// parts may be, if the failed one was certainly not sent.
func partly(r sms.Result, sent, parts int) sms.Result {
	r.RestNotSent = r.Outcome == sms.Refused
	r.Outcome, r.ID, r.PrivateID, r.Refusal = sms.OutcomeUnknown, "", sms.Hidden{}, sms.PartlySent(sent, parts)
	return r
}

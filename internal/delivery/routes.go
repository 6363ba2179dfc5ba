package delivery

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// routes returns the routes that accept a message, in the order of tries. If there are none,
// excluded is the cause with the most weight. The order of consecutive routes with a weight is
// drawn with the message's id as seed, so that a retried message gets the same order.
func (d *Deliverer) routes(m *sms.Message) (routes []Route, excluded sms.Cause) {
	if !slices.ContainsFunc(d.Routes, func(r Route) bool { return r.Exclude != nil || r.Weight > 0 }) {
		return d.Routes, sms.NoCause
	}
	var draw *rand.Rand
	var drawn []float64 // the random share of each route, 0 for a route without a weight
	first := 0          // a weighted route must not move before this index
	for _, r := range d.Routes {
		share := 0.0
		if r.Weight == 0 {
			first = len(routes)
		} else {
			if draw == nil {
				draw = drawFor(m.ID)
			}
			share = draw.ExpFloat64() / float64(r.Weight) // P(smallest) is proportional to Weight
		}
		if r.Exclude != nil {
			if cause := r.Exclude(m); cause != sms.NoCause {
				if excluded == sms.NoCause || cause < excluded {
					excluded = cause
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
	return routes, excluded
}

// drawFor returns a random generator that gives the same numbers for the same message.
func drawFor(id string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, id)
	return rand.New(rand.NewPCG(h.Sum64(), 0))
}

// noRoute is the result of a message that no route accepts.
func noRoute(cause sms.Cause) sms.Result {
	refusal := sms.Refuse(cause)
	if cause == sms.Misconfigured {
		refusal = sms.RefuseAs(cause, sms.NoAdapter)
	}
	return sms.Result{Outcome: sms.Refused, Refusal: refusal, Detail: "no adapter's conditions hold for this message"}
}

package delivery

import (
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Check returns the refusal of a message that no route accepts, before anything is done for it. For
// a message with pictures or files, whose type and size need not be known yet, limits are those of
// the first route that accepts it.
func (d *Deliverer) Check(m *sms.Message) (limits sms.MediaLimits, refusal *sms.Refusal) {
	routes, cause := d.routes(m)
	if len(routes) == 0 {
		return limits, noRoute(cause).Refusal
	}
	for _, route := range routes {
		limits, _ = route.MediaLimits()
		_, why := route.plan(m, d.MaxParts)
		if why == nil {
			return limits, nil
		}
		if refusal == nil || says(why, refusal) {
			refusal = why
		}
	}
	if len(m.Media) > 0 && refusal.Cause == sms.UnsupportedContent && refusal.Variant == "" {
		refusal = sms.RefuseAs(sms.UnsupportedContent, sms.NoMMS)
	}
	return limits, refusal
}

// plan returns the adapter's plan for a message, unless its files exceed the limits of the adapter.
func (r Route) plan(m *sms.Message, maxParts int) (*adapters.Plan, *sms.Refusal) {
	if len(m.Media) > 0 {
		limits, ok := r.MediaLimits()
		if !ok {
			return nil, sms.Refuse(sms.UnsupportedContent)
		}
		if refusal := limits.Check(m.Media); refusal != nil {
			return nil, refusal
		}
	}
	return r.Adapter.Plan(m, maxParts)
}

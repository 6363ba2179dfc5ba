package caddymodule

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The events that Caddy's `events` option can subscribe to. They come after the reply, and their data hold no number and no text.
const (
	acceptedEvent = "sms_accepted"
	refusedEvent  = "sms_refused"
	heldEvent     = "sms_held"
	unknownEvent  = "sms_unknown"
	lostEvent     = "sms_lost"
)

// startedEvent is Caddy's own, for when all of a configuration runs. https://caddyserver.com/docs/modules/events
const startedEvent = "started"

// announcer hands events to those who subscribed. Caddy starts its apps in any order, and subscribers are only known when it has
// started all, so what happens before waits.
type announcer struct {
	app *caddyevents.App
	ctx caddy.Context

	started atomic.Bool
	mu      sync.Mutex
	waiting []func()
}

func newAnnouncer(ctx caddy.Context) (*announcer, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	a := &announcer{app: app.(*caddyevents.App), ctx: ctx}
	return a, a.app.On(startedEvent, a)
}

func (h *Handler) provisionEvents(ctx caddy.Context) (err error) {
	h.announcer, err = newAnnouncer(ctx)
	return err
}

// Handle implements caddyevents.Handler: it learns that Caddy has started.
func (a *announcer) Handle(context.Context, caddy.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.start()
	return nil
}

func (a *announcer) start() {
	a.started.Store(true)
	for _, tell := range a.waiting {
		go tell() // Caddy is not done with the configuration, which a subscriber may ask for
	}
	a.waiting = nil
}

// mostWaiting is how many events wait: when there are more, Caddy has started for sure.
const mostWaiting = 1000

// wants reports whether somebody may want to know of an event.
func (a *announcer) wants(name string) bool { return !a.started.Load() || a.app.ShouldEmit(name) }

// announce tells subscribers of an event.
func (a *announcer) announce(name string, data map[string]any) {
	if !a.wait(func() { a.app.Emit(a.ctx, name, data) }) {
		a.app.Emit(a.ctx, name, data)
	}
}

// wait has something told as soon as Caddy has started. It reports false if it has.
func (a *announcer) wait(tell func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started.Load() {
		return false
	}
	if a.waiting = append(a.waiting, tell); len(a.waiting) > mostWaiting {
		a.start()
	}
	return true
}

// emit tells subscribers what became of the message.
func (x *exchange) emit() {
	r := x.outcome
	name := acceptedEvent
	switch {
	case r.Cause() == sms.Held:
		name = heldEvent
	case r.Outcome == sms.Refused:
		name = refusedEvent
	case r.Outcome == sms.OutcomeUnknown:
		name = unknownEvent
	}
	if x.announcer.wants(name) {
		x.announcer.announce(name, x.eventData(r))
	}
}

// eventData is what an event says of the message.
func (x *exchange) eventData(r sms.Receipt) map[string]any {
	data := map[string]any{"reference": x.message.Reference, "repeat": r.Repeat}
	if x.user != nil {
		data["user"] = x.user.Name
	}
	if r.Refusal != nil {
		data["cause"] = r.Refusal.Error()
	}
	if r.Adapter != "" {
		data["adapter"] = r.Adapter
	}
	if r.ID != "" {
		data["sms_id"] = r.ID
	}
	return data
}

var _ caddyevents.Handler = (*announcer)(nil)

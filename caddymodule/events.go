package caddymodule

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The events that Caddy's `events` option can subscribe to. They are emitted after the reply. Their
// data contain no number and no text.
const (
	acceptedEvent = "sms_accepted"
	refusedEvent  = "sms_refused"
	heldEvent     = "sms_held"
	unknownEvent  = "sms_unknown"
	lostEvent     = "sms_lost"

	receivedEvent    = "sms_received"
	deliveredEvent   = "sms_delivered"
	undeliveredEvent = "sms_undelivered"
)

// startedEvent is emitted by Caddy when all of a configuration runs.
// https://caddyserver.com/docs/modules/events
const startedEvent = "started"

// eventEmitter emits events. Caddy starts its apps in any order and knows all subscribers only when
// all apps run, so events before that are queued. It is safe for concurrent use.
type eventEmitter struct {
	app *caddyevents.App
	ctx caddy.Context

	started atomic.Bool
	mu      sync.Mutex
	queued  []func()
}

func newEventEmitter(ctx caddy.Context) (*eventEmitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	e := &eventEmitter{app: app.(*caddyevents.App), ctx: ctx}
	return e, e.app.On(startedEvent, e)
}

func (h *Handler) provisionEvents(ctx caddy.Context) (err error) {
	h.emitter, err = newEventEmitter(ctx)
	return err
}

// Handle implements caddyevents.Handler. It receives startedEvent.
func (e *eventEmitter) Handle(context.Context, caddy.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.start()
	return nil
}

// start emits the queued events. The caller must have locked mu.
func (e *eventEmitter) start() {
	e.started.Store(true)
	for _, emit := range e.queued {
		go emit() // not inline: a subscriber may ask for the configuration, which Caddy has still locked
	}
	e.queued = nil
}

// maxQueued bounds the queue. When it is full, Caddy has certainly started.
const maxQueued = 1000

// shouldEmit reports whether an event may have a subscriber.
func (e *eventEmitter) shouldEmit(name string) bool {
	return !e.started.Load() || e.app.ShouldEmit(name)
}

// emit sends an event to its subscribers.
func (e *eventEmitter) emit(name string, data map[string]any) {
	if !e.queue(func() { e.app.Emit(e.ctx, name, data) }) {
		e.app.Emit(e.ctx, name, data)
	}
}

// queue defers an event until Caddy has started. It reports false if Caddy has.
func (e *eventEmitter) queue(emit func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started.Load() {
		return false
	}
	if e.queued = append(e.queued, emit); len(e.queued) > maxQueued {
		e.start()
	}
	return true
}

// emit emits the event of the message's outcome.
func (x *sendRequest) emit() {
	r := &x.response.Result
	name := acceptedEvent
	switch {
	case r.Cause() == sms.Held:
		name = heldEvent
	case r.Outcome == sms.Refused:
		name = refusedEvent
	case r.Outcome == sms.OutcomeUnknown:
		name = unknownEvent
	}
	if x.emitter.shouldEmit(name) {
		x.emitter.emit(name, eventData(x.response))
	}
}

// eventData returns the data of the message's event.
func eventData(response *gateway.Response) map[string]any {
	r, reference := &response.Result, response.Message.Reference
	data := map[string]any{"reference": reference, "repeat": r.Duplicate}
	if response.User != nil {
		data["user"] = response.User.Name
	}
	if r.Refusal != nil {
		data["cause"] = r.Refusal.Error()
	}
	if r.Adapter != "" {
		data["adapter"] = r.Adapter
	}
	if id := r.ShownID(reference); id != "" {
		data["sms_id"] = id
	}
	return data
}

var _ caddyevents.Handler = (*eventEmitter)(nil)

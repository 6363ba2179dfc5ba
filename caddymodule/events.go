package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
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

func (h *Handler) provisionEvents(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	h.events, h.ctx = app.(*caddyevents.App), ctx
	return nil
}

// emit tells subscribers what became of the message.
func (x *exchange) emit(r sms.Receipt) {
	name := acceptedEvent
	switch {
	case r.Cause() == sms.Held:
		name = heldEvent
	case r.Outcome == sms.Refused:
		name = refusedEvent
	case r.Outcome == sms.OutcomeUnknown:
		name = unknownEvent
	}
	if !x.events.ShouldEmit(name) {
		return
	}
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
	x.events.Emit(x.ctx, name, data)
}

// emitLost tells subscribers of one of the handlers in use that a message was lost with its process.
func emitLost(e journal.Entry) {
	handlers.Range(func(h, _ any) bool {
		handler := h.(*Handler)
		handler.events.Emit(handler.ctx, lostEvent, map[string]any{"reference": e.Reference, "begun": e.Begun.Format(time.RFC3339)})
		return false
	})
}

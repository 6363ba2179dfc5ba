package caddymodule

import (
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// publish offers the placeholders. Caddy's own access log asks for the user's.
func (x *exchange) publish() {
	repl, ok := x.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(x.placeholder)
}

// placeholder gives the value of a placeholder once the outcome is known.
func (x *exchange) placeholder(key string) (any, bool) {
	switch key {
	case "http.auth.user.id":
		if x.user != nil {
			return x.user.Name, true
		}
	case "http.acrobits_sms.outcome":
		return x.outcome.Outcome.String(), true
	case "http.acrobits_sms.cause":
		return x.outcome.Cause().String(), true
	case "http.acrobits_sms.adapter":
		return x.outcome.Adapter, true
	case "http.acrobits_sms.sms_id":
		return x.outcome.ID, true
	case "http.acrobits_sms.reference":
		return x.message.Reference, true
	}
	return nil, false
}

// levelOf is how much an operator has to care about a cause.
func levelOf(c sms.Cause) zapcore.Level {
	switch c {
	case sms.Misconfigured, sms.Unavailable, sms.Internal, sms.Unknown, sms.SenderUnregistered, sms.NoCredit:
		return zapcore.ErrorLevel
	case sms.Unauthorized, sms.Rejected, sms.Held:
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}

// byProvider are the fields that say what a provider answered.
func byProvider(fields []zap.Field, r sms.Receipt) []zap.Field {
	for _, f := range [...]struct{ key, value string }{
		{"adapter", r.Adapter}, {"sms_id", r.ID}, {"provider_code", r.Code}, {"detail", r.Detail},
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.key, f.value))
		}
	}
	if r.Status != 0 {
		fields = append(fields, zap.Int("provider_status", r.Status))
	}
	return fields
}

// report writes the event line: one for each request, with nothing in it but what is listed here. Adapters that were passed
// over have a line of their own.
func (x *exchange) report(r sms.Receipt, delivered bool) {
	for _, passed := range r.Passed {
		if line := x.logger.Check(max(levelOf(passed.Cause()), zapcore.WarnLevel), "an adapter did not take the message"); line != nil {
			line.Write(byProvider([]zap.Field{zap.String("reference", x.message.Reference), zap.String("cause", passed.Refusal.Error())}, passed)...)
		}
	}
	level := levelOf(r.Cause())
	if x.isChallenge(r) { // how every message by Digest begins
		level = zapcore.DebugLevel
	}
	line := x.logger.Check(level, "message")
	if line == nil {
		return
	}
	fields := make([]zap.Field, 0, 20)
	fields = append(fields,
		zap.String("outcome", r.Outcome.String()),
		zap.String("reference", x.message.Reference),
		zap.String("host", x.r.Host),
		zap.Duration("duration", time.Since(x.message.Received)),
	)
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, zap.String(key, value))
		}
	}
	if r.Refusal != nil {
		add("cause", r.Refusal.Error())
		add("parameter", r.Refusal.Value("name"))
	}
	if x.user != nil {
		add("user", x.user.Name)
		add("kind", x.kind.String())
	} else {
		add("claimed_user", x.claimed)
	}
	if ip, ok := caddyhttp.GetVar(x.r.Context(), caddyhttp.ClientIPVarKey).(string); ok && x.user == nil {
		add("client_ip", ip)
	}
	add("limit", x.exceeded)
	add("from", masked(x.message.From))
	add("to", masked(x.message.To))
	fields = byProvider(fields, r)
	if r.Parts > 1 {
		fields = append(fields, zap.Int("parts", r.Parts))
	}
	if r.Attempts != 0 {
		fields = append(fields, zap.Int("attempts", r.Attempts))
	}
	if r.Repeat {
		fields = append(fields, zap.Bool("repeat", true))
	}
	if !delivered {
		fields = append(fields, zap.Bool("phone_gone", true))
	}
	line.Write(fields...)
}

func masked(n sms.Number) string {
	if n.IsZero() {
		return ""
	}
	return n.String()
}

// hints are what an app's settings can lack, with the advice for the operator.
var hints = [...]struct{ name, advice string }{
	{"content_type", "the app's SMS settings lack content_type=%content_type%; without it pictures and notices can only be guessed"},
	{"disposition_notification", "the app's SMS settings lack disposition_notification=%disposition_notification%, the only id a message has"},
	{"http", "the app uses http://, over which it sends asterisks for the password and everybody can read along; use https://"},
}

// hint tells the operator once for each user what the app's settings lack.
func (x *exchange) hint() {
	isText := x.kind == sendmessage.Text
	for i, lacks := range [len(hints)]bool{isText && x.request.NoContentType, isText && x.request.NoDisposition, !x.secure()} {
		if !lacks {
			continue
		}
		known, ok := x.hinted.Get(x.user.Name)
		if !ok {
			known = new(atomic.Uint32)
			x.hinted.Put(x.user.Name, known)
		}
		if bit := uint32(1) << i; known.Or(bit)&bit == 0 {
			x.logger.Warn(hints[i].advice, zap.String("user", x.user.Name), zap.String("hint", hints[i].name))
		}
	}
}

// secure reports whether the app came over TLS, to us or to a proxy that Caddy trusts.
func (x *exchange) secure() bool {
	if x.r.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(x.r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && x.r.Header.Get("X-Forwarded-Proto") == "https"
}

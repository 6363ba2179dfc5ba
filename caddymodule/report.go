package caddymodule

import (
	"sync/atomic"

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

// report writes the event line: one for each request. Adapters that were passed over have a line of their own.
func (x *exchange) report() {
	for _, passed := range x.outcome.Passed {
		if line := x.logger.Check(max(levelOf(passed.Cause()), zapcore.WarnLevel), "an adapter did not take the message"); line != nil {
			line.Write(zap.String("reference", x.message.Reference), zap.String("cause", passed.Refusal.Error()), zap.Inline(byProvider(passed)))
		}
	}
	level := levelOf(x.outcome.Cause())
	if x.isChallenge(x.outcome) { // how every message by Digest begins
		level = zapcore.DebugLevel
	}
	if line := x.logger.Check(level, "message"); line != nil {
		line.Write(zap.Inline((*event)(x)))
	}
}

// event is the event line of a request, with nothing in it but what is listed here.
type event exchange

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (x *event) MarshalLogObject(line zapcore.ObjectEncoder) error {
	line.AddString("outcome", x.outcome.Outcome.String())
	line.AddString("reference", x.message.Reference)
	line.AddString("host", x.r.Host)
	line.AddDuration("duration", x.took)
	if refusal := x.outcome.Refusal; refusal != nil {
		addString(line, "cause", refusal.Error())
		addString(line, "parameter", refusal.Value("name"))
	}
	if x.user != nil {
		addString(line, "user", x.user.Name)
		addString(line, "kind", x.kind.String())
	} else {
		addString(line, "claimed_user", x.claimed)
		ip, _ := caddyhttp.GetVar(x.r.Context(), caddyhttp.ClientIPVarKey).(string)
		addString(line, "client_ip", ip)
	}
	addString(line, "limit", x.exceeded)
	addString(line, "from", masked(x.message.From))
	addString(line, "to", masked(x.message.To))
	_ = byProvider(x.outcome).MarshalLogObject(line)
	addNumber(line, "parts", x.outcome.Parts, 2)
	addNumber(line, "attempts", x.outcome.Attempts, 1)
	addTrue(line, "repeat", x.outcome.Repeat)
	addTrue(line, "phone_gone", !x.delivered)
	return nil
}

// byProvider is what a provider answered.
type byProvider sms.Receipt

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (a byProvider) MarshalLogObject(line zapcore.ObjectEncoder) error {
	addString(line, "adapter", a.Adapter)
	addString(line, "sms_id", a.ID)
	addString(line, "provider_code", a.Code)
	addString(line, "detail", a.Detail)
	addNumber(line, "provider_status", a.Status, 1)
	return nil
}

// What says nothing is left out.

func addString(line zapcore.ObjectEncoder, key, value string) {
	if value != "" {
		line.AddString(key, value)
	}
}

func addNumber(line zapcore.ObjectEncoder, key string, n, least int) {
	if n >= least {
		line.AddInt(key, n)
	}
}

func addTrue(line zapcore.ObjectEncoder, key string, value bool) {
	if value {
		line.AddBool(key, true)
	}
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

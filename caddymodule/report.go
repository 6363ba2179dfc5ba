package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// setPlaceholders sets the placeholders of the request. Caddy's access log uses http.auth.user.id.
func (x *sendRequest) setPlaceholders() {
	repl, ok := x.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(x.placeholder)
}

// placeholder returns the value of a placeholder.
func (x *sendRequest) placeholder(key string) (any, bool) {
	response := x.response
	switch key {
	case "http.auth.user.id":
		if response.User != nil {
			return response.User.Name, true
		}
	case "http.acrobits_sms.outcome":
		return response.Result.Outcome.String(), true
	case "http.acrobits_sms.cause":
		return response.Result.Cause().String(), true
	case "http.acrobits_sms.adapter":
		return response.Result.Adapter, true
	case "http.acrobits_sms.sms_id":
		return response.Result.ShownID(response.Message.Reference), true
	case "http.acrobits_sms.reference":
		return response.Message.Reference, true
	}
	return nil, false
}

// logLevel returns the log level of a cause. Error is for causes that the operator must resolve.
func logLevel(c sms.Cause) zapcore.Level {
	switch c {
	case sms.Misconfigured, sms.Unavailable, sms.Internal, sms.Unconfirmed, sms.SenderUnregistered, sms.NoCredit:
		return zapcore.ErrorLevel
	case sms.Unauthorized, sms.Rejected, sms.Held, sms.Quota:
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}

// report reports the message in the log, in metrics and by an event.
func (x *sendRequest) report(s sent) {
	x.logHints()
	x.log(s)
	response := x.response
	if response.Result.Outcome == sms.Accepted && !response.IsMessage() {
		return
	}
	countMessage(response)
	x.emit()
}

// log writes one line for the request, and one for each adapter that refused the message before
// another adapter was tried.
func (x *sendRequest) log(s sent) {
	r, reference := &x.response.Result, x.response.Message.Reference
	for _, passed := range r.OtherRefusals {
		level := max(logLevel(passed.Cause()), zapcore.WarnLevel)
		if line := x.logger.Check(level, "adapter did not accept the message"); line != nil {
			line.Write(zap.String("reference", reference), zap.String("cause", passed.Refusal.Error()),
				zap.Inline(providerReply{passed, reference}))
		}
	}
	level := logLevel(r.Cause())
	if x.isChallenge() { // every message by Digest begins with one
		level = zapcore.DebugLevel
	}
	if line := x.logger.Check(level, "message"); line != nil {
		line.Write(zap.Inline(logLine{x, s}))
	}
}

// logLine is the log line of a request. It contains only the fields listed here: no text, no
// secret.
type logLine struct {
	*sendRequest
	sent
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (e logLine) MarshalLogObject(line zapcore.ObjectEncoder) error {
	response := e.response
	r, m := &response.Result, &response.Message
	line.AddString("outcome", r.Outcome.String())
	line.AddString("reference", m.Reference)
	line.AddString("host", e.r.Host)
	line.AddDuration("duration", e.took)
	if r.Refusal != nil {
		addString(line, "cause", r.Refusal.Error())
		addString(line, "parameter", r.Refusal.Value("name"))
	}
	if response.User != nil {
		addString(line, "user", response.User.Name)
		addString(line, "kind", response.Kind.String())
	} else {
		addString(line, "claimed_user", response.ClaimedUser)
		if e.client.IsValid() {
			line.AddString("client_ip", e.client.String())
		}
	}
	if r.Refusal != nil {
		addString(line, "limit", r.Refusal.Limit)
	}
	addString(line, "from", masked(m.From))
	addString(line, "to", masked(m.To))
	_ = providerReply{*r, m.Reference}.MarshalLogObject(line)
	addNumber(line, "segments", segments(m.Segments, r.Parts, r.MMS), 1)
	addNumber(line, "parts", r.Parts, 1)
	addTrue(line, "mms", r.MMS)
	addNumber(line, "attempts", r.Attempts, 1)
	addTrue(line, "repeat", r.Duplicate)
	addTrue(line, "phone_gone", !e.acknowledged)
	return nil
}

// segments returns the number of segments of a sent text, at least one for each part. It is 0 for
// an MMS.
func segments(text, parts int, mms bool) int {
	if mms {
		return 0
	}
	return max(text, parts)
}

// providerReply contains the log fields of a provider's reply.
type providerReply struct {
	sms.Result
	reference string
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (a providerReply) MarshalLogObject(line zapcore.ObjectEncoder) error {
	addString(line, "adapter", a.Adapter)
	addString(line, "sms_id", a.ShownID(a.reference))
	addString(line, "provider_code", a.Code)
	addString(line, "detail", a.Detail)
	addNumber(line, "provider_status", a.Status, 1)
	return nil
}

// Empty values are not logged.

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

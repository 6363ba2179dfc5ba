package sms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A hidden text prints nowhere, however it is printed and wherever it stands.
func TestHidden(t *testing.T) {
	const canary = "canary-4711"
	type outer struct {
		Shown  Hidden
		hidden Hidden
		list   []Hidden
	}
	h := Hide(canary)
	var out bytes.Buffer
	zapLog := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.DebugLevel))
	for _, v := range []any{h, &h, outer{h, h, []Hidden{h}}, &outer{h, h, []Hidden{h}}, []any{h}, map[string]Hidden{"a": h}, Message{Body: h}, &Message{Body: h}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			fmt.Fprintf(&out, verb, v)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(text)
		zapLog.Info("x", zap.Any("v", v), zap.Reflect("r", v))
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("it prints: %s", out.String())
	}
	if h.Reveal() != canary || h.Empty() || !Hide("").Empty() || (Hidden{}).Reveal() != "" {
		t.Error("it does not keep its text")
	}
}

// The rules of every cause: status, and whether another adapter may be tried after we or a provider
// said it.
func TestCauses(t *testing.T) {
	for name, want := range map[string]struct {
		status         int
		ours, provider bool
		canBeSaid      bool // by a provider
	}{
		"bad_request": {400, false, false, false}, "unauthorized": {401, false, false, false}, "not_found": {404, false, false, false},
		"method": {405, false, false, false}, "invalid_recipient": {406, false, false, true}, "unreachable_recipient": {406, false, false, true},
		"opted_out": {403, false, false, true}, "content_rejected": {422, false, false, true}, "destination_not_allowed": {403, false, true, true},
		"sender_not_allowed": {403, false, false, false}, "too_long": {413, true, true, true}, "unsupported_content": {415, true, true, true},
		"limited": {429, false, false, false}, "held": {429, false, false, false}, "no_credit": {402, true, true, true},
		"sender_unregistered": {502, true, true, true}, "rejected": {502, false, false, true}, "misconfigured": {502, true, true, true},
		"quota": {429, true, true, true},
		"busy":  {503, true, true, true}, "unavailable": {502, true, true, true}, "internal": {500, false, false, false}, "unknown": {504, false, false, true},
	} {
		c, ok := ParseCause(name)
		if !ok || c.String() != name || c.Status() != want.status || c.TryNext(false) != want.ours || c.TryNext(true) != want.provider || c.FromProvider() != want.canBeSaid {
			t.Errorf("%s: %d, next %t %t, provider %t; want %+v", name, c.Status(), c.TryNext(false), c.TryNext(true), c.FromProvider(), want)
		}
	}
	if len(Causes()) != 23 {
		t.Errorf("%d causes", len(Causes()))
	}
	if !(Misconfigured < Quota && Quota < Busy) {
		t.Error("a quota stands elsewhere in the order of weight")
	}
	for status, want := range map[int]Cause{
		200: Rejected, 301: Misconfigured, 308: Misconfigured, 400: Rejected, 401: Misconfigured, 402: NoCredit, 403: Misconfigured, 404: Misconfigured,
		405: Misconfigured, 409: Rejected, 413: TooLong, 415: Misconfigured, 422: Rejected, 429: Busy, 500: Unconfirmed, 502: Unconfirmed, 503: Unconfirmed, 504: Unconfirmed, 599: Unconfirmed, 101: Unconfirmed,
	} {
		if got := CauseOfStatus(status); got != want {
			t.Errorf("%d is %s, want %s", status, got, want)
		}
	}
}

func TestSentences(t *testing.T) {
	for name, s := range Sentences() {
		filled := (&Refusal{Values: []string{"name", "disposition_notification", "form", "delete message", "offset", "262144", "limit", "262144", "length", "10000", "unit", "characters", "type", "application/octet-stream", "sent", "10", "parts", "10", "country", "South Georgia & South Sandwich Islands", "kind", "satellite and global networks", "minutes", "44640", "count", "262144", "size", "25.0"}}).Fill(s, "1A2B3C4D")
		if n := utf8.RuneCountInString(filled); n < 1 || n > 100 || strings.ContainsAny(filled, "{}\n") {
			t.Errorf("%s: %q has %d characters", name, filled, n)
		}
	}
	if got := Refuse(NoCredit).Sentence(); got != "Not enough credit" {
		t.Error(got)
	}
	if got := Refuse(InvalidRecipient).Sentence(); got != "Invalid recipient" {
		t.Error(got)
	}
}

func TestNumberIsMasked(t *testing.T) {
	for value, want := range map[Number]string{
		{"+15551231234", Phone}: "+155•••1234", {"+4712345", Phone}: "+4•••", {"72227", ShortCode}: "72227", {"ACME", Alphanumeric}: "ACME",
	} {
		if got := fmt.Sprint(value); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A quota is told with the minutes that are left, rounded up, or as one of the day where nobody
// knows them.
func TestReachedQuota(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0:                           "Today's limit at the provider is reached. Please try again later.",
		-time.Minute:                "Today's limit at the provider is reached. Please try again later.",
		time.Millisecond:            "The limit at the provider is reached. Try again in 1 min.",
		61 * time.Second:            "The limit at the provider is reached. Try again in 2 min.",
		time.Hour:                   "The limit at the provider is reached. Try again in 60 min.",
		time.Hour + time.Nanosecond: "The limit at the provider is reached. Try again in 61 min.",
	} {
		r := ReachedQuota(wait)
		if got := r.Fill(r.Sentence(), "REF"); got != want || r.RetryAfter != max(wait, 0) || !r.ByProvider || r.Cause.Status() != 429 {
			t.Errorf("%v: %q, retry after %v", wait, got, r.RetryAfter)
		}
	}
	for s := range scopes {
		if got, ok := ParseScope(s.String()); got != s || !ok {
			t.Errorf("%s is read as %s", s, got)
		}
	}
	if _, ok := ParseScope("user"); ok {
		t.Error("there is a quota of a user")
	}
}

package caddymodule

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestEventLine(t *testing.T) {
	p := newProvider(t)
	s := p.site(t, "")
	p.say(400, `{"code":21211,"message":"The 'To' number +15551231234 is not valid, you wrote: Hello World"}`)
	s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	line := s.events()[0]
	for key, want := range map[string]any{
		"outcome": "refused", "cause": "invalid_recipient", "user": "johndow", "kind": "text", "from": "+155•••1111", "to": "+155•••1234",
		"adapter": "twilio", "provider_code": "21211", "provider_status": 400, "attempts": 1,
		"detail": "(not shown: it repeats the message)",
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	p.say(400, `{"code":21211,"message":"The number +15551231234 is not valid"}`)
	s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	if got := s.events()[0]["detail"]; got != "The number +155••••••34 is not valid" {
		t.Errorf("detail %v", got)
	}

	// The reference that a user reads out is that of the log.
	p.say(400, `{"code":99999,"message":"no"}`)
	told := read(t, s.send(t, get(credential+"to=5551231234&body=Hello+World"))).Message
	entries := s.log.TakeAll()
	entry := entries[len(entries)-1]
	line = entry.ContextMap()
	reference, _ := line["reference"].(string)
	if len(reference) != 8 || !strings.Contains(told, reference) {
		t.Errorf("told %q, the log has %q", told, reference)
	}
	if took, ok := line["duration"].(time.Duration); !ok || took <= 0 || took > time.Minute {
		t.Errorf("duration %v", line["duration"])
	}
	if entry.Level != zapcore.WarnLevel {
		t.Errorf("a message that the provider rejected is logged as %s", entry.Level)
	}
	p.say(201, `{"sid":"SM1"}`)
	s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	if line := s.events()[0]; line["sms_id"] != "SM1" || line["outcome"] != "accepted" || line["cause"] != nil {
		t.Errorf("accepted: %v", line)
	}
	s.send(t, get("from=johndow&password=wrong&to=5551231234&body=hi"))
	if line := s.events()[0]; line["claimed_user"] != "johndow" || line["user"] != nil {
		t.Errorf("a wrong password: %v", line)
	}
	s.send(t, get("from=wr0ng-field&password=wrong&to=5551231234&body=hi"))
	if line := s.events()[0]; strings.Contains(fmt.Sprint(line), "wr0ng-field") {
		t.Errorf("an unknown name, which may be anything: %v", line)
	}
	s.send(t, get(credential+"to=%25sms_to%25&body=hi"))
	if line := s.events()[0]; line["parameter"] != "to" || line["cause"] != "bad_request.not_replaced" {
		t.Errorf("a parameter that was not replaced: %v", line)
	}
}

// An adapter that was passed over has a line of its own, so that wrong credentials do not hide behind the next one.
func TestPassedOver(t *testing.T) {
	p := newProvider(t)
	p.say(401, `{"code":20003,"message":"Authenticate"}`)
	s := p.site(t, "adapter sandbox")
	if w := s.send(t, get(credential+"to=5551231234&body=hi")); w.Code != 200 {
		t.Fatal(w.Code)
	}
	var passed, events int
	var reference any
	for _, e := range s.log.TakeAll() {
		line := e.ContextMap()
		switch e.Message {
		case "adapter did not accept the message":
			passed++
			if reference = line["reference"]; e.Level != zapcore.ErrorLevel || line["adapter"] != "twilio" || line["cause"] != "misconfigured" || line["provider_code"] != "20003" || line["detail"] != "Authenticate" {
				t.Errorf("%s %v", e.Level, line)
			}
		case "message":
			events++
			if line["reference"] != reference || line["adapter"] != "sandbox" || line["outcome"] != "accepted" || line["attempts"] != 2 {
				t.Errorf("%v", line)
			}
		}
	}
	if passed != 1 || events != 1 {
		t.Errorf("%d lines, %d of adapters passed over", events, passed)
	}
	// Of a sender that is refused the log names the one that was asked for.
	s.send(t, get(credential+"to=5551231234&body=hi&sender=%2B15550003333"))
	if line := s.events()[0]; line["cause"] != "sender_not_allowed" || line["from"] != "+155•••3333" {
		t.Errorf("%v", line)
	}
}

func TestPlaceholders(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "")
	r, w, repl := get(credential+"to=5551231234&body=hi"), httptest.NewRecorder(), caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{})
	if err := s.ServeHTTP(w, r, nil); err != nil {
		t.Fatal(err)
	}
	got := repl.ReplaceAll("{http.acrobits_sms.outcome} {http.acrobits_sms.cause} {http.acrobits_sms.adapter} {http.acrobits_sms.sms_id} {http.auth.user.id}", "-")
	if got != "accepted none twilio SM1 johndow" {
		t.Error(got)
	}
	if skip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); !skip {
		t.Error("a request with a password in its address is in the access log")
	}
	p.say(400, `{"code":99999}`)
	r, w, repl = get(credential+"to=5551231234&body=hi"), httptest.NewRecorder(), caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{})
	if err := s.ServeHTTP(w, r, nil); err != nil {
		t.Fatal(err)
	}
	got = repl.ReplaceAll("{http.acrobits_sms.outcome} {http.acrobits_sms.cause} {http.acrobits_sms.adapter} {http.acrobits_sms.sms_id}", "-")
	reference, _ := repl.GetString("http.acrobits_sms.reference")
	if got != "refused rejected twilio -" || len(reference) != 8 || !strings.Contains(w.Body.String(), reference) {
		t.Errorf("%s, reference %q, told %s", got, reference, w.Body)
	}
}

// The operator is told once for each user what the app's settings lack.
func TestHints(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	hints := func() (list []string) {
		for _, e := range s.log.TakeAll() {
			if h, ok := e.ContextMap()["hint"].(string); ok {
				list = append(list, h)
			}
		}
		return list
	}
	request := func() *http.Request { return get(credential + "to=5551231234&body=hi") }
	s.send(t, request())
	if got := hints(); !slices.Equal(got, []string{"content_type", "disposition_notification", "http"}) {
		t.Errorf("hints %v", got)
	}
	s.send(t, request())
	if got := hints(); len(got) != 0 {
		t.Errorf("hints again: %v", got)
	}
	other := get("user=other&password=other-password&to=5551231234&body=hi&content_type=text/plain")
	other.TLS = &tls.ConnectionState{}
	s.send(t, other)
	if entries := s.log.TakeAll(); !slices.ContainsFunc(entries, func(e observer.LoggedEntry) bool {
		return strings.Contains(e.Message, "disposition_notification=%disposition_notification%") && e.ContextMap()["user"] == "other"
	}) || slices.ContainsFunc(entries, func(e observer.LoggedEntry) bool {
		return e.ContextMap()["hint"] == "content_type" || e.ContextMap()["hint"] == "http"
	}) {
		t.Errorf("another user over TLS: %v", entries)
	}
	whole := get("from=johndow&password=12345678&to=5551231234&body=hi&content_type=&disposition_notification=")
	s = newSite(t, demo+"adapter sandbox")
	whole.TLS = &tls.ConnectionState{}
	s.send(t, whole)
	if got := hints(); len(got) != 0 {
		t.Errorf("a template that lacks nothing: %v", got)
	}
}

// Two values under two names of one parameter are told once, without the values.
func TestTwoNames(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	for _, query := range []string{"to=5551231234&body=hi&number=5551231235", "number=5551231235&to=5551231234&body=hi", "to=5551231234&number=5551231234&body=hi"} {
		if w := s.send(t, get(credential+query)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	var told []string
	for _, e := range s.log.TakeAll() {
		if e.ContextMap()["hint"] == "two_names" {
			told = append(told, fmt.Sprint(e.ContextMap()["counts"], " ", e.ContextMap()["does_not_count"]))
		}
	}
	if !slices.Equal(told, []string{"to number"}) {
		t.Errorf("told %q", told)
	}
}

// The log names the parameters that came where a template fits nothing.
func TestStrangeTemplate(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	s.send(t, get("from=johndow&password=12345678&empfaenger=5551231234&body=hi"))
	s.send(t, get("kennung=johndow&empfaenger=5551231234&body=hi"))
	s.send(t, post("text/plain", "canary"))
	events := s.events()
	for i, want := range []string{
		"unknown parameters came: empfaenger; write param sms_to empfaenger",
		"unknown parameters came: kennung, empfaenger; write param user NAME, param password NAME, param sms_to empfaenger",
		"the body is text, as its Content-Type text/plain says; write application/x-www-form-urlencoded, if it is a form",
	} {
		if events[i]["detail"] != want {
			t.Errorf("the log says %q, want %q", events[i]["detail"], want)
		}
	}
}

// Caddy's trace prints handlers: names, and no secret.
func TestTraceHoldsNoSecret(t *testing.T) {
	s := newSite(t, demo+"adapter twilio {\naccount_sid AC1\nauth_token literal-token-canary\n}")
	var out bytes.Buffer
	zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.DebugLevel)).Debug("trace", zap.Any("module", s.Handler))
	if text := out.String(); !strings.Contains(text, "johndow") || !strings.Contains(text, "twilio") || strings.Contains(text, "canary") || strings.Contains(text, "12345678") {
		t.Error(text)
	}
}

// A request with a credential in a header of its own is not in the access log, which would show the header.
func TestHeaderCredentials(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\naccess_log")
	for name, want := range map[string]bool{"X-Token": true, "Token": true, "X-Trace": false} {
		r := post("application/json", `{"to":"5551231234","body":"hi","token":"a-token-for-johndow"}`)
		r.Header.Set(name, "a-token-for-johndow")
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		if err := s.ServeHTTP(w, r, nil); err != nil || w.Code != 200 {
			t.Errorf("%s: %v %d", name, err, w.Code)
		}
		if skip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); skip != want {
			t.Errorf("%s: out of the access log %t, want %t", name, skip, want)
		}
	}
}

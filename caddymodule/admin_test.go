package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/common/expfmt"
)

// admin asks the admin endpoint.
func admin(t *testing.T, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	for _, route := range new(adminAPI).Routes() {
		if before, _, _ := strings.Cut(path, "?"); route.Pattern != before && (!strings.HasSuffix(route.Pattern, "/") || !strings.HasPrefix(path, route.Pattern)) {
			continue
		}
		err := route.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if api := (caddy.APIError{}); errors.As(err, &api) {
			return api.HTTPStatus, ""
		} else if err != nil {
			t.Fatal(err)
		}
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	return http.StatusNotFound, ""
}

// Paused by the admin endpoint, nothing is sent and apps are told so, also of sites that are loaded meanwhile.
func TestPause(t *testing.T) {
	defer paused.Store(false)
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "")
	message := get(credential + "to=5551231234&body=hi").URL.RawQuery
	for _, step := range []struct {
		method, path string
		status       int
		state        string
		sends        int
	}{
		{"GET", "/acrobits_sms/pause", 405, "", 200},
		{"POST", "/acrobits_sms/status", 405, "", 200},
		{"POST", "/acrobits_sms/pause", 200, `{"paused":true}`, 429},
		{"POST", "/acrobits_sms/pause", 200, `{"paused":true}`, 429},
		{"POST", "/acrobits_sms/resume", 200, `{"paused":false}`, 200},
	} {
		status, state := admin(t, step.method, step.path)
		if status != step.status || state != step.state {
			t.Errorf("%s %s: %d %s", step.method, step.path, status, state)
		}
		before := p.count.Load()
		for _, site := range []*site{s, p.site(t, "limit off")} {
			w := site.send(t, get(message))
			if w.Code != step.sends {
				t.Errorf("after %s %s: %d", step.method, step.path, w.Code)
			}
			if step.sends == 429 && w.Header().Get("Retry-After") == "" {
				t.Error("it is not said when to try again")
			}
			if r := read(t, w); step.sends == 429 && r.Message != "Sending is paused by your administrator" {
				t.Errorf("told %q", r.Message)
			}
		}
		if sent := p.count.Load() - before; (sent == 2) != (step.sends == 200) || sent == 1 {
			t.Errorf("after %s %s: %d messages went out", step.method, step.path, sent)
		}
	}
}

// The admin endpoint ends all lockouts.
func TestUnlock(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nlockout 2 5m")
	wrong, right := get("from=johndow&password=wrong&to=5551231234&body=hi").URL.RawQuery, get(credential+"to=5551231234&body=hi").URL.RawQuery
	for _, want := range []int{401, 401, 401, 429} {
		if w := s.send(t, get(wrong)); w.Code != want {
			t.Errorf("%d, want %d", w.Code, want)
		}
	}
	if w := s.send(t, get(right)); w.Code != 429 {
		t.Errorf("locked out: %d", w.Code)
	}
	if status, answer := admin(t, "POST", "/acrobits_sms/unlock"); status != 200 || answer != `{"unlocked":true}` {
		t.Errorf("%d %s", status, answer)
	}
	if w := s.send(t, get(right)); w.Code != 200 {
		t.Errorf("unlocked: %d", w.Code)
	}
}

// The admin endpoint, metrics and events tell what became of messages, and nothing of what was written to whom.
func TestStatus(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		subscribe(t, s)
		for _, v := range []interface{ Reset() }{messagesTotal, repeatsTotal, segmentsTotal} {
			v.Reset() // other tests have been here
		}
		p.status = 402
		s.tap(t, named)
		p.status = 0
		s.tap(t, named)
		s.tap(t, named)
		p.status = 500
		s.tap(t, otherName)
		paused.Store(true)
		s.tap(t, ok)
		paused.Store(false)
		s.tap(t, credential+"to=5551231234&body=x&content_type=application/x-acro-disposition-notification")
		events := s.events()
		_, body := admin(t, "GET", "/acrobits_sms/status")
		for _, want := range []string{
			`"paused":false`, `"name":"own"`, `"breaker":"closed"`, `"last_failure":"unknown"`, `"kind":"memory","remembered":2,"on_their_way":0`,
		} {
			if !strings.Contains(body, want) {
				t.Errorf("no %s in %s", want, body)
			}
		}
		_, accepted := admin(t, "GET", "/acrobits_sms/messages/"+fmt.Sprint(events[0]["reference"]))
		_, unknown := admin(t, "GET", "/acrobits_sms/messages/"+fmt.Sprint(events[3]["reference"]))
		if !strings.Contains(accepted, `"state":"accepted"`) || !strings.Contains(accepted, `"sms_ids":["sms-1"]`) ||
			!strings.Contains(unknown, `"state":"unknown"`) || !strings.Contains(unknown, `"cause":"unknown"`) {
			t.Errorf("messages:\n%s\n%s", accepted, unknown)
		}
		if status, _ := admin(t, "GET", "/acrobits_sms/messages/nothing"); status != 404 {
			t.Errorf("a reference of nothing: %d", status)
		}
		text := scrape(t, s)
		for _, want := range []string{
			`caddy_acrobits_sms_messages_total{adapter="own",cause="no_credit",outcome="refused"} 1`,
			`caddy_acrobits_sms_messages_total{adapter="own",cause="none",outcome="accepted"} 1`,
			`caddy_acrobits_sms_messages_total{adapter="own",cause="unknown",outcome="unknown"} 1`,
			`caddy_acrobits_sms_messages_total{adapter="",cause="held",outcome="refused"} 1`,
			`caddy_acrobits_sms_repeats_total{outcome="accepted"} 1`,
			`caddy_acrobits_sms_segments_total{adapter="own"} 1`,
			`caddy_acrobits_sms_attempt_duration_seconds_count{adapter="own",outcome="refused"} `,
			`caddy_acrobits_sms_breaker_open{adapter="own"} 0`,
			`caddy_acrobits_sms_queue_length{adapter="own"} 0`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
		if strings.Contains(text, `messages_total{adapter="",cause="none"`) {
			t.Errorf("a notice is counted for a message:\n%s", text)
		}
		if got, want := strings.Join(subscribed, " "), "sms_refused sms_accepted sms_accepted sms_unknown sms_held"; got != want {
			t.Errorf("events %s, want %s", got, want)
		}
		for _, everything := range []string{body, accepted, unknown, text, fmt.Sprint(subscribedData)} {
			for _, private := range []string{"1231234", "12345678", "body", "password"} {
				if strings.Contains(everything, private) {
					t.Errorf("%q stands in %s", private, everything)
				}
			}
		}
	})
}

var (
	subscribed     []string
	subscribedData []map[string]any
)

// subscribe collects the events of a site.
func subscribe(t *testing.T, s *site) {
	t.Helper()
	subscribed, subscribedData = nil, nil
	for _, name := range []string{acceptedEvent, refusedEvent, heldEvent, unknownEvent, lostEvent} {
		if err := s.emitter.app.On(name, eventHandler{}); err != nil {
			t.Fatal(err)
		}
	}
	s.emitter.app.Emit(s.emitter.ctx, startedEvent, nil)
}

type eventHandler struct{}

func (eventHandler) Handle(_ context.Context, e caddy.Event) error {
	subscribed, subscribedData = append(subscribed, e.Name()), append(subscribedData, e.Data)
	return nil
}

// scrape reads the metrics as Prometheus would.
func scrape(t *testing.T, s *site) string {
	t.Helper()
	families, err := s.emitter.ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "caddy_acrobits_sms_") {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// A limit at the provider is told with its end, by the API and by status, outlives a reload, and ends when the operator resumes.
func TestQuotaAtProvider(t *testing.T) {
	p := newProvider(t)
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
		_, _ = io.WriteString(w, `{"code":20429}`)
	}
	s := p.site(t, "")
	for i, site := range []*site{s, s, p.site(t, "limit off")} {
		w := site.send(t, get(credential+fmt.Sprintf("to=5551231234&body=text-%d", i)))
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if r := read(t, w); w.Code != 429 || r.Message != "The limit at the provider is reached. Try again in 60 min." || err != nil || after < 3500 || after > 3600 {
			t.Errorf("%d: %d %q, Retry-After %d", i, w.Code, r.Message, after)
		}
	}
	if n := p.count.Load(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	if line := s.events()[1]; line["cause"] != "quota.wait" || line["detail"] == "" {
		t.Errorf("event line %v", line)
	}
	if _, answer := admin(t, "GET", "/acrobits_sms/status"); !strings.Contains(answer, `"quotas":[{"for":"account","until":"20`) || strings.Contains(answer, `"test"`) {
		t.Error(answer)
	}
	p.say(201, `{"sid":"SM1"}`)
	if w := s.send(t, get(credential+"to=5551231234&body=text-4")); w.Code != 429 {
		t.Errorf("before: %d", w.Code)
	}
	admin(t, "POST", "/acrobits_sms/resume")
	if w := s.send(t, get(credential+"to=5551231234&body=text-5")); w.Code != 200 {
		t.Errorf("resumed: %d", w.Code)
	}
	if _, answer := admin(t, "GET", "/acrobits_sms/status"); strings.Contains(answer, "quotas") {
		t.Error(answer)
	}
}

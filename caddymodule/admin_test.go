package caddymodule

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Paused by the admin endpoint, nothing is sent and apps are told so, also of sites that are loaded meanwhile.
func TestPause(t *testing.T) {
	admin := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		for _, route := range new(adminAPI).Routes() {
			if route.Pattern != path {
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
		{"GET", "/acrobits-sms/", 200, `{"paused":false}`, 200},
		{"GET", "/acrobits-sms/pause", 405, "", 200},
		{"POST", "/acrobits-sms/", 405, "", 200},
		{"POST", "/acrobits-sms/pause", 200, `{"paused":true}`, 429},
		{"POST", "/acrobits-sms/pause", 200, `{"paused":true}`, 429},
		{"GET", "/acrobits-sms/", 200, `{"paused":true}`, 429},
		{"POST", "/acrobits-sms/resume", 200, `{"paused":false}`, 200},
	} {
		status, state := admin(step.method, step.path)
		if status != step.status || state != step.state {
			t.Errorf("%s %s: %d %s", step.method, step.path, status, state)
		}
		before := p.count.Load()
		for _, site := range []*site{s, p.site(t, "limit off")} {
			w := site.send(t, get(message))
			if w.Code != step.sends {
				t.Errorf("after %s %s: %d", step.method, step.path, w.Code)
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

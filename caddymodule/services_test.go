package caddymodule

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/media"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// lastHandler is the end of a chain, as Caddy's is: it replies to the paths below /other only.
var lastHandler = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	switch r.URL.Path {
	case "/other":
		w.WriteHeader(http.StatusNoContent)
	case "/written": // a handler that replies although the last one has passed the request on
		caddyhttp.SetVar(r.Context(), unhandledVar, true)
		w.WriteHeader(http.StatusAccepted)
	case "/error":
		return caddyhttp.Error(http.StatusTeapot, errors.New("an error of another handler"))
	default:
		caddyhttp.SetVar(r.Context(), unhandledVar, true)
	}
	return nil
})

// visit sends a request through the handler with a next one. original is the path before a rewrite.
func (s *site) visit(t *testing.T, r *http.Request, rewritten string) (w *httptest.ResponseRecorder, unlogged bool, err error) {
	t.Helper()
	w = httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	if rewritten != "" {
		r.URL.Path = rewritten
	}
	w.Header().Set("Server", "Caddy")
	err = s.ServeHTTP(w, r, lastHandler)
	unlogged, _ = caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool)
	return w, unlogged, err
}

// The path before any rewrite chooses the service; other requests go to the next handler.
func TestServiceByPath(t *testing.T) {
	const defaults, below, prefix, pattern = "", "services {\nsend /sms/send/\n}\n", "public_url https://example.com/texts/\n",
		"path /go/{token}/{to}/{body}\n"
	for _, c := range []struct {
		block, target, rewritten string
		status                   int
	}{
		{defaults, "/send_message", "", 200},
		{defaults, "/send_message/", "", 200},
		{defaults, "/send_message/a/b", "", 200},
		{defaults, "/Send_Message", "", 200},
		{defaults, "//send_message", "", 200},
		{defaults, "/x/../send_message", "", 200},
		{defaults, "/send_message/../other", "/other", 204},
		{defaults, "/send_messages", "", 404},
		{defaults, "/sendmessage", "", 404},
		{defaults, "/", "", 404},
		{defaults, "/other", "", 204},
		{defaults, "/written", "", 202},
		{defaults, "/send_message/", "/", 200},                // handle_path
		{defaults, "/api/send_message", "/send_message", 404}, // not the address that the app has
		{below, "/sms/send", "", 200},
		{below, "/send_message", "", 404},
		{prefix, "/texts/send_message/", "", 200},
		{prefix, "/texts/send_message/", "/send_message/", 200},
		{prefix, "/send_message/", "", 200}, // a proxy in front has cut the prefix off
		{prefix, "/textsend_message/", "", 404},
		{prefix, "/texts", "", 404},
		{pattern, "/go/a-token-for-johndow/5551231234/hi", "", 200},
		{pattern, "/go/a-token-for-johndow", "", 404},
		{pattern, "/send_message", "", 404},
	} {
		s := newSite(t, demo+"adapter sandbox\n"+c.block)
		if s.Services == nil { // as the directive sets it without a matcher
			s.Services = map[string]string{}
		}
		if err := s.provisionServices(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		target := c.target
		if c.block != pattern {
			target += "?" + credential + "to=5551231234&body=hi"
		}
		r := httptest.NewRequest(http.MethodGet, "http://example.com"+target, nil)
		w, unlogged, err := s.visit(t, r, c.rewritten)
		if err != nil || w.Code != c.status {
			t.Errorf("%q %s: %d %v %s, want %d", c.block, c.target, w.Code, err, w.Body, c.status)
		}
		if ours := c.status == 200 || c.status == 404; ours != unlogged {
			t.Errorf("%q %s: left out of the access log: %t", c.block, c.target, unlogged)
		}
	}
	// Without services every path is a message.
	s := newSite(t, demo+"adapter sandbox")
	if w, _, _ := s.visit(t, get(credential+"to=5551231234&body=hi"), "/other"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A request that nothing handles gets a 404 that the app shows, in the form it wants.
func TestNotFound(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nservices {\nsend /send_message\n}")
	for accept, kind := range map[string]string{"": "text/xml; charset=utf-8", "application/json": "application/json", "text/xml": "text/xml; charset=utf-8"} {
		r := httptest.NewRequest(http.MethodGet, "/sendmessage", nil)
		r.Header.Set("Accept", accept)
		w, unlogged, err := s.visit(t, r, "")
		if got := read(t, w); err != nil || w.Code != 404 || w.Header().Get("Content-Type") != kind || got.Message != sms.Sentences()["not_found"] {
			t.Errorf("%q: %d %v %s", accept, w.Code, w.Header(), w.Body)
		}
		if unlogged || w.Header().Get("Server") != "" {
			t.Errorf("%q: left out of the log %t, %v", accept, unlogged, w.Header())
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/sendmessage", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Password", "12345678")
	if w, unlogged, _ := s.visit(t, r, ""); w.Header().Get("Content-Type") != "application/json" || !unlogged {
		t.Errorf("%v, left out of the log %t", w.Header(), unlogged)
	}
	if w, unlogged, err := s.visit(t, httptest.NewRequest(http.MethodGet, "/error?a=b", nil), ""); err == nil || unlogged || w.Body.Len() > 0 {
		t.Errorf("the error of another handler: %v %s", err, w.Body)
	}
	// In stealth mode it looks like the reply to a stranger.
	s = newSite(t, demo+"adapter sandbox\nstealth\nservices {\nsend /send_message\n}")
	for _, path := range []string{"/sendmessage", "/send_message"} {
		w, _, _ := s.visit(t, httptest.NewRequest(http.MethodGet, path, nil), "")
		if w.Code != 404 || w.Body.Len() > 0 || len(w.Header()) != 1 || w.Header().Get("Server") != "Caddy" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

// A path matcher must let a service through.
func TestMatcherOfServices(t *testing.T) {
	for matcher, want := range map[string]bool{
		"/media*": true, "/media/*": false, "/*": true, "/send_message*": false, "/m*": true, "/MEDIA*": true, "/media": false,
	} {
		err := checkMatcher(matcher, "media", "/media")
		if (err == nil) != want {
			t.Errorf("%s: %v", matcher, err)
		}
	}
	const advice = "the matcher /send_message* keeps requests away from /media, the path of the service media: " +
		"remove the matcher, or write a path below it: services { media /send_message/media }"
	if err := checkMatcher("/send_message*", "media", "/media"); err.Error() != advice {
		t.Error(err)
	}
}

// The public base is the configured one, or that of the request; forwarded ones count from trusted proxies.
func TestPublicBase(t *testing.T) {
	for _, c := range []struct {
		configured, host, proto, forwarded string
		tls, trusted                       bool
		want, withPort                     string
	}{
		{"", "sms.example.com", "", "", true, false, "https://sms.example.com", "https://sms.example.com:443"},
		{"", "sms.example.com:443", "", "", true, false, "https://sms.example.com", "https://sms.example.com:443"},
		{"", "sms.example.com:80", "", "", false, false, "http://sms.example.com", "http://sms.example.com:80"},
		{"", "[2001:db8::1]:443", "", "", true, false, "https://[2001:db8::1]", "https://[2001:db8::1]:443"},
		{"", "sms.example.com:8443", "", "", true, false, "https://sms.example.com:8443", "https://sms.example.com:8443"},
		{"", "10.0.0.5:8088", "https", "sms.example.com", false, false, "http://10.0.0.5:8088", "http://10.0.0.5:8088"},
		{"", "10.0.0.5:8088", "https", "sms.example.com", false, true, "https://sms.example.com", "https://sms.example.com:443"},
		{"", "10.0.0.5:8088", "https", "evil.example, sms.example.com", false, true, "https://sms.example.com", "https://sms.example.com:443"},
		{"", "10.0.0.5:8088", "gopher", "x@evil.example/path", false, true, "http://10.0.0.5:8088", "http://10.0.0.5:8088"},
		{"https://a.example:443/texts/", "b.example", "http", "c.example", false, true, "https://a.example/texts", "https://a.example:443/texts"},
		{"{env.PUBLIC_URL}", "b.example", "", "", false, true, "https://p.example", "https://p.example:443"},
	} {
		t.Setenv("PUBLIC_URL", "https://p.example/")
		block := demo + "adapter sandbox\n"
		if c.configured != "" {
			block += "public_url " + c.configured
		}
		s := newSite(t, block)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host, r.TLS = c.host, nil
		if c.tls {
			r.TLS = new(tls.ConnectionState)
		}
		r.Header.Set("X-Forwarded-Proto", c.proto)
		r.Header.Set("X-Forwarded-Host", c.forwarded)
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.TrustedProxyVarKey: c.trusted}))
		base := s.publicBase(r)
		if base != c.want || withStandardPort(base) != c.withPort {
			t.Errorf("%v: %s, %s", c, base, withStandardPort(base))
		}
	}
	for url, want := range map[string]bool{"http://sms.example.com": true, "http://localhost:8080": false, "https://sms.example.com": false} {
		warned := false
		for _, line := range warnings(t, demo+"adapter sandbox\npublic_url "+url) {
			warned = warned || strings.HasPrefix(line["msg"].(string), "public_url is not encrypted")
		}
		if warned != want {
			t.Errorf("%s: warned %t", url, warned)
		}
	}
	t.Setenv("PUBLIC_URL", "https://user:cAnary7Q9xzZ@p.example")
	if _, err := provision(t, demo+"adapter sandbox\npublic_url {env.PUBLIC_URL}"); err == nil || strings.Contains(err.Error(), canary) {
		t.Error(err)
	}
}

func source(scheme, host, port string) media.Source {
	return media.Source{Scheme: scheme, Host: host, Port: port, Private: true}
}

// The settings of pictures have defaults, and are checked in JSON too.
func TestPictureSettings(t *testing.T) {
	s, err := new(Pictures).settings()
	if err != nil || !s.mms || s.links || s.maxSize != 25e6 || s.space != 2e9 || s.keep.Hours() != 720 ||
		len(s.from) != 1 || s.from[0] != media.DefaultSource {
		t.Errorf("%+v %v", s, err)
	}
	s, err = (&Pictures{Mode: "mms_or_link", From: []string{"HTTP://Files.example.com:8080", "[2001:db8::1]", "https://a.example"}}).settings()
	if err != nil || !s.mms || !s.links || len(s.from) != 3 || s.from[0] != source("http", "files.example.com", "8080") ||
		s.from[1] != source("https", "2001:db8::1", "443") || s.from[2] != source("https", "a.example", "443") {
		t.Errorf("%+v %v", s, err)
	}
	for _, p := range []*Pictures{
		{Mode: canary}, {MaxSize: -1}, {Space: -1}, {Keep: -1}, {From: []string{canary + "/"}}, {From: []string{""}},
		{From: []string{"https://user:" + canary + "@a.example"}}, {From: []string{"ftp://a.example"}}, {From: []string{"*.a.example"}},
		{From: []string{"a.example:443"}}, {From: []string{"https://a.example?" + canary}},
	} {
		if _, err := p.settings(); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

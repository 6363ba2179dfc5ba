package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/bodylimit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func TestSandboxSite(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nattempt_timeout 30ms")
	for _, c := range []struct {
		request *http.Request
		status  int
		message string
	}{
		{get(credential + "to=%2B15551231234&body=Hello%20World"), 200, ""},
		{get("token=a-token-for-johndow&to=%2B15551231234&body=hi"), 200, ""},
		{get("token=a-token-for-johndow&to=%2B15551231234&body=hi&from=%2B15550002222"), 200, ""},
		{get("token=a-token-for-johndow&to=%2B15551231234&body=hi&from=%2B15550003333"), 403, ""},
		{post("application/json", `{"from":"johndow","password":"12345678","sms_to":"+1(555)123-1234","sms_body":"Hello World"}`), 200, ""},
		{post("application/x-www-form-urlencoded", credential+"to=5551231234&body=hi"), 200, ""},

		{get(credential + "to=5551231234&body="), 400, "The message is empty"},
		{get(credential + "body=hi"), 400, "The app sent no recipient. Add sms_to=%sms_to% to its SMS settings."},
		{get(credential + "to=5551231234,5551231235&body=hi"), 400, "Only one recipient per message is supported"},
		{post("application/json", `{"from":`), 400, ""},
		{get("from=johndow&password=wrong&to=5551231234&body=hi"), 401, "User name or password is wrong"},
		{get("from=nobody&password=12345678&to=5551231234&body=hi"), 401, "User name or password is wrong"},
		{get("to=5551231234&body=hi"), 401, "The app sent no user name or no password. Add them to its SMS settings."},
		{get("from=johndow&password=***&to=5551231234&body=hi"), 401, "The app hides the password on http://. Use an https:// address in its SMS settings."},
		{get(credential + "to=5551230402&body=hi"), 402, "Not enough credit"},
		{get(credential + "to=5551231234&body=hi&sender=%2B15550003333"), 403, "This number is not yours to send from"},
		{get("user=other&password=other-password&to=5551231234&body=hi&from=%2B15550001111"), 403, "This number is not yours to send from"},
		{get(credential + "to=5551230410&body=hi"), 403, "The recipient has opted out of your messages"},
		{httptest.NewRequest(http.MethodOptions, "/send_message", nil), 405, ""},
		{httptest.NewRequest("BREW", "/send_message?"+credential+"to=5551231234&body=hi", nil), 405, ""},
		{get(credential + "to=12&body=hi"), 406, "Invalid recipient"},
		{get(credential + "to=5551230406&body=hi"), 406, "Invalid recipient"},
		{get(credential + "to=5551230413&body=hi"), 413, "The message is too long"},
		{post("text/plain", strings.Repeat("x", 300<<10)), 413, "The request is too large, at most 262144 bytes"},
		{post("multipart/form-data; boundary=x", "--x--"), 415, ""},
		{get(credential + "to=5551231234&body=hi&content_type=image/png"), 415, ""},
		{get(credential + "to=5551230429&body=hi"), 503, ""},
		{get(credential + "to=5551230503&body=hi"), 503, "The service is busy. Please try again in a moment."},
		{get(credential + "to=5551230504&body=hi"), 504, "No confirmation. The message may have been sent."},
	} {
		w := s.send(t, c.request)
		r := read(t, w)
		if w.Code != c.status || c.message != "" && r.Message != c.message {
			t.Errorf("%s %s: %d %q, want %d %q", c.request.Method, c.request.URL.RawQuery, w.Code, r.Message, c.status, c.message)
		}
		if (r.ID != "") != (c.status == 200) {
			t.Errorf("%s: sms_id %q", c.request.URL.RawQuery, r.ID)
		}
		if line := s.events(); len(line) != 1 {
			t.Errorf("%s: %d event lines", c.request.URL.RawQuery, len(line))
		}
	}
}

// Where no memory is left for large bodies, one is refused with a sentence and a time, the rest of it stays unread, and its connection
// ends. Small messages pass.
func TestNoMemoryForBodies(t *testing.T) {
	whole := bodyBudget
	t.Cleanup(func() { bodyBudget = whole })
	bodyBudget = bodylimit.NewBudget(128 << 10) // a network has 32 KiB of it
	s := newSite(t, demo+"adapter sandbox\nlimit off")
	other := post("text/plain", strings.Repeat("x", 8<<10))
	held := bodyBudget.Limit(httptest.NewRecorder(), other, netip.MustParsePrefix("192.0.2.1/32"))
	if _, err := io.Copy(io.Discard, held); err != nil {
		t.Fatal(err)
	}
	small, large := credential+"to=5551231234&body=hi", credential+"to=5551231234&body="+strings.Repeat("x", 100<<10)
	for _, c := range []struct {
		what, body, cause string
		status, most      int
	}{
		{"a large body", large, "busy.large_requests", 503, 8 << 10},
		{"a small body", small, "", 200, len(small)},
		{"a large body when the other has ended", large, "", 200, len(large)},
	} {
		if c.status == 200 && c.body == large {
			held.Release()
		}
		body := strings.NewReader(c.body)
		r := post("application/x-www-form-urlencoded", "")
		r.Body, r.ContentLength = io.NopCloser(body), int64(len(c.body))
		w := s.send(t, r)
		cause, _ := s.events()[0]["cause"].(string)
		if got := len(c.body) - body.Len(); w.Code != c.status || cause != c.cause || got > c.most {
			t.Errorf("%s: %d %s, %d bytes are read; want %d %s, %d", c.what, w.Code, cause, got, c.status, c.cause, c.most)
		}
		refused := c.status == 503
		if (w.Header().Get("Retry-After") != "") != refused || (w.Header().Get("Connection") == "close") != refused {
			t.Errorf("%s: %v", c.what, w.Header())
		}
		if got := read(t, w).Message; refused && got != sms.RefuseAs(sms.Busy, sms.LargeRequests).Sentence() {
			t.Errorf("%s: told %q", c.what, got)
		}
	}
}

// Notices, for which the app shows no tick, are answered 2xx without an id, and nothing is sent.
func TestNotices(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "")
	for contentType, body := range map[string]string{
		"application/x-acro-disposition-notification": `{"message-id":"x","delivery-notification":{"status":"delivered"}}`,
		"message/imdn+xml":                            "<imdn/>",
		"application/im-iscomposing+xml":              "<isComposing/>",
		"application/x-acro-delete-message+json":      `[{"scope":"here","sms_id":"1"}]`,
		"":                                            `[{"message_id":"x","display-notification":{"status":"displayed"}}]`,
		"application/x-acro-delete-message+json; ":    `[{"scope":"here","sms_id":"1"}]`,
	} {
		form := url.Values{"from": {"johndow"}, "password": {"12345678"}, "to": {"bob@example.com"}, "body": {body}, "content_type": {contentType}}
		w := s.send(t, post("application/x-www-form-urlencoded", form.Encode()))
		if r := read(t, w); w.Code != 200 || r.ID != "" {
			t.Errorf("%s: %d, sms_id %q", contentType, w.Code, r.ID)
		}
		form.Set("password", "wrong")
		if w := s.send(t, post("application/x-www-form-urlencoded", form.Encode())); w.Code != 401 {
			t.Errorf("%s without password: %d", contentType, w.Code)
		}
	}
	if n := p.count.Load(); n != 0 {
		t.Errorf("%d requests to the provider", n)
	}
}

func TestReplySettings(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nreply json\nlegacy\nsentence no_credit \"Top up\"\nsentence no_credit de \"Bitte aufladen\"\n"+
		"sentence opted_out en \"They said STOP\"\nsentence bad_request \"Ask the help desk\"\nsentence bad_request de \"So geht das nicht\"\nsentence rejected fr \"Non: {reference}\"")
	for _, c := range []struct{ to, language, want string }{
		{"5551230402", "", "Top up"},
		{"5551230402", "de-AT,de;q=0.9,en;q=0.8", "Bitte aufladen"},
		{"5551230402", "es", "Top up"},
		{"5551230402", "*;q=,,,", "Top up"},
		{"", "de", "So geht das nicht"},
		{"5551230406", "de", "Invalid recipient"},
		{"5551230410", "en-GB", "They said STOP"},
		{"5551230410", "de,en;q=0.5", "The recipient has opted out of your messages"},
		{"5551231234,5551231235", "", "Ask the help desk"},
	} {
		r := get(credential + "body=hi&to=" + c.to)
		r.Header.Set("Accept-Language", c.language)
		w := s.send(t, r)
		if got := read(t, w).Message; got != c.want {
			t.Errorf("%s in %q: %q, want %q", c.to, c.language, got, c.want)
		}
		if !strings.Contains(w.Body.String(), `"description" : "`+c.want) {
			t.Errorf("no legacy description in %s", w.Body)
		}
	}
}

func TestPathPattern(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\npath /send/{token}/{to}/{body}")
	for path, want := range map[string]int{
		"/send/a-token-for-johndow/5551231234/Hello%20World":        200,
		"/send/a-token-for-johndow/5551231234/either%2For%3F%23%25": 200,
		"/send/a-token-for-johndow/5551231234/Hello/":               200,
		"/send/a-token-for-johndow/5551231234":                      404,
		"/send/wrong/5551231234/Hello":                              401,
		"/else/a-token-for-johndow/5551231234/Hello":                404,
	} {
		w := s.send(t, httptest.NewRequest(http.MethodGet, path, nil))
		if read(t, w); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// The app is told the time that a provider asks to wait.
func TestRetryAfter(t *testing.T) {
	p := newProvider(t)
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
	}
	w := p.site(t, "").send(t, get(credential+"to=5551231234&body=hi"))
	if w.Code != 503 || w.Header().Get("Retry-After") != "7" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// All that an app says of a message reaches the adapter.
func TestMessageIsWhole(t *testing.T) {
	p := newProvider(t)
	var got string
	p.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		_, _ = io.WriteString(w, `{"id":"1"}`)
	})
	s := newSite(t, demo+"define own {\nsend {\nPOST /\njson {\nto {sms.to}\nfrom {sms.from}\ntext {sms.body}\nsmart {sms.smart}\ninstall {sms.install_id}\ndn {sms.disposition}\nct {sms.content_type}\nuser {sms.user}\n}\n}\n"+
		"reply json\naccepted status 200\nid id\n}\nadapter own {\nbase_url "+p.URL+"\n}")
	w := s.send(t, get(credential+"to=5551231234&body=hi&smart=1&installid=i1&content_type=text/html&disposition_notification=x1:positive-delivery,%20display"))
	const want = `{"to":"+15551231234","from":"+15550001111","text":"hi","smart":"1","install":"i1","dn":"x1:positive-delivery,display","ct":"text/html","user":"johndow"}`
	if w.Code != 200 || got != want {
		t.Errorf("%d, the provider got %s, want %s", w.Code, got, want)
	}
}

// The reply may be fixed in either form.
func TestReplyForm(t *testing.T) {
	for form, want := range map[string]string{"xml": "text/xml; charset=utf-8", "json": "application/json"} {
		s := newSite(t, demo+"adapter sandbox\nreply "+form)
		for _, r := range []*http.Request{get(credential + "to=5551231234&body=hi"), post("application/json", `{"from":"johndow","password":"12345678","to":"5551231234","body":"hi"}`)} {
			if w := s.send(t, r); w.Code != 200 || w.Header().Get("Content-Type") != want {
				t.Errorf("%s: %d %s", form, w.Code, w.Header().Get("Content-Type"))
			}
		}
	}
}

// brokenWriter panics where the reply begins.
type brokenWriter struct{ http.ResponseWriter }

func (brokenWriter) WriteHeader(int) { panic("no header") }

func TestPanics(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	route := s.gateway.Deliverer.Routes[0].Adapter
	s.gateway.Deliverer.Routes = []delivery.Route{{Adapter: route, Transport: panicking{"with the secret 12345678"}, Account: delivery.NewAccount()}}
	w := s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	if r := read(t, w); w.Code != 504 || r.Message != sms.Unconfirmed.Sentence() {
		t.Errorf("after the send began: %d %q", w.Code, r.Message)
	}
	right := s.gateway.Users
	s.gateway.Users = stubUsers(func() (*users.User, error) { panic(errors.New("with the secret 12345678")) })
	w = s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	if r := read(t, w); w.Code != 500 || !strings.Contains(r.Message, "Nothing was sent") {
		t.Errorf("before: %d %q", w.Code, r.Message)
	}
	s.gateway.Users = right
	sentences := s.sentences
	s.sentences = nil
	func() {
		defer func() { _ = recover() }()
		w := httptest.NewRecorder()
		r := get(credential + "to=5551230402&body=Hello+World")
		_ = s.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{}), nil)
		if w.Code == 200 {
			t.Errorf("a panic while replying is a success: %d %s", w.Code, w.Body)
		}
	}()
	s.sentences = sentences
	s.gateway.Deliverer.Routes = []delivery.Route{{Adapter: route, Transport: delivery.Sandbox{}, Account: delivery.NewAccount()}}
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("a panic in the middle of a reply ends in %v", p)
			}
		}()
		r := get(credential + "to=5551230402&body=Hello+World")
		w := brokenWriter{httptest.NewRecorder()}
		_ = s.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{}), nil)
	}()
	s.gateway.Deliverer.Routes[0].Transport = panicking{"again"}
	for _, e := range s.log.TakeAll() {
		for key, value := range e.ContextMap() {
			if text, _ := value.(string); strings.Contains(text, "12345678") || strings.Contains(text, "Hello") {
				t.Errorf("%s: %s is %q", e.Message, key, text)
			}
		}
	}
	s.gateway.Deliverer.Routes[0].Transport = panicking{http.ErrAbortHandler}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v", p)
		}
	}()
	s.send(t, get(credential+"to=5551231234&body=hi"))
	t.Error("ErrAbortHandler did not pass")
}

package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Caddy starts these once for the whole process.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*Cache).maintainAssets"),
	)
}

// site is the handler as Caddy would run it, with its log.
type site struct {
	*Handler
	log *observer.ObservedLogs
}

// newSite provisions a handler from the inside of its Caddyfile block.
func newSite(t testing.TB, block string) *site {
	t.Helper()
	s, err := provision(t, block)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func provision(t testing.TB, block string) (*site, error) {
	t.Helper()
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("acrobits_sms {\n" + block + "\n}")); err != nil {
		return nil, err
	}
	// Through JSON, as Caddy does it.
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	h = new(Handler)
	if err := caddy.StrictUnmarshalJSON(raw, h); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	core, log := observer.New(zapcore.DebugLevel)
	restore := zap.ReplaceGlobals(zap.New(core))
	t.Cleanup(restore)
	if err := h.Provision(ctx); err != nil {
		return nil, err
	}
	h.logger = zap.New(core)
	if transport, ok := h.deliverer.Routes[0].Transport.(schemes); ok {
		t.Cleanup(func() {
			_ = transport.RoundTripper.(caddy.CleanerUpper).Cleanup()
		})
	}
	return &site{h, log}, nil
}

// reporter is what tests and properties have in common.
type reporter interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
}

// send runs a request through the handler and returns the reply.
func (s *site) send(t reporter, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	if err := s.ServeHTTP(w, r, nil); err != nil {
		t.Errorf("an expected failure was returned: %v", err)
	}
	return w
}

// events takes the event lines that were written since the last call.
func (s *site) events() (lines []map[string]any) {
	for _, e := range s.log.TakeAll() {
		if e.Message == "message" {
			lines = append(lines, e.ContextMap())
		}
	}
	return lines
}

func get(query string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/send_message/?"+query, nil)
}

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/send_message/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

// reply is what an app reads out of a reply.
type reply struct {
	XMLName xml.Name `xml:"response" json:"-"`
	ID      string   `xml:"sms_id" json:"sms_id"`
	Message string   `xml:"message" json:"message"`
}

func read(t reporter, w *httptest.ResponseRecorder) (r reply) {
	t.Helper()
	var err error
	switch w.Header().Get("Content-Type") {
	case "application/json":
		err = json.Unmarshal(w.Body.Bytes(), &r)
	case "text/xml; charset=utf-8":
		err = xml.Unmarshal(w.Body.Bytes(), &r)
	default:
		err = errors.New("unknown Content-Type")
	}
	if err != nil {
		t.Errorf("%d %v %q: %v", w.Code, w.Header(), w.Body, err)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Error("the reply can be stored")
	}
	if n := utf8.RuneCountInString(r.Message); w.Code/100 != 2 && (n < 1 || n > 100 || strings.ContainsAny(r.Message, "\r\n{}")) {
		t.Errorf("%d: the message %q is no line of 1 to 100 characters", w.Code, r.Message)
	}
	if w.Code/100 == 2 && r.Message != "" {
		t.Errorf("%d with message %q", w.Code, r.Message)
	}
	return r
}

const demo = `
	user johndow {
		password 12345678
		token    a-token-for-johndow
		from     +15550001111 +15550002222 ACME
	}
	user other {
		password other-password
	}
	default_region US
`

const credential = "from=johndow&password=12345678&"

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
		{get(credential + "to=5551231234,%2B15551231234&body=the+same+twice"), 200, ""},
		{get(credential + "to=5551231234&body=hi&sender=%2B15550002222"), 200, ""},
		{get(credential + "to=5551231234&body=hi&sender=ACME"), 200, ""},
		{get(credential + "to=5551231234&body=hi&sender=johndow"), 200, ""},

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
		{get(credential + "to=ACME&body=hi"), 406, "Invalid recipient"},
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

// What no tick waits for is answered 2xx without an id, and nothing is sent.
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
		"sentence bad_request de \"So geht das nicht\"\nsentence rejected fr \"Non: {reference}\"")
	for _, c := range []struct{ to, language, want string }{
		{"5551230402", "", "Top up"},
		{"5551230402", "de-AT,de;q=0.9,en;q=0.8", "Bitte aufladen"},
		{"5551230402", "es", "Top up"},
		{"5551230402", "*;q=,,,", "Top up"},
		{"", "de", "So geht das nicht"},
		{"5551230406", "de", "Invalid recipient"},
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

func TestProvisionRefuses(t *testing.T) {
	t.Setenv("EMPTY", "")
	for block, want := range map[string]string{
		"adapter sandbox":         "nobody may send",
		"user x {\npassword y\n}": "no message could leave",
		"user x\nadapter sandbox": "no password",
		"user x {\npassword {env.MISSING_PASSWORD}\n}\nadapter sandbox": "the environment variable MISSING_PASSWORD is not set",
		"user x {\npassword {env.EMPTY}\n}\nadapter sandbox":            "the environment variable EMPTY is not set",
		"user x {\npassword {file./no/such/file}\n}\nadapter sandbox":   "the file /no/such/file is missing or empty",
		"user x {\npassword y\nfrom ???\n}\nadapter sandbox":            "write numbers as +15551234567",
		"default_region\n":                                                                  "takes exactly one value",
		demo + "adapter sandbox\nadapter sandbox":                                           "adapter sandbox as NAME",
		demo + "adapter sandbox\nreply html":                                                "write xml or json",
		demo + "adapter sandbox\nparam recipent x":                                          "no parameter",
		demo + "adapter sandbox\npath send":                                                 "begins with /",
		demo + "adapter sandbox\npath /{thing}":                                             "no known parameter",
		demo + "adapter sandbox\nsentence credit x":                                         "no case",
		demo + "adapter sandbox\nsentence no_credit de \"" + strings.Repeat("x", 101) + `"`: "1 to 100 characters",
		demo + "adapter sandbox\nsentence no_credit klingon! x":                             "no language tag",
		demo + "adapter twilio {\naccount_sid a\nauth_token {env.MISSING}\n}":               "the environment variable MISSING is not set",
		demo + "adapter kannel {\nusername a\npassword b\nbase_url ftp://x\n}":              "https:// or http://",
		demo + "adapter kannel {\nusername a\npassword b\nbase_url http://u:p@x\n}":         "nothing else",
		demo + "adapter sandbox\ntransport http {\ntls\ntls_insecure_skip_verify\n}":        "always checked",
		strings.Replace(demo, "region US", "region USA", 1) + "adapter sandbox":             "write two capital letters",
	} {
		_, err := provision(t, block)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  error %v, want %s", block, err, want)
		}
	}
}

// A secret that stands in the configuration itself draws one warning, which names the option and never the value.
func TestLiteralSecretsWarn(t *testing.T) {
	t.Setenv("GOOD_PASSWORD", "correct horse battery staple")
	var out bytes.Buffer
	caddyLog := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.DebugLevel))
	repl := caddy.NewReplacer()
	for _, c := range []struct {
		password string
		warnings int
	}{
		{"{env.GOOD_PASSWORD}", 0},
		{"correct horse battery staple", 1},
		{"12345678", 2}, // literal, and easy to guess
		{"$2a$04$abcdefghijklmnopqrstuuVnIFFXIg0dMHiQTVTdL3w1r2o0K5a6S", 0},
	} {
		out.Reset()
		u := &User{Name: "johndow", Passwords: []string{c.password}}
		if _, err := u.account(repl, "US", caddyLog); err != nil {
			t.Error(err)
		}
		if n := strings.Count(out.String(), "\n"); n != c.warnings {
			t.Errorf("%s: %d warnings, want %d: %s", c.password, n, c.warnings, out.String())
		}
		if c.warnings > 0 && (!strings.Contains(out.String(), `"password"`) || strings.Contains(out.String(), c.password)) {
			t.Errorf("the warning names no option, or the value: %s", out.String())
		}
	}
	out.Reset()
	a := &Adapter{Definition: "telnyx", Options: map[string]string{"api_key": "canary-key"}}
	if _, err := a.bind(nil, repl, caddyLog); err != nil {
		t.Error(err)
	}
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "api_key") || strings.Contains(s, "canary-key") {
		t.Errorf("warning %s", s)
	}
}

// provider is a mock provider that speaks as Twilio does.
type provider struct {
	*httptest.Server
	count  atomic.Int32
	answer http.HandlerFunc
}

func newProvider(t testing.TB) *provider {
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		p.answer(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) say(status int, body string) {
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (p *provider) site(t testing.TB, more string) *site {
	return newSite(t, demo+"adapter twilio {\nbase_url "+p.URL+"\naccount_sid AC1\nauth_token the-auth-token\n}\n"+more)
}

func TestEventLine(t *testing.T) {
	p := newProvider(t)
	s := p.site(t, "")
	p.say(400, `{"code":21211,"message":"The 'To' number +15551231234 is not valid, you wrote: Hello World"}`)
	s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	line := s.events()[0]
	for key, want := range map[string]any{
		"outcome": "refused", "cause": "invalid_recipient", "user": "johndow", "kind": "text", "from": "+155•••1111", "to": "+155•••1234",
		"adapter": "twilio", "provider_code": "21211", "provider_status": int64(400), "attempts": int64(1),
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
}

// stubUsers lets a test decide what happens in the middle of a request.
type stubUsers func() (*users.User, error)

func (f stubUsers) Authenticate(_ context.Context, _ users.Credential) (*users.User, error) {
	return f()
}

type panicking struct{ value any }

func (p panicking) RoundTrip(*http.Request) (*http.Response, error) { panic(p.value) }

func TestPanics(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	route := s.deliverer.Routes[0].Adapter
	s.deliverer.Routes = []delivery.Route{{Adapter: route, Transport: panicking{"with the secret 12345678"}}}
	w := s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	if r := read(t, w); w.Code != 504 || r.Message != sms.Unknown.Sentence() {
		t.Errorf("after the send began: %d %q", w.Code, r.Message)
	}
	right := s.users
	s.users = stubUsers(func() (*users.User, error) { panic(errors.New("with the secret 12345678")) })
	w = s.send(t, get(credential+"to=5551231234&body=Hello+World"))
	if r := read(t, w); w.Code != 500 || !strings.Contains(r.Message, "Nothing was sent") {
		t.Errorf("before: %d %q", w.Code, r.Message)
	}
	s.users = right
	for _, e := range s.log.TakeAll() {
		for key, value := range e.ContextMap() {
			if text, _ := value.(string); strings.Contains(text, "12345678") || strings.Contains(text, "Hello") {
				t.Errorf("%s: %s is %q", e.Message, key, text)
			}
		}
	}
	s.deliverer.Routes[0].Transport = panicking{http.ErrAbortHandler}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v", p)
		}
	}()
	s.send(t, get(credential+"to=5551231234&body=hi"))
	t.Error("ErrAbortHandler did not pass")
}

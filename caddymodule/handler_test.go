package caddymodule

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Caddy starts these once for the whole process.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*Cache).maintainAssets"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
	)
}

// site is the handler as Caddy would run it, with its log.
type site struct {
	*Handler
	log  *observer.ObservedLogs
	stop func() // as Caddy does when the configuration is replaced
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
	return start(t, h)
}

// start provisions a handler.
func start(t testing.TB, h *Handler) (*site, error) {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	stop := sync.OnceFunc(func() {
		cancel() // and with it the guests
		_ = h.Cleanup()
	})
	t.Cleanup(stop)
	core, log := observer.New(zapcore.DebugLevel)
	restore := zap.ReplaceGlobals(zap.New(core))
	t.Cleanup(restore)
	if err := h.Provision(ctx); err != nil {
		return nil, err
	}
	h.logger, h.step = zap.New(core), 0
	h.deliverer.Retries = 0 // they take their time
	return &site{h, log, stop}, nil
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
		from     +15550001111 +15550002222 ACME 72227
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
		{get(credential + "to=5551231234&body=hi&sender=72227"), 200, ""},
		{get(credential + "to=5551231234&body=hi&sender=72228"), 403, "This number is not yours to send from"},
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

func TestProvisionRefuses(t *testing.T) {
	t.Setenv("EMPTY", "")
	for block, want := range map[string]string{
		"adapter sandbox":                          "nobody may send",
		"user x {\npassword y\n}\nallow all":       "no message could leave",
		"user x {\npassword y\n}\nadapter sandbox": "it is not known to which country",
		demo + "adapter sandbox\nallow us":         "not a destination",
		"user x\nadapter sandbox":                  "no password",
		"default_region US\nuser x {\npassword {env.MISSING_PASSWORD}\n}\nadapter sandbox": "the environment variable MISSING_PASSWORD is not set",
		"default_region US\nuser x {\npassword {env.EMPTY}\n}\nadapter sandbox":            "the environment variable EMPTY is not set",
		"default_region US\nuser x {\npassword $SECRET_1\n}\nadapter sandbox":              "$SECRET_1 is not replaced here; write {env.SECRET_1}",
		"default_region US\nuser x {\npassword `{env.SECRET_1`\n}\nadapter sandbox":        "the placeholder {env.SECRET_1 has no closing brace",
		"default_region US\nuser x {\npassword {file./run/x\n}\nadapter sandbox":           "the placeholder {file. has no closing brace",
		demo + "adapter twilio {\naccount_sid a\nauth_token ${TOKEN}\n}":                   "write {env.TOKEN}",
		"default_region US\nuser x {\npassword {file./no/such/file}\n}\nadapter sandbox":   "the file /no/such/file is missing or empty",
		"user x {\npassword y\nfrom ???\n}\nadapter sandbox":                               "write numbers as +15551234567",
		"default_region\n":                                                                     "takes exactly one value",
		demo + "adapter sandbox\nadapter sandbox":                                              "adapter sandbox as NAME",
		demo + "adapter sandbox\nmax_size 16777217":                                            "from 1 to 16777216",
		demo + "adapter sandbox\nreply html":                                                   "write xml or json",
		demo + "adapter sandbox\nparam recipent x":                                             "no parameter",
		demo + "adapter sandbox\npath send":                                                    "begins with /",
		demo + "adapter sandbox\npath /{thing}":                                                "not a known parameter",
		demo + "adapter sandbox\nsentence credit x":                                            "no case",
		demo + "adapter sandbox\nsentence no_credit de \"" + strings.Repeat("x", 101) + `"`:    "1 to 100 characters",
		demo + "adapter sandbox\nsentence no_credit klingon! x":                                "not a language tag",
		demo + "adapter twilio {\naccount_sid a\nauth_token {env.MISSING}\n}":                  "the environment variable MISSING is not set",
		demo + "adapter kannel {\nusername a\npassword b\nbase_url ftp://x\n}":                 "https:// or http://",
		demo + "adapter kannel {\nusername a\npassword b\nbase_url http://u:p@x\n}":            "nothing else",
		demo + "adapter sandbox\ntransport http {\ntls\ntls_insecure_skip_verify\n}":           "always checked",
		demo + "adapter sandbox\nsentence busy \"so {refernce}\"":                              "{refernce} is not known here; there is {reference}",
		demo + "adapter sandbox\nsentence busy a\nsentence busy b":                             "busy appears twice",
		demo + "adapter sandbox\nsentence busy de a\nsentence busy de b":                       "busy appears twice",
		demo + "adapter sandbox\nlockout off\nlockout 10 5m":                                   "lockout appears twice",
		demo + "adapter sandbox\nlimit user 1 messages per day\nlimit user 2 messages per day": "limited twice",
		strings.Replace(demo, "region US", "region USA", 1) + "adapter sandbox":                "did you mean US?",
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
		h := &Handler{Users: []*User{{Name: "johndow", Passwords: []string{c.password}}}, logger: caddyLog}
		if _, err := h.ownUsers(func(u *User) (users.Account, []string, error) { return u.account("US", new(destination.Policy), nil) }); err != nil {
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

// What a provider asks to wait is told to the app.
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

// The budgets are those that apps can wait for, or the operator's.
func TestBudgets(t *testing.T) {
	d := newSite(t, demo+"adapter sandbox").deliverer
	if d.Timeout != 20*time.Second || d.AttemptTimeout != 10*time.Second || d.MaxParts != 10 {
		t.Errorf("%s %s %d", d.Timeout, d.AttemptTimeout, d.MaxParts)
	}
	d = newSite(t, demo+"adapter sandbox\ntimeout 5s\nattempt_timeout 3s\nmax_parts 2").deliverer
	if d.Timeout != 5*time.Second || d.AttemptTimeout != 3*time.Second || d.MaxParts != 2 {
		t.Errorf("%s %s %d", d.Timeout, d.AttemptTimeout, d.MaxParts)
	}
}

// Idle connections are kept in numbers, whatever else the operator says about them.
func TestKeepAlive(t *testing.T) {
	for block, want := range map[string]struct {
		hosts int
		idle  time.Duration
	}{
		"": {512, 30 * time.Second}, "transport http": {512, 30 * time.Second}, "transport http {\nkeepalive 50s\n}": {512, 50 * time.Second},
		"transport http {\nkeepalive_idle_conns_per_host 7\n}": {7, 30 * time.Second},
	} {
		guest := newSite(t, demo+"adapter sandbox\n"+block).deliverer.Routes[0].Transport.(schemes).RoundTripper.(*reverseproxy.HTTPTransport)
		if guest.KeepAlive.MaxIdleConnsPerHost != want.hosts || time.Duration(guest.KeepAlive.IdleConnTimeout) != want.idle || guest.Transport.MaxIdleConnsPerHost != want.hosts {
			t.Errorf("%q: %+v", block, guest.KeepAlive)
		}
	}
}

// JSON that no Caddyfile can say is refused too.
func TestJSONRefused(t *testing.T) {
	good := `"default_region":"US","users":[{"name":"x","passwords":["{env.HOME}"]}],"adapters":[{"definition":"sandbox"}]`
	for config, want := range map[string]string{
		`{"users":[null],"adapters":[{"definition":"sandbox"}]}`:                                  "null is not a user",
		`{"allow":["all"],"users":[{"name":"x","passwords":["y"]}],"adapters":[null]}`:            "null is not",
		`{` + good + `,"definitions":[null]}`:                                                     "null is not",
		`{` + good + `,"timeout":-5}`:                                                             "not negative",
		`{` + good + `,"max_parts":-5}`:                                                           "not negative",
		`{` + good + `,"transport":{"protocol":"http","TLS":{"insecure_skip_verify":true}}}`:      "always checked",
		`{"users":[{"name":"x","passwords":["se{cr}et"]}],"adapters":[{"definition":"sandbox"}]}`: "braces that are not a placeholder",
	} {
		h := new(Handler)
		if err := caddy.StrictUnmarshalJSON([]byte(config), h); err != nil {
			t.Fatal(err)
		}
		ctx, err := caddy.ProvisionContext(&caddy.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err = h.Provision(ctx); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "se{cr}et") {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
		_ = h.Cleanup()
	}
}

// Names may come from elsewhere, as secrets do.
func TestUserNameFromEnvironment(t *testing.T) {
	t.Setenv("SMS_USER", "alice")
	s := newSite(t, "user {env.SMS_USER} {\npassword 12345678\n}\ndefault_region US\nadapter sandbox")
	if w := s.send(t, get("from=alice&password=12345678&to=%2B15551231234&body=hi")); w.Code != 200 {
		t.Errorf("%d", w.Code)
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

// What is known of accounts outlives a reload: two configurations with one account share it, and the last one to go takes it along.
func TestAccountsAreShared(t *testing.T) {
	block := demo + "define own {\noption key secret\nbase_url https://x.example.com\ntoken {\nPOST /t\nform {\nkey {option.key}\n}\naccess t\n}\nsend {\nPOST /\nbearer {token}\nform {\nto {sms.to}\ntext {sms.body}\n}\n}\n" +
		"reply json\naccepted status 200\nid id\n}\nadapter own {\nkey "
	before, after, other := newSite(t, block+"k1\n}"), newSite(t, block+"k1\n}"), newSite(t, block+"k2\n}")
	of := func(s *site) *delivery.Account { return s.deliverer.Routes[0].Account }
	if of(before) == nil || of(before) != of(after) || of(before) == of(other) {
		t.Error("accounts do not fit")
	}
	for _, s := range []*site{before, after, other} {
		if err := errors.Join(s.Cleanup(), s.Cleanup()); err != nil {
			t.Error(err)
		}
	}
	if n, ok := accounts.References(before.deliverer.Routes[0].Adapter.Account()); ok {
		t.Errorf("%d references are left", n)
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

// stubUsers lets a test decide what happens in the middle of a request.
type stubUsers func() (*users.User, error)

func (f stubUsers) Authenticate(_ context.Context, _ users.Credential) (*users.User, error) {
	return f()
}

// brokenWriter panics where the reply begins.
type brokenWriter struct{ http.ResponseWriter }

func (brokenWriter) WriteHeader(int) { panic("no header") }

type panicking struct{ value any }

func (p panicking) RoundTrip(*http.Request) (*http.Response, error) { panic(p.value) }

func TestPanics(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	route := s.deliverer.Routes[0].Adapter
	s.deliverer.Routes = []delivery.Route{{Adapter: route, Transport: panicking{"with the secret 12345678"}, Account: delivery.NewAccount()}}
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
	phrases := s.phrases
	s.phrases = nil
	func() {
		defer func() { _ = recover() }()
		w := httptest.NewRecorder()
		r := get(credential + "to=5551230402&body=Hello+World")
		_ = s.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{}), nil)
		if w.Code == 200 {
			t.Errorf("a panic while replying is a success: %d %s", w.Code, w.Body)
		}
	}()
	s.phrases = phrases
	s.deliverer.Routes = []delivery.Route{{Adapter: route, Transport: delivery.Sandbox{}, Account: delivery.NewAccount()}}
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
	s.deliverer.Routes[0].Transport = panicking{"again"}
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

// A message goes where the sender's country, the site and the user allow, and nowhere else.
func TestDestinations(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "allow GB\ndeny +1212\nuser traveller {\npassword travelling\nfrom +15550003333\nallow FR short_codes\ndeny GB\n}")
	const other = "from=traveller&password=travelling&"
	for query, want := range map[string]struct {
		status  int
		message string
	}{
		credential + "to=5551231234":      {200, ""},
		credential + "to=%2B18762101234":  {403, "Messages to this country are not allowed: Jamaica"},
		credential + "to=%2B447400123456": {200, ""},
		credential + "to=%2B12125550123":  {403, "Messages to this destination are not allowed"},
		credential + "to=%2B33612345678":  {403, "Messages to this country are not allowed: France"},
		credential + "to=72227":           {403, "Messages to short codes are not allowed"},
		credential + "to=911":             {403, "Messages to emergency numbers are not allowed"},
		other + "to=%2B33612345678":       {200, ""},
		other + "to=%2B447400123456":      {403, "Messages to this country are not allowed: United Kingdom"},
		other + "to=72227":                {200, ""},
		other + "to=911":                  {403, "Messages to emergency numbers are not allowed"},
	} {
		before := p.count.Load()
		w := s.send(t, get(query+"&body=hi"))
		if r := read(t, w); w.Code != want.status || r.Message != want.message {
			t.Errorf("%s: %d %q, want %+v", query, w.Code, r.Message, want)
		}
		if sent := p.count.Load() - before; (sent == 1) != (want.status == 200) || sent > 1 {
			t.Errorf("%s: %d requests to the provider", query, sent)
		}
	}
}

// guess sends a credential from an address.
func (s *site) guess(t reporter, address, query string) *httptest.ResponseRecorder {
	r := get(query + "&to=5551231234&body=hi")
	r.RemoteAddr = address + ":4711"
	return s.send(t, r)
}

// Wrong passwords lock a network out before the next one is looked at; a reload changes nothing; strangers do not lock a
// user out of his own network.
func TestLockout(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "")
	right, wrong := strings.TrimSuffix(credential, "&"), "from=johndow&password=wrong"
	if w := s.guess(t, "192.0.2.77", right); w.Code != 200 {
		t.Fatalf("at home: %d", w.Code)
	}
	for i := range 11 {
		if w := s.guess(t, "203.0.113.9", wrong); w.Code != 401 {
			t.Fatalf("guess %d: %d", i, w.Code)
		}
		if w := s.guess(t, "203.0.113.9", "to=5551231234"); i < 10 && w.Code != 401 {
			t.Fatalf("without a credential: %d", w.Code)
		}
	}
	after := p.site(t, "") // as after a reload
	for _, query := range []string{wrong, right, "token=a-token-for-johndow"} {
		w := after.guess(t, "203.0.113.9", query)
		if r := read(t, w); w.Code != 429 || w.Header().Get("Retry-After") == "" || r.Message != "Too many wrong passwords. Please try again later." {
			t.Errorf("%s when locked out: %d %v %q", query, w.Code, w.Header(), r.Message)
		}
	}
	for i := range 21 {
		s.guess(t, fmt.Sprintf("198.51.100.%d", i), wrong)
	}
	if w := s.guess(t, "192.0.2.77", right); w.Code != 200 {
		t.Errorf("strangers lock the user out at home: %d", w.Code)
	}
	locked, denied := s.guess(t, "192.0.2.78", right), s.guess(t, "192.0.2.78", "from=nobody&password=wrong")
	if locked.Code != 401 || locked.Body.String() != denied.Body.String() || fmt.Sprint(locked.Header()) != fmt.Sprint(denied.Header()) {
		t.Errorf("a locked user is told something else: %d %s %v, %s %v", locked.Code, locked.Body, locked.Header(), denied.Body, denied.Header())
	}
	if n := p.count.Load(); n != 2 {
		t.Errorf("%d messages", n)
	}
	counted := func(address, query string) (codes []int) {
		for range 12 {
			codes = append(codes, s.guess(t, address, query).Code)
		}
		return codes
	}
	if locked, denied := counted("192.0.2.79", right), counted("192.0.2.80", wrong); !slices.Equal(locked, denied) || denied[11] != 429 {
		t.Errorf("a right password of a locked user is counted in another way: %v, %v", locked, denied)
	}
	off := p.site(t, "lockout off")
	for range 30 {
		off.guess(t, "203.0.113.10", wrong)
	}
	if w := off.guess(t, "203.0.113.10", right); w.Code != 200 {
		t.Errorf("lockout off: %d", w.Code)
	}
	if w := newProvider(t).site(t, "").guess(t, "192.0.2.82", right); w.Code == 401 {
		t.Error("users of one name are locked together whose messages others pay for")
	}
	two := p.site(t, "lockout 2 1h")
	for range 3 {
		two.guess(t, "203.0.113.11", wrong)
	}
	if w := two.guess(t, "203.0.113.11", right); w.Code != 429 || w.Header().Get("Retry-After") != "3600" {
		t.Errorf("lockout 2 1h: %d %v", w.Code, w.Header())
	}
}

// A wrong password counts for those who were asked, though others give no answer: whoever guesses is told nothing, but is
// locked out as always, whether the name exists or not.
func TestLockoutWhileUsersAreUnknown(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	defer service.Close()
	s := newSite(t, demo+"adapter sandbox\nlockout 10 5m1s\nusers http "+service.URL)
	twelve := func(address, query string) {
		t.Helper()
		for i := range 12 {
			want := 500
			if i == 11 {
				want = 429
			}
			if w := s.guess(t, address, query); w.Code != want {
				t.Errorf("guess %d with %s: %d, want %d", i, query, w.Code, want)
			}
		}
	}
	twelve("203.0.113.1", "user=johndow&password=wrong")
	twelve("203.0.113.2", "user=nobody&password=wrong")
	if w := s.guess(t, "203.0.113.3", credential); w.Code != 200 {
		t.Errorf("a right password: %d", w.Code)
	}
	for i := range 10 {
		s.guess(t, fmt.Sprintf("198.51.100.%d", i), "user=johndow&password=wrong")
	}
	twelve("203.0.113.4", credential) // of a locked user, and right
}

// Of guesses that come at once few are looked at before the network is locked out, and others need not wait for them.
func TestGuessesAtOnce(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nlockout 10 5m2s")
	synctest.Test(t, func(t *testing.T) {
		var looked atomic.Int32
		s.users = stubUsers(func() (*users.User, error) {
			time.Sleep(time.Second)
			looked.Add(1)
			return nil, users.ErrDenied
		})
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if w := s.guess(t, "203.0.113.4", "user=johndow&password=guess"); w.Code != 401 && w.Code != 429 {
					t.Errorf("a guess: %d", w.Code)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if w := s.guess(t, "203.0.113.5", "user=johndow&password=guess"); w.Code != 401 || time.Since(began) != time.Second {
			t.Errorf("from elsewhere: %d after %s", w.Code, time.Since(began))
		}
		wg.Wait()
		if n := looked.Load() - 1; n < 11 || n > 14 {
			t.Errorf("%d guesses were looked at", n)
		}
	})
}

// Every 401 leaves at a multiple of 250 ms after the request was whole, however long the check took; nothing else waits.
func TestTimeOfRefusals(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nlockout off")
	s.step = answerStep
	right := s.users
	synctest.Test(t, func(t *testing.T) {
		for _, took := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 249 * time.Millisecond, 251 * time.Millisecond, 700 * time.Millisecond} {
			for name, err := range map[string]error{"unknown": users.ErrDenied, "known": &users.DeniedError{Name: "johndow"}} {
				s.users = stubUsers(func() (*users.User, error) { time.Sleep(took); return nil, err })
				began := time.Now()
				w := s.send(t, get(credential+"to=5551231234&body=hi"))
				if after := time.Since(began); w.Code != 401 || after%answerStep != 0 || after < took || after > took+answerStep {
					t.Errorf("%s after %s: %d after %s", name, took, w.Code, after)
				}
			}
		}
		for took := range 300 { // however long the sender takes over his request, he does not learn when the check was done
			s.users = stubUsers(func() (*users.User, error) { time.Sleep(60 * time.Millisecond); return nil, users.ErrDenied })
			late := time.Duration(took) * time.Millisecond
			r := post("application/x-www-form-urlencoded", "")
			r.Body = io.NopCloser(&slowly{strings.NewReader(credential + "to=5551231234&body=hi"), sync.OnceFunc(func() { time.Sleep(late) })})
			began := time.Now()
			if w := s.send(t, r); w.Code != 401 || time.Since(began) != late+answerStep {
				t.Fatalf("after %s of sending: %d after %s", late, w.Code, time.Since(began))
			}
		}
		s.users = stubUsers(func() (*users.User, error) { return nil, users.ErrDenied })
		began, all := time.Now(), sync.WaitGroup{}
		for range 64 { // of one network, where whoever waits keeps nobody else waiting
			all.Go(func() {
				if w := s.send(t, get(credential+"to=5551231234&body=hi")); w.Code != 401 || time.Since(began) != answerStep {
					t.Errorf("one of many: %d after %s", w.Code, time.Since(began))
				}
			})
		}
		all.Wait()
		s.users = right
		for query, want := range map[string]int{"to=5551231234&body=hi": 401, credential + "to=5551231234&body=hi": 200, credential + "to=12": 400} {
			began := time.Now()
			if w := s.send(t, get(query)); w.Code != want || (time.Since(began) == answerStep) != (want == 401) {
				t.Errorf("%s: %d after %s", query, w.Code, time.Since(began))
			}
		}
	})
}

// Strangers are not told what the server is.
func TestServerIsNotNamed(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	for query, named := range map[string]bool{
		"": false, "from=johndow&password=wrong&to=5551231234&body=hi": false, "from=nobody&password=x": false, credential + "to=5551231234&body=hi": true,
	} {
		w := httptest.NewRecorder()
		w.Header().Set("Server", "Caddy")
		if err := s.ServeHTTP(w, caddyhttp.PrepareRequest(get(query), caddy.NewReplacer(), w, &caddyhttp.Server{}), nil); err != nil {
			t.Error(err)
		}
		if got := w.Header().Get("Server") != ""; got != named {
			t.Errorf("%s: %d %v", query, w.Code, w.Header())
		}
	}
}

// In stealth, whoever does not prove who he is finds nothing here.
func TestStealth(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nstealth\nlockout 2 1m")
	for _, query := range []string{"", "from=johndow&password=wrong&to=5551231234&body=hi", "from=johndow&password=***", "to=%25sms_to%25", "from=nobody&password=x", "from=johndow&password=wrong", "from=johndow&password=wrong"} {
		if w := s.send(t, get(query)); w.Code != 404 || w.Body.Len() != 0 || len(w.Header()) != 0 {
			t.Errorf("%s: %d %q %v", query, w.Code, w.Body, w.Header())
		}
	}
	s = newSite(t, demo+"adapter sandbox\nstealth\nlockout off")
	s.step = time.Minute
	if w := s.send(t, get("")); w.Code != 404 {
		t.Errorf("without a credential: %d", w.Code)
	}
	if w := s.send(t, get(credential+"to=12&body=hi")); w.Code != 406 {
		t.Errorf("a user: %d", w.Code)
	}
}

// Too much is refused before a provider is asked, with the time to wait; a reload changes nothing; a rule changes with it.
func TestLimits(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	tell := func(s *site, body string) (int, string, string) {
		w := s.send(t, get(credential+"to=5551231234&body="+body))
		return w.Code, w.Header().Get("Retry-After"), read(t, w).Message
	}
	for range 30 {
		if status, _, message := tell(p.site(t, ""), "hi"); status != 200 { // as over reloads
			t.Fatalf("%d %s", status, message)
		}
	}
	for i, block := range []string{"", "limit user 29 messages per minute", "limit country 7 messages per day"} {
		status, wait, message := tell(p.site(t, block), "hi")
		if status != 429 || wait == "" || message != "Too many messages. Try again in 1 min." {
			t.Errorf("%d: %d %q %q", i, status, wait, message)
		}
	}
	if n := p.count.Load(); n != 30 {
		t.Errorf("the provider has %d messages", n)
	}
	off := p.site(t, "limit off")
	for range 40 {
		if status, _, _ := tell(off, "hi"); status != 200 {
			t.Fatalf("limit off: %d", status)
		}
	}
	long := strings.Repeat("a", 400)
	if status, wait, message := tell(p.site(t, "limit off\nlimit user 2 segments per hour"), long); status != 413 || wait != "" || message != "The message is too long: 3 segments, at most 2" {
		t.Errorf("what never fits: %d %q %q", status, wait, message)
	}
	for _, want := range []int{200, 429} {
		if status, _, _ := tell(p.site(t, "limit off\nlimit country 3 segments per month"), long); status != want {
			t.Errorf("segments: %d, want %d", status, want)
		}
	}
	if _, err := provision(t, demo+"adapter sandbox\nlimit user many messages per day"); err == nil || !strings.Contains(err.Error(), "from 1 to 1000000") {
		t.Error(err)
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
		case "an adapter did not take the message":
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

// What looks like fraud is held, over reloads, and the provider gets none of it.
func TestBursts(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "allow all")
	again := p.site(t, "allow all") // as after a reload
	subscribe(t, s)
	for i := range 20 {
		w := []*site{s, again}[i%2].send(t, get(fmt.Sprintf("%sto=%%2B1555123%04d&body=hi", credential, i)))
		if want := map[bool]int{true: 200, false: 429}[i < 9]; w.Code != want || want == 429 && w.Header().Get("Retry-After") != "600" {
			t.Errorf("number %d: %d, want %d", i, w.Code, want)
		}
	}
	if n := p.count.Load(); n != 9 {
		t.Errorf("the provider got %d messages, want 9", n)
	}
	for i, to := range []string{"%2B447911123456", "%2B33612345678", "%2B4915123456789", "%2B34612345678", "%2B393401234567", "%2B48512345678"} {
		w := s.send(t, get(credential+"to="+to+"&body=hi"))
		if want := map[bool]int{true: 200, false: 429}[i < 4]; w.Code != want { // the United States were the first
			t.Errorf("%s: %d, want %d", to, w.Code, want)
		}
	}
	if n := slices.Index(subscribed, heldEvent); n < 0 || subscribedData[n]["cause"] != "held.numbers_in_a_row" || subscribed[len(subscribed)-1] != heldEvent {
		t.Errorf("the events are %v", subscribed)
	}
	if lines := s.events(); lines[len(lines)-1]["cause"] != "held.many_countries" {
		t.Errorf("the log says %v", lines[len(lines)-1]["cause"])
	}
	off := p.site(t, "bursts off")
	for i := range 12 {
		if w := off.send(t, get(fmt.Sprintf("%sto=%%2B1555124%04d&body=hi", credential, i))); w.Code != 200 {
			t.Errorf("bursts off, number %d: %d", i, w.Code)
		}
	}
	for _, line := range []string{"bursts", "bursts on", "bursts off off"} {
		if _, err := provision(t, demo+"adapter sandbox\n"+line); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

// A user may have a country and limits of his own.
func TestOwnRegionAndLimits(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	site := func(more string) (*site, error) {
		return provision(t, "user ann {\npassword a-password-for-ann\nfrom +442071838750\nregion GB\nlimit 2 messages per minute\nlimit 3 segments per day Europe/London\n}\nuser bob {\npassword a-password-for-bob\nfrom +15550001111\n}\n"+
			"default_region US\nallow GB\nadapter twilio {\nbase_url "+p.URL+"\naccount_sid AC7\nauth_token the-auth-token\n}\n"+more)
	}
	s, err := site("")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		query  string
		status int
		to     string
	}{
		{"user=ann&password=a-password-for-ann&to=07400123456", 200, "+447•••3456"},
		{"user=bob&password=a-password-for-bob&to=07400123456", 406, ""},
		{"user=bob&password=a-password-for-bob&to=5551231234", 200, "+155•••1234"},
		{"user=ann&password=a-password-for-ann&to=07400123457", 200, "+447•••3457"},
		{"user=ann&password=a-password-for-ann&to=07400123458", 429, "+447•••3458"},
		{"user=bob&password=a-password-for-bob&to=5551231234", 200, "+155•••1234"},
		{"user=bob&password=a-password-for-bob&to=5551231234", 200, "+155•••1234"},
	} {
		w := s.send(t, get(c.query+"&body=hi"))
		if line := s.events()[0]; w.Code != c.status || c.to != "" && line["to"] != c.to || c.status == 429 && line["limit"] != "user 2 messages per minute" {
			t.Errorf("message %d: %d %s, %v, want %d", i, w.Code, w.Body, line, c.status)
		}
	}
	if n := p.count.Load(); n != 5 {
		t.Errorf("the provider got %d messages, want 5", n)
	}
	for block, want := range map[string]string{
		"region XX":                        `region: "XX" is not a country`,
		"limit 2 messages":                 "such as: 5 messages per minute",
		"limit user 2 messages per minute": "such as: 5 messages per minute",
		"limit 2 messages per minute\nlimit 3 messages per minute": "twice",
	} {
		_, err := provision(t, "user ann {\npassword a-password-for-ann\n"+block+"\n}\ndefault_region US\nadapter sandbox")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", block, err, want)
		}
	}
}

package caddymodule

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

// The harness: newSite provisions a handler from the inside of its Caddyfile block, through JSON as
// Caddy does it; site.send runs one request through it, site.events takes the event lines of its log.
// get and post make the requests of an app, read reads the reply. A provider is a server that speaks as
// Twilio does and counts requests; tests that need time use synctest and a transport of their own. When
// a test ends, its handlers are cleaned up, and what outlives them is dropped. No goroutine may be left.

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"caddy": caddycmd.Main})
}

// leakChecked runs the tests, and fails if a goroutine is left.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(
		// Caddy starts these once for the whole process.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*Cache).maintainAssets"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
	); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
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
	h, err := adapted(t, block)
	if err != nil {
		return nil, err
	}
	return start(t, h)
}

// adapted is the handler of a block.
func adapted(t testing.TB, block string) (*Handler, error) {
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
	return h, nil
}

// start provisions a handler.
func start(t testing.TB, h *Handler) (*site, error) {
	t.Helper()
	return startWith(t, h, new(caddy.Config))
}

func startWith(t testing.TB, h *Handler, config *caddy.Config) (*site, error) {
	t.Helper()
	if h.Pictures != nil {
		config.StorageRaw = caddyconfig.JSONModuleObject(map[string]string{"root": t.TempDir()}, "module", "file_system", nil)
	}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	stop := sync.OnceFunc(func() {
		cancel() // and with it the guests
		_ = h.Cleanup()
		if len(config.AppsRaw) > 0 && h.app != nil { // of the configuration, not of the handler
			_ = h.app.Cleanup()
		}
	})
	t.Cleanup(func() {
		stop()
		_ = sharedState.DropIdle() // as if the process had ended
	})
	core, log := observer.New(zapcore.DebugLevel)
	restore := zap.ReplaceGlobals(zap.New(core))
	t.Cleanup(restore)
	if err := h.Provision(ctx); err != nil {
		return nil, err
	}
	h.logger, h.denialDelay = zap.New(core), 0
	h.gateway.Deliverer.Retries = 0 // they take their time
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

// guess sends a credential from an address.
func (s *site) guess(t reporter, address, query string) *httptest.ResponseRecorder {
	r := get(query + "&to=5551231234&body=hi")
	r.RemoteAddr = address + ":4711"
	return s.send(t, r)
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

// say makes the provider answer so. The id SM1 is that of the first message; others have their own.
func (p *provider) say(status int, body string) {
	var ids atomic.Int32
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Replace(body, `"SM1"`, fmt.Sprintf(`"SM%d"`, ids.Add(1)), 1))
	}
}

func (p *provider) site(t testing.TB, more string) *site {
	return newSite(t, demo+"adapter twilio {\nbase_url "+p.URL+"\naccount_sid AC1\nauth_token the-auth-token\n}\n"+more)
}

// stubUsers lets a test decide what happens in the middle of a request.
type stubUsers func() (*users.User, error)

func (f stubUsers) Authenticate(_ context.Context, _ users.Credential) (*users.User, error) {
	return f()
}

type panicking struct{ value any }

func (p panicking) RoundTrip(*http.Request) (*http.Response, error) { panic(p.value) }

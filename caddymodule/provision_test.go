package caddymodule

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
)

func TestProvisionRefuses(t *testing.T) {
	t.Setenv("EMPTY", "")
	for block, want := range map[string]string{
		"adapter sandbox":                          "no user may send",
		"user x {\npassword y\n}\nallow all":       "no adapter can send",
		"user x {\npassword y\n}\nadapter sandbox": "no allowed country",
		demo + "adapter sandbox\nallow us":         `unknown destination "us", did you mean US?`,
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
		demo + "adapter sandbox\nparam recipent x":                                             "unknown parameter; known parameters: user, ",
		demo + "adapter sandbox\npath send":                                                    "begins with /",
		demo + "adapter sandbox\npath /{thing}":                                                "path pattern: unknown parameter",
		demo + "adapter sandbox\nsentence credit x":                                            "sentence: unknown case; known cases: ",
		demo + "adapter sandbox\nsentence no_credit de \"" + strings.Repeat("x", 101) + `"`:    "1 to 100 characters",
		demo + "adapter sandbox\nsentence no_credit klingon! x":                                "unknown language; write a tag such as de",
		demo + "adapter twilio {\naccount_sid a\nauth_token {env.MISSING}\n}":                  "the environment variable MISSING is not set",
		demo + "adapter kannel {\nusername a\npassword b\nbase_url ftp://x\n}":                 "https:// or http://",
		demo + "adapter kannel {\nusername a\npassword b\nbase_url http://u:p@x\n}":            "only a scheme, a host and a path",
		demo + "adapter sandbox\ntransport http {\ntls\ntls_insecure_skip_verify\n}":           "always checked",
		demo + "adapter sandbox\nsentence busy \"so {refernce}\"":                              `sentence busy: unknown hole "{refernce}", did you mean {reference}? known holes: {reference}`,
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

// JSON that no Caddyfile can say is refused too.
func TestJSONRefused(t *testing.T) {
	good := `"default_region":"US","users":[{"name":"x","passwords":["{env.HOME}"]}],"adapters":[{"definition":"sandbox"}]`
	for config, want := range map[string]string{
		`{"users":[null],"adapters":[{"definition":"sandbox"}]}`:                                  "null is not a user",
		`{"allow":["all"],"users":[{"name":"x","passwords":["y"]}],"adapters":[null]}`:            "null is not",
		`{` + good + `,"definitions":[null]}`:                                                     "null is not",
		`{` + good + `,"timeout":-5}`:                                                             "must not be negative",
		`{` + good + `,"max_parts":-5}`:                                                           "must not be negative",
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

// The address of an extension is no sender.
func TestSenderIsNumber(t *testing.T) {
	for _, from := range []string{"sip:1001@pbx", "1001@pbx.example.com", "0000"} {
		if _, err := provision(t, "user bob {\npassword x\nfrom "+from+"\n}\ndefault_region US\nadapter sandbox"); err == nil || !strings.Contains(err.Error(), "+15551234567") {
			t.Errorf("%s: %v", from, err)
		}
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

// The budgets are those that apps can wait for, or the operator's.
func TestBudgets(t *testing.T) {
	d := newSite(t, demo+"adapter sandbox").gateway.Deliverer
	if d.Timeout != 20*time.Second || d.AttemptTimeout != 10*time.Second || d.MaxParts != 10 {
		t.Errorf("%s %s %d", d.Timeout, d.AttemptTimeout, d.MaxParts)
	}
	d = newSite(t, demo+"adapter sandbox\ntimeout 5s\nattempt_timeout 3s\nmax_parts 2").gateway.Deliverer
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
		guest := newSite(t, demo+"adapter sandbox\n"+block).gateway.Deliverer.Routes[0].Transport.(schemeTransport).RoundTripper.(*reverseproxy.HTTPTransport)
		if guest.KeepAlive.MaxIdleConnsPerHost != want.hosts || time.Duration(guest.KeepAlive.IdleConnTimeout) != want.idle || guest.Transport.MaxIdleConnsPerHost != want.hosts {
			t.Errorf("%q: %+v", block, guest.KeepAlive)
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
		if _, err := h.configuredUsers(func(u *User) (users.Account, []string, error) { return u.account("US", new(destination.Policy), nil) }); err != nil {
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

// The state of an account outlives a reload: two configurations with one account share it, and it ends with the last of them.
func TestAccountsAreShared(t *testing.T) {
	block := demo + "define own {\noption key secret\nbase_url https://x.example.com\ntoken {\nPOST /t\nform {\nkey {option.key}\n}\naccess t\n}\nsend {\nPOST /\nbearer {token}\nform {\nto {sms.to}\ntext {sms.body}\n}\n}\n" +
		"reply json\naccepted status 200\nid id\n}\nadapter own {\nkey "
	before, after, other := newSite(t, block+"k1\n}"), newSite(t, block+"k1\n}"), newSite(t, block+"k2\n}")
	of := func(s *site) *delivery.Account { return s.gateway.Deliverer.Routes[0].Account }
	if of(before) == nil || of(before) != of(after) || of(before) == of(other) {
		t.Error("accounts do not fit")
	}
	for _, s := range []*site{before, after, other} {
		if err := errors.Join(s.Cleanup(), s.Cleanup()); err != nil {
			t.Error(err)
		}
	}
	if err := sharedState.DropIdle(); err != nil || slices.Contains(allOf[*delivery.Account](accounts), of(before)) {
		t.Errorf("something uses the account still: %v", err)
	}
}

package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// several are providers by name.
type several map[string]*provider

// newProviders starts providers that take everything.
func newProviders(t testing.TB, names ...string) several {
	all := make(several)
	for _, name := range names {
		all[name] = newProvider(t)
		all[name].say(201, `{"sid":"SM1"}`)
	}
	return all
}

// adapter is the block of a provider's adapter.
func (s several) adapter(name, more string) string {
	return fmt.Sprintf("adapter twilio as %s {\nbase_url %s\naccount_sid AC1\nauth_token the-auth-token\n%s\n}\n", name, s[name].URL, more)
}

// asked takes the names of the providers that got a request since the last call.
func (s several) asked() string {
	var names []string
	for name, p := range s {
		if n := p.count.Swap(0); n == 1 {
			names = append(names, name)
		} else if n > 1 {
			names = append(names, fmt.Sprintf("%s %d times", name, n))
		}
	}
	return strings.Join(names, " and ")
}

const crew = `
	user alice {
		password 12345678
		from +15550001111 +15550002222 ACME
		group sales
	}
	user bob {
		password 12345678
		from +15550003333 +15550002222
	}
	user carl {
		password 12345678
	}
	default_region US
	allow all short_codes
`

// Each message goes to the first adapter whose conditions hold, and to no other.
func TestRouting(t *testing.T) {
	p := newProviders(t, "own", "eu", "sales", "long", "cyrillic", "app", "rest")
	s := newSite(t, crew+
		p.adapter("own", "senders (555)000-2222\nsenders ACME")+
		p.adapter("eu", "when to DE FR +4420\nwhen not to +4930")+
		p.adapter("sales", "when group sales\nwhen from +15550001111\nwhen to US")+
		p.adapter("long", "when segments > 2\nwhen not unicode")+
		p.adapter("cyrillic", "when unicode\nwhen user bob alice")+
		p.adapter("app", "when smart\nwhen text")+
		p.adapter("rest", "when not media"))
	long := strings.Repeat("x", 307)
	for _, c := range []struct{ user, to, more, want string }{
		{"alice", "+4915112345678", "", "eu"},
		{"alice", "+442079460123", "", "eu"},
		{"bob", "+4915112345678", "body=" + long, "eu"},
		{"bob", "+4930123456", "", "rest"},
		{"bob", "+447400123456", "", "rest"},
		{"alice", "5551231234", "", "sales"},
		{"alice", "+14165551234", "", "rest"},
		{"alice", "72227", "", "sales"},
		{"bob", "5551231234", "", "rest"},
		{"carl", "5551231234", "", "rest"},
		{"alice", "5551231234", "sender=+15550002222", "own"},
		{"alice", "+4915112345678", "sender=ACME", "own"},
		{"bob", "5551231234", "sender=%2B1-555-000-2222", "own"}, // shared by two
		{"bob", "5551231234", "body=" + long, "long"},
		{"bob", "5551231234", "body=" + long[1:], "rest"},
		{"bob", "5551231234", "body=" + strings.Repeat("ы", 140), "cyrillic"},
		{"carl", "5551231234", "body=Привет", "rest"},
		{"carl", "5551231234", "smart=1", "app"},
	} {
		form := url.Values{"username": {c.user}, "password": {"12345678"}, "to": {c.to}, "body": {"Hello"}}
		if name, value, ok := strings.Cut(c.more, "="); ok {
			form.Set(name, strings.ReplaceAll(value, "%2B", "+"))
		}
		w := s.send(t, post("application/x-www-form-urlencoded", form.Encode()))
		if got := p.asked(); w.Code != 200 || got != c.want {
			t.Errorf("%s to %s %.30s: %d %s, to %q, want %q", c.user, c.to, c.more, w.Code, w.Body, got, c.want)
		}
		if line := s.events()[0]; line["adapter"] != c.want || line["attempts"] != 1 {
			t.Errorf("%s to %s: %v", c.user, c.to, line)
		}
	}
}

// An adapter that does not take a message is followed by the next one whose conditions hold; one whose conditions do not is
// neither tried nor reported.
func TestRoutingFailover(t *testing.T) {
	p := newProviders(t, "own", "us", "eu", "last")
	s := newSite(t, crew+p.adapter("own", "senders ACME")+p.adapter("us", "when to US")+p.adapter("eu", "when to DE")+p.adapter("last", ""))
	p["us"].say(402, `{}`)
	p["eu"].say(402, `{}`)
	w := s.send(t, get("username=alice&password=12345678&to=5551231234&body=hi"))
	if w.Code != 200 || p["own"].count.Load()+p["eu"].count.Load() != 0 || p["us"].count.Load() != 1 || p["last"].count.Load() != 1 {
		t.Errorf("%d, asked %s", w.Code, p.asked())
	}
	var passed []any
	for _, e := range s.log.TakeAll() {
		if e.Message == "adapter did not accept the message" {
			passed = append(passed, e.ContextMap()["adapter"])
		}
	}
	if len(passed) != 1 || passed[0] != "us" {
		t.Errorf("reported %v", passed)
	}
	p.asked()
	p["own"].say(402, `{}`) // the number does not go through another, whatever happens
	w = s.send(t, get("username=alice&password=12345678&to=5551231234&body=hi&sender=ACME"))
	if got := p.asked(); w.Code != 402 || got != "own" {
		t.Errorf("%d, asked %s", w.Code, got)
	}
}

// A message that no adapter takes is refused, with what is missing, and the log says that it is the conditions.
func TestNoAdapterFits(t *testing.T) {
	p := newProviders(t, "us", "sales")
	s := newSite(t, crew+p.adapter("us", "when to US\nwhen not segments > 1")+p.adapter("sales", "when group sales\nwhen to US DE"))
	for _, c := range []struct {
		user, to, body string
		status         int
		cause, message string
	}{
		{"bob", "+4915112345678", "hi", 403, "destination_not_allowed", "Messages to this destination are not allowed"},
		{"alice", "+33612345678", "hi", 403, "destination_not_allowed", "Messages to this destination are not allowed"},
		{"bob", "5551231234", strings.Repeat("x", 161), 502, "misconfigured.no_adapter", "No provider takes this message. Please ask your administrator (reference "},
	} {
		w := s.send(t, get("username="+c.user+"&password=12345678&to="+url.QueryEscape(c.to)+"&body="+c.body))
		line := s.events()[0]
		if r := read(t, w); w.Code != c.status || !strings.HasPrefix(r.Message, c.message) {
			t.Errorf("%s to %s: %d %q", c.user, c.to, w.Code, r.Message)
		}
		if line["cause"] != c.cause || line["detail"] != "no adapter's conditions hold for this message" || line["adapter"] != nil || line["attempts"] != nil {
			t.Errorf("%s to %s: %v", c.user, c.to, line)
		}
		if got := p.asked(); got != "" {
			t.Errorf("asked %s", got)
		}
	}
}

// Equals share the messages by their weights.
func TestWeightedSite(t *testing.T) {
	p := newProviders(t, "first", "second", "third")
	s := newSite(t, crew+p.adapter("first", "weight 3")+p.adapter("second", "weight 1")+p.adapter("third", "")+"limit off")
	const messages = 400
	for range messages {
		if w := s.send(t, get("username=alice&password=12345678&to=5551231234&body=hi")); w.Code != 200 {
			t.Fatal(w.Code, w.Body)
		}
	}
	first, second, third := p["first"].count.Load(), p["second"].count.Load(), p["third"].count.Load()
	if first < 250 || second < 50 || third != 0 || first+second != messages { // 300 and 100, five standard deviations and more
		t.Errorf("%d, %d and %d", first, second, third)
	}
	p["first"].say(402, `{}`)
	p.asked()
	for range 20 {
		s.send(t, get("username=alice&password=12345678&to=5551231234&body=hi"))
	}
	if n := p["second"].count.Load(); n != 20 || p["third"].count.Load() != 0 {
		t.Errorf("the other got %d of 20", n)
	}
}

// Groups of users of a file and of a service count as those of the configuration do.
func TestGroupsFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"users.csv":  "name,password,from,group\ncsv,12345678,+15550001111,staff sales\ncsv-other,12345678,+15550001111,\n",
		"users.json": `[{"name": "json", "passwords": ["12345678"], "from": ["+15550001111"], "groups": ["sales"]}]`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ User string }
		_ = json.NewDecoder(r.Body).Decode(&asked)
		groups := "[]"
		if asked.User == "http" {
			groups = `["sales", "it"]`
		}
		fmt.Fprintf(w, `{"allowed": true, "user": %q, "from": ["+15550001111"], "groups": %s}`, asked.User, groups)
	}))
	defer service.Close()
	p := newProviders(t, "sales", "rest")
	s := newSite(t, crew+p.adapter("sales", "when group sales nobodys")+p.adapter("rest", "")+
		"users file "+dir+"/users.csv\nusers file "+dir+"/users.json\nusers http "+service.URL)
	for user, want := range map[string]string{
		"alice": "sales", "bob": "rest", "csv": "sales", "csv-other": "rest", "json": "sales", "http": "sales", "http-other": "rest",
	} {
		w := s.send(t, get("username="+user+"&password=12345678&to=5551231234&body=hi"))
		if got := p.asked(); w.Code != 200 || got != want {
			t.Errorf("%s: %d, asked %q, want %q", user, w.Code, got, want)
		}
	}
}

// The values of placeholders are read when the configuration is loaded.
func TestRoutingPlaceholders(t *testing.T) {
	t.Setenv("SHARED_NUMBER", "(555) 000-2222")
	t.Setenv("EUROPE", "DE")
	p := newProviders(t, "own", "eu", "rest")
	s := newSite(t, crew+p.adapter("own", "senders {env.SHARED_NUMBER}")+p.adapter("eu", "when to {env.EUROPE}")+p.adapter("rest", ""))
	for query, want := range map[string]string{
		"to=5551231234": "rest", "to=5551231234&sender=%2B15550002222": "own", "to=%2B4915112345678": "eu",
	} {
		s.send(t, get("username=alice&password=12345678&body=hi&"+query))
		if got := p.asked(); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestRoutingRefuses(t *testing.T) {
	t.Setenv("NO_NUMBER", "nonsense!")
	for adapter, want := range map[string]string{
		"when to {env.NO_NUMBER}":           "adapter sandbox: when to: unknown destination; write",
		"when from {env.NO_NUMBER}":         "adapter sandbox: when from: invalid number, short code or sender ID; write",
		"when {env.NO_NUMBER}":              "adapter sandbox: when: unknown condition; known",
		"when user {env.NOT_SET_AT_ALL}":    "adapter sandbox: when: the environment variable NOT_SET_AT_ALL is not set",
		"senders {env.NO_NUMBER}":           "adapter sandbox: senders: invalid number, short code or sender ID; write",
		"senders ACME {env.NOT_SET_AT_ALL}": "adapter sandbox: senders: the environment variable NOT_SET_AT_ALL is not set",
		"when user alcie":                   `unknown user "alcie", did you mean alice?`,
		"when group sale":                   `unknown group "sale", did you mean sales?`,
		"weight -1":                         "weight takes a whole number, such as 3",
		"weight":                            "weight takes exactly one value",
		"sender +15550001111 ACME":          "did you mean senders?",
	} {
		if _, err := provision(t, crew+"adapter sandbox {\n"+adapter+"\n}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", adapter, err, want)
		}
	}
	for config, want := range map[string]string{
		`"weight": -1`:                      "weight takes a whole number, such as 3",
		`"when": [[]]`:                      "when takes a condition",
		`"when": [["user", "bob"]]`:         "when user: unknown user",
		`"when": [["to", "US"], ["to us"]]`: "when: unknown condition",
		`"senders": [""]`:                   "invalid number",
	} {
		h := new(Handler)
		raw := `{"users": [{"name": "alice", "passwords": ["12345678"]}], "default_region": "US", "adapters": [{"definition": "sandbox", ` + config + `}]}`
		if err := caddy.StrictUnmarshalJSON([]byte(raw), h); err != nil {
			t.Fatal(err)
		}
		if _, err := start(t, h); err == nil || !strings.Contains(err.Error(), "adapter sandbox: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// The site of docs/providers.md with several providers does what the text around it says.
func TestSeveralProvidersPage(t *testing.T) {
	data, err := os.ReadFile("../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n## Several providers\n")
	_, rest, _ = strings.Cut(rest, "```caddyfile\n")
	site, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the page has no such site")
	}
	if diff := cmp.Diff(string(caddyfile.Format([]byte(site))), site); diff != "" {
		t.Errorf("it is not as caddy fmt writes it: %s", diff)
	}
	for _, name := range regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(site, -1) {
		t.Setenv(name[1], "12345678")
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(site), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	handlers := handlersIn(config)
	if len(handlers) != 1 {
		t.Fatalf("%d handlers", len(handlers))
	}
	p := newProviders(t, "clicksend", "europe", "telnyx", "twilio")
	h := handlers[0]
	for _, a := range h.Adapters {
		a.BaseURL = p[a.name()].URL
	}
	p["clicksend"].say(200, `{"data":{"messages":[{"status":"SUCCESS","message_id":"SM1"}]}}`)
	p["telnyx"].say(200, `{"data":{"id":"SM1","to":[{"status":"queued"}]}}`)
	s, err := start(t, h)
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"alice to=%2B4915112345678":                        "europe",
		"alice to=%2B4915112345678&sender=%2B442079460123": "clicksend",
		"alice to=%2B447400123456&sender=%2B442079460123":  "clicksend",
		"alice to=5551231234":                              "telnyx or twilio",
		"bob to=5551231234":                                "telnyx or twilio",
		"bob to=%2B4915112345678":                          "403",
	} {
		user, query, _ := strings.Cut(query, " ")
		w := s.send(t, get("username="+user+"&password=12345678&body=hi&"+query))
		got := p.asked()
		if got == "" {
			got = strconv.Itoa(w.Code)
		}
		if got != want && !(want == "telnyx or twilio" && (got == "telnyx" || got == "twilio")) {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	p["telnyx"].say(402, `{}`)
	p["twilio"].say(402, `{}`)
	s.send(t, get("username=bob&password=12345678&body=hi&to=5551231234"))
	if p["telnyx"].count.Load() != 1 || p["twilio"].count.Load() != 1 {
		t.Errorf("one does not stand in for the other: %s", p.asked())
	}
}

// An adapter whose senders nobody has takes no message, which the operator is told, if all users are known.
func TestSendersOfNobody(t *testing.T) {
	h := &Handler{DefaultRegion: "US", Users: []*User{{Name: "ann", From: []string{"5550001111"}}, {Name: "bob"}}}
	for value, want := range map[string]bool{"+15550001111": true, "+15550002222": false, "ACME": false} {
		n, err := number.ParseSender(value, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := h.mayHaveNumber([]sms.Number{n}); got != want {
			t.Errorf("somebody has %s: %t", value, got)
		}
	}
	n, _ := number.Sender("+15550002222", "")
	h.Users[1].From = []string{"{env.NUMBER}"}
	if !h.mayHaveNumber([]sms.Number{n}) {
		t.Error("what a placeholder stands for is taken for known")
	}
	h.Users, h.hasDirectories = nil, true
	if !h.mayHaveNumber([]sms.Number{n}) {
		t.Error("users from elsewhere are taken for known")
	}
}

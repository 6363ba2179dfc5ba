package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// openOf are the servers that the start of a Caddyfile warns of, and their sites.
func openOf(t *testing.T, config string) (servers [][]string) {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	var c caddy.Config
	if err := json.Unmarshal(adapted, &c); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	t.Cleanup(cancel)
	app, err := ctx.LoadModuleByID("http", c.AppsRaw["http"])
	if err != nil {
		t.Fatal(err)
	}
	core, log := observer.New(zapcore.WarnLevel)
	warnUncovered(app.(*caddyhttp.App), zap.New(core))
	for _, e := range log.TakeAll() {
		if e.Message != noLastAnswer {
			t.Errorf("warning %s", e.Message)
		}
		fields := e.ContextMap()
		var sites []string
		for _, host := range fields["sites"].([]any) {
			sites = append(sites, host.(string))
		}
		servers = append(servers, sites)
	}
	return servers
}

// A server that leaves hosts or paths to Caddy, which answers them with an empty 200, draws a warning at the start.
func TestLastAnswer(t *testing.T) {
	const sms = "acrobits_sms /send_message* {\nuser johndow {\npassword {env.HOME}\n}\ndefault_region US\nadapter sandbox\n}\n"
	for _, c := range []struct {
		name, config string
		want         [][]string
	}{
		{"a site without an answer", "https://sms.example.com {\n" + sms + "}", [][]string{{"sms.example.com"}}},
		{"a site with one, other hosts without", "https://sms.example.com {\n" + sms + "respond 404\n}", [][]string{{}}},
		{"both", "https://sms.example.com {\n" + sms + "respond 404\n}\nhttps:// {\nrespond 404\n}", nil},
		{"as the warning says", "https://sms.example.com {\n" + sms + lastAnswer + "\n}\n" + otherSites + " {\n" + lastAnswer + "\n}", nil},
		{"other hosts with an answer, the site without", "https://sms.example.com {\n" + sms + "}\nhttps:// {\nrespond 404\n}", [][]string{{"sms.example.com"}}},
		{"one of two sites without", "https://a.example.com {\n" + sms + "respond 404\n}\nhttps://b.example.com {\n" + sms + "}\nhttps:// {\nrespond 404\n}", [][]string{{"b.example.com"}}},
		{"a handle block that leaves paths open", "http://:8080 {\nhandle /send* {\n" + sms + "}\nhandle {\nrespond 404\n}\n}", [][]string{nil}},
		{"a handle block before an answer to all", "http://:8080 {\nhandle /send* {\n" + sms + "}\nhandle /health {\nrespond 200\n}\nrespond 404\n}", nil},
		{"every host", "http://:8080 {\n" + sms + "respond 404\n}", nil},
		{"every host without", "http://:8080 {\n" + sms + "}", [][]string{nil}},
		{"an answer for some paths", "http://:8080 {\n" + sms + "respond /health 200\n}", [][]string{nil}},
		{"all paths", "http://:8080 {\n" + strings.Replace(sms, " /send_message*", "", 1) + "}", nil},
		{"a proxy", "http://:8080 {\n" + sms + "reverse_proxy 127.0.0.1:9000\n}", nil},
		{"an error", "http://:8080 {\n" + sms + "error 404\n}", nil},
		{"handle", "http://:8080 {\nhandle /send_message* {\n" + strings.Replace(sms, " /send_message*", "", 1) + "}\nhandle {\nrespond 404\n}\n}", nil},
		{"handle without the last", "http://:8080 {\nhandle /send_message* {\n" + sms + "}\n}", [][]string{nil}},
		{"what passes requests on", "http://:8080 {\nheader X-A b\nvars a b\n" + sms + "}", [][]string{nil}},
		{"another server", "http://:8080 {\n" + sms + "respond 404\n}\nhttp://:8081 {\nrespond /health 200\n}", nil},
	} {
		got := openOf(t, c.config)
		if !slices.EqualFunc(got, c.want, func(a, b []string) bool { return slices.Equal(a, b) }) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The app of this module says so when it starts, whatever is started first.
func TestStartWarnsOfOpenServers(t *testing.T) {
	core, log := observer.New(zapcore.WarnLevel)
	t.Cleanup(zap.ReplaceGlobals(zap.New(core)))
	raw := json.RawMessage(`{"servers": {"srv0": {"listen": [":0"], "routes": [{"match": [{"path": ["/send_message*"]}], "handle": [{"handler": "acrobits_sms",
		"users": [{"name": "johndow", "passwords": ["{env.HOME}"]}], "default_region": "US", "adapters": [{"definition": "sandbox"}]}]}]}}}`)
	ctx, err := caddy.ProvisionContext(&caddy.Config{AppsRaw: caddy.ModuleMap{"http": raw}})
	if err != nil {
		t.Fatal(err)
	}
	web, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	defer web.(*caddyhttp.App).Servers["srv0"].Routes[0].Handlers[0].(*Handler).Cleanup()
	app, err := ctx.App("acrobits_sms")
	if err != nil {
		t.Fatal(err)
	}
	defer app.(*App).Cleanup()
	warnUncoveredServers(app.(*App).ctx, zap.L())
	if warned := log.FilterMessage(noLastAnswer).All(); len(warned) != 1 || warned[0].ContextMap()["server"] != "srv0" {
		t.Errorf("%v", log.All())
	}
}

// The sites that are recommended answer all hosts and paths, with the sentences that the app knows. The app shows the first 100
// characters of such a body.
func TestRecommendedSitesAnswerAll(t *testing.T) {
	for _, name := range []string{"JOHNDOW_PASSWORD", "ALICE_PASSWORD", "BOB_PASSWORD", "ALICE_PASSWORD_HASH", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TELNYX_API_KEY", "LEGACY_API_KEY", "UPSTREAM_USERNAME", "UPSTREAM_PASSWORD"} {
		t.Setenv(name, "correct horse battery")
	}
	wrongAddress, hidden := sms.Sentences()["not_found"], sms.Sentences()["unauthorized.hidden_password"]
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```caddyfile\nsms.example.com {")
	site, _, _ := strings.Cut(rest, "```")
	sites := map[string]string{"README": "sms.example.com {" + site}
	files, _ := filepath.Glob("examples/*.caddyfile")
	for _, file := range append(files, "../Caddyfile.example") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sites[file] = string(text)
	}
	for name, site := range sites {
		if open := openOf(t, site); open != nil {
			t.Errorf("%s leaves requests to Caddy: %q", name, open)
		}
		if !strings.Contains(site, "http://:8080 {") && !strings.Contains(site, `respond "`+wrongAddress+`" 404`) {
			t.Errorf("%s does not answer: %s", name, wrongAddress)
		}
		if strings.Contains(site, "http://sms.example.com") && !strings.Contains(site, `respond "`+hidden+`" 403`) {
			t.Errorf("%s does not answer: %s", name, hidden)
		}
	}
	if !strings.Contains(sites["README"], "http://sms.example.com {") || !strings.Contains(sites["examples/production.caddyfile"], "http://sms.example.com") {
		t.Error("http:// is not answered with a sentence")
	}
}

//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func example(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestExample runs Caddyfile.example as it stands, in an empty environment, and sends it what the README says.
func TestExample(t *testing.T) {
	file := example(t, "Caddyfile.example")
	if out, err := command(t, nil, "validate", "--config", file, "--adapter", "caddyfile"); err != nil {
		t.Fatal(out)
	}
	checkListeners(t, file)
	checkRedaction(t, file)
	s := start(t, file, "127.0.0.1:8080")
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:8080/send_message/"
	for to, want := range map[string]string{
		"%2B15551231234": "<sms_id>", "%2B15551230402": "Not enough credit", "5551230406": "Invalid recipient", "5551230410": "opted out", "5551230413": "too long",
		"5551230429": "busy", "5551230503": "busy",
	} {
		target := "?from=johndow&password=12345678&sms_to=" + to + "&sms_body=Hello%20World"
		resp, err := http.Get(url + target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, want %s", to, body, want)
		}
		if strings.HasPrefix(to, "%") && !strings.Contains(string(readme), target) {
			t.Errorf("the README does not hold %s", target)
		}
		if to == "%2B15551230402" && !strings.Contains(string(readme), strings.TrimSpace(string(body))) {
			t.Errorf("the README does not show %s", body)
		}
	}
	const doc = `{ "from": "johndow", "password": "12345678", "sms_to": "+1(555)123-0406", "sms_body": "Hello World" }`
	resp, err := http.Post(url, "application/json", strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(readme), doc) || !strings.Contains(string(readme), strings.TrimSpace(string(body))) {
		t.Errorf("the README does not hold the JSON example and its reply %s", body)
	}
	sendExamplePicture(t, url, string(readme))
	s.stop()
	if out := s.out.String(); strings.Contains(out, "12345678") || strings.Contains(out, "photo.jpg") || strings.Contains(out, "Hello") || !strings.Contains(out, "REDACTED") || !strings.Contains(out, `"outcome":"accepted"`) ||
		strings.Contains(out, "no route handles") {
		t.Errorf("the log:\n%s", out)
	}
}

// sendExamplePicture sends the picture of the README, which lies on the stand-in for the app's media server.
func sendExamplePicture(t *testing.T, url, readme string) {
	t.Helper()
	const doc = `{ "from": "johndow", "password": "12345678", "sms_to": "+15551231234", "content_type": "application/x-acro-filetransfer+json", "sms_body": "{\"attachments\":[{\"content-url\":\"http://localhost:8081/photo.jpg\"}]}" }`
	if !strings.Contains(readme, doc) {
		t.Error("the README does not hold the picture")
	}
	picture := photo(t)
	l, err := net.Listen("tcp", "127.0.0.1:8081")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(picture) })}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	resp, err := http.Post(url, "application/json", strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.Contains(string(body), "sms_id") {
		t.Errorf("a picture: %d %s", resp.StatusCode, body)
	}
}

// adapted is what of an adapted configuration the tests below look at.
type adapted struct {
	Logging struct {
		Logs map[string]struct {
			Encoder struct {
				Format string
				Fields map[string]struct{ Filter string }
			}
		}
	}
	Apps struct {
		HTTP struct {
			Servers map[string]struct{ Listen []string }
		}
	}
}

func adapt(t *testing.T, file string, env ...string) (config adapted) {
	t.Helper()
	out, err := command(t, env, "adapt", "--config", file, "--adapter", "caddyfile")
	if err != nil {
		t.Fatal(out)
	}
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{\""):]), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// checkListeners holds the example, whose password everybody knows, to this machine.
func checkListeners(t *testing.T, file string) {
	t.Helper()
	servers := adapt(t, file).Apps.HTTP.Servers
	if len(servers) == 0 {
		t.Fatal("the example has no server")
	}
	for name, s := range servers {
		for _, listen := range s.Listen {
			if host, _, err := net.SplitHostPort(listen); err != nil || host != "127.0.0.1" && host != "::1" {
				t.Errorf("%s listens on %s", name, listen)
			}
		}
	}
}

// checkRedaction looks for the filter in the default log, where Caddy writes the addresses of requests that fail, and in
// the log of the site, if it has one.
func checkRedaction(t *testing.T, file string, env ...string) {
	t.Helper()
	logs := adapt(t, file, env...).Logging.Logs
	if _, ok := logs["default"]; !ok {
		t.Errorf("%s says nothing of the default log", file)
	}
	for name, l := range logs {
		if l.Encoder.Format != "filter" || l.Encoder.Fields["request>uri"].Filter != "regexp" || l.Encoder.Fields["request>headers>Referer"].Filter != "delete" {
			t.Errorf("%s: the log %s shows passwords: %+v", file, name, l.Encoder)
		}
	}
}

// Validating a configuration asks nobody anything.
func TestValidateOffline(t *testing.T) {
	p := newProvider(t).plain()
	file := write(t, "Caddyfile", options+site("http", freeAddress(t))+" {\nbind 127.0.0.1\nacrobits_sms {\ndefault_region US\nuser x {\npassword {env.PASSWORD}\n}\nadapter twilio {\naccount_sid AC1\nauth_token {env.PASSWORD}\nbase_url "+p.URL+
		"\n}\nadapter ringcentral {\nclient_id a\nclient_secret {env.PASSWORD}\njwt {env.PASSWORD}\nbase_url "+p.URL+"\n}\nadapter aws_sns {\nregion us-east-1\nbase_url "+p.URL+"\n}\n}\n}\n")
	if out, err := command(t, []string{"PASSWORD=correct horse battery"}, "validate", "--config", file, "--adapter", "caddyfile"); err != nil {
		t.Fatal(out)
	}
	if len(p.take()) != 0 || p.opened != 0 {
		t.Errorf("%d connections", p.opened)
	}
}

// plainSites puts the other sites of an example on the port of the first, under hosts of their own: the ports of the examples are in
// use on many machines.
func plainSites(address string) []string {
	_, port, _ := strings.Cut(address, ":")
	return []string{"SMS_HTTP=http://plain.example:" + port, "SMS_OTHERS=http://other.example:" + port}
}

// TestSites runs the example sites, unchanged, against mocks.
func TestSites(t *testing.T) {
	t.Run("production", func(t *testing.T) {
		p := newProvider(t).plain()
		address := freeAddress(t)
		env := []string{
			"SMS_SITE=" + site("http", address), "TWILIO_URL=" + p.URL, "TELNYX_URL=" + p.URL, "JOHNDOW_PASSWORD=12345678", "ALICE_PASSWORD_HASH=correct horse battery",
			"TWILIO_ACCOUNT_SID=AC1", "TWILIO_AUTH_TOKEN=x", "TELNYX_API_KEY=x",
		}
		named := env[3:] // with its own host names
		env = append(env, plainSites(address)...)
		file := example(t, "caddymodule/examples/production.caddyfile")
		if out, err := command(t, named, "validate", "--config", file, "--adapter", "caddyfile"); err != nil {
			t.Errorf("with its own host names: %s", out)
		}
		checkRedaction(t, file, env...)
		start(t, file, address, env...)
		if status, body := send(t, http.DefaultClient, "http://"+address+"/send_message/", "5551231234", "Hi"); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		p.do(func(w http.ResponseWriter, r *http.Request) { // no credit at the first, the second takes it
			if strings.HasSuffix(r.URL.Path, "Messages.json") {
				w.WriteHeader(402)
				return
			}
			_, _ = io.WriteString(w, `{"data":{"id":"telnyx-id","errors":[],"to":[{"status":"queued"}]}}`)
		})
		p.take()
		if status, body := send(t, http.DefaultClient, "http://"+address+"/send_message/", "5551231234", "Hi"); status != 200 || !strings.Contains(body, "telnyx-id") || len(p.take()) != 2 {
			t.Errorf("failover: %d %s", status, body)
		}
		if resp, err := http.Get("http://" + address + "/else"); err != nil || resp.StatusCode != 404 {
			t.Errorf("elsewhere: %v %v", resp, err)
		}
	})
	t.Run("legacy", func(t *testing.T) {
		p := newProvider(t).plain()
		address := freeAddress(t)
		start(t, example(t, "caddymodule/examples/legacy-in-front.caddyfile"), address,
			"SMS_SITE="+site("http", address), "LEGACY_URL="+p.URL, "JOHNDOW_PASSWORD=12345678", "LEGACY_API_KEY=legacy-key", plainSites(address)[1])
		p.say(200, `{"result":"ok","message_id":77}`)
		status, body := send(t, http.DefaultClient, "http://"+address+"/send_message/", "+15551231234", "Hi")
		got := p.take()
		if status != 200 || !strings.Contains(body, `"77"`) || len(got) != 1 || got[0].URL.Path != "/api/sms" || got[0].Header.Get("X-Api-Key") != "legacy-key" ||
			got[0].body != `{"recipient":"15551231234","sender":"15550001111","message":"Hi"}` {
			t.Errorf("%d %s %+v", status, body, got)
		}
		p.say(200, `{"result":"error","error":{"code":"BALANCE","text":"top up"}}`)
		if status, body := send(t, http.DefaultClient, "http://"+address+"/send_message/", "+15551231234", "Hi"); status != 402 || !strings.Contains(body, "Not enough credit") {
			t.Errorf("%d %s", status, body)
		}
		p.take()
		p.say(200, "the API itself")
		resp, err := http.Get("http://" + address + "/api/balance?x=1")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := p.take(); string(text) != "the API itself" || len(got) != 1 || got[0].URL.String() != "/api/balance?x=1" {
			t.Errorf("%s %+v", text, got)
		}
	})
	t.Run("upstream", func(t *testing.T) {
		p := newProvider(t).plain()
		address := freeAddress(t)
		start(t, example(t, "caddymodule/examples/acrobits-upstream.caddyfile"), address,
			"SMS_SITE="+site("http", address), "UPSTREAM_URL="+p.URL, "JOHNDOW_PASSWORD=12345678", "UPSTREAM_USERNAME=bridge", "UPSTREAM_PASSWORD=secret", plainSites(address)[1])
		p.say(202, `{ "sms_id" : "12456" }`)
		status, body := tap(t, http.DefaultClient, "http://"+address+"/send_message/", "+15551231234", "Hi", "x")
		got := p.take()
		const want = `{"username":"bridge","password":"secret","from":"+15550001111","sms_to":"+15551231234","sms_body":"Hi","content_type":"text/plain","disposition_notification":"x:display"}`
		if status != 200 || !strings.Contains(body, `"12456"`) || len(got) != 1 || got[0].body != want {
			t.Errorf("%d %s %+v", status, body, got)
		}
		for upstream, want := range map[int]int{402: 402, 406: 406, 403: 403, 400: 502, 500: 504} {
			p.say(upstream, `{ "message" : "Only between 8 and 18 h" }`)
			status, body := send(t, http.DefaultClient, "http://"+address+"/send_message/", "+15551231234", "Hi")
			if status != want || strings.Contains(body, "Only between") != (want != 504) {
				t.Errorf("%d is answered %d %s", upstream, status, body)
			}
		}
	})
}

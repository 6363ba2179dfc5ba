//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// in runs a command of the binary in a folder.
func in(t *testing.T, dir string, env []string, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Dir, cmd.Env = dir, environment(t, env...)
	out, err := cmd.Output()
	return string(out), err
}

func TestAdaptersCommand(t *testing.T) {
	list, err := in(t, t.TempDir(), nil, "acrobits-sms", "adapters")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("../../adapters/providers/*.caddyfile")
	if lines := strings.Count(list, "\n"); lines != len(files) || lines < 45 {
		t.Errorf("%d lines for %d definitions", lines, len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfile")
		if !strings.Contains("\n"+list, "\n"+name+" ") {
			t.Errorf("%s is not listed", name)
		}
	}
	want, _ := os.ReadFile("../../adapters/providers/twilio.caddyfile")
	if got, err := in(t, t.TempDir(), nil, "acrobits-sms", "adapters", "twilio"); err != nil || got != string(want) {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := in(t, t.TempDir(), nil, "acrobits-sms", "adapters", "twillio"); err == nil {
		t.Error("an unknown adapter is printed")
	}
}

const support = `sms.example.com {
	acrobits_sms /send_message* {
		user johndow {
			password {env.PASSWORD}
			from +15550002222
		}
		default_region US
		define legacy legacy.caddyfile
		adapter twilio as main {
			account_sid AC77
			auth_token {env.TWILIO_AUTH_TOKEN}
			base_url {env.TWILIO_URL}
		}
		adapter legacy {
			key {env.LEGACY_KEY}
			base_url https://legacy.example.com
		}
	}
}
`

const legacy = "option key secret\nsend {\n\tPOST /send\n\theader X-Key {option.key}\n\tform {\n\t\tto {sms.to}\n\t\ttext {sms.body}\n\t}\n}\nreply text\naccepted status 200\nid `^OK (\\d+)$`\naccepted id exists\n"

// The commands find an adapter in the configuration of the folder that they are called in. A curl line sends what the
// adapter sends, whatever stands in the text; a live message is sent once, and nothing private is recorded.
func TestTryAndRecord(t *testing.T) {
	p := newProvider(t).plain()
	dir := t.TempDir()
	for name, text := range map[string]string{"Caddyfile": support, "legacy.caddyfile": legacy} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secrets := filepath.Join(dir, "secrets.env")
	if err := os.WriteFile(secrets, []byte("# as for caddy run\n\nTWILIO_AUTH_TOKEN=\"canary-auth-token\"\nTWILIO_URL="+p.URL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"TWILIO_URL=" + p.URL}
	shown, err := in(t, dir, env, "acrobits-sms", "try", "legacy", "--to", "555 123 1234", "--body", "Hi")
	if err != nil || !strings.Contains(shown, "POST https://legacy.example.com/send\n") || !strings.Contains(shown, "X-Key: $SMS_KEY\n") || !strings.Contains(shown, "to=%2B15551231234&text=Hi") {
		t.Errorf("%v: %s", err, shown)
	}
	const text = "It's $HOME & \"more\""
	line, err := in(t, dir, env, "acrobits-sms", "try", "main", "--to", "212 555 0123", "--body", text, "--curl") // from the user's number
	if err != nil || strings.Contains(line, "canary") || len(p.take()) != 0 {
		t.Fatalf("%v: %s", err, line)
	}
	curl := exec.Command("sh", "-c", line)
	curl.Env = []string{"PATH=" + os.Getenv("PATH"), "SMS_AUTH_TOKEN=a 'secret' $x", "HOME=/nowhere"}
	if out, err := curl.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, line)
	}
	got := p.take()
	if len(got) != 1 || got[0].URL.Path != "/2010-04-01/Accounts/AC77/Messages.json" || got[0].body != "To=%2B12125550123&From=%2B15550002222&Body=It%27s+%24HOME+%26+%22more%22" {
		t.Fatalf("%+v\n%s", got, line)
	}
	if user, password, _ := got[0].BasicAuth(); user != "AC77" || password != "a 'secret' $x" {
		t.Errorf("%s %s", user, password)
	}

	p.do(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(201)
		_, _ = io.WriteString(w, `{"sid":"SM1","to":"+12125550123","status":"queued"}`)
	})
	file := filepath.Join(dir, "success.json")
	if out, err := in(t, dir, env, "acrobits-sms", "record", "main", "--envfile", secrets, "--live", "--to", "212 555 0123", "--out", file); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	recorded, err := os.ReadFile(file)
	if err != nil || len(p.take()) != 1 || strings.Contains(string(recorded), "canary") || strings.Contains(string(recorded), "2125550123") {
		t.Errorf("%v: %s", err, recorded)
	}
	var x struct {
		Result struct{ Outcome, ID string }
	}
	if err := json.Unmarshal(recorded, &x); err != nil || x.Result.Outcome != "accepted" || x.Result.ID != "SM1" {
		t.Errorf("%v: %+v", err, x)
	}
	if _, err := in(t, dir, env, "acrobits-sms", "record", "main", "--envfile", secrets, "--live", "--to", "2125550123", "--out", file); err == nil || len(p.take()) != 0 {
		t.Error("a recorded exchange is overwritten, or a message sent for nothing")
	}
}

//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Counts, the users of a file and lockouts outlive a reload, a rotated secret and a configuration that is refused. The admin endpoint
// pauses and resumes everything.
func TestStateOutlivesReload(t *testing.T) {
	p := newProvider(t).plain()
	p.say(201, `{"sid":"SM1"}`)
	address, admin := freeAddress(t), freeAddress(t)
	global := "{\n\tadmin " + admin + "\n\tauto_https off\n}\n"
	config := global + twilio(site("http", address), p.URL, "", "\t\tlimit user 3 messages per day\n\t\tusers file users.csv")
	file := write(t, "Caddyfile", config)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "users.csv"), []byte("name,password,from\nann,12345678,+15550007777\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, file, address, "TOKEN=x", "OTHER_TOKEN=y")
	post := func(path, contentType, body string) (int, string) {
		t.Helper()
		resp, err := http.Post("http://"+admin+path, contentType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	// The configuration as the command adapts it, since the server's own folder is another.
	load := func(config string) int {
		t.Helper()
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := command(t, []string{"TOKEN=x", "OTHER_TOKEN=y"}, "reload", "--config", file, "--adapter", "caddyfile", "--address", admin)
		if err != nil {
			return 400
		}
		return 200
	}
	with := func(user, password string) int {
		t.Helper()
		resp, err := http.PostForm("http://"+address+"/send_message", url.Values{"username": {user}, "password": {password}, "sms_to": {"5551231234"}, "sms_body": {time.Now().String()}}) // each another, or else it may be a repeat
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	as := func(user string) int { return with(user, "12345678") }
	for i, step := range []struct {
		what string
		got  func() int
		want int
	}{
		{"first", func() int { return as("ann") }, 200},
		{"second", func() int { return as("ann") }, 200},
		{"reload", func() int { return load(strings.Replace(config, "default_region US", "default_region CA", 1)) }, 200},
		{"third", func() int { return as("ann") }, 200},
		{"fourth", func() int { return as("ann") }, 429},
		{"another", func() int { return as("johndow") }, 200},
		{"rotate", func() int { return load(strings.Replace(config, "{env.TOKEN}", "{env.OTHER_TOKEN}", 1)) }, 200},
		{"after it", func() int { return as("ann") }, 429},
		{"a mistake", func() int { return load(strings.Replace(config, "adapter twilio", "adapter twillio", 1)) }, 400},
		{"after it", func() int { return as("ann") }, 429},
		{"pause", func() int { status, _ := post("/acrobits_sms/pause", "", ""); return status }, 200},
		{"paused", func() int { return as("johndow") }, 429},
		{"reload", func() int { return load(config) }, 200},
		{"still paused", func() int { return as("johndow") }, 429},
		{"resume", func() int { status, _ := post("/acrobits_sms/resume", "", ""); return status }, 200},
		{"resumed", func() int { return as("johndow") }, 200},
		{"wider", func() int { return load(strings.Replace(config, "user 3 messages", "user 4 messages", 1)) }, 200},
		{"one more", func() int { return as("ann") }, 200},
		{"and no more", func() int { return as("ann") }, 429},
		{"guesses", func() int {
			for range 11 {
				with("johndow", "wrong")
			}
			return as("johndow")
		}, 429},
		{"reload", func() int { return load(config) }, 200},
		{"still locked out", func() int { return as("johndow") }, 429},
		{"unlock", func() int { status, _ := post("/acrobits_sms/unlock", "", ""); return status }, 200},
		{"unlocked", func() int { return as("johndow") }, 200},
	} {
		if got := step.got(); got != step.want {
			t.Errorf("step %d, %s: %d, want %d", i, step.what, got, step.want)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "users.csv"), []byte("name,password,from\nann,12345678,nonsense!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		return as("ann") == 429 && strings.Contains(s.out.String(), "cannot read the users file")
	}) {
		t.Error("a file that cannot be read is taken, or it is not said")
	}
	if n := len(p.take()); n != 7 {
		t.Errorf("%d messages went out, want 7", n)
	}
}

package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// reloading is a Caddy whose configuration comes, goes and comes again.
type reloading struct {
	*testing.T
	provider *httptest.Server
	texts    atomic.Int32 // that the provider has accepted
	asked    atomic.Int32
	open     atomic.Int32 // connections to the provider
	address  string
	journal  string        // the global option, if any
	ahead    time.Duration // of the pool's clock
}

func newReloading(t *testing.T, journal string) *reloading {
	c := &reloading{T: t, journal: journal}
	c.provider = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		if strings.Contains(r.URL.Path, "/full/") {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
			return
		}
		w.WriteHeader(201)
		_, _ = fmt.Fprintf(w, `{"sid":"SM%d"}`, c.texts.Add(1))
	}))
	c.provider.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			c.open.Add(1)
		case http.StateClosed:
			c.open.Add(-1)
		}
	}
	c.provider.Start()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		c.provider.Close()
		for end := time.Now().Add(10 * time.Second); len(sharedState.All()) > 0 && time.Now().Before(end); { // a handler leaves after its reply was read
			_ = sharedState.DropIdle()
			time.Sleep(time.Millisecond)
		}
		sharedState.Now = nil
	})
	sharedState.Now = func() time.Time { return time.Now().Add(c.ahead) }
	return c
}

// load loads a configuration, with sites that send messages or without.
func (c *reloading) load(with bool) {
	c.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // another one each time, because the server before may still accept a connection
	if err != nil {
		c.Fatal(err)
	}
	c.address = l.Addr().String()
	_ = l.Close()
	options := "admin off\npersist_config off\ngrace_period 1s\nlog {\noutput discard\n}\n"
	if with {
		options += c.journal
	}
	file := "{\n" + options + "}\nhttp://" + c.address + " {\n"
	if with {
		for path, account := range map[string]string{"/send": "AC1", "/full": "full"} {
			file += "acrobits_sms " + path + " {\nuser ann {\npassword x72hs9wkah2\nfrom +15550001111\n}\nuser bob {\npassword u2hd83hdhs\nfrom +15550001111\n}\n" +
				"default_region US\nlimit user 2 messages per day\nlockout 2 5m\n" +
				"adapter twilio {\nbase_url " + c.provider.URL + "\naccount_sid " + account + "\nauth_token fictional-token\n}\n}\n"
		}
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(file+"respond 404\n}"), nil)
	if err == nil {
		err = caddy.Load(config, true)
	}
	if err != nil {
		c.Fatal(err)
	}
}

// send sends a text from an address of the loopback network.
func (c *reloading) send(from, path, query string) string {
	c.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, network, address)
		},
	}}
	reply, err := client.Get("http://" + c.address + path + "?" + query)
	if err != nil {
		c.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		c.Fatal(err)
	}
	return fmt.Sprint(reply.StatusCode, " ", string(body))
}

const (
	annSays   = "username=ann&password=x72hs9wkah2&sms_to=5551231234&sms_body="
	firstText = annSays + "one&disposition_notification=m-7741:display"
	home      = "127.0.0.1"
	guesser   = "127.7.7.7"
)

// use reaches a limit of each kind.
func (c *reloading) use() {
	c.Helper()
	c.expect("the first text", c.send(home, "/send", firstText), "200 ", "SM1")
	c.expect("the second text", c.send(home, "/send", annSays+"two"), "200 ", "SM2")
	c.expect("the quota", c.send(home, "/full", annSays+"three"), "429 ", "The limit at the provider is reached")
	for range 3 {
		c.expect("a wrong password", c.send(guesser, "/send", "username=ann&password=wrong&sms_to=5551231234&sms_body=x"), "4", "")
	}
	if status, answer := admin(c.T, "POST", "/acrobits_sms/block?user=bob"); status != 200 {
		c.Fatalf("%d %s", status, answer)
	}
}

func (c *reloading) expect(what, got, status, part string) {
	c.Helper()
	if !strings.HasPrefix(got, status) || !strings.Contains(got, part) {
		c.Errorf("%s: %q, want %s… with %q", what, got, status, part)
	}
}

// A reload to a configuration without the handler, and back, forgets nothing within an hour, and within a day no id, limit or block.
func TestReloadWithoutHandler(t *testing.T) {
	for _, away := range []time.Duration{0, 59 * time.Minute, 61 * time.Minute, 23 * time.Hour, 25 * time.Hour} {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			c := newReloading(t, "")
			c.load(true)
			c.use()
			c.load(false)
			c.expect("without the handler", c.send(home, "/send", firstText), "404 ", "")
			c.ahead = away
			c.load(true)
			asked := c.asked.Load()
			hour, day := away < time.Hour, away < 24*time.Hour
			if got := c.send(guesser, "/send", firstText); strings.Contains(got, "Too many wrong passwords") != hour {
				t.Errorf("the lockout: %s", got)
			}
			if day {
				c.expect("the id", c.send(home, "/send", firstText), "200 ", "SM1")
				c.expect("the limit", c.send(home, "/send", annSays+"four"), "429 ", "Too many messages")
				c.expect("the block", c.send(home, "/send", strings.NewReplacer("ann", "bob", "x72hs9wkah2", "u2hd83hdhs").Replace(annSays)+"five"), "429 ", "Sending is blocked")
			} else {
				c.expect("after a day", c.send(home, "/send", firstText), "200 ", "SM3")
			}
			if _, status := admin(t, "GET", "/acrobits_sms/status"); strings.Contains(status, `"quotas":[{"for":"account"`) != hour {
				t.Error(status)
			}
			if n := c.asked.Load() - asked; day && n != 0 || !day && n != 1 {
				t.Errorf("the provider was asked %d times", n)
			}
		})
	}
}

// An operator who resumes or unlocks while no site uses the accounts reaches them too.
func TestResumeWithoutHandler(t *testing.T) {
	c := newReloading(t, "")
	c.load(true)
	c.use()
	c.load(false)
	admin(t, "POST", "/acrobits_sms/resume")
	admin(t, "POST", "/acrobits_sms/unlock")
	c.load(true)
	if got := c.send(guesser, "/send", firstText); strings.Contains(got, "Too many wrong passwords") {
		t.Error(got)
	}
	if _, status := admin(t, "GET", "/acrobits_sms/status"); strings.Contains(status, "quotas") {
		t.Error(status)
	}
}

// Files and connections are released with the last configuration that uses them, and what a file has is there again.
func TestReloadReleases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	c := newReloading(t, "acrobits_sms {\njournal sqlite "+path+"\n}\n")
	c.load(true)
	c.use()
	if !opened(t, path) {
		t.Error("the journal is not open")
	}
	c.load(false)
	for end := time.Now().Add(10 * time.Second); (opened(t, path) || c.open.Load() > 0) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if opened(t, path) || c.open.Load() > 0 {
		t.Errorf("the journal is open %t, %d connections are", opened(t, path), c.open.Load())
	}
	c.load(true)
	c.expect("the id", c.send(home, "/send", firstText), "200 ", "SM1")
}

// opened reports whether this process has a file open.
func opened(t *testing.T, path string) bool {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, path) {
			return true
		}
	}
	return false
}

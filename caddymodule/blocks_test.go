package caddymodule

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

const toldBlocked = "429 Sending is blocked for your account. Please ask your administrator."

// unblockAll ends what a test leaves behind.
func unblockAll(t *testing.T) {
	t.Helper()
	for _, j := range journalsInUse() {
		for _, b := range j.blocks() {
			if _, _, err := j.unblock(b); err != nil {
				t.Error(err)
			}
		}
	}
}

const twoUsers = "user ann {\npassword annes-password\n}\n"

// A blocked user sends nothing more, others do; what was sent before is told as it was, and what is on its way finishes.
func TestBlock(t *testing.T) {
	tapping(t, twoUsers, func(s *site, p *counting) {
		defer unblockAll(t)
		check := func(what, got, want string, took int) {
			t.Helper()
			if got != want || p.took != took {
				t.Errorf("%s: told %q, want %q; %d texts, want %d", what, got, want, p.took, took)
			}
		}
		ann := "user=ann&password=annes-password&to=5551231234&body=ok"
		s.gateway.Deliverer.Routes[0].Transport = transport(func(r *http.Request) (*http.Response, error) {
			if p.took == 0 { // while the first message is on its way
				if status, answer := admin(t, "POST", "/acrobits_sms/block?user=JOHNDOW%40example.com"); status != 200 ||
					answer != `{"user":"johndow@example.com","blocked":true,"note":"`+memoryBlockNote+`"}` {
					t.Errorf("block: %d %s", status, answer)
				}
			}
			return p.RoundTrip(r)
		})
		check("on its way", s.tap(t, named), "200 sms-1", 1)
		check("the same again", s.tap(t, named), "200 sms-1", 1)
		s.events()
		check("another", s.tap(t, otherName), toldBlocked, 1)
		if e := s.events()[0]; e["cause"] != "held.user_blocked" || e["user"] != "johndow" {
			t.Errorf("logged as %v", e)
		}
		check("somebody else", s.tap(t, ann), "200 sms-2", 2)
		again := newSite(t, demo+ownAPI+twoUsers) // as a reload does
		again.gateway.Deliverer.Routes[0].Transport = p
		check("after a reload", again.tap(t, otherName), toldBlocked, 2)
		// Strangers do not learn who is blocked, and those who are do not count as strangers.
		wrong := strings.Replace(ok, "12345678", "wrong", 1)
		stranger := s.tap(t, strings.Replace(wrong, "johndow", "nobody", 1))
		for range 30 {
			check("again", s.tap(t, ok), toldBlocked, 2)
		}
		check("a wrong password", s.tap(t, wrong), stranger, 2)
		_, status := admin(t, "GET", "/acrobits_sms/status")
		if !strings.Contains(status, `"blocks":[{"user":"johndow@example.com","since":"`) {
			t.Errorf("status: %s", status)
		}
		if status, answer := admin(t, "POST", "/acrobits_sms/unblock?user=johndow@example.com"); status != 200 || answer != `{"user":"johndow@example.com","blocked":false}` {
			t.Errorf("unblock: %d %s", status, answer)
		}
		check("unblocked", s.tap(t, otherName), "200 sms-3", 3)
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A block on one site leaves the others alone; it is ended with that of all sites, or by itself.
func TestBlockOnOneSite(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		defer unblockAll(t)
		told := func(host string) int {
			t.Helper()
			r := get(ok)
			r.Host = host
			return s.send(t, r).Code
		}
		for _, step := range []struct {
			call                   string
			status                 int
			answer                 string
			here, there, elsewhere int
		}{
			{"block?user=johndow&host=A.example:443", 200, `"user":"johndow","host":"a.example","blocked":true`, 429, 200, 200},
			{"unblock?user=johndow&host=b.example", 404, "", 429, 200, 200},
			{"unblock?user=ann", 404, "", 429, 200, 200},
			{"block?user=johndow&host=b.example", 200, `"blocked":true`, 429, 429, 200},
			{"unblock?user=johndow&host=a.example", 200, `"blocked":false`, 200, 429, 200},
			{"block?user=johndow", 200, `"blocked":true`, 429, 429, 429},
			{"unblock?user=johndow&host=b.example", 200, `"blocked":true,"blocks":[{"user":"johndow","since":`, 429, 429, 429},
			{"block?user=johndow&host=b.example", 200, `"blocked":true`, 429, 429, 429},
			{"unblock?user=johndow", 200, `"blocked":false`, 200, 200, 200},
			{"unblock?user=johndow", 404, "", 200, 200, 200},
			{"block?user=%2B15551234567", 200, `"user":"+15551234567"`, 200, 200, 200},
			{"block?user=+15551234567", 200, `"user":"+15551234567"`, 200, 200, 200},
			{"unblock?user=+15551234567", 200, `"blocked":false`, 200, 200, 200},
		} {
			status, answer := admin(t, "POST", "/acrobits_sms/"+step.call)
			if status != step.status || !strings.Contains(answer, step.answer) {
				t.Errorf("%s: %d %s", step.call, status, answer)
			}
			if here, there, elsewhere := told("a.example"), told("B.Example.:8443"), told("c.example"); here != step.here || there != step.there || elsewhere != step.elsewhere {
				t.Errorf("after %s: %d %d %d, want %d %d %d", step.call, here, there, elsewhere, step.here, step.there, step.elsewhere)
			}
		}
	})
}

// Calls that mean nothing change nothing: a block without the host that was to stand there would hold on every site.
func TestBadBlockCalls(t *testing.T) {
	newSite(t, demo+"adapter sandbox")
	for call, want := range map[string]int{
		"GET block?user=a": 405, "PUT unblock?user=a": 405, "POST block": 400, "POST block?user=": 400, "POST block?user=%20": 400, "POST block?user=a&user=b": 400,
		"POST block?user=a&hosts=b": 400, "POST block?user=a&host=": 400, "POST block?user=a&host=x&host=y": 400, "POST block?user=%zz": 400, "POST block?user=a;host=b": 400,
		"POST block?name=a": 400, "POST block?user=a%00": 400, "POST block?user=a&host=https%3A//x": 400, "POST unblock": 400, "POST unblock?user=a": 404,
		"POST block?user=" + strings.Repeat("a", 257): 400,
	} {
		method, path, _ := strings.Cut(call, " ")
		if status, answer := admin(t, method, "/acrobits_sms/"+path); status != want {
			t.Errorf("%s: %d %s, want %d", call, status, answer, want)
		}
	}
	for _, j := range journalsInUse() {
		if blocks := j.blocks(); len(blocks) > 0 {
			t.Errorf("blocked: %v", blocks)
		}
	}
}

// A block outlives the process with a journal that does, and a reload that puts another journal in the place of one.
func TestBlockOutlivesTheJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sms.db")
	raw, err := json.Marshal(map[string]string{"journal": "sqlite", "path": path})
	if err != nil {
		t.Fatal(err)
	}
	run := func() (*App, func()) {
		t.Helper()
		ctx, err := caddy.ProvisionContext(&caddy.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := caddy.NewContext(ctx)
		a := &App{JournalRaw: raw}
		if err := a.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		return a, func() {
			cancel()
			if err := a.Cleanup(); err != nil {
				t.Error(err)
			}
		}
	}
	newSite(t, demo+"adapter sandbox") // with a journal in memory
	defer unblockAll(t)
	if status, _ := admin(t, "POST", "/acrobits_sms/block?user=johndow"); status != 200 {
		t.Fatal(status)
	}
	a, end := run()
	if got := a.journal.blocks(); len(got) != 1 || got[0].User != "johndow" {
		t.Errorf("after another journal took the place: %v", got)
	}
	end()
	unblockAll(t)
	a, end = run()
	defer end()
	if got := a.journal.blocks(); len(got) != 1 || got[0].User != "johndow" {
		t.Errorf("after a restart: %v", got)
	}
}

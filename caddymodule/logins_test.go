package caddymodule

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

// afterRestart runs a handler whose process was just started, but for the journal in a file.
func afterRestart(t *testing.T, path, block string) *site {
	t.Helper()
	s := newSite(t, block)
	s.gateway.Guard = lockout.NewGuard(lockout.Default)
	own := s.gateway.Journal
	s.gateway.Journal = acquireJournal(&s.resources, &SQLiteJournal{path: path, Path: path})
	t.Cleanup(func() { s.gateway.Journal = own })
	if err := s.gateway.Journal.(*pooledJournal).start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Where a user has sent a text from, the user can log in after a restart while others guess: that is in the journal. It is not known
// of where the user only failed, of other users, or of networks that nobody knows.
func TestLoginsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sms.db")
	const ann, bob = "username=ann&password=ann-password", "username=bob&password=bob-password"
	const block = "user ann {\npassword ann-password\n}\nuser bob {\npassword bob-password\n}\ndefault_region US\nadapter sandbox"
	first := afterRestart(t, path, block)
	for _, c := range []struct {
		address, query string
		want           int
	}{
		{"192.0.2.1", ann, 200}, {"192.0.2.2", bob, 200}, {"192.0.2.3", "username=ann&password=wrong", 401}, {"[2001:db8::1]", ann, 200},
	} {
		if w := first.guess(t, c.address, c.query); w.Code != c.want {
			t.Fatalf("%s from %s: %d", c.query, c.address, w.Code)
		}
	}
	first.stop()
	second := afterRestart(t, path, block)
	for i := range 21 {
		second.guess(t, fmt.Sprintf("198.51.100.%d", i), "username=ann&password=wrong")
	}
	for address, want := range map[string]int{
		"192.0.2.1": 200, "[2001:db8::77]": 200, "192.0.2.2": 401, "192.0.2.3": 401, "192.0.2.4": 401, "[2001:db8:0:1::1]": 401,
	} {
		if w := second.guess(t, address, ann); w.Code != want {
			t.Errorf("from %s after a restart: %d, want %d", address, w.Code, want)
		}
	}
	for name, from := range map[string]string{"bob": "192.0.2.2/32", "ann": "192.0.2.2/32", "nobody": "192.0.2.2/32", "": "192.0.2.2/32", "bob from nowhere": ""} {
		user, _, _ := strings.Cut(name, " from")
		network, _ := netip.ParsePrefix(from)
		if known := second.gateway.KnowsNetwork(user, network); known != (name == "bob") {
			t.Errorf("%q: the network %s is known: %t", name, from, known)
		}
	}
}

// A credential that is turned away counts half: a network whose 20 were is locked out by one more.
func TestUncheckedCountsHalf(t *testing.T) {
	for err, want := range map[error]int{users.ErrBusy: 21, users.ErrDenied: 11, users.ErrUnavailable: 0} {
		s := newSite(t, demo+fmt.Sprintf("adapter sandbox\nlockout 10 5m%ds", want+3))
		s.gateway.Users = stubUsers(func() (*users.User, error) { return nil, err })
		status := map[error]int{users.ErrBusy: 429, users.ErrDenied: 401, users.ErrUnavailable: 500}[err]
		locked := 0
		for i := range 25 {
			w := s.guess(t, "203.0.113.4", "user=johndow&password=guess")
			if r := read(t, w); locked == 0 && r.Message == "Too many wrong passwords. Please try again later." {
				locked = i
			} else if locked == 0 && w.Code != status {
				t.Errorf("%v: %d", err, w.Code)
			}
		}
		if locked != want {
			t.Errorf("%v: locked out after %d, want %d", err, locked, want)
		}
	}
}

// A login that waits for too long in the queue of its network is refused unchecked too.
func TestLineCountsHalf(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nlockout 10 5m7s")
	synctest.Test(t, func(t *testing.T) {
		s.gateway.Users = stubUsers(func() (*users.User, error) { time.Sleep(time.Minute); return nil, users.ErrUnavailable })
		done := make(chan int)
		for range 4 + 21 {
			go func() { done <- s.guess(t, "203.0.113.4", "user=johndow&password=guess").Code }()
		}
		for range 4 + 21 {
			<-done
		}
		if wait := s.gateway.Guard.RetryAfter(netip.MustParsePrefix("203.0.113.4/32"), time.Now()); wait == 0 {
			t.Error("21 were turned away, and the network is not locked out")
		}
	})
}

package lockout

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func from(s string) netip.Prefix { return NetworkOf(netip.MustParseAddr(s)) }

func admits(g *Guard, from netip.Prefix, user string, now time.Time) bool {
	ok, _ := g.Admit(from, user, now)
	return ok
}

func TestNetworkOf(t *testing.T) {
	for a, want := range map[string]string{
		"203.0.113.9": "203.0.113.9/32", "::ffff:203.0.113.9": "203.0.113.9/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := from(a).String(); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

// More than ten failures in five minutes lock a network out, and each time for twice as long, up to
// an hour.
func TestNetwork(t *testing.T) {
	g, bad, other := NewGuard(Default), from("203.0.113.9"), from("203.0.113.10")
	now := start
	for _, ban := range []time.Duration{5, 10, 20, 40, 60, 60} {
		for i := range 11 {
			if wait := g.RetryAfter(bad, now); wait != 0 {
				t.Fatalf("locked out after %d failures", i)
			}
			g.RecordFailure(bad, "", now)
			now = now.Add(time.Second)
		}
		if wait := g.RetryAfter(bad, now); wait != ban*time.Minute-time.Second {
			t.Fatalf("has to wait %s, want %d min", wait, ban)
		}
		if wait := g.RetryAfter(other, now); wait != 0 {
			t.Fatal("another network is locked out too")
		}
		now = now.Add(ban * time.Minute)
	}
	now = now.Add(2 * maxLockout) // a quiet while
	for range 11 {
		g.RecordFailure(bad, "", now)
	}
	if wait := g.RetryAfter(bad, now); wait != 5*time.Minute {
		t.Errorf("after a quiet while: %s", wait)
	}
	slow := from("198.51.100.1")
	for i := range 100 { // ten in five minutes are taken
		g.RecordFailure(slow, "", start.Add(time.Duration(i)*31*time.Second))
	}
	if wait := g.RetryAfter(slow, start.Add(100*31*time.Second)); wait != 0 {
		t.Errorf("a slow one waits %s", wait)
	}
}

// Strangers cannot lock a user out of their known networks; elsewhere a right password is refused
// while they guess.
func TestUser(t *testing.T) {
	g, home := NewGuard(Default), from("192.0.2.1")
	if nowhere := (netip.Prefix{}); !admits(g, home, "alice", start) || !admits(g, nowhere, "alice", start) {
		t.Fatal("refused without a failure")
	}
	now := start.Add(20 * 24 * time.Hour)
	for i := range 21 { // from everywhere
		g.RecordFailure(from(fmt.Sprintf("203.0.113.%d", i)), "alice", now)
	}
	if !admits(g, home, "alice", now) {
		t.Error("strangers locked her out at home")
	}
	if admits(g, from("198.51.100.7"), "alice", now) || admits(g, netip.Prefix{}, "alice", now) {
		t.Error("a right guess from a new network is taken, or from one that is not known")
	}
	if !admits(g, from("198.51.100.7"), "bob", now) {
		t.Error("another user is refused")
	}
	if now = now.Add(userWindow); !admits(g, from("198.51.100.7"), "alice", now) {
		t.Error("still refused when the guessing is over")
	}
	now = now.Add(TrustPeriod + time.Hour)
	for range 21 {
		g.RecordFailure(from("203.0.113.99"), "alice", now)
	}
	if admits(g, home, "alice", now) {
		t.Error("a network counts as hers after more than 30 days")
	}
}

// A user who logs in from many networks displaces only their own oldest networks, not those of others.
func TestKnownNetworks(t *testing.T) {
	g, home, now := NewGuard(Default), from("192.0.2.1"), start
	admit := func(network netip.Prefix, user string) bool {
		now = now.Add(time.Second)
		return admits(g, network, user, now)
	}
	admit(home, "alice")
	for i := range 2*size + 2 {
		admit(from(fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff)), "insider")
	}
	for i := range MaxKnownNetworks - 1 {
		admit(from(fmt.Sprintf("198.51.100.%d", i)), "alice")
	}
	for range userCount + 1 {
		g.RecordFailure(from("203.0.113.9"), "alice", now)
	}
	if !admit(home, "alice") || admit(from("198.51.100.99"), "alice") {
		t.Error("she is not at home where she was first, or where she never was")
	}
	now = now.Add(userWindow)
	admit(from("198.51.100.99"), "alice") // instead of where she was longest ago
	for range userCount + 1 {
		g.RecordFailure(from("203.0.113.9"), "alice", now)
	}
	if !admit(home, "alice") || !admit(from("198.51.100.99"), "alice") || admit(from("198.51.100.0"), "alice") {
		t.Error("not the network was forgotten that she was longest away from")
	}
}

// A credential that was not looked at is half a failure of its network, and none of the user.
func TestUnchecked(t *testing.T) {
	for name, c := range map[string]struct {
		what  string // f: failed, t: turned away, of a second each
		locks int    // which of them locks out, 0 if none
	}{
		"failures":             {"fffffffffffff", 11},
		"turned away":          {"ttttttttttttttttttttttt", 21},
		"both":                 {"ftftftftftftftftftft", 14}, // 7 failures and 14 halves are 10½
		"turned away at first": {"ttffffffffff", 12},
		"too few":              {"tttttttttttttttttttt", 0},
		"too few of both":      {"fffffffftttt", 0},
	} {
		g, bad, now := NewGuard(Default), from("203.0.113.9"), start
		locked := 0
		for i, what := range c.what {
			if what == 'f' {
				g.RecordFailure(bad, "", now)
			} else {
				g.RecordUnchecked(bad, now)
			}
			if locked == 0 && g.RetryAfter(bad, now) > 0 {
				locked = i + 1
			}
			now = now.Add(time.Second)
		}
		if locked != c.locks {
			t.Errorf("%s: locked out by the %dth, want the %dth", name, locked, c.locks)
		}
	}
	g, now := NewGuard(Default), start
	for range 100 { // half as often as failures that are too few
		g.RecordUnchecked(from("203.0.113.9"), now)
		g.RecordUnchecked(netip.Prefix{}, now)
		now = now.Add(16 * time.Second)
	}
	if g.RetryAfter(from("203.0.113.9"), now) != 0 || g.RetryAfter(netip.Prefix{}, now) != 0 {
		t.Error("turned away slowly, and locked out")
	}
}

// Where nobody is locked out, it is known all the same where users logged in.
func TestOff(t *testing.T) {
	g, home := NewGuard(Settings{}), from("192.0.2.1")
	never := func() time.Time { return time.Time{} }
	for range 100 {
		g.RecordFailure(home, "alice", start)
		g.RecordUnchecked(home, start)
	}
	if g.IsKnown(home, "alice", start, never) || g.RetryAfter(home, start) != 0 || !admits(g, home, "alice", start) || !g.IsKnown(home, "alice", start, never) {
		t.Error("locked out, or not at home")
	}
}

// A saved login counts as one that was seen. A network of a user is saved once a day, and again if
// saving failed.
func TestSaved(t *testing.T) {
	g, home := NewGuard(Default), from("192.0.2.1")
	asked := 0
	saved := func(seen time.Time) func() time.Time { return func() time.Time { asked++; return seen } }
	for range userCount + 1 {
		g.RecordFailure(from("203.0.113.9"), "alice", start)
	}
	for _, c := range []struct {
		from  string
		user  string
		seen  time.Time
		home  bool
		asked int
	}{
		{"192.0.2.1", "alice", time.Time{}, false, 1},
		{"192.0.2.1", "alice", start.Add(-TrustPeriod), false, 1},
		{"192.0.2.1", "alice", start.Add(1 - TrustPeriod), true, 1},
		{"192.0.2.1", "alice", time.Time{}, true, 0}, // known from now on
		{"192.0.2.2", "alice", time.Time{}, false, 1},
		{"192.0.2.1", "bob", time.Time{}, false, 1},
		{"2001:db8::1", "bob", start, true, 1},
		{"2001:db8::2", "bob", time.Time{}, true, 0}, // the same /64
	} {
		asked = 0
		if got := g.IsKnown(from(c.from), c.user, start, saved(c.seen)); got != c.home || asked != c.asked {
			t.Errorf("%+v: at home %t, asked %d times", c, got, asked)
		}
	}
	if g.IsKnown(netip.Prefix{}, "alice", start, saved(start)) {
		t.Error("at home nowhere")
	}
	now := start
	for _, c := range []struct {
		after time.Duration
		save  bool
	}{{0, true}, {0, false}, {saveInterval - 1, false}, {1, true}, {time.Hour, false}} {
		now = now.Add(c.after)
		if ok, save := g.Admit(home, "alice", now); !ok || save != c.save {
			t.Errorf("after %s: admitted %t, to be saved %t, want %t", c.after, ok, save, c.save)
		}
	}
	g.MarkUnsaved(home, "alice")
	g.MarkUnsaved(home, "nobody")
	if _, save := g.Admit(home, "alice", now); !save {
		t.Error("what could not be saved is not tried again")
	}
	if _, save := g.Admit(netip.Prefix{}, "alice", now.Add(time.Hour)); save {
		t.Error("a network that is not known is to be saved")
	}
}

// Of many guesses at once from one network no right one is taken once there were too many, unless
// the user is at home.
func TestParallel(t *testing.T) {
	g, bad := NewGuard(Default), from("203.0.113.9")
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if g.RetryAfter(bad, start) == 0 {
				g.RecordFailure(bad, "alice", start)
			}
		})
	}
	wg.Wait()
	if g.RetryAfter(bad, start) == 0 || admits(g, bad, "alice", start) || admits(g, bad, "bob", start) {
		t.Error("a guess is taken after 64 failures")
	}
}

// A million names and addresses take no more memory than the tables hold.
func TestBounded(t *testing.T) {
	g, queues := NewGuard(Default), NewQueues()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 1_000_000 {
		a := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		name, now := fmt.Sprint("user", i), start.Add(time.Duration(i)*time.Millisecond)
		queue := queues.Of(NetworkOf(a))
		queue.Acquire(t.Context())
		g.RecordFailure(NetworkOf(a), name, now)
		g.Admit(NetworkOf(a), name, now)
		queue.Release()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20)
	t.Logf("%.1f MiB after a million names and addresses", used)
	if used > 40 {
		t.Errorf("%.1f MiB", used)
	}
	runtime.KeepAlive(g)
	runtime.KeepAlive(queues)
}

func BenchmarkAdmit(b *testing.B) {
	g, home := NewGuard(Default), from("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if g.RetryAfter(home, start) != 0 || !admits(g, home, "alice", start) {
			b.Fatal("refused")
		}
	}
}

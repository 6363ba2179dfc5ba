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

func TestNetworkOf(t *testing.T) {
	for a, want := range map[string]string{
		"203.0.113.9": "203.0.113.9/32", "::ffff:203.0.113.9": "203.0.113.9/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := from(a).String(); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

// More than ten failures in five minutes lock a network out, and each time for twice as long, up to an hour.
func TestNetwork(t *testing.T) {
	g, bad, other := NewGuard(Default), from("203.0.113.9"), from("203.0.113.10")
	now := start
	for _, ban := range []time.Duration{5, 10, 20, 40, 60, 60} {
		for i := range 11 {
			if wait := g.Blocked(bad, now); wait != 0 {
				t.Fatalf("locked out after %d failures", i)
			}
			g.Failed(bad, "", now)
			now = now.Add(time.Second)
		}
		if wait := g.Blocked(bad, now); wait != ban*time.Minute-time.Second {
			t.Fatalf("has to wait %s, want %d min", wait, ban)
		}
		if wait := g.Blocked(other, now); wait != 0 {
			t.Fatal("another network is locked out too")
		}
		now = now.Add(ban * time.Minute)
	}
	now = now.Add(2 * longestBan) // a quiet while
	for range 11 {
		g.Failed(bad, "", now)
	}
	if wait := g.Blocked(bad, now); wait != 5*time.Minute {
		t.Errorf("after a quiet while: %s", wait)
	}
	slow := from("198.51.100.1")
	for i := range 100 { // ten in five minutes are taken
		g.Failed(slow, "", start.Add(time.Duration(i)*31*time.Second))
	}
	if wait := g.Blocked(slow, start.Add(100*31*time.Second)); wait != 0 {
		t.Errorf("a slow one waits %s", wait)
	}
}

// Strangers cannot lock a user out of where he is at home; elsewhere a right password is refused while they guess.
func TestUser(t *testing.T) {
	g, home := NewGuard(Default), from("192.0.2.1")
	if nowhere := (netip.Prefix{}); !g.Admit(home, "alice", start) || !g.Admit(nowhere, "alice", start) {
		t.Fatal("refused without a failure")
	}
	now := start.Add(20 * 24 * time.Hour)
	for i := range 21 { // from everywhere
		g.Failed(from(fmt.Sprintf("203.0.113.%d", i)), "alice", now)
	}
	if !g.Admit(home, "alice", now) {
		t.Error("strangers locked her out at home")
	}
	if g.Admit(from("198.51.100.7"), "alice", now) || g.Admit(netip.Prefix{}, "alice", now) {
		t.Error("a right guess from a new network is taken, or from one that is not known")
	}
	if !g.Admit(from("198.51.100.7"), "bob", now) {
		t.Error("another user is refused")
	}
	if now = now.Add(userWindow); !g.Admit(from("198.51.100.7"), "alice", now) {
		t.Error("still refused when the guessing is over")
	}
	now = now.Add(trust + time.Hour)
	for range 21 {
		g.Failed(from("203.0.113.99"), "alice", now)
	}
	if g.Admit(home, "alice", now) {
		t.Error("a network counts as hers after more than 30 days")
	}
}

// However many networks a user comes from, others stay at home where they were; he himself where he was lately.
func TestHomes(t *testing.T) {
	g, home, now := NewGuard(Default), from("192.0.2.1"), start
	admit := func(network netip.Prefix, user string) bool {
		now = now.Add(time.Second)
		return g.Admit(network, user, now)
	}
	admit(home, "alice")
	for i := range 2*size + 2 {
		admit(from(fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff)), "insider")
	}
	for i := range mostHomes - 1 {
		admit(from(fmt.Sprintf("198.51.100.%d", i)), "alice")
	}
	for range userCount + 1 {
		g.Failed(from("203.0.113.9"), "alice", now)
	}
	if !admit(home, "alice") || admit(from("198.51.100.99"), "alice") {
		t.Error("she is not at home where she was first, or where she never was")
	}
	now = now.Add(userWindow)
	admit(from("198.51.100.99"), "alice") // instead of where she was longest ago
	for range userCount + 1 {
		g.Failed(from("203.0.113.9"), "alice", now)
	}
	if !admit(home, "alice") || !admit(from("198.51.100.99"), "alice") || admit(from("198.51.100.0"), "alice") {
		t.Error("not the network was forgotten that she was longest away from")
	}
}

// Of many guesses at once from one network no right one is taken once there were too many, unless the user is at home.
func TestParallel(t *testing.T) {
	g, bad := NewGuard(Default), from("203.0.113.9")
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if g.Blocked(bad, start) == 0 {
				g.Failed(bad, "alice", start)
			}
		})
	}
	wg.Wait()
	if g.Blocked(bad, start) == 0 || g.Admit(bad, "alice", start) || g.Admit(bad, "bob", start) {
		t.Error("a guess is taken after 64 failures")
	}
}

// A million names and addresses take no more memory than the tables hold.
func TestBounded(t *testing.T) {
	g, turns := NewGuard(Default), NewTurns()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 1_000_000 {
		a := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		name, now := fmt.Sprint("user", i), start.Add(time.Duration(i)*time.Millisecond)
		line := turns.Of(NetworkOf(a))
		line.Take(t.Context())
		g.Failed(NetworkOf(a), name, now)
		g.Admit(NetworkOf(a), name, now)
		line.Done()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20)
	t.Logf("%.1f MiB after a million names and addresses", used)
	if used > 40 {
		t.Errorf("%.1f MiB", used)
	}
	runtime.KeepAlive(g)
	runtime.KeepAlive(turns)
}

func BenchmarkAdmit(b *testing.B) {
	g, home := NewGuard(Default), from("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if g.Blocked(home, start) != 0 || !g.Admit(home, "alice", start) {
			b.Fatal("refused")
		}
	}
}

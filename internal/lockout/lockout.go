// Package lockout slows down those who guess passwords, without locking out those who know them.
package lockout

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
)

// Settings are how many failures are too many.
type Settings struct {
	// Count failures of a network within Window are taken; one more locks it out.
	Count  int
	Window time.Duration
}

// Default are the settings where the operator says nothing.
var Default = Settings{Count: 10, Window: 5 * time.Minute}

const (
	// longestBan is how long a network is locked out at most. The first time it is the window, then twice as long each.
	longestBan = time.Hour

	// userCount failures under one name within userWindow, from all networks together, are taken.
	userCount  = 20
	userWindow = 15 * time.Minute

	// trust is how long a network counts as a user's own after he succeeded there.
	trust = 30 * 24 * time.Hour

	// mostHomes is how many networks are remembered as a user's own. His phone goes through many, but nobody else's are
	// forgotten for that.
	mostHomes = 16

	// size bounds how many networks are remembered, how many names, and how many users with networks of their own.
	size = 1 << 15
)

// Guard remembers failures. It is safe for concurrent use and bounded in memory: under a flood of names and addresses the
// oldest are forgotten.
type Guard struct {
	settings Settings

	mu       sync.Mutex
	networks *recent.Table[netip.Prefix, *network]
	users    *recent.Table[string, *failures]
	homes    *recent.Table[string, []home]
}

// home is a network where a user succeeded, and when he last did.
type home struct {
	network netip.Prefix
	seen    time.Time
}

type network struct {
	failures failures
	ban      time.Duration
	until    time.Time
}

// failures are the times of the last ones, oldest first, one more than are taken at most.
type failures []time.Time

// add notes a failure and reports whether there were more than count within the window.
func (f *failures) add(now time.Time, count int, window time.Duration) bool {
	if len(*f) > count {
		*f = append((*f)[:0], (*f)[1:]...)
	}
	*f = append(*f, now)
	return f.tooMany(now, count, window)
}

func (f failures) tooMany(now time.Time, count int, window time.Duration) bool {
	return len(f) > count && now.Sub(f[len(f)-count-1]) < window
}

// NewGuard makes a guard.
func NewGuard(s Settings) *Guard {
	return &Guard{
		settings: s,
		networks: recent.NewTable[netip.Prefix, *network](size),
		users:    recent.NewTable[string, *failures](size),
		homes:    recent.NewTable[string, []home](size),
	}
}

// Forgive forgets all failures, but not the networks where users succeeded.
func (g *Guard) Forgive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.networks = recent.NewTable[netip.Prefix, *network](size)
	g.users = recent.NewTable[string, *failures](size)
}

// NetworkOf is the network that an address counts for: itself, or of an IPv6 address the first 64 bits, which is what one
// customer has.
func NetworkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// Blocked says how long a network has to wait before it may try again, 0 if it need not. It is asked before a credential is
// looked at.
func (g *Guard) Blocked(from netip.Prefix, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n, ok := g.networks.Get(from); ok && now.Before(n.until) {
		return n.until.Sub(now)
	}
	return 0
}

// Failed notes a wrong credential, under the name of a user if that is known. A network that is not known is not locked
// out: everybody may share it.
func (g *Guard) Failed(from netip.Prefix, user string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if from.IsValid() {
		g.failedFrom(from, now)
	}
	if user == "" {
		return
	}
	f, ok := g.users.Get(user)
	if !ok {
		f = new(failures)
		g.users.Put(user, f)
	}
	f.add(now, userCount, userWindow)
}

func (g *Guard) failedFrom(from netip.Prefix, now time.Time) {
	n, ok := g.networks.Get(from)
	if !ok {
		n = new(network)
		g.networks.Put(from, n)
	}
	if n.failures.add(now, g.settings.Count, g.settings.Window) && !now.Before(n.until) {
		if now.Sub(n.until) > longestBan { // it was quiet for a while
			n.ban = 0
		}
		n.ban = min(max(2*n.ban, g.settings.Window), max(longestBan, g.settings.Window))
		n.until = now.Add(n.ban)
		n.failures = n.failures[:0]
	}
}

// Admit is asked when a credential was right: it may still be refused, because others guess under this name and the user
// was never seen in this network, or because the network was locked out meanwhile. Otherwise the success is noted.
func (g *Guard) Admit(from netip.Prefix, user string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.doubts(from, user, now) {
		return false
	}
	if !from.IsValid() { // everybody may share it
		return true
	}
	homes, i := g.homesOf(user, from)
	switch {
	case i >= 0:
		homes[i].seen = now
	case len(homes) < mostHomes:
		g.homes.Put(user, append(homes, home{from, now}))
	default: // the one that he was longest away from is forgotten
		oldest := 0
		for j, h := range homes {
			if h.seen.Before(homes[oldest].seen) {
				oldest = j
			}
		}
		homes[oldest] = home{from, now}
	}
	return true
}

// homesOf are the networks where a user succeeded, and which of them this is, -1 if none.
func (g *Guard) homesOf(user string, from netip.Prefix) ([]home, int) {
	homes, _ := g.homes.Get(user)
	return homes, slices.IndexFunc(homes, func(h home) bool { return h.network == from })
}

// Doubts reports whether Admit would refuse, and notes nothing.
func (g *Guard) Doubts(from netip.Prefix, user string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.doubts(from, user, now)
}

func (g *Guard) doubts(from netip.Prefix, user string, now time.Time) bool {
	if homes, i := g.homesOf(user, from); i >= 0 && now.Sub(homes[i].seen) < trust {
		return false
	}
	if n, ok := g.networks.Get(from); ok && now.Before(n.until) {
		return true
	}
	f, ok := g.users.Get(user)
	return ok && f.tooMany(now, userCount, userWindow)
}

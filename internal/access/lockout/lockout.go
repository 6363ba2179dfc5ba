// Package lockout limits password guessing by network and by user name, without locking users out
// of the networks where they have logged in.
//
// It never sees a password and stores no addresses of known networks, only keyed hashes. Package
// gateway calls it around each check of a credential. Guard and Queues are safe for concurrent use.
package lockout

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
)

// Settings bound the failures of a network before it is locked out.
type Settings struct {
	// Count is the number of failures within Window that do not lock a network out yet; one
	// more does. If Count is 0, nobody is locked out, and the guard stores only the networks
	// where users logged in.
	Count  int
	Window time.Duration
}

// Default contains the settings that apply if the operator configures none.
var Default = Settings{Count: 10, Window: 5 * time.Minute}

const (
	// maxLockout bounds a lockout. The first lockout lasts for the window, each further one
	// twice as long as the one before.
	maxLockout = time.Hour

	// userCount is the number of failures within userWindow, from all networks together, that
	// do not lock a name out yet.
	userCount  = 20
	userWindow = 15 * time.Minute

	// TrustPeriod is the time for which a network stays known after the user logged in there.
	TrustPeriod = 30 * 24 * time.Hour

	// MaxKnownNetworks bounds the known networks of a user. Phones change networks often.
	// Without the bound, one phone could fill the memory with its networks.
	MaxKnownNetworks = 16

	// saveInterval is the shortest time between two saves of the last login from a known
	// network.
	saveInterval = 24 * time.Hour

	// size bounds each table: networks with failures, names with failures, and users with known
	// networks.
	size = 1 << 15
)

// Guard counts failures. It is safe for concurrent use and bounded in memory: under a flood of
// names and addresses the oldest are forgotten.
type Guard struct {
	settings Settings
	seed     maphash.Seed // keys the hashes of known networks

	mu       sync.Mutex
	networks *cache.Table[netip.Prefix, *network]
	users    *cache.Table[string, *failures]
	known    *cache.Table[string, []knownNetwork]
}

// knownNetwork is a network where a user logged in, as a keyed hash. seen is the time of the last
// login there, saved the time when a login there was last saved.
type knownNetwork struct {
	network     uint64
	seen, saved time.Time
}

type network struct {
	failures failures
	lockout  time.Duration
	until    time.Time
}

// failures contains the times of the last failures in nanoseconds since 1970, oldest first. Each
// failure is stored once for each unit of its weight.
type failures []int64

// The weights of failures.
const (
	half  = 1
	whole = 2
)

// add records a failure and reports whether there were more than count within the window.
func (f *failures) add(now time.Time, weight, count int, window time.Duration) bool {
	for range weight {
		if len(*f) > whole*count {
			*f = append((*f)[:0], (*f)[1:]...)
		}
		*f = append(*f, now.UnixNano())
	}
	return f.tooMany(now, count, window)
}

func (f failures) tooMany(now time.Time, count int, window time.Duration) bool {
	oldest := len(f) - whole*count - 1
	return oldest >= 0 && now.UnixNano()-f[oldest] < int64(window)
}

// NewGuard makes a guard.
func NewGuard(s Settings) *Guard {
	return &Guard{
		settings: s,
		seed:     maphash.MakeSeed(),
		networks: cache.NewTable[netip.Prefix, *network](size),
		users:    cache.NewTable[string, *failures](size),
		known:    cache.NewTable[string, []knownNetwork](size),
	}
}

// Reset forgets all failures, but no known networks.
func (g *Guard) Reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.networks = cache.NewTable[netip.Prefix, *network](size)
	g.users = cache.NewTable[string, *failures](size)
}

// NetworkOf returns the network by which an address is counted. An IPv4 address counts alone. An
// IPv6 address counts with its /64, because one customer usually has a whole /64.
func NetworkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// RetryAfter returns how long a network is still locked out, 0 if it is not. It must be called
// before a credential is checked.
func (g *Guard) RetryAfter(from netip.Prefix, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n, ok := g.networks.Get(from); ok && now.Before(n.until) {
		return n.until.Sub(now)
	}
	return 0
}

// RecordFailure records a wrong credential for its network, and for the user if the name is known.
// The zero Prefix is never locked out, because everybody may share it.
func (g *Guard) RecordFailure(from netip.Prefix, user string, now time.Time) {
	if g.settings.Count == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addFailure(from, whole, now)
	if user == "" {
		return
	}
	f, ok := g.users.Get(user)
	if !ok {
		f = new(failures)
		g.users.Put(user, f)
	}
	f.add(now, whole, userCount, userWindow)
}

// RecordUnchecked records a credential that was not checked because too many were waiting. It
// counts as half a failure of its network, so that a flood locks itself out however few of its
// credentials are checked.
func (g *Guard) RecordUnchecked(from netip.Prefix, now time.Time) {
	if g.settings.Count == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addFailure(from, half, now)
}

func (g *Guard) addFailure(from netip.Prefix, weight int, now time.Time) {
	if !from.IsValid() {
		return
	}
	n, ok := g.networks.Get(from)
	if !ok {
		n = new(network)
		g.networks.Put(from, n)
	}
	if n.failures.add(now, weight, g.settings.Count, g.settings.Window) && !now.Before(n.until) {
		if now.Sub(n.until) > maxLockout { // long after the last lockout
			n.lockout = 0
		}
		n.lockout = min(max(2*n.lockout, g.settings.Window), max(maxLockout, g.settings.Window))
		n.until = now.Add(n.lockout)
		n.failures = n.failures[:0]
	}
}

// Admit must be called after a credential was found right. ok is false if the network was locked
// out meanwhile, or if the user is locked out for unknown networks. Otherwise Admit records the
// login. save is set if no login from the network was saved within a day. The caller calls
// MarkUnsaved if saving fails.
func (g *Guard) Admit(from netip.Prefix, user string, now time.Time) (ok, save bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lockedOut(from, user, now) {
		return false, false
	}
	if !from.IsValid() { // everybody may share it
		return true, false
	}
	h := g.addKnown(from, user, now)
	if save = now.Sub(h.saved) >= saveInterval; save {
		h.saved = now
	}
	return true, save
}

// addKnown records a login from a network. The caller may change the result while it holds the
// lock.
func (g *Guard) addKnown(from netip.Prefix, user string, seen time.Time) *knownNetwork {
	known, i := g.knownTo(user, from)
	switch {
	case i >= 0:
	case len(known) < MaxKnownNetworks:
		known, i = append(known, knownNetwork{network: g.hash(from, user)}), len(known)
		g.known.Put(user, known)
	default: // replace the network with the oldest login
		for j, h := range known {
			if i < 0 || h.seen.Before(known[i].seen) {
				i = j
			}
		}
		known[i] = knownNetwork{network: g.hash(from, user)}
	}
	known[i].seen = seen
	return &known[i]
}

// MarkUnsaved records that a login from a network could not be saved.
func (g *Guard) MarkUnsaved(from netip.Prefix, user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known, i := g.knownTo(user, from); i >= 0 {
		known[i].saved = time.Time{}
	}
}

// IsKnown reports whether a user logged in from a network in the last 30 days. If the guard does
// not know, it calls saved, which returns the time of the last saved login from that network, or
// the zero Time.
func (g *Guard) IsKnown(from netip.Prefix, user string, now time.Time, saved func() time.Time) bool {
	g.mu.Lock()
	known := g.isKnown(from, user, now)
	g.mu.Unlock()
	if known || !from.IsValid() {
		return known
	}
	seen := saved() // without the lock, because saved reads the store
	if now.Sub(seen) >= TrustPeriod {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isKnown(from, user, now) {
		g.addKnown(from, user, seen).saved = seen
	}
	return true
}

func (g *Guard) isKnown(from netip.Prefix, user string, now time.Time) bool {
	known, i := g.knownTo(user, from)
	return i >= 0 && now.Sub(known[i].seen) < TrustPeriod
}

// hash returns a keyed hash of network and user. The hash includes the user, so that hashes do not
// reveal who shares a network.
func (g *Guard) hash(from netip.Prefix, user string) uint64 {
	address := from.Addr().As16()
	var h maphash.Hash
	h.SetSeed(g.seed)
	_, _ = h.Write(address[:])
	_, _ = h.WriteString(user)
	return h.Sum64()
}

// knownTo returns the known networks of a user and the index of the given network, -1 if it is not
// known.
func (g *Guard) knownTo(user string, from netip.Prefix) ([]knownNetwork, int) {
	known, _ := g.known.Get(user)
	if len(known) == 0 {
		return nil, -1
	}
	network := g.hash(from, user)
	return known, slices.IndexFunc(known, func(h knownNetwork) bool { return h.network == network })
}

// LockedOut reports whether Admit would refuse, and records nothing.
func (g *Guard) LockedOut(from netip.Prefix, user string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lockedOut(from, user, now)
}

func (g *Guard) lockedOut(from netip.Prefix, user string, now time.Time) bool {
	if g.settings.Count == 0 || g.isKnown(from, user, now) {
		return false
	}
	if n, ok := g.networks.Get(from); ok && now.Before(n.until) {
		return true
	}
	f, ok := g.users.Get(user)
	return ok && f.tooMany(now, userCount, userWindow)
}

package journal

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
)

const (
	// LoginsInterval is the time between two reads of the logins, which other processes may have
	// saved.
	LoginsInterval = time.Minute

	// loginsOverlap is the largest tolerated difference between the clocks of two processes.
	loginsOverlap = 5 * time.Minute

	// MaxLogins bounds the logins in one read. The latest logins are read first.
	MaxLogins = 1 << 17

	// maxUsers bounds the number of users whose logins are in memory.
	maxUsers = 1 << 14
)

// Login is the time when a user last logged in from a network. User and Network are keyed hashes.
// The hash of a network also depends on the user, so the same network has a different hash for each
// user.
type Login struct {
	User, Network Key
	Seen          time.Time
}

// logins is a copy of the store's logins in memory, so that a look-up does not read the store.
type logins struct {
	mu    sync.Mutex
	users *cache.Table[Key, []Login]
	read  time.Time // when the last read began
}

func newLogins() *logins { return &logins{users: cache.NewTable[Key, []Login](maxUsers)} }

// put adds a login. If the user has too many, it replaces the oldest one.
func (l *logins) put(login Login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, _ := l.users.Get(login.User)
	i := slices.IndexFunc(list, func(other Login) bool { return other.Network == login.Network })
	switch {
	case i >= 0 && list[i].Seen.Before(login.Seen):
		list[i] = login
	case i >= 0:
	case len(list) < lockout.MaxKnownNetworks:
		l.users.Put(login.User, append(list, login))
	default:
		oldest := 0
		for j := range list {
			if list[j].Seen.Before(list[oldest].Seen) {
				oldest = j
			}
		}
		if list[oldest].Seen.Before(login.Seen) {
			list[oldest] = login
		}
	}
}

func (l *logins) get(user, network Key) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, _ := l.users.Get(user)
	for _, login := range list {
		if login.Network == network {
			return login.Seen
		}
	}
	return time.Time{}
}

// loginOf makes a login with the hashes of a user and a network.
func loginOf(secret *mac.Key, user string, network netip.Prefix, seen time.Time) (l Login) {
	u, n := secret.Digest("login user", user), secret.Digest("login network", user, network.String())
	return Login{User: Key(u[:len(l.User)]), Network: Key(n[:len(l.Network)]), Seen: seen}
}

// LastLogin is the time when a user last logged in from a network, the zero Time if it is not
// known. It does not ask the store.
func (j *Journal) LastLogin(user string, network netip.Prefix) time.Time {
	l := loginOf(j.store.Secret(), user, network, time.Time{})
	return j.logins.get(l.User, l.Network)
}

// SaveLogin stores the time when a user logged in from a network.
func (j *Journal) SaveLogin(user string, network netip.Prefix, seen time.Time) error {
	l := loginOf(j.store.Secret(), user, network, seen)
	err := j.store.SaveLogin(l)
	if err == nil {
		j.logins.put(l)
	}
	return err
}

// readLogins reads the logins that were saved since its last call. The first call reads the whole
// TrustPeriod.
func (j *Journal) readLogins() error {
	began := time.Now()
	since := began.Add(-lockout.TrustPeriod)
	if read := j.logins.read.Add(-loginsOverlap); read.After(since) {
		since = read
	}
	list, err := j.store.Logins(since)
	if err != nil {
		return err
	}
	for _, l := range list {
		j.logins.put(l)
	}
	j.logins.read = began
	return nil
}

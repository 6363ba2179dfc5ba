package caddymodule

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// What outlives a configuration: Caddy loads a new one before it drops the old, which share what has the same key.
var (
	// guards hold what is remembered of wrong passwords, by their settings.
	guards = caddy.NewUsagePool()

	// watches hold whom users text, by who pays for it.
	watches = caddy.NewUsagePool()

	// accounts hold what is known of providers' accounts.
	accounts = caddy.NewUsagePool()

	// sharedJournals holds the journals, by a digest of their address.
	sharedJournals = caddy.NewUsagePool()

	// answers hold what services said of users, by their address and the headers they get.
	answers = caddy.NewUsagePool()
)

// shared is a value of a pool that needs no end.
type shared[T any] struct{ value T }

// Destruct implements caddy.Destructor.
func (shared[T]) Destruct() error { return nil }

// taken releases what a module has taken, in the order in which it was taken.
type taken []func() error

func (t *taken) add(release func() error) { *t = append(*t, release) }

func (t *taken) release() (err error) {
	for _, release := range *t {
		err = errors.Join(err, release())
	}
	*t = nil
	return err
}

// take takes a value from a pool, until it is released.
func take[T any](t *taken, pool *caddy.UsagePool, key any, fresh func() T) T {
	v, _ := pool.LoadOrStore(key, shared[T]{fresh()})
	t.add(func() error {
		_, err := pool.Delete(key)
		return err
	})
	return v.(shared[T]).value
}

// traffic is the requests that a handler has in flight. What they use is released with the last, after the handler was replaced.
type traffic struct {
	inFlight atomic.Int64
	replaced atomic.Bool
	mu       sync.Mutex
	used     *taken
}

func (t *traffic) enter() { t.inFlight.Add(1) }

func (t *traffic) leave() {
	if t.inFlight.Add(-1) == 0 && t.replaced.Load() {
		_ = t.end()
	}
}

func (t *traffic) replace() error {
	t.replaced.Store(true)
	if t.inFlight.Load() > 0 {
		return nil
	}
	return t.end()
}

func (t *traffic) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used.release()
}

// held is what has to last as long as what uses it.
type held interface {
	hold()
	release() error
}

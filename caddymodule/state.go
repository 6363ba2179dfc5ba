package caddymodule

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/pool"
)

// sharedState contains the state that outlives a configuration.
var sharedState pool.Pool

// stateKind is a kind of values in the pool.
type stateKind struct {
	name string
	keep time.Duration // how long a value stays after its last use
}

// Only state in memory is kept; files and connections are released at once.
var (
	// guards count wrong passwords, by the settings of the lockout.
	guards = stateKind{"guards", time.Hour}

	// burstWatches remember the recipients of users, by billing key.
	burstWatches = stateKind{"watches", 24 * time.Hour}

	// accounts contain circuit breakers, quotas and tokens, by the account at the provider.
	accounts = stateKind{"accounts", time.Hour}

	// answers contain the replies of user services, by their address and request headers.
	answers = stateKind{"answers", 0}

	// memoryJournals and storedJournals contain journals by the digest of their address.
	memoryJournals = stateKind{"memory journals", journal.Retention}
	storedJournals = stateKind{"stored journals", 0}
)

// stateKey is the key of a value in the pool.
type stateKey struct {
	kind string
	key  any
}

// resources are the release functions of what a module uses, in the order of acquisition.
type resources []func() error

func (t *resources) add(release func() error) { *t = append(*t, release) }

func (t *resources) release() (err error) {
	for _, release := range *t {
		err = errors.Join(err, release())
	}
	*t = nil
	return err
}

// acquireShared returns the value of the pool with the key, or adds a fresh one. The value stays in
// the pool until t is released.
func acquireShared[T any](t *resources, k stateKind, key any, fresh func() T) T {
	v, release := sharedState.Acquire(stateKey{k.name, key}, k.keep, func() any { return fresh() })
	t.add(release)
	return v.(T)
}

// allOf returns all values of a kind, including those that are kept after their last use.
func allOf[T any](k stateKind) (all []T) {
	for key, v := range sharedState.All() {
		if key.(stateKey).kind == k.name {
			all = append(all, v.(T))
		}
	}
	return all
}

// inFlight counts the requests in flight of a handler. After the handler is replaced, the last
// request releases the handler's resources. It is safe for concurrent use.
type inFlight struct {
	count    atomic.Int64
	replaced atomic.Bool
	mu       sync.Mutex
	used     *resources
}

func (t *inFlight) enter() { t.count.Add(1) }

func (t *inFlight) leave() {
	if t.count.Add(-1) == 0 && t.replaced.Load() {
		_ = t.end()
	}
}

func (t *inFlight) replace() error {
	t.replaced.Store(true)
	if t.count.Load() > 0 {
		return nil
	}
	return t.end()
}

func (t *inFlight) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used.release()
}

// retained is implemented by user directories whose connections must outlive requests in flight.
type retained interface {
	acquire()
	release() error
}

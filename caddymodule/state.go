package caddymodule

import "github.com/caddyserver/caddy/v2"

// What outlives a configuration: Caddy loads a new one before it drops the old, which share what has the same key.
var (
	// guards hold what is remembered of wrong passwords, by their settings.
	guards = caddy.NewUsagePool()

	// counters hold what was sent, by who pays for it.
	counters = caddy.NewUsagePool()

	// watches hold whom users text, by who pays for it.
	watches = caddy.NewUsagePool()

	// tokens holds the tokens of providers, by their account.
	tokens = caddy.NewUsagePool()
)

// shared is a value of a pool that needs no end.
type shared[T any] struct{ value T }

// Destruct implements caddy.Destructor.
func (shared[T]) Destruct() error { return nil }

// take takes a value from a pool, until Cleanup.
func take[T any](h *Handler, pool *caddy.UsagePool, key any, fresh func() T) T {
	v, _ := pool.LoadOrStore(key, shared[T]{fresh()})
	h.taken = append(h.taken, func() error {
		_, err := pool.Delete(key)
		return err
	})
	return v.(shared[T]).value
}

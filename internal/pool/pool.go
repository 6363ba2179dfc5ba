// Package pool shares values among configurations. Caddy loads a new configuration before it drops
// the old one; both use the value of one key. A value that exists in memory only is kept for a
// while after its last user, so that a reload to a configuration without it, and back, loses
// nothing.
//
// It starts no goroutine that stays. A value that must release files or connections is not kept, or
// is told by its Destruct method. A Pool is safe for concurrent use.
package pool

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// MaxIdle bounds the idle values, which are those without a user.
const MaxIdle = 64

// Pool contains values by key and counts their users.
type Pool struct {
	// Now is the clock, time.Now by default.
	Now func() time.Time

	mu     sync.Mutex
	values map[any]*entry
	idle   []*entry  // those without a user, the one that is dropped first in front
	sweep  time.Time // when the next timer is due, zero if none is
}

type entry struct {
	key, value any
	users      int
	keep       time.Duration
	until      time.Time // the end of a value without a user
}

// destructor is a value that has to release something.
type destructor interface{ Destruct() error }

// Acquire returns the value of a key, which fresh makes if there is none, until it is released.
// After its last user the value is kept for the given time, but not more than MaxIdle values are.
func (p *Pool) Acquire(key any, keep time.Duration, fresh func() any) (value any, release func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.drop(p.expired()) // what is kept in memory has nothing to report
	e := p.values[key]
	if e == nil {
		e = &entry{key: key, value: fresh()}
		if p.values == nil {
			p.values = make(map[any]*entry)
		}
		p.values[key] = e
	}
	if e.users == 0 {
		p.idle = slices.DeleteFunc(p.idle, func(other *entry) bool { return other == e })
	}
	e.keep = keep
	e.users++
	return e.value, sync.OnceValue(func() error { return p.release(e) })
}

func (p *Pool) release(e *entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.users--; e.users > 0 {
		return nil
	}
	e.until = p.now().Add(e.keep)
	at, _ := slices.BinarySearchFunc(p.idle, e, func(a, b *entry) int { return a.until.Compare(b.until) })
	p.idle = slices.Insert(p.idle, at, e)
	err := p.drop(max(p.expired(), len(p.idle)-MaxIdle))
	p.scheduleSweep()
	return err
}

// scheduleSweep starts a timer that drops expired values even if Acquire and release are not called
// again. The lock must be held.
func (p *Pool) scheduleSweep() {
	if len(p.idle) == 0 || !p.sweep.IsZero() && !p.idle[0].until.Before(p.sweep) {
		return
	}
	due := p.idle[0].until
	p.sweep = due
	time.AfterFunc(due.Sub(p.now()), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.sweep.Equal(due) {
			p.sweep = time.Time{}
		}
		_ = p.drop(p.expired())
		p.scheduleSweep()
	})
}

func (p *Pool) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// expired counts the kept values whose time is over. It is called with the lock held, as is drop.
func (p *Pool) expired() int {
	now := p.now()
	n := slices.IndexFunc(p.idle, func(e *entry) bool { return now.Before(e.until) })
	if n < 0 {
		return len(p.idle)
	}
	return n
}

// drop ends the first of the kept values.
func (p *Pool) drop(n int) (err error) {
	for _, e := range p.idle[:n] {
		delete(p.values, e.key)
		if d, ok := e.value.(destructor); ok {
			err = errors.Join(err, d.Destruct())
		}
	}
	p.idle = slices.Delete(p.idle, 0, n)
	return err
}

// DropIdle drops all idle values.
func (p *Pool) DropIdle() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drop(len(p.idle))
}

// All returns the keys and values, kept ones too.
func (p *Pool) All() map[any]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[any]any, len(p.values))
	for key, e := range p.values {
		all[key] = e.value
	}
	return all
}

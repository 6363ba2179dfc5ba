package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Remote caches the values of a service that may fail. Concurrent calls for one key share one
// fetch. After a Failure nothing is fetched until its Pause ends, and values are used for longer
// than they are fresh.
type Remote[K comparable, V any] struct {
	// Negative answers have a table of their own, so that a flood of invented keys does not
	// displace the other values.
	positive, negative *Table[K, *fetched[V]]
	isNegative         func(V) bool

	mu      sync.Mutex
	calls   map[K]*call[V]
	failure *Failure // of the last fetch, nil if the service answered
	retry   time.Time
}

// fetched is a value with the time when its fetch began.
type fetched[V any] struct {
	value V
	at    time.Time
}

// call is a fetch in progress. The fields value, err and void are valid when done is closed. void is
// set if the fetch ended with its caller, so that others must fetch themselves.
type call[V any] struct {
	done  chan struct{}
	value V
	err   error
	void  bool
}

// Lifetime returns the time for which a value is fresh, and the additional time for which it is
// used after a Failure. Both count from the begin of the fetch. It may differ between calls.
type Lifetime[V any] func(V) (fresh, stale time.Duration)

// Failure is the error of a fetch if the service gave no answer. Another error is an answer: it is
// returned as it is, and neither cached nor replaced by a stale value.
type Failure struct {
	Err   error
	Pause time.Duration
}

func (f *Failure) Error() string { return fmt.Sprintf("no answer: %v", f.Err) }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// NewRemote makes a cache for at least size values and as many negative answers.
func NewRemote[K comparable, V any](size int, isNegative func(V) bool) *Remote[K, V] {
	return &Remote[K, V]{
		positive: NewTable[K, *fetched[V]](size), negative: NewTable[K, *fetched[V]](size), isNegative: isNegative,
		calls: make(map[K]*call[V]),
	}
}

// Get returns a fresh value, fetched if necessary, or a stale one after a Failure. The context
// bounds the wait for the fetch of another call. If it ends during the own fetch, the failure is
// not remembered, and others fetch themselves.
func (r *Remote[K, V]) Get(ctx context.Context, key K, lifetime Lifetime[V], fetch func() (V, error)) (V, error) {
	for {
		if v, ok := r.cached(key, lifetime, false); ok {
			return v, nil
		}
		r.mu.Lock()
		c, running := r.calls[key]
		if !running {
			c = &call[V]{done: make(chan struct{}), void: true}
			r.calls[key] = c
		}
		r.mu.Unlock()
		if !running {
			r.run(ctx, c, key, lifetime, fetch)
			return c.value, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return *new(V), ctx.Err()
		}
		if !c.void {
			return c.value, c.err
		}
	}
}

// run fetches a value for a call. The call stays void if fetch panics.
func (r *Remote[K, V]) run(ctx context.Context, c *call[V], key K, lifetime Lifetime[V], fetch func() (V, error)) {
	defer func() {
		r.mu.Lock()
		delete(r.calls, key)
		r.mu.Unlock()
		close(c.done)
	}()
	if c.value, c.err = r.fetch(ctx, key, lifetime, fetch); c.err == nil || !ended(ctx) {
		c.void = false
	}
}

// ended reports whether a context has ended. At its deadline, a context that was derived from it may
// end first.
func ended(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

func (r *Remote[K, V]) fetch(ctx context.Context, key K, lifetime Lifetime[V], fetch func() (V, error)) (V, error) {
	if v, ok := r.cached(key, lifetime, false); ok { // fetched since the caller looked
		return v, nil
	}
	failure := r.paused()
	if failure == nil {
		began := time.Now()
		v, err := fetch()
		if !errors.As(err, &failure) {
			r.set(nil)
			if err == nil {
				r.put(key, &fetched[V]{v, began})
			}
			return v, err
		}
		if !ended(ctx) {
			r.set(failure)
		}
	}
	if v, ok := r.cached(key, lifetime, true); ok {
		return v, nil
	}
	return *new(V), failure
}

// cached returns the value of a key if it is fresh, or at least stale.
func (r *Remote[K, V]) cached(key K, lifetime Lifetime[V], stale bool) (v V, ok bool) {
	f, ok := r.positive.Get(key)
	if !ok {
		if f, ok = r.negative.Get(key); !ok {
			return v, false
		}
	}
	keep, more := lifetime(f.value)
	if stale {
		keep += more
	}
	return f.value, time.Since(f.at) < keep
}

func (r *Remote[K, V]) put(key K, f *fetched[V]) {
	into, other := r.positive, r.negative
	if r.isNegative(f.value) {
		into, other = other, into
	}
	other.Delete(key)
	into.Put(key, f)
}

// paused returns the last failure while its pause lasts, else nil.
func (r *Remote[K, V]) paused() *Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure != nil && time.Now().Before(r.retry) {
		return r.failure
	}
	return nil
}

func (r *Remote[K, V]) set(failure *Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure = failure; failure != nil {
		r.retry = time.Now().Add(failure.Pause)
	}
}

// Down reports whether the last fetch was a Failure.
func (r *Remote[K, V]) Down() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure != nil
}

// Retry ends the pause after a Failure.
func (r *Remote[K, V]) Retry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retry = time.Time{}
}

// Reject drops a value that turned out to be wrong, if the key still has one that is. With a failure
// the next one is not fetched before its pause ends.
func (r *Remote[K, V]) Reject(key K, is func(V) bool, failure *Failure) {
	f, ok := r.positive.Get(key)
	if !ok || !is(f.value) {
		return
	}
	r.positive.Delete(key)
	if failure != nil {
		r.set(failure)
	}
}

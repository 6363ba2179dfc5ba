package cache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// service gives values, with faults.
type service struct {
	asked int
	value int // negative for a negative answer
	err   error
	takes time.Duration
}

func (s *service) fetch() (int, error) {
	s.asked++
	value, err := s.value, s.err
	time.Sleep(s.takes)
	return value, err
}

// aMinute keeps values for a minute and a stale one for an hour, and negative answers for a second.
func aMinute(v int) (fresh, stale time.Duration) {
	if v < 0 {
		return time.Second, 0
	}
	return time.Minute, time.Hour
}

func newRemote() *Remote[string, int] {
	return NewRemote[string](100, func(v int) bool { return v < 0 })
}

var (
	errAnswer = errors.New("an answer that is no value")
	failure   = &Failure{errors.New("down"), 10 * time.Second}
)

func TestRemote(t *testing.T) {
	type step struct {
		promise string
		after   time.Duration
		value   int
		err     error
		want    int
		wantErr error
		asked   int
	}
	for name, steps := range map[string][]step{
		"a value": {
			{"is fetched", 0, 1, nil, 1, nil, 1},
			{"is kept", time.Minute - 1, 2, nil, 1, nil, 1},
			{"is fetched again", 1, 2, nil, 2, nil, 2},
		},
		"a negative answer": {
			{"is fetched", 0, -1, nil, -1, nil, 1},
			{"is kept for its own time", time.Second - 1, 1, nil, -1, nil, 1},
			{"gives way to a value", 1, 1, nil, 1, nil, 2},
			{"replaces a value", time.Minute, -1, nil, -1, nil, 3},
			{"which is not even stale", time.Second, 0, failure, 0, failure, 4},
		},
		"a failure": {
			{"is returned without a value", 0, 0, failure, 0, failure, 1},
			{"pauses", 10*time.Second - 1, 1, nil, 0, failure, 1},
			{"is forgotten", 1, 1, nil, 1, nil, 2},
			{"does not matter while a value is fresh", time.Second, 0, failure, 1, nil, 2},
			{"lets a value serve stale", time.Minute, 0, failure, 1, nil, 3},
			{"pauses with a stale value", time.Second, 2, nil, 1, nil, 3},
			{"and ends", 9 * time.Second, 2, nil, 2, nil, 4},
			{"does not let a value serve for ever", time.Hour + time.Minute, 0, failure, 0, failure, 5},
		},
		"an error of the answer": {
			{"is returned", 0, 0, errAnswer, 0, errAnswer, 1},
			{"does not pause", 0, 1, nil, 1, nil, 2},
			{"is not replaced by a stale value", time.Minute, 0, errAnswer, 0, errAnswer, 3},
			{"but a later failure is", 0, 0, failure, 1, nil, 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := newRemote(), &service{}
				for _, c := range steps {
					time.Sleep(c.after)
					s.value, s.err = c.value, c.err
					got, err := r.Get(t.Context(), "key", aMinute, s.fetch)
					if got != c.want || err != c.wantErr || s.asked != c.asked {
						t.Errorf("%s: %d, %v after %d fetches, want %d, %v after %d", c.promise, got, err, s.asked, c.want, c.wantErr, c.asked)
					}
				}
			})
		})
	}
}

// A failure concerns all keys, until Retry or an answer.
func TestRemoteDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRemote(), &service{err: failure}
		_, _ = r.Get(t.Context(), "a", aMinute, s.fetch)
		if _, err := r.Get(t.Context(), "b", aMinute, s.fetch); err != error(failure) || s.asked != 1 || !r.Down() {
			t.Errorf("%v after %d fetches, down %t", err, s.asked, r.Down())
		}
		r.Retry()
		s.err = errAnswer
		if _, err := r.Get(t.Context(), "b", aMinute, s.fetch); err != errAnswer || s.asked != 2 || r.Down() {
			t.Errorf("%v after %d fetches, down %t", err, s.asked, r.Down())
		}
	})
}

func TestRemoteReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRemote(), &service{value: 1}
		get := func() (int, error) { return r.Get(t.Context(), "key", aMinute, s.fetch) }
		_, _ = get()
		r.Reject("key", func(v int) bool { return v == 2 }, failure)
		if v, err := get(); v != 1 || err != nil || s.asked != 1 {
			t.Errorf("another value was rejected: %d, %v", v, err)
		}
		r.Reject("key", func(v int) bool { return v == 1 }, nil)
		if v, err := get(); v != 1 || err != nil || s.asked != 2 {
			t.Errorf("the value was rejected: %d, %v after %d fetches", v, err, s.asked)
		}
		r.Reject("key", func(v int) bool { return v == 1 }, failure)
		if _, err := get(); err != error(failure) || s.asked != 2 {
			t.Errorf("the value was rejected with a failure: %v after %d fetches", err, s.asked)
		}
	})
}

// Concurrent calls share a fetch, whatever it brings.
func TestRemoteFlood(t *testing.T) {
	for name, err := range map[string]error{"a value": nil, "an error": errAnswer, "a failure": failure} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := newRemote(), &service{value: 1, err: err, takes: time.Second}
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						if _, got := r.Get(t.Context(), "key", aMinute, s.fetch); got != err {
							t.Errorf("%v, want %v", got, err)
						}
					})
				}
				wg.Wait()
				if s.asked != 1 {
					t.Errorf("%d fetches, want 1", s.asked)
				}
			})
		})
	}
}

// A fetch that ends with its caller, or panics, says nothing to the others: one of them fetches.
func TestRemoteVoid(t *testing.T) {
	for name, first := range map[string]func(context.Context) (int, error){
		"the deadline": func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, failure },
		"a panic":      func(context.Context) (int, error) { time.Sleep(time.Second); panic("fetch") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := newRemote(), &service{value: 1}
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_, _ = r.Get(ctx, "key", aMinute, func() (int, error) { return first(ctx) })
				})
				synctest.Wait()
				wg.Go(func() {
					if v, err := r.Get(t.Context(), "key", aMinute, s.fetch); v != 1 || err != nil || s.asked != 1 || r.Down() {
						t.Errorf("%d, %v after %d fetches, down %t", v, err, s.asked, r.Down())
					}
				})
				wg.Go(func() {
					hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					if _, err := r.Get(hurried, "key", aMinute, s.fetch); err != context.DeadlineExceeded {
						t.Errorf("a call that cannot wait: %v", err)
					}
				})
				wg.Wait()
			})
		})
	}
}

// Invented keys do not displace values, nor grow the cache.
func TestRemoteInvented(t *testing.T) {
	r, s := newRemote(), &service{value: 1}
	_, _ = r.Get(t.Context(), "key", aMinute, s.fetch)
	s.value = -1
	for i := range 1000 {
		_, _ = r.Get(t.Context(), string(rune('a'+i)), aMinute, s.fetch)
	}
	if v, err := r.Get(t.Context(), "key", aMinute, s.fetch); v != 1 || err != nil {
		t.Errorf("the value is gone: %d, %v", v, err)
	}
	if n := len(r.negative.young) + len(r.negative.old); n > 200 {
		t.Errorf("%d negative answers, at most 200", n)
	}
}

// Whatever happens, a value is never older than its time, and the pause is kept.
func TestRemoteNeverTooOld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second, time.Minute, time.Hour}), 1, 30).Draw(rt, "after")
		errs := rapid.SliceOfN(rapid.SampledFrom([]error{nil, errAnswer, failure}), len(steps), len(steps)).Draw(rt, "errors")
		synctest.Test(t, func(t *testing.T) {
			r := newRemote()
			began := time.Now()
			var failed time.Time
			for i, after := range steps {
				time.Sleep(after)
				v, err := r.Get(t.Context(), "key", aMinute, func() (int, error) {
					if !failed.IsZero() && time.Since(failed) < failure.Pause {
						t.Fatal("fetched during the pause")
					}
					if errs[i] == error(failure) {
						failed = time.Now()
					}
					return int(time.Since(began) / time.Second), errs[i]
				})
				age := time.Since(began) - time.Duration(v)*time.Second
				if err == nil && (age >= time.Hour+time.Minute || age >= time.Minute && errs[i] != error(failure) && !r.Down()) {
					t.Fatalf("step %d: a value is %s old", i, age)
				}
			}
		})
	})
}

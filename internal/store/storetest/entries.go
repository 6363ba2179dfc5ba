package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func entry(t *testing.T, s *suite) {
	store := s.store()
	at := now()
	s.update(store, key(1), false, func(e *journal.Entry, now time.Time) bool {
		s.same(*e, journal.Entry{})
		if d := now.Sub(at); d < -time.Second || d > time.Minute {
			t.Errorf("the time is wrong by %v", d)
		}
		*e = full()
		return true
	})
	want := s.read(store, key(1))
	s.same(want, func() journal.Entry { e := full(); e.Begun, e.Until = want.Begun, want.Until; return e }())
	s.same(s.read(store, key(2)), journal.Entry{})
	s.size(store, 1)
	if s.DB != nil {
		s.same(s.read(s.store(), key(1)), want)
	}
	want.Until, want.IDs, want.Cause, want.State, want.Named = time.Time{}, nil, sms.NoCause, journal.Accepted, false
	s.put(store, key(1), want)
	s.same(s.read(store, key(1)), want)
	s.put(store, key(1), journal.Entry{})
	s.same(s.read(store, key(1)), journal.Entry{})
	s.size(store, 0)
}

// If 64 goroutines claim the same message at once, one of them wins.
func oneBegins(t *testing.T, s *suite) {
	stores := s.both()
	const keys = 8
	var begun [keys]atomic.Int32
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for k := range keys {
				mine := false
				s.update(stores[i%2], key(k), false, func(e *journal.Entry, now time.Time) bool {
					mine = e.State == journal.None
					if mine {
						*e = journal.Entry{ID: "id", State: journal.Pending, Owner: "me", Begun: now}
					}
					return mine
				})
				if mine {
					begun[k].Add(1)
				}
			}
		})
	}
	all.Wait()
	for k := range begun {
		if n := begun[k].Load(); n != 1 {
			t.Errorf("%d have begun message %d", n, k)
		}
	}
	s.size(stores[0], keys)
}

// Two changes of the same entry never overlap.
func atomically(t *testing.T, s *suite) {
	stores := s.both()
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 10 {
				s.update(stores[i%2], key(1+n%3), n%2 == 0, func(e *journal.Entry, now time.Time) bool {
					e.State, e.Begun, e.Split.Parts = journal.Accepted, now, e.Split.Parts+1
					return true
				})
			}
		})
	}
	all.Wait()
	if sum := s.read(stores[0], key(1)).Split.Parts + s.read(stores[1], key(2)).Split.Parts + s.read(stores[0], key(3)).Split.Parts; sum != 640 {
		t.Errorf("%d of 640 changes are kept", sum)
	}
}

// Lazy changes are made in the order of the calls.
func lazily(t *testing.T, s *suite) {
	stores := s.both()
	for n := range 100 {
		s.update(stores[0], key(1), n%10 != 9, func(e *journal.Entry, now time.Time) bool {
			if e.Split.Parts != n {
				t.Errorf("change %d finds %d before it", n, e.Split.Parts)
			}
			e.State, e.Reference, e.Begun, e.Split.Parts = journal.Accepted, "ref", now, n+1
			return true
		})
	}
	if n := s.read(stores[1], key(1)).Split.Parts; n != 100 {
		t.Errorf("another finds %d of 100 changes", n)
	}
}

func find(t *testing.T, s *suite) {
	store := s.store()
	var want []journal.Entry
	for n := range 4 {
		e := full()
		e.ID = fmt.Sprint(n)
		if n == 3 {
			e.Reference = "other"
		} else {
			want = append(want, e)
		}
		s.put(store, key(n), e)
	}
	found, err := store.Find("ref")
	if err != nil {
		t.Error(err)
	}
	s.same(found, want)
	if found, err = store.Find("' OR 1=1 --"); len(found) != 0 || err != nil {
		t.Errorf("nothing finds %v, %v", found, err)
	}
}

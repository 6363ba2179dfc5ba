package storetest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
)

// charge is the charge of a message of a user.
func charge(key byte, user string) *limit.Charge {
	return &limit.Charge{BillingKey: [32]byte{key}, Usage: limit.Usage{User: user, Segments: 1}, Rules: []limit.Rule{
		{Scope: limit.User, Unit: limit.Messages, Period: limit.Minute, Max: 1_000_000},
		{Scope: limit.User, Unit: limit.Messages, Period: limit.Month, Max: 100},
		{Scope: limit.Site, Unit: limit.Segments, Period: limit.Month, Max: 150},
	}}
}

// taken makes a number of charges at once, and returns how many were within the limits.
func (s *suite) taken(stores []journal.Store, n int, key byte, user string) int {
	s.Helper()
	var wg sync.WaitGroup
	var taken atomic.Int32
	for i := range n {
		wg.Go(func() {
			c := charge(key, user)
			if err := stores[i%len(stores)].Count(c); err != nil {
				s.Error(err)
			} else if c.Exceeded == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	return int(taken.Load())
}

// Of concurrent messages exactly as many are counted as the limits allow, for each billing key and
// each user on its own.
func counts(t *testing.T, s *suite) {
	store := []journal.Store{s.store()}
	for i, c := range []struct {
		key  byte
		user string
		want int
	}{{1, "ann", 100}, {1, "bob", 50}, {2, "ann", 100}, {1, "ann", 0}} {
		if n := s.taken(store, 120, c.key, c.user); n != c.want {
			t.Errorf("%d: %d taken, want %d", i, n, c.want)
		}
	}
}

// Counts are the same for all stores that share them, and are still there when a store is opened
// again.
func countsAreShared(t *testing.T, s *suite) {
	both := s.both()
	if n := s.taken(both[:], 200, 1, "ann"); n != 100 {
		t.Errorf("%d taken", n)
	}
	again := s.store()
	if c := charge(1, "ann"); again.Count(c) != nil || c.Exceeded == nil || c.Exceeded.Rule.Max != 100 {
		t.Errorf("opened again: %+v", c.Exceeded)
	}
	s.maintain(again, "me")
	if c := charge(1, "ann"); again.Count(c) != nil || c.Exceeded == nil {
		t.Error("forgotten before its time")
	}
}

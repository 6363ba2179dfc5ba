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

func pending(id, owner string) journal.Entry {
	return journal.Entry{ID: id, Reference: id, State: journal.Pending, Owner: owner, Window: time.Minute, Begun: now()}
}

// An entry has an owner only as long as the owner has a lease.
func lease(t *testing.T, s *suite) {
	stores := s.both()
	s.maintain(stores[0], "a")
	s.put(stores[0], key(1), pending("1", "a"))
	s.put(stores[0], key(2), pending("2", "nobody"))
	if got := s.read(stores[1], key(1)).Owner; got != "a" {
		t.Errorf("%q owns an entry of a", got)
	}
	if got := s.read(stores[1], key(2)).Owner; got != "" {
		t.Errorf("%q owns an entry without a lease", got)
	}
	s.expire("a")
	if got := s.read(stores[1], key(1)).Owner; got != "" {
		t.Errorf("%q owns an entry after its lease", got)
	}
	s.maintain(stores[0], "a")
	if got := s.read(stores[1], key(1)).Owner; got != "a" {
		t.Errorf("%q owns an entry of a, who has come back", got)
	}
}

// When an owner's lease ends, its pending entries are lost, and no others.
func lost(t *testing.T, s *suite) {
	stores := s.both()
	s.maintain(stores[0], "dead")
	s.maintain(stores[1], "alive")
	named := pending("2", "dead")
	named.Named, named.IDs, named.Split.Parts = true, []string{"1"}, 2
	done := full()
	s.put(stores[0], key(1), pending("1", "dead"))
	s.put(stores[0], key(2), named)
	s.put(stores[0], key(3), done)
	s.put(stores[1], key(4), pending("4", "alive"))
	if lost := s.maintain(stores[1], "alive"); len(lost) > 0 {
		t.Errorf("lost while its owner lives: %v", lost)
	}
	s.expire("dead")
	at := now()
	lost := s.maintain(stores[1], "alive")
	if len(lost) != 2 {
		t.Fatalf("lost %v", lost)
	}
	for _, e := range lost {
		want, k := pending("1", ""), key(1)
		if e.Named {
			want, k = named, key(2)
		}
		want.State, want.Owner, want.Cause, want.Begun, want.Until = journal.MaybeSent, "", sms.Unconfirmed, e.Begun, e.Until
		s.same(e, want)
		until := at.Add(e.Window)
		if e.Named {
			until = e.Begun.Add(journal.Retention)
		}
		if e.Until.Sub(until).Abs() > 10*time.Second {
			t.Errorf("what is lost is known until %v", e.Until)
		}
		s.same(s.read(stores[0], k), want)
	}
	s.same(s.read(stores[0], key(3)), done)
	if e := s.read(stores[0], key(4)); e.State != journal.Pending || e.Owner != "alive" {
		t.Errorf("lost with the owner of others: %v", e)
	}
	if lost := s.maintain(stores[1], "alive"); len(lost) > 0 {
		t.Errorf("lost again: %v", lost)
	}
	if lost := s.maintain(stores[0], "dead"); len(lost) > 0 {
		t.Errorf("lost again: %v", lost)
	}
}

// Each lost entry is reported once, by the first process that finds it.
func lostOnce(t *testing.T, s *suite) {
	stores := s.both()
	const entries = 200
	s.maintain(stores[0], "dead")
	for n := range entries {
		s.put(stores[0], key(n), pending("1", "dead"))
	}
	s.expire("dead")
	var found atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range entries {
				if n == 20*i {
					found.Add(int32(len(s.maintain(stores[i%2], fmt.Sprint(i)))))
				}
				mine := false
				s.update(stores[i%2], key(n), false, func(e *journal.Entry, now time.Time) bool {
					if mine = e.State == journal.Pending && e.Owner == ""; mine {
						e.MarkLost(now)
					}
					return mine
				})
				if mine {
					found.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := found.Load(); n != entries {
		t.Errorf("%d entries were found to be lost %d times", entries, n)
	}
}

// EndLease ends the lease of an owner without pending entries.
func leave(t *testing.T, s *suite) {
	stores := s.both()
	for _, busy := range []bool{true, false} {
		s.maintain(stores[0], "a")
		e := pending("1", "a")
		if !busy {
			e.State, e.Owner = journal.Accepted, ""
		}
		s.put(stores[0], key(1), e)
		if err := stores[0].EndLease("a"); err != nil {
			t.Error(err)
		}
		s.put(stores[0], key(2), pending("2", "a"))
		if left := s.read(stores[1], key(2)).Owner == ""; left == busy {
			t.Errorf("left: %t, with something on its way: %t", left, busy)
		}
		s.put(stores[0], key(2), journal.Entry{})
	}
}

package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// One tap is one text, however often it comes; two taps are two.
func TestDuplicates(t *testing.T) {
	const unknown = "unknown unknown"
	first, second := withID("1"), withID("2")
	for name, run := range map[string]func(*testing.T, *fixture){
		"the same id is sent once and told the same": func(t *testing.T, f *fixture) {
			a, b := f.send(t, first), f.send(t, first)
			f.check(t, "repeat", b, "accepted", 1)
			if a.Result.Duplicate || !b.Result.Duplicate || b.Result.ID != "sms-1" || a.Message.Reference != b.Message.Reference || !b.Claimed || b.SharedID {
				t.Errorf("first %+v, repeat %+v", a.Result, b.Result)
			}
			f.check(t, "another id", f.send(t, second), "accepted", 2)
			f.check(t, "another recipient", f.send(t, first, to("+12125550124")), "accepted", 3)
			f.check(t, "another user", f.send(t, first, by("bob")), "accepted", 4)
		},
		"the same id is tried anew after a refusal": func(t *testing.T, f *fixture) {
			f.transport.statuses = []int{402}
			a := f.send(t, first)
			f.check(t, "first", a, "refused no_credit", 1)
			b := f.send(t, first)
			f.check(t, "again", b, "accepted", 2)
			if a.Message.Reference != b.Message.Reference {
				t.Errorf("the references are %s and %s", a.Message.Reference, b.Message.Reference)
			}
		},
		"a message whose outcome is unknown is never sent again": func(t *testing.T, f *fixture) {
			f.transport.statuses = []int{500}
			f.check(t, "first", f.send(t, first), unknown, 1)
			time.Sleep(time.Hour)
			f.check(t, "repeat", f.send(t, first), unknown, 1)
		},
		"the same text is a repeat until the phone has the reply": func(t *testing.T, f *fixture) {
			r := f.sendUnheard(t, t.Context())
			f.check(t, "first", r, "accepted", 1)
			f.check(t, "repeat", f.sendUnheard(t, t.Context()), "accepted", 1)
			r.Acknowledge(time.Second)
			f.check(t, "after it", f.send(t), "accepted", 2)
		},
		"a reply after 20 s may not have reached the phone": func(t *testing.T, f *fixture) {
			r := f.sendUnheard(t, t.Context())
			r.Acknowledge(21 * time.Second)
			f.check(t, "repeat", f.sendUnheard(t, t.Context()), "accepted", 1)
		},
		"after the window the same text is a new message": func(t *testing.T, f *fixture) {
			f.sendUnheard(t, t.Context())
			time.Sleep(29 * time.Second)
			f.check(t, "within", f.sendUnheard(t, t.Context()), "accepted", 1)
			time.Sleep(2 * time.Second)
			f.check(t, "after", f.sendUnheard(t, t.Context()), "accepted", 2)
		},
		"the same text of two sites is two messages": func(t *testing.T, f *fixture) {
			f.sendUnheard(t, t.Context())
			f.check(t, "other site", f.send(t, func(r *Request) { r.Site = "other.example.com/send" }), "accepted", 2)
		},
		"an id of two texts is none": func(t *testing.T, f *fixture) {
			f.send(t, first)
			r := f.send(t, first, saying("another text"))
			f.check(t, "another text", r, "accepted", 2)
			if !r.SharedID {
				t.Error("the operator is not told")
			}
		},
		"of many at once one is sent, and the phone that hangs up waits no longer": func(t *testing.T, f *fixture) {
			f.transport.slow = 5 * time.Second
			var all sync.WaitGroup
			for range 16 {
				all.Go(func() {
					if r := f.Send(t.Context(), message(first)); said(r) != "accepted" || r.Result.ID != "sms-1" {
						t.Errorf("%s %s", said(r), r.Result.ID)
					} else {
						r.Close()
					}
				})
			}
			synctest.Wait()
			gone, hangUp := context.WithCancel(t.Context())
			hangUp()
			began := time.Now()
			r := f.sendUnheard(t, gone, first)
			f.check(t, "hung up", r, unknown, 1)
			if !r.Result.Duplicate || time.Since(began) != 0 {
				t.Errorf("repeat %t, after %s", r.Result.Duplicate, time.Since(began))
			}
			all.Wait()
		},
		"a message is sent though the phone hangs up": func(t *testing.T, f *fixture) {
			gone, hangUp := context.WithCancel(t.Context())
			hangUp()
			f.check(t, "hung up", f.sendUnheard(t, gone), "accepted", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, newFixture(t)) })
		})
	}
}

// A panic ends the claim. Before a request to a provider nothing was sent, and the message may
// come again; afterwards it may have been sent, and is never sent again.
func TestPanic(t *testing.T) {
	for name, c := range map[string]struct {
		breaks       func(*fixture)
		want, repeat string
		before, sent int
		claimed      bool
	}{
		"while the credential is checked": {func(f *fixture) {
			f.users.instead = func(users.Credential) (*users.User, error) { panic("broken") }
		}, "refused internal", "accepted", 0, 1, false},
		"before a request to a provider": {func(f *fixture) { f.Paused = func() bool { panic("broken") } },
			"refused internal", "accepted", 0, 1, true},
		"after a request to a provider began": {func(f *fixture) { f.transport.broken = "broken" }, "unknown unknown", "unknown unknown", 1, 1, true},
		"of net/http, which ends a request":   {func(f *fixture) { f.transport.broken = http.ErrAbortHandler }, "unknown unknown", "unknown unknown", 1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // a claim that is not ended would be waited for
				f := newFixture(t)
				paused := f.Paused
				c.breaks(f)
				r := f.sendUnheard(t, t.Context(), withID("1"))
				f.check(t, "broken", r, c.want, c.before)
				if r.Panic == nil || r.Panic.Value != "broken" && r.Panic.Value != http.ErrAbortHandler || !strings.Contains(string(r.Panic.Stack), "gateway") || r.Claimed != c.claimed {
					t.Errorf("panic %+v, claimed %t", r.Panic, r.Claimed)
				}
				f.users.instead, f.Paused, f.transport.broken = nil, paused, nil
				began := time.Now()
				repeat := f.send(t, withID("1"))
				f.check(t, "repeat", repeat, c.repeat, c.sent)
				if repeat.Panic != nil || time.Since(began) != 0 {
					t.Errorf("the repeat waits for %s, panic %v", time.Since(began), repeat.Panic)
				}
			})
		})
	}
}

// Fail is for what breaks after the gateway: the message may have been sent, unless no request to
// a provider began.
func TestFail(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		response *Response
		want     string
	}{
		"sent":     {f.send(t), "unknown unknown"},
		"refused":  {f.send(t, to("12")), "refused internal"},
		"no claim": {Refused(time.Now(), sms.Refuse(sms.Method)), "refused internal"},
	} {
		c.response.Fail()
		if got := said(c.response); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// When nothing can be stored nothing is sent, and the failure is noted.
func TestJournalAway(t *testing.T) {
	t.Run("it cannot be opened", func(t *testing.T) {
		f := newFixture(t)
		f.journal.err = errors.New("the disk is full")
		r := f.send(t)
		f.check(t, "the message", r, "refused internal.journal_away", 0)
		if r.Result.Detail != "the disk is full" || r.Claimed || f.journal.failures != 1 {
			t.Errorf("detail %q, claimed %t, %d failures", r.Result.Detail, r.Claimed, f.journal.failures)
		}
		r.SaveLogin()
		f.check(t, "a notice, which needs no journal", f.send(t, func(r *Request) { r.ContentType = "message/imdn+xml" }), "accepted", 0)
		f.journal.err = nil
		f.check(t, "the same message when it can", f.send(t), "accepted", 1)
	})
	t.Run("it cannot be written", func(t *testing.T) {
		store := &unwritable{Store: journal.NewMemory(), broken: true}
		f := newFixtureOf(t, ownAPI, store)
		r := f.send(t)
		f.check(t, "the message", r, "refused internal.journal_away", 0)
		if r.Claimed || f.journal.failures != 1 {
			t.Errorf("claimed %t, %d failures", r.Claimed, f.journal.failures)
		}
		store.broken = false
		f.check(t, "the same message when it can", f.send(t), "accepted", 1)
	})
}

// unwritable is a store that keeps nothing while it is broken.
type unwritable struct {
	journal.Store
	broken bool
}

func (u *unwritable) Update(key journal.Key, lazy bool, change journal.Change) error {
	if u.broken {
		return errors.New("read-only file system")
	}
	return u.Store.Update(key, lazy, change)
}

// A request that could not be decoded has a reference that its user can read out.
func TestRefused(t *testing.T) {
	received := time.Now()
	r := Refused(received, &sms.Refusal{Cause: sms.BadRequest, Detail: "for the log"})
	defer r.Close()
	if said(r) != "refused bad_request" || r.Result.Detail != "for the log" || len(r.Message.Reference) != 8 || !r.Message.Received.Equal(received) || r.User != nil {
		t.Errorf("%s %+v", said(r), r.Message)
	}
	if got := said(Refused(received, errors.New("secret"))); got != "refused internal" {
		t.Error(got)
	}
	r.Acknowledge(0) // there is no claim, and no login
	r.SaveLogin()
	var none *Response
	none.Close()
}

// brokenStore panics when a result is stored, once it is armed.
type brokenStore struct {
	*journal.Memory
	armed atomic.Bool
}

func (s *brokenStore) Update(key journal.Key, lazy bool, change journal.Change) error {
	if lazy && s.armed.Load() {
		panic("broken")
	}
	return s.Memory.Update(key, lazy, change)
}

// A journal that panics when the result is stored does not make a message that was sent a refused one,
// and the response is closed as always.
func TestPanicOfJournal(t *testing.T) {
	store := &brokenStore{Memory: journal.NewMemory()}
	f := newFixtureOf(t, ownAPI, store)
	t.Cleanup(func() { store.armed.Store(false) })
	store.armed.Store(true)
	r := f.Send(t.Context(), message(withID("1")))
	t.Cleanup(r.Close)
	f.check(t, "a message", r, "unknown unknown", 1)
	if r.Panic == nil || r.Panic.Value != "broken" {
		t.Errorf("panic %+v", r.Panic)
	}
}

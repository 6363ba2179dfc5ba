package journal

import (
	"errors"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
)

// shelf is a store as a database is one: several processes share it, it has leases, and it can be away, also after it has
// kept a change.
type shelf struct {
	secret  mac.Key
	mu      sync.Mutex
	entries map[Key]Entry
	leases  map[string]time.Time
	blocks  *Memory
	logins  []Login
	state   availability
	back    time.Time // since when it is not away
}

type availability uint8

const (
	available availability = iota
	unavailable
	mute // keeps changes, and does not say so
)

var errMute = errors.New("no answer")

func newShelf() *shelf {
	return &shelf{secret: mac.NewKey(), entries: make(map[Key]Entry), leases: make(map[string]time.Time), blocks: NewMemory()}
}

func (s *shelf) be(a availability) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != available && a == available {
		s.back = time.Now()
	}
	s.state = a
}

// knows reports whether it was there for long enough that all running processes have stored what it did not accept before.
func (s *shelf) knows() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == available && time.Since(s.back) > RenewInterval
}

func (s *shelf) is(a availability) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == a
}

func (s *shelf) Secret() *mac.Key { return &s.secret }

func (s *shelf) Update(key Key, _ bool, change Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == unavailable {
		return errMute
	}
	e := s.entries[key]
	if e.State == Pending && !s.leases[e.Owner].After(time.Now()) {
		e.Owner = ""
	}
	if change.Apply(&e, time.Now()) {
		s.entries[key] = e
	}
	if s.state == mute {
		return errMute
	}
	return nil
}

func (s *shelf) Maintain(owner string) (lost []Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != available {
		return nil, errMute
	}
	now := time.Now()
	s.leases[owner] = now.Add(Lease)
	for k, e := range s.entries {
		switch {
		case e.State == Pending && !s.leases[e.Owner].After(now):
			if e.MarkLost(now) {
				lost = append(lost, e)
			}
			s.entries[k] = e
		case e.State != Pending && !now.Before(e.Begun.Add(Retention)) && !now.Before(e.Until):
			delete(s.entries, k)
		}
	}
	return lost, nil
}

func (s *shelf) EndLease(owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, owner)
	return nil
}

func (s *shelf) Find(reference string) (found []Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.Reference == reference {
			found = append(found, e)
		}
	}
	return found, nil
}

func (s *shelf) Blocks() ([]block.Block, error) {
	if !s.is(available) {
		return nil, errMute
	}
	return s.blocks.Blocks()
}

func (s *shelf) Block(b block.Block) error                    { return s.blocks.Block(b) }
func (s *shelf) Unblock(b block.Block) (removed int, _ error) { return s.blocks.Unblock(b) }

func (s *shelf) SaveLogin(l Login) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != available {
		return errMute
	}
	s.logins = append(s.logins, l)
	return nil
}

func (s *shelf) Logins(since time.Time) (list []Login, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != available {
		return nil, errMute
	}
	for _, l := range s.logins {
		if l.Seen.After(since) {
			list = append(list, l)
		}
	}
	return list, nil
}

func (s *shelf) Count(*limit.Charge) error { return nil }

func (s *shelf) Older() (bool, error) { return false, nil }
func (s *shelf) Size() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries), nil
}

func (s *shelf) Close() error { return nil }

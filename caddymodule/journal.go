package caddymodule

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

func init() {
	caddy.RegisterModule(MemoryJournal{})
}

// journals is a module that says where messages are kept.
type journals interface {
	// address tells the stores apart. It may be secret.
	address() string
	// open begins to use the store.
	open() (journal.Store, error)
	// comesLater reports whether a store that cannot be opened now may be there later.
	comesLater() bool
}

// MemoryJournal keeps messages in the memory of Caddy, the last 100,000 of a day at most. They survive a reload, not a restart.
type MemoryJournal struct{}

// CaddyModule returns the Caddy module information.
func (MemoryJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms.journals.memory", New: func() caddy.Module { return new(MemoryJournal) }}
}

// UnmarshalCaddyfile sets the journal up from Caddyfile tokens. Syntax:
//
//	journal memory
func (*MemoryJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return none(d)
}

func (*MemoryJournal) address() string              { return "memory" }
func (*MemoryJournal) open() (journal.Store, error) { return journal.NewMemory(), nil }
func (*MemoryJournal) comesLater() bool             { return false }

// sharedJournal is a journal that several configurations may use, opened when the first of them starts.
type sharedJournal struct {
	journals

	mu     sync.Mutex
	opened *journal.Journal
	err    error     // why it could not be opened
	retry  time.Time // when that is tried again
	closed bool
}

// retryAfter is how long a store that could not be opened is left alone.
const retryAfter = time.Second

func takeJournal(t *taken, j journals) *sharedJournal {
	key := sha256.Sum256([]byte(j.address()))
	v, _ := sharedJournals.LoadOrStore(key, &sharedJournal{journals: j})
	*t = append(*t, func() error {
		_, err := sharedJournals.Delete(key)
		return err
	})
	return v.(*sharedJournal)
}

// journalLogger is for what happens behind the back of a message, whatever configuration is in use.
func journalLogger() *zap.Logger { return caddy.Log().Named("acrobits_sms") }

// start opens the journal. One that may come later is no reason not to start: until it is there, messages are refused.
func (s *sharedJournal) start() error {
	j, err := s.hold()
	switch {
	case err == nil:
		j.Release()
	case s.comesLater():
		journalLogger().Error("the journal cannot be opened; until it can, no message is sent", zap.Error(err))
		err = nil
	}
	return err
}

var errClosed = errors.New("the configuration has been replaced")

// hold opens the journal if need be. It has to be released.
func (s *sharedJournal) hold() (*journal.Journal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil && !s.closed && !time.Now().Before(s.retry) {
		var store journal.Store
		if store, s.err = s.open(); s.err == nil {
			s.opened, s.err = journal.Open(store, lost, away)
		}
		if s.err != nil {
			s.retry = time.Now().Add(retryAfter)
		}
	}
	if s.opened == nil {
		if s.err == nil {
			return nil, errClosed
		}
		return nil, s.err
	}
	if !s.opened.Hold() {
		return nil, errClosed
	}
	return s.opened, nil
}

// Destruct implements caddy.Destructor.
func (s *sharedJournal) Destruct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.opened != nil {
		s.opened.Release()
	}
	return nil
}

// lost tells the operator of a message whose process has ended.
func lost(e journal.Entry) {
	journalLogger().Error("a message may have been sent when its process ended; it is not sent again by itself",
		zap.String("reference", e.Reference), zap.Time("begun", e.Begun), zap.Strings("sms_ids", e.IDs))
}

func away(err error) {
	journalLogger().Error("the journal cannot be written", zap.Error(err))
}

// Interface guards
var (
	_ journals              = (*MemoryJournal)(nil)
	_ caddyfile.Unmarshaler = (*MemoryJournal)(nil)
)

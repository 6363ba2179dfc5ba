package caddymodule

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// pooledJournal is a journal of the pool. Several configurations may use it; the first that starts
// opens it. It is safe for concurrent use.
type pooledJournal struct {
	journalSource

	lastFailed atomic.Int64 // time of the last failed write in Unix nanoseconds, 0 if none failed

	current atomic.Pointer[journal.Journal] // the same as opened, to read without the lock
	tables  atomic.Pointer[inbox.Store]     // of the opened journal, nil if it has no tables

	mu       sync.Mutex
	opened   *journal.Journal
	err      error     // why opening failed
	retryAt  time.Time // earliest time of the next attempt to open it
	closed   bool
	emitters []*eventEmitter // of the configurations that use it, the newest last
}

func (s *pooledJournal) status() journalStatus {
	status := journalStatus{Kind: s.kind()}
	if at := s.lastFailed.Load(); at != 0 {
		when := time.Unix(0, at)
		status.LastFailed = &when
	}
	j, err := s.Acquire()
	if err == nil {
		defer j.Release()
		status.Blocks = j.Blocks()
		status.Remembered, status.OnTheirWay, err = j.Size()
	}
	if err != nil {
		status.Error = err.Error()
	}
	return status
}

// openRetryDelay is the time between two attempts to open a store.
const openRetryDelay = time.Second

func acquireJournal(t *resources, j journalSource) *pooledJournal {
	k := storedJournals
	if j.kind() == inMemory {
		k = memoryJournals
	}
	return acquireShared(t, k, sha256.Sum256([]byte(j.address())), func() *pooledJournal {
		return &pooledJournal{journalSource: j}
	})
}

// journalLogger logs what no configuration in use can log: the journal outlives them.
func journalLogger() *zap.Logger { return caddy.Log().Named("acrobits_sms") }

// start opens the journal. A journal that may open later does not keep Caddy from starting; until
// it opens, messages are refused.
func (s *pooledJournal) start() error {
	j, err := s.Acquire()
	switch {
	case err == nil:
		j.Release()
	case s.mayOpenLater():
		journalLogger().Error("cannot open the journal; messages are refused until it opens", zap.Error(err))
		err = nil
	}
	return err
}

var errClosed = errors.New("the configuration has been replaced")

// Acquire implements gateway.Journal. It opens the journal if necessary. The caller must release
// it.
func (s *pooledJournal) Acquire() (*journal.Journal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil && !s.closed && !time.Now().Before(s.retryAt) {
		var store journal.Store
		if store, s.err = s.open(); s.err == nil {
			if tables, ok := store.(inbox.Store); ok {
				s.tables.Store(&tables)
			}
			s.opened, s.err = journal.Open(store, s.reportLost, s.reportWriteError)
			s.current.Store(s.opened)
		}
		if s.err != nil {
			s.retryAt = time.Now().Add(openRetryDelay)
		}
	}
	if s.opened == nil {
		if s.err == nil {
			return nil, errClosed
		}
		return nil, s.err
	}
	if !s.opened.Acquire() {
		return nil, errClosed
	}
	return s.opened, nil
}

func (s *pooledJournal) find(reference string) ([]journal.Entry, error) {
	j, err := s.Acquire()
	if err != nil {
		return nil, err
	}
	defer j.Release()
	return j.Find(reference)
}

// block stops a user from sending.
func (s *pooledJournal) block(b block.Block) error {
	j, err := s.Acquire()
	if err != nil {
		return err
	}
	defer j.Release()
	return j.Block(b)
}

// copyBlocks copies the blocks of the journals that a reload replaces with this one.
func (s *pooledJournal) copyBlocks(others []*pooledJournal) {
	for _, other := range others {
		if other == s {
			continue
		}
		for _, b := range other.blocks() {
			if err := s.block(b); err != nil {
				journalLogger().Error("cannot copy a block to the new journal: the user is no longer blocked",
					zap.String("user", b.User), zap.String("on_host", b.Host), zap.Error(err))
			}
		}
	}
}

// blocks returns the blocks of the journal, nil if it is not open.
func (s *pooledJournal) blocks() []block.Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil {
		return nil
	}
	return s.opened.Blocks()
}

// LastLogin implements gateway.Journal. It returns the zero Time while the journal is not open.
func (s *pooledJournal) LastLogin(user string, network netip.Prefix) time.Time {
	if j := s.current.Load(); j != nil { // requests without a login must not wait for the store to open
		return j.LastLogin(user, network)
	}
	return time.Time{}
}

// unblock ends the block of a user on one site, or without a host all blocks of the user. left are
// the blocks that still apply to the user.
func (s *pooledJournal) unblock(b block.Block) (removed int, left []block.Block, err error) {
	j, err := s.Acquire()
	if err != nil {
		return 0, nil, err
	}
	defer j.Release()
	removed, err = j.Unblock(b)
	for _, other := range j.Blocks() {
		if block.NewSet([]block.Block{other}).Blocks(b.User, cmp.Or(b.Host, other.Host)) {
			left = append(left, other)
		}
	}
	return removed, left, err
}

// Destruct closes the journal as soon as no message in flight uses it.
func (s *pooledJournal) Destruct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.opened != nil {
		s.opened.Release()
	}
	return nil
}

// addEmitter makes e the emitter of the journal's events, until it is removed or another one is
// added.
func (s *pooledJournal) addEmitter(e *eventEmitter) (remove func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emitters = append(s.emitters, e)
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.emitters = slices.DeleteFunc(s.emitters, func(other *eventEmitter) bool { return other == e })
		return nil
	}
}

// reportLost reports a message that was in flight when its process ended.
func (s *pooledJournal) reportLost(e journal.Entry) {
	lostTotal.Inc()
	journalLogger().Error("a message may have been sent when its process ended; it is not sent again automatically",
		zap.String("reference", e.Reference), zap.Time("begun", e.Begun), zap.Strings("sms_ids", e.ShownIDs()))
	go func() { // not inline: the caller may be opening the journal, which a subscriber may use
		s.mu.Lock()
		var newest *eventEmitter
		if n := len(s.emitters); n > 0 {
			newest = s.emitters[n-1]
		}
		s.mu.Unlock()
		if newest != nil {
			newest.emit(lostEvent, map[string]any{"reference": e.Reference, "begun": e.Begun.Format(time.RFC3339)})
		}
	}()
}

// NoteFailure implements gateway.Journal. It counts failed writes.
func (s *pooledJournal) NoteFailure() {
	journalErrorsTotal.Inc()
	s.lastFailed.Store(time.Now().UnixNano())
}

func (s *pooledJournal) reportWriteError(err error) {
	s.NoteFailure()
	journalLogger().Error("cannot write the journal", zap.Error(err))
}

var _ gateway.Journal = (*pooledJournal)(nil)

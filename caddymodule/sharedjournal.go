package caddymodule

import (
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// sharedJournal is a journal that several configurations may use, opened when the first of them starts.
type sharedJournal struct {
	journals

	failed atomic.Int64 // when something could not be written down, in nanoseconds of Unix time, 0 if all could

	mu         sync.Mutex
	opened     *journal.Journal
	err        error     // why it could not be opened
	retry      time.Time // when that is tried again
	closed     bool
	announcers []*announcer // of the configurations that use it, the newest last
}

func (s *sharedJournal) status() journalStatus {
	status := journalStatus{Kind: s.kind()}
	if at := s.failed.Load(); at != 0 {
		when := time.Unix(0, at)
		status.LastFailed = &when
	}
	j, err := s.hold()
	if err == nil {
		defer j.Release()
		status.Remembered, status.OnTheirWay, err = j.Size()
	}
	if err != nil {
		status.Error = err.Error()
	}
	return status
}

// retryAfter is how long a store that could not be opened is left alone.
const retryAfter = time.Second

func takeJournal(t *taken, j journals) *sharedJournal {
	key := sha256.Sum256([]byte(j.address()))
	v, _ := sharedJournals.LoadOrStore(key, &sharedJournal{journals: j})
	t.add(func() error {
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
			s.opened, s.err = journal.Open(store, s.lost, s.away)
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

func (s *sharedJournal) find(reference string) ([]journal.Entry, error) {
	j, err := s.hold()
	if err != nil {
		return nil, err
	}
	defer j.Release()
	return j.Find(reference)
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

// announce has an announcer told of what happens behind the back of a message, instead of those before it, until it is taken back.
func (s *sharedJournal) announce(a *announcer) (takeBack func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announcers = append(s.announcers, a)
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.announcers = slices.DeleteFunc(s.announcers, func(other *announcer) bool { return other == a })
		return nil
	}
}

// lost tells the operator of a message whose process has ended.
func (s *sharedJournal) lost(e journal.Entry) {
	measuredLost.Inc()
	journalLogger().Error("a message may have been sent when its process ended; it is not sent again by itself",
		zap.String("reference", e.Reference), zap.Time("begun", e.Begun), zap.Strings("sms_ids", e.IDs))
	go func() { // a subscriber may ask for the journal, which may just be opened
		s.mu.Lock()
		var newest *announcer
		if n := len(s.announcers); n > 0 {
			newest = s.announcers[n-1]
		}
		s.mu.Unlock()
		if newest != nil {
			newest.announce(lostEvent, map[string]any{"reference": e.Reference, "begun": e.Begun.Format(time.RFC3339)})
		}
	}()
}

// noteFailure counts what could not be written down.
func (s *sharedJournal) noteFailure() {
	measuredJournalErrors.Inc()
	s.failed.Store(time.Now().UnixNano())
}

func (s *sharedJournal) away(err error) {
	s.noteFailure()
	journalLogger().Error("the journal cannot be written", zap.Error(err))
}

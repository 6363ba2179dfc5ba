package caddymodule

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// vanishing is a journal in memory that can go away.
type vanishing struct {
	MemoryJournal
	store *vanishingStore
}

type vanishingStore struct {
	*journal.Memory
	gone atomic.Bool
}

var errGone = errors.New("the disk is full")

func (v *vanishing) address() string              { return "vanishing" }
func (v *vanishing) open() (journal.Store, error) { return v.store, nil }

func (s *vanishingStore) Update(key journal.Key, lazy bool, change journal.Change) error {
	if s.gone.Load() {
		return errGone
	}
	return s.Memory.Update(key, lazy, change)
}

// A journal that goes away after a message was sent makes no answer untrue: whoever taps again is told what became of the first, and
// not that nothing was sent; and each time that nothing could be written down is measured.
func TestJournalGoesAway(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		var hold resources
		v := &vanishing{store: &vanishingStore{Memory: journal.NewMemory()}}
		s.gateway.Journal = acquireJournal(&hold, v)
		defer func() { _ = hold.release() }()
		s.gateway.Deliverer.Routes[0].Transport = goneAfter{p, v.store}
		if got := s.tap(t, named); got != "200 sms-1" {
			t.Errorf("the first: %s", got)
		}
		if got := s.tap(t, named); got != "200 sms-1" || p.took != 1 {
			t.Errorf("again: %s, %d texts", got, p.took)
		}
		before := journalErrors(t, s)
		if got := s.tap(t, otherName); !strings.HasPrefix(got, "500 ") || p.took != 1 {
			t.Errorf("another: %s, %d texts", got, p.took)
		}
		if after := journalErrors(t, s); after == before {
			t.Errorf("not measured: %s", after)
		}
		v.store.gone.Store(false)
		if got := s.tap(t, named); got != "200 sms-1" || p.took != 1 {
			t.Errorf("when it is back: %s, %d texts", got, p.took)
		}
	})
}

// Two taps of the same words without an id are two texts: the second is not told to be sent when the journal is away.
func TestSecondTextWhileJournalIsAway(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		var hold resources
		v := &vanishing{store: &vanishingStore{Memory: journal.NewMemory()}}
		s.gateway.Journal = acquireJournal(&hold, v)
		defer func() { _ = hold.release() }()
		s.gateway.Deliverer.Routes[0].Transport = goneAfter{p, v.store}
		for i, want := range []string{"200 sms-1", "500 Messages cannot be recorded just now. This time nothing was sent."} {
			if got := s.tap(t, ok); got != want || p.took != 1 {
				t.Errorf("tap %d: %s, %d texts", i, got, p.took)
			}
		}
	})
}

func journalErrors(t *testing.T, s *site) string {
	t.Helper()
	for line := range strings.Lines(scrape(t, s)) {
		if strings.HasPrefix(line, "caddy_acrobits_sms_journal_errors_total ") {
			return line
		}
	}
	t.Error("no caddy_acrobits_sms_journal_errors_total")
	return ""
}

// Without a path the file is in Caddy's data directory, which is made if there is none.
func TestDefaultPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	j := new(SQLiteJournal)
	if err := j.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	store, err := j.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "caddy", "acrobits_sms.db")); err != nil {
		t.Error(err)
	}
}

var _ caddy.Module = (*vanishing)(nil)

// goneAfter is a provider while whose answer comes the journal goes away.
type goneAfter struct {
	*counting
	store *vanishingStore
}

func (g goneAfter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.counting.RoundTrip(r)
	g.store.gone.Store(true)
	return resp, err
}

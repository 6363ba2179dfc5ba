// Package storetest tests the stores of the journal: that each store keeps the promises of
// journal.Store, and that a Journal keeps its own on each store.
//
// The tests of each store call Run; so do those of the built binary, with a PostgreSQL server. The
// package must not depend on how a store works, only on its tables.
package storetest

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Place is a file, database or memory that several stores share.
type Place struct {
	// Open opens one more store, as another process does.
	Open func() (journal.Store, error)
	// DB opens the tables as another program does. It is nil if there are no tables: then the
	// entries end with their only store.
	DB func() *sql.DB
}

// Run tests the stores of a place. place must return a new, empty place at each call.
func Run(t *testing.T, place func(t *testing.T) Place) {
	all := map[string]func(*testing.T, *suite){
		"Entry": entry, "One begins": oneBegins, "Atomic": atomically, "Lazy": lazily, "Find": find, "References": references, "Counts": counts,
		"Ids of different texts": sharedIDs, "Ids of different texts at once": sharedAtOnce, "Blocks": blocks,
	}
	shared := map[string]func(*testing.T, *suite){
		"Lease": lease, "Lost": lost, "Lost once": lostOnce, "EndLease": leave, "Retention": retention, "Kept": kept,
		"Counts are shared": countsAreShared, "Blocks are shared": blocksAreShared, "Blocks of an older program": blocksOfAnOlder, "Logins": logins, "Logins are known": loginsAreKnown, "Opened by many": openedByMany,
		"Newer": newer, "Older": older, "Older message": olderMessage, "Transactions": transactions, "Transactions that fail": transactionsFail, "Older with ids": olderWithIDs, "Messages": messages, "Damaged": damaged, "Closed": closed, "Waited for": waitedFor, "Lost with its process": lostWithItsProcess,
		"Collecting": collecting,
	}
	tables := place(t).DB != nil
	for name, f := range all {
		t.Run(name, func(t *testing.T) { f(t, &suite{t, place(t)}) })
	}
	for name, f := range shared {
		if tables {
			t.Run(name, func(t *testing.T) { f(t, &suite{t, place(t)}) })
		}
	}
}

type suite struct {
	*testing.T
	Place
}

// store opens a store and closes it at the end of the test.
func (s *suite) store() journal.Store {
	s.Helper()
	store, err := s.Open()
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = store.Close() })
	return store
}

// both returns two stores that share their entries, or the same store twice if there are no tables.
func (s *suite) both() [2]journal.Store {
	first := s.store()
	if s.DB == nil {
		return [2]journal.Store{first, first}
	}
	return [2]journal.Store{first, s.store()}
}

// exec executes a statement on the tables.
func (s *suite) exec(statement string) {
	s.Helper()
	db := s.DB()
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		s.Error(err)
	}
}

// rows returns the rows of a query; the values of a row are joined by bars.
func (s *suite) rows(query string) (list []string) {
	s.Helper()
	db := s.DB()
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	names, _ := rows.Columns()
	values, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			s.Fatal(err)
		}
		var texts []string
		for _, v := range values {
			texts = append(texts, v.String)
		}
		list = append(list, strings.Join(texts, "|"))
	}
	if err := rows.Err(); err != nil {
		s.Fatal(err)
	}
	return list
}

// change is a journal.Change made from a function.
type change func(e *journal.Entry, now time.Time) bool

func (c change) Apply(e *journal.Entry, now time.Time) bool { return c(e, now) }

func (s *suite) update(store journal.Store, key journal.Key, lazy bool, c change) {
	s.Helper()
	if err := store.Update(key, lazy, c); err != nil {
		s.Error(err)
	}
}

// read returns an entry as a Change gets it.
func (s *suite) read(store journal.Store, key journal.Key) (found journal.Entry) {
	s.Helper()
	s.update(store, key, false, func(e *journal.Entry, _ time.Time) bool {
		found = *e
		return false
	})
	return found
}

func (s *suite) put(store journal.Store, key journal.Key, entry journal.Entry) {
	s.Helper()
	s.update(store, key, false, func(e *journal.Entry, _ time.Time) bool {
		*e = entry
		return true
	})
}

func (s *suite) maintain(store journal.Store, owner string) []journal.Entry {
	s.Helper()
	lost, err := store.Maintain(owner)
	if err != nil {
		s.Error(err)
	}
	return lost
}

func (s *suite) size(store journal.Store, want int) {
	s.Helper()
	if n, err := store.Size(); n != want || err != nil {
		s.Errorf("there are %d entries, want %d, %v", n, want, err)
	}
}

func (s *suite) same(got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b journal.Entry) bool { return a.ID < b.ID })); diff != "" {
		s.Error(diff)
	}
}

// expire moves the end of a lease into the past.
func (s *suite) expire(owner string) {
	s.exec("UPDATE acrobits_sms_leases SET until = until - " + fmt.Sprint(journal.Lease.Milliseconds()) + " WHERE owner = '" + owner + "'")
}

func key(n int) (k journal.Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n)*0x9e3779b97f4a7c15)
	return k
}

func now() time.Time { return time.UnixMilli(time.Now().UnixMilli()) }

// full is an entry in which every field is set.
func full() journal.Entry {
	return journal.Entry{
		ID: "id", Reference: "ref", State: journal.Refused, Named: true, Text: math.MinInt64 + 1, Shared: true, ReplyAcknowledged: true, Window: 30 * time.Second, Begun: now(), Until: now().Add(time.Hour),
		Adapter: "twilio ü", User: "ann ü", Cause: sms.NoCredit, Code: "E 1", Detail: "no more \"credit\" ü", Segments: 4, Split: sms.Split{Parts: 3, Cuts: math.MinInt64}, IDs: []string{"1", `"2"`, "\x00"},
	}
}

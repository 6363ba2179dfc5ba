package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// keep puts messages into the journal, each with a text of its own, and says what these begin with.
func keep(t *testing.T, s *Store, from, to int, state journal.State) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(from), 0))
	for n := from; n < to; n++ {
		body := strings.Repeat(marker(n)+" ", 1+random.IntN(4)*random.IntN(150)) // some with pages of their own
		var kept *journal.StoredMessage
		if err := s.Update(key(uint64(n)), true, change(func(e *journal.Entry, now time.Time) bool {
			*e = journal.Entry{ID: fmt.Sprintf("%08x", random.Uint32()), State: journal.Pending, Begun: now}
			e.Kept = &journal.StoredMessage{Message: &sms.Message{User: "johndow", Body: sms.Hide(body)}, ID: e.ID, Until: now.Add(time.Hour)}
			kept = e.Kept
			return true
		})); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(key(uint64(n)), true, change(func(e *journal.Entry, now time.Time) bool {
			e.State, e.Kept, e.Adapter = state, kept, "twilio"
			if state == journal.Accepted {
				e.IDs = []string{strings.Repeat("SM", 1+random.IntN(40))} // the row grows, so that others make room
			}
			return true
		})); err != nil {
			t.Fatal(err)
		}
	}
}

// marker stands in the text of a message and in no other. No part of it is shared.
func marker(n int) string { return fmt.Sprintf("text-%06d-of-a-person", n) }

var markers = regexp.MustCompile(`text-\d{6}-of-a-person`)

// bytesOf are the bytes of the file and of its WAL.
func bytesOf(t *testing.T, s *Store) string {
	t.Helper()
	var all strings.Builder
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(s.path + suffix)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

// A deleted text leaves no byte in the file or the WAL while the journal is open: neither expired
// texts of any length, among others that stay, nor refused ones.
func TestDeletedTextLeavesNoBytes(t *testing.T) {
	s := open(t)
	defer func() { closes(t, s) }()
	s.scrubber.interval = 0
	seed := uint64(time.Now().UnixNano())
	t.Log("seed ", seed)
	check := func(when string, gone func(n int) bool, to int) {
		t.Helper()
		if _, err := s.Maintain("a"); err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, m := range markers.FindAllString(bytesOf(t, s), -1) {
			found[m] = true
		}
		left, lost := 0, 0
		for n := range to {
			switch there := found[marker(n)]; {
			case gone(n) && there:
				left++
			case !gone(n) && !there:
				lost++
			}
		}
		if left > 0 || lost > 0 {
			t.Errorf("%s: %d deleted texts are still there, %d others are not", when, left, lost)
		}
	}
	keep(t, s, 0, 50, journal.Accepted)
	keep(t, s, 50, 60, journal.Refused)
	check("refused", func(n int) bool { return n >= 50 }, 60)
	keep(t, s, 60, 1500, journal.Accepted)
	gone := map[int]bool{}
	for n := 50; n < 60; n++ {
		gone[n] = true
	}
	random := rand.New(rand.NewPCG(seed, 2))
	for round := range 4 { // in no order, so that pages are merged
		for n := range 1500 {
			if random.IntN(3) == 0 {
				gone[n] = true
				expire(t, s, n)
			}
		}
		check(fmt.Sprint("round ", round), func(n int) bool { return gone[n] }, 1500)
		keep(t, s, 1500+100*round, 1600+100*round, journal.Accepted)
	}
}

// expire ends the time of a message. Another program would leave remains of its own.
func expire(t *testing.T, s *Store, n int) {
	t.Helper()
	k := key(uint64(n))
	if err := s.do(true, func(time.Time) error {
		_, err := s.conn.Conn.ExecContext(context.Background(), "UPDATE acrobits_sms_messages SET until = until - 7200000 WHERE id = (SELECT id FROM acrobits_sms_entries WHERE key = ?)", k[:])
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// A slow reader delays the scrub, and no message; so does a process that ended before it overwrote
// what it deleted.
func TestDeletedTextIsOverwrittenLater(t *testing.T) {
	s := open(t)
	s.scrubber.interval = 0
	keep(t, s, 0, 20, journal.Accepted)
	reader := other(t, s.path)
	defer reader.Close()
	tx, err := reader.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM acrobits_sms_messages").Scan(&n); err != nil || n != 20 {
		t.Fatal(n, err)
	}
	expire(t, s, 7)
	began := time.Now()
	for range 2 {
		if _, err := s.Maintain("a"); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(bytesOf(t, s), marker(7)) {
		t.Error("the reader does not hinder anything, so this tests nothing")
	}
	keep(t, s, 20, 21, journal.Accepted)
	if took := time.Since(began); took > journal.StoreTimeout {
		t.Errorf("a message waited for the reader: %v", took)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	next, err := Open(s.path) // the first has not closed, as if it had been killed
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, next)
	next.scrubber.interval = 0
	if _, err := next.Maintain("b"); err != nil {
		t.Error(err)
	}
	if strings.Contains(bytesOf(t, s), marker(7)) {
		t.Error("the process that comes next leaves the text there")
	}
	closes(t, s)
}

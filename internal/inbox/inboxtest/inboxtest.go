// Package inboxtest tests that an Inbox keeps its promises on each database.
//
// The tests of package inbox call Run with SQLite; those of the built binary call it with a
// PostgreSQL server. The package must not depend on how a database works, only on the tables.
package inboxtest

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Place is a database that several processes share.
type Place struct {
	// Open opens the database once more, as another process does.
	Open func(t *testing.T) inbox.Store
	// DB opens the tables as another program does.
	DB func() *sql.DB
}

// Run tests the inbox in a place. place must return a new, empty place at each call.
func Run(t *testing.T, place func(t *testing.T) Place) {
	for name, f := range map[string]func(*suite){
		"Duplicates": duplicates, "Parts": parts, "Pictures": pictures, "Visible in " +
			"order": visibleInOrder, "Ids": ids, "Sent": sentOnce,
		"Cursors": cursors, "Pages": pages, "Many sent": manySent, "Many " +
			"numbers": manyNumbers, "Holders": holders, "Hide": hide,
		"Receipts": receipts, "Receipts that come first": earlyReceipts, "Unknown becomes known": unknownBecomesKnown,
		"Pushes": pushes, "Pushes of failures": pushesOfFailures, "Devices": devices, "Retention": retention, "Erase": erase,
		"Reply number": replyNumber, "Odd texts": oddTexts,
	} {
		t.Run(name, func(t *testing.T) { f(newSuite(t, place(t))) })
	}
	t.Run("Model", func(t *testing.T) { model(t, place(t)) })

}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read(time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const (
	ours, second = "+15550001111", "+15550002222"
	bob, carol   = "+15551231234", "+15551235678"
	day          = 24 * time.Hour
)

var source = inbox.Source{Definition: "twilio", Account: "AC1"}

// suite is one place with an inbox.
type suite struct {
	*testing.T
	Place
	*inbox.Inbox
	store inbox.Store
	clock *clock
	woken int
	sends int
}

func newSuite(t *testing.T, p Place) *suite {
	s := &suite{T: t, Place: p, store: p.Open(t), clock: &clock{now: time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC)}}
	s.Inbox = s.inbox("sms.example.com", s.store)
	return s
}

func (s *suite) inbox(gateway string, store inbox.Store) *inbox.Inbox {
	return inbox.New(store, inbox.Options{Gateway: gateway, Keep: 90 * day, Clock: s.clock.read,
		PushFailures: true, Woken: func() { s.woken++ }})
}

func (s *suite) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) same(got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.Error(diff)
	}
}

func phone(number string) sms.Number { return sms.Number{Value: number, Kind: sms.Phone} }

// text is a text from bob to our number.
func text(id, body string) *inbox.Incoming {
	return &inbox.Incoming{Source: source, Adapter: "twilio", ID: id, From: phone(bob), To: phone(ours),
		Text: sms.Hide(body)}
}

func (s *suite) receive(m *inbox.Incoming) inbox.Received {
	s.Helper()
	r, err := s.Receive(m)
	s.check(err)
	return r
}

// outgoing is a text of johndow from our number to bob.
func (s *suite) outgoing(body string, ids ...string) *inbox.Outgoing {
	s.sends++
	return &inbox.Outgoing{Message: &sms.Message{
		ID: fmt.Sprintf("%s-%d", s.Name(), s.sends), Reference: "ref", User: "johndow", From: phone(ours), To: phone(bob), Body: sms.Hide(body), ContentType: "text/plain",
	}, Source: source, Adapter: "twilio", IDs: ids}
}

func (s *suite) send(m *inbox.Outgoing) inbox.ID {
	s.Helper()
	id, err := s.Sent(m)
	s.check(err)
	return id
}

// login authenticates a user with numbers.
func (s *suite) login(user string, numbers ...string) {
	s.Helper()
	s.check(s.Authenticated(user, numbers))
}

func (s *suite) poll(p inbox.Poll) inbox.Page {
	s.Helper()
	page, err := s.Fetch(&p)
	s.check(err)
	return page
}

// received polls with a cursor and returns the texts.
func (s *suite) received(user, after string, numbers ...string) []string {
	s.Helper()
	return texts(s.poll(inbox.Poll{User: user, Numbers: numbers, Received: after}).Received)
}

func texts(items []inbox.Item) (list []string) {
	for _, i := range items {
		list = append(list, i.Text.Reveal())
	}
	return list
}

func (s *suite) wants(user string, want ...string) {
	s.Helper()
	s.same(s.received(user, "", ours), want)
}

// The same delivery is stored once; other texts are stored.
func duplicates(s *suite) {
	s.login("johndow", ours)
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		name      string
		change    func(m *inbox.Incoming)
		after     time.Duration
		duplicate bool
	}{
		{"first", func(*inbox.Incoming) {}, 0, false},
		{"again", func(*inbox.Incoming) {}, 0, true},
		{"an hour later", func(*inbox.Incoming) {}, time.Hour, true},
		{"from another webhook", func(m *inbox.Incoming) { m.Adapter = "twilio 2" }, 0, true},
		{"other text", func(m *inbox.Incoming) { m.Text = sms.Hide(long) }, 0, false},
		{"other sender", func(m *inbox.Incoming) { m.From = phone(carol) }, 0, false},
		{"other number", func(m *inbox.Incoming) { m.To = phone(second) }, 0, false},
		{"other account", func(m *inbox.Incoming) { m.Account = "AC2" }, 0, false},
		{"other provider", func(m *inbox.Incoming) { m.Definition = "telnyx" }, 0, false},
		{"other id", func(m *inbox.Incoming) { m.ID = "SM2" }, 0, false},
		{"without id", func(m *inbox.Incoming) { m.ID = "" }, 0, false},
		{"without id again", func(m *inbox.Incoming) { m.ID = "" }, 29 * time.Second, true},
		{"without id a real repetition", func(m *inbox.Incoming) { m.ID = "" }, time.Second, false},
		{"without id other text", func(m *inbox.Incoming) { m.ID, m.Text = "", sms.Hide("other") }, 0, false},
	} {
		m := text("SM1", "hi")
		c.change(m)
		s.clock.add(c.after)
		b := s.Inbox
		if c.name == "an hour later" { // another process, at another handler
			b = s.inbox("other.example.com", s.Open(s.T))
		}
		r, err := b.Receive(m)
		s.check(err)
		if r.Duplicate != c.duplicate || (r.Item > 0) == c.duplicate {
			s.Errorf("%s: %+v", c.name, r)
		}
	}
	s.wants("johndow", "hi", long, "hi", "hi", "hi", "hi", "hi", "hi", "other")
	if r := s.receive(&inbox.Incoming{Source: source, ID: "SM9", From: phone(bob), To: phone("+15559999999"),
		Text: sms.Hide("x")}); !r.Unclaimed {
		s.Error("nobody has the number")
	}
	if r := s.receive(text("SM10", "x")); r.Unclaimed {
		s.Error("johndow has the number")
	}
}

func part(id, reference string, number, of int, body string) *inbox.Incoming {
	m := text(id, body)
	m.Part = inbox.Part{Reference: reference, Number: number, Of: of}
	return m
}

func (s *suite) overdue(want int) {
	s.Helper()
	n, err := s.ShowOverdue()
	s.check(err)
	s.same(n, want)
}

// Parts become one text: in any order, or after a minute those that have arrived.
func parts(s *suite) {
	s.login("johndow", ours)
	for i, m := range []*inbox.Incoming{part("1", "7", 3, 3, "c"), part("2", "7", 1, 3, "a"), part("2", "7", 1, 3,
		"a"), part("3", "8", 1, 2, "x"), part("4", "7", 2, 3, "b")} {
		if r := s.receive(m); (r.Item > 0) != (i == 4) || r.Duplicate != (i == 2) {
			s.Errorf("part %d: %+v", i, r)
		}
	}
	s.wants("johndow", "abc")
	s.clock.add(inbox.Patience - time.Millisecond)
	s.overdue(0)
	s.receive(part("5", "8", 1, 2, "new ")) // the reference is used again
	s.wants("johndow", "abc", "x")
	s.receive(part("6", "8", 2, 2, "text"))
	s.receive(part("7", "9", 2, 3, "2"))
	s.clock.add(inbox.Patience / 2)
	s.receive(part("8", "9", 1, 3, "1"))
	s.clock.add(inbox.Patience / 2)
	s.overdue(1) // a minute after the first part
	s.wants("johndow", "abc", "x", "new text", "12")
	s.receive(part("9", "9", 3, 3, "3"))
	s.clock.add(inbox.Patience)
	s.overdue(1)
	s.overdue(0)
	s.wants("johndow", "abc", "x", "new text", "12", "3")
	s.same(s.rows("SELECT count(*) FROM acrobits_sms_messages WHERE item IS NULL"), []string{"0"})
}

func picture(id, body string) *inbox.Incoming {
	m := text(id, body)
	m.Media = []sms.Hidden{sms.Hide("https://provider.example/" + id)}
	return m
}

// file composes the content of an item with a picture.
func file(text sms.Hidden) (inbox.Content, bool) {
	return inbox.Content{Type: "application/x-acro-filetransfer+json", Text: sms.Hide("file:" + text.Reveal())}, true
}

func nothing(sms.Hidden) (inbox.Content, bool) { return inbox.Content{}, false }

// A message waits a minute for its pictures; those that come later are items of their own.
func pictures(s *suite) {
	s.login("johndow", ours)
	done := func(message string, compose func(sms.Hidden) (inbox.Content, bool), item bool) {
		s.Helper()
		id, err := s.MediaDone(message, compose)
		s.check(err)
		if (id > 0) != item {
			s.Errorf("the item is %d", id)
		}
	}
	soon, late, empty, failed, bare := s.receive(picture("1", "soon")), s.receive(picture("2",
		"late")), s.receive(picture("3", "")), s.receive(picture("4", "failed")), s.receive(picture("5", ""))
	s.wants("johndow")
	work, err := s.TakeMedia(10, time.Minute)
	s.check(err)
	if len(work) != 5 || work[0].Try != 1 || len(work[0].Sources) != 1 || !strings.HasPrefix(work[0].Sources[0].Reveal(), "https://provider.example/") {
		s.Errorf("work %+v", work)
	}
	if again, err := s.TakeMedia(10, time.Minute); err != nil || again != nil {
		s.Errorf("taken twice: %+v, %v", again, err)
	}
	done(soon.Message, file, true)
	done(soon.Message, file, false)
	done(failed.Message, nothing, true)
	s.wants("johndow", "file:soon", "failed")
	s.clock.add(inbox.Patience)
	s.overdue(1)
	s.wants("johndow", "file:soon", "failed", "late")
	if again, err := s.TakeMedia(10, time.Minute); err != nil || len(again) != 3 || again[0].Try != 2 {
		s.Errorf("after the lease: %+v, %v", again, err)
	}
	s.check(s.MediaLater(late.Message, 0))
	if again, err := s.TakeMedia(1, time.Minute); err != nil || len(again) != 1 || again[0].Message != late.Message {
		s.Errorf("put off: %+v, %v", again, err)
	}
	done(late.Message, file, true)
	done(empty.Message, file, true)
	done(bare.Message, nothing, false)
	s.wants("johndow", "file:soon", "failed", "late", "file:", "file:")
	s.same(s.rows("SELECT count(*) FROM acrobits_sms_media"), []string{"0"})
	items := s.poll(inbox.Poll{User: "johndow", Numbers: []string{ours}}).Received
	if i := items[3]; i.Sender != bob || i.Recipient != ours || i.ContentType != "application/x-acro-filetransfer+json" {
		s.Errorf("%+v", i)
	}
}

// Texts that a database may not accept are stored, and come back the same each time.
func oddTexts(s *suite) {
	s.login("joh\x00n", ours)
	list := []string{"'; DROP TABLE x --", "üñ😀\r\n\t", "a\x00b", "\xff", "?$1", ""}
	for i, body := range list {
		s.receive(text(fmt.Sprint("\x00\xff", i), body))
	}
	want := []string{list[0], list[1], "a\uFFFDb", "\uFFFD", "?$1", ""}
	for range 2 {
		s.same(s.received("joh\x00n", "", ours), want)
	}
	s.check(s.AddDevice(&inbox.Device{User: "a\x00", Selector: "\x00", Token: sms.Hide("\x00\xff")}))
	if d, err := s.Devices("a\x00"); err != nil || len(d) != 1 {
		s.Errorf("%v, %v", d, err)
	}
	for _, cursor := range []string{"\x00", strings.Repeat("9", 1000), "-000000000000001", "٠٠٠٠٠٠٠٠",
		"1e15           ", "000000000000000x"} {
		s.same(s.received("joh\x00n", cursor, ours), want)
	}
}

// rows returns the rows of a query; the values of a row are joined by bars.
func (s *suite) rows(query string) (list []string) {
	s.Helper()
	db := s.DB()
	defer db.Close()
	rows, err := db.Query(query)
	s.check(err)
	defer rows.Close()
	columns, err := rows.Columns()
	s.check(err)
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		s.check(rows.Scan(into...))
		var line []string
		for _, v := range values {
			line = append(line, v.String)
		}
		list = append(list, strings.Join(line, "|"))
	}
	s.check(rows.Err())
	return list
}

func isAscending(items []inbox.Item) bool {
	return slices.IsSortedFunc(items, func(a, b inbox.Item) int { return int(a.ID - b.ID) })
}

// Package journaltest says what every store of a journal does.
package journaltest

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal/tables"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Place is where stores keep the same entries.
type Place struct {
	// Open opens them once more, as another process does.
	Open func() (journal.Store, error)
	// DB opens the tables as another program does. It is nil if there are none: what is there ends with its only store then.
	DB func() *sql.DB
}

// Run tries the stores of places that are empty.
func Run(t *testing.T, place func(t *testing.T) Place) {
	all := map[string]func(*testing.T, *suite){
		"Entry": entry, "One begins": oneBegins, "Atomic": atomically, "Lazy": lazily, "Find": find, "References": references, "Counts": counts,
	}
	shared := map[string]func(*testing.T, *suite){
		"Lease": lease, "Lost": lost, "Lost once": lostOnce, "Leave": leave, "Retention": retention, "Kept": kept,
		"Counts are shared": countsAreShared, "Opened by many": openedByMany,
		"Newer": newer, "Older": older, "Messages": messages, "Damaged": damaged, "Closed": closed, "Waited for": waitedFor, "Lost with its process": lostWithItsProcess,
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

// store opens a store that is closed with the test.
func (s *suite) store() journal.Store {
	s.Helper()
	store, err := s.Open()
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = store.Close() })
	return store
}

// both are two stores if entries can be shared, or one twice.
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

// rows are what a query returns, the values of each joined by bars.
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

// change is what a function does to an entry.
type change func(e *journal.Entry, now time.Time) bool

func (c change) Apply(e *journal.Entry, now time.Time) bool { return c(e, now) }

func (s *suite) update(store journal.Store, key journal.Key, lazy bool, c change) {
	s.Helper()
	if err := store.Update(key, lazy, c); err != nil {
		s.Error(err)
	}
}

// read reads an entry as a change finds it.
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

func (s *suite) tend(store journal.Store, owner string) []journal.Entry {
	s.Helper()
	lost, err := store.Tend(owner)
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

// expire ends a lease as time does.
func (s *suite) expire(owner string) {
	s.exec("UPDATE acrobits_sms_leases SET until = until - " + fmt.Sprint(journal.Lease.Milliseconds()) + " WHERE owner = '" + owner + "'")
}

func key(n int) (k journal.Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n)*0x9e3779b97f4a7c15)
	return k
}

func now() time.Time { return time.UnixMilli(time.Now().UnixMilli()) }

// full is an entry with all that there is.
func full() journal.Entry {
	return journal.Entry{
		ID: "id", Reference: "ref", State: journal.Refused, Named: true, Window: 30 * time.Second, Begun: now(), Until: now().Add(time.Hour),
		Adapter: "twilio ü", Cause: sms.NoCredit, Split: sms.Split{Parts: 3, Cuts: math.MinInt64}, IDs: []string{"1", `"2"`, "\x00"},
	}
}

func entry(t *testing.T, s *suite) {
	store := s.store()
	at := now()
	s.update(store, key(1), false, func(e *journal.Entry, now time.Time) bool {
		s.same(*e, journal.Entry{})
		if d := now.Sub(at); d < -time.Second || d > time.Minute {
			t.Errorf("the time is wrong by %v", d)
		}
		*e = full()
		return true
	})
	want := s.read(store, key(1))
	s.same(want, func() journal.Entry { e := full(); e.Begun, e.Until = want.Begun, want.Until; return e }())
	s.same(s.read(store, key(2)), journal.Entry{})
	s.size(store, 1)
	if s.DB != nil {
		s.same(s.read(s.store(), key(1)), want)
	}
	want.Until, want.IDs, want.Cause, want.State, want.Named = time.Time{}, nil, sms.NoCause, journal.Accepted, false
	s.put(store, key(1), want)
	s.same(s.read(store, key(1)), want)
	s.put(store, key(1), journal.Entry{})
	s.same(s.read(store, key(1)), journal.Entry{})
	s.size(store, 0)
}

// Of 64 who claim the same message at once, one begins it.
func oneBegins(t *testing.T, s *suite) {
	stores := s.both()
	const keys = 8
	var begun [keys]atomic.Int32
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for k := range keys {
				mine := false
				s.update(stores[i%2], key(k), false, func(e *journal.Entry, now time.Time) bool {
					mine = e.State == journal.None
					if mine {
						*e = journal.Entry{ID: "id", State: journal.Pending, Owner: "me", Begun: now}
					}
					return mine
				})
				if mine {
					begun[k].Add(1)
				}
			}
		})
	}
	all.Wait()
	for k := range begun {
		if n := begun[k].Load(); n != 1 {
			t.Errorf("%d have begun message %d", n, k)
		}
	}
	s.size(stores[0], keys)
}

// No change is made to what another is being made to.
func atomically(t *testing.T, s *suite) {
	stores := s.both()
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 10 {
				s.update(stores[i%2], key(1+n%3), n%2 == 0, func(e *journal.Entry, now time.Time) bool {
					e.State, e.Begun, e.Split.Parts = journal.Accepted, now, e.Split.Parts+1
					return true
				})
			}
		})
	}
	all.Wait()
	if sum := s.read(stores[0], key(1)).Split.Parts + s.read(stores[1], key(2)).Split.Parts + s.read(stores[0], key(3)).Split.Parts; sum != 640 {
		t.Errorf("%d of 640 changes are kept", sum)
	}
}

// What is lazy comes in its turn.
func lazily(t *testing.T, s *suite) {
	stores := s.both()
	for n := range 100 {
		s.update(stores[0], key(1), n%10 != 9, func(e *journal.Entry, now time.Time) bool {
			if e.Split.Parts != n {
				t.Errorf("change %d finds %d before it", n, e.Split.Parts)
			}
			e.State, e.Reference, e.Begun, e.Split.Parts = journal.Accepted, "ref", now, n+1
			return true
		})
	}
	if n := s.read(stores[1], key(1)).Split.Parts; n != 100 {
		t.Errorf("another finds %d of 100 changes", n)
	}
}

func find(t *testing.T, s *suite) {
	store := s.store()
	var want []journal.Entry
	for n := range 4 {
		e := full()
		e.ID = fmt.Sprint(n)
		if n == 3 {
			e.Reference = "other"
		} else {
			want = append(want, e)
		}
		s.put(store, key(n), e)
	}
	found, err := store.Find("ref")
	if err != nil {
		t.Error(err)
	}
	s.same(found, want)
	if found, err = store.Find("' OR 1=1 --"); len(found) != 0 || err != nil {
		t.Errorf("nothing finds %v, %v", found, err)
	}
}

// claim is what a message of a user takes from a payer's counts.
func claim(payer byte, user string) *limit.Claim {
	return &limit.Claim{Payer: [32]byte{payer}, Use: limit.Use{User: user, Segments: 1}, Rules: []limit.Rule{
		{Scope: limit.User, Unit: limit.Messages, Period: limit.Minute, Most: 1_000_000},
		{Scope: limit.User, Unit: limit.Messages, Period: limit.Month, Most: 100},
		{Scope: limit.Site, Unit: limit.Segments, Period: limit.Month, Most: 150},
	}}
}

// taken is how many of so many claims at once are taken.
func (s *suite) taken(stores []journal.Store, n int, payer byte, user string) int {
	s.Helper()
	var wg sync.WaitGroup
	var taken atomic.Int32
	for i := range n {
		wg.Go(func() {
			c := claim(payer, user)
			if err := stores[i%len(stores)].Count(c); err != nil {
				s.Error(err)
			} else if c.Exceeded == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	return int(taken.Load())
}

// Of messages at the same time exactly as many are taken as the limits say, each payer's and each user's apart.
func counts(t *testing.T, s *suite) {
	store := []journal.Store{s.store()}
	for i, c := range []struct {
		payer byte
		user  string
		want  int
	}{{1, "ann", 100}, {1, "bob", 50}, {2, "ann", 100}, {1, "ann", 0}} {
		if n := s.taken(store, 120, c.payer, c.user); n != c.want {
			t.Errorf("%d: %d taken, want %d", i, n, c.want)
		}
	}
}

// Counts are the same for all who share them, and are there when they are opened again.
func countsAreShared(t *testing.T, s *suite) {
	both := s.both()
	if n := s.taken(both[:], 200, 1, "ann"); n != 100 {
		t.Errorf("%d taken", n)
	}
	again := s.store()
	if c := claim(1, "ann"); again.Count(c) != nil || c.Exceeded == nil || c.Exceeded.Rule.Most != 100 {
		t.Errorf("opened again: %+v", c.Exceeded)
	}
	s.tend(again, "me")
	if c := claim(1, "ann"); again.Count(c) != nil || c.Exceeded == nil {
		t.Error("forgotten before its time")
	}
}

func pending(id, owner string) journal.Entry {
	return journal.Entry{ID: id, Reference: id, State: journal.Pending, Owner: owner, Window: time.Minute, Begun: now()}
}

// An owner is one as long as it has a lease.
func lease(t *testing.T, s *suite) {
	stores := s.both()
	s.tend(stores[0], "a")
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
	s.tend(stores[0], "a")
	if got := s.read(stores[1], key(1)).Owner; got != "a" {
		t.Errorf("%q owns an entry of a, who has come back", got)
	}
}

// What is on its way is lost with its owner, and nothing else.
func lost(t *testing.T, s *suite) {
	stores := s.both()
	s.tend(stores[0], "dead")
	s.tend(stores[1], "alive")
	named := pending("2", "dead")
	named.Named, named.IDs, named.Split.Parts = true, []string{"1"}, 2
	done := full()
	s.put(stores[0], key(1), pending("1", "dead"))
	s.put(stores[0], key(2), named)
	s.put(stores[0], key(3), done)
	s.put(stores[1], key(4), pending("4", "alive"))
	if lost := s.tend(stores[1], "alive"); len(lost) > 0 {
		t.Errorf("lost while its owner lives: %v", lost)
	}
	s.expire("dead")
	at := now()
	lost := s.tend(stores[1], "alive")
	if len(lost) != 2 {
		t.Fatalf("lost %v", lost)
	}
	for _, e := range lost {
		want, k := pending("1", ""), key(1)
		if e.Named {
			want, k = named, key(2)
		}
		want.State, want.Owner, want.Cause, want.Begun, want.Until = journal.Unknown, "", sms.Unknown, e.Begun, e.Until
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
	if lost := s.tend(stores[1], "alive"); len(lost) > 0 {
		t.Errorf("lost again: %v", lost)
	}
	if lost := s.tend(stores[0], "dead"); len(lost) > 0 {
		t.Errorf("lost again: %v", lost)
	}
}

// What is lost is found out once, by whoever comes first.
func lostOnce(t *testing.T, s *suite) {
	stores := s.both()
	const entries = 200
	s.tend(stores[0], "dead")
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
					found.Add(int32(len(s.tend(stores[i%2], fmt.Sprint(i)))))
				}
				mine := false
				s.update(stores[i%2], key(n), false, func(e *journal.Entry, now time.Time) bool {
					if mine = e.State == journal.Pending && e.Owner == ""; mine {
						e.Lose(now)
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

// Who leaves is gone, unless it has something on its way.
func leave(t *testing.T, s *suite) {
	stores := s.both()
	for _, busy := range []bool{true, false} {
		s.tend(stores[0], "a")
		e := pending("1", "a")
		if !busy {
			e.State, e.Owner = journal.Accepted, ""
		}
		s.put(stores[0], key(1), e)
		if err := stores[0].Leave("a"); err != nil {
			t.Error(err)
		}
		s.put(stores[0], key(2), pending("2", "a"))
		if left := s.read(stores[1], key(2)).Owner == ""; left == busy {
			t.Errorf("left: %t, with something on its way: %t", left, busy)
		}
		s.put(stores[0], key(2), journal.Entry{})
	}
}

// What is old is forgotten, however much that is, and nothing that still counts.
func retention(t *testing.T, s *suite) {
	store := s.store()
	s.tend(store, "a")
	old := now().Add(-journal.Retention - time.Minute)
	for n := range 2*tables.Batch + 10 {
		e := full()
		e.Begun, e.Until = old, old.Add(time.Duration(n%2)*journal.Retention)
		s.update(store, key(n), true, func(into *journal.Entry, _ time.Time) bool { *into = e; return true })
	}
	stay := []journal.Entry{pending("1", "a"), full(), full()}
	stay[0].Begun, stay[1].Begun, stay[2].Until = old, old, time.Time{}
	for i, e := range stay {
		s.put(store, key(100_000+i), e)
	}
	s.size(store, 2*tables.Batch+10+len(stay))
	s.tend(store, "a")
	s.size(store, len(stay))
	for i, e := range stay {
		s.same(s.read(store, key(100_000+i)), e)
	}
}

// All is there when it is opened again, the secret too.
func kept(t *testing.T, s *suite) {
	store, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	secret, want := *store.Secret(), full()
	s.tend(store, "a")
	s.put(store, key(1), want)
	s.update(store, key(2), true, func(e *journal.Entry, _ time.Time) bool { *e = pending("2", "a"); return true })
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	store = s.store()
	s.same(*store.Secret(), secret)
	s.same(s.read(store, key(1)), want)
	if e := s.read(store, key(2)); e.State != journal.Pending || e.Owner != "a" {
		t.Errorf("what was lazy is %v", e)
	}
}

// Many may come at once to a place where nothing is, and have one secret.
func openedByMany(t *testing.T, s *suite) {
	var stores [8]journal.Store
	var all sync.WaitGroup
	for i := range stores {
		all.Go(func() {
			var err error
			if stores[i], err = s.Open(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, store := range stores {
		s.same(*store.Secret(), *stores[0].Secret())
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if *stores[0].Secret() == (keyed.Key{}) {
		t.Error("the secret is empty")
	}
}

// Tables of a newer version are left alone.
func newer(t *testing.T, s *suite) {
	s.store()
	s.exec("UPDATE acrobits_sms_version SET version = 99")
	store, err := s.Open()
	if err == nil {
		t.Error("opened", store.Close())
		return
	}
	t.Log(err)
}

// Tables of an older version are brought to this one, and what is in them stays.
func older(t *testing.T, s *suite) {
	store, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	secret, want := *store.Secret(), full()
	s.put(store, key(1), want)
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	s.exec("DROP TABLE acrobits_sms_messages")
	s.exec("ALTER TABLE acrobits_sms_entries DROP COLUMN cuts")
	want.Split.Cuts = 0
	s.exec("UPDATE acrobits_sms_version SET version = 1")
	store = s.store()
	s.same(s.read(store, key(1)), want)
	s.same(*store.Secret(), secret)
	s.same(s.rows("SELECT id FROM acrobits_sms_messages"), []string(nil))
}

// A row that cannot be read harms nobody but the message that it is of.
func damaged(t *testing.T, s *suite) {
	store := s.store()
	s.put(store, key(1), full())
	s.exec("UPDATE acrobits_sms_entries SET state = 77")
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			if n == 10 {
				if err := store.Update(key(1), false, change(func(*journal.Entry, time.Time) bool { return true })); err == nil {
					t.Error("an entry of state 77 was changed")
				}
				return
			}
			s.put(store, key(1000+n), full())
		})
	}
	all.Wait()
	s.size(store, 64)
}

// Nothing is done after the end.
func closed(t *testing.T, s *suite) {
	store, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := store.Update(key(1), false, change(func(e *journal.Entry, _ time.Time) bool { *e = full(); return true })); err == nil {
		t.Error("written after the end")
	}
	s.size(s.store(), 0)
}

// watched is a store that says when an update is made. Nobody has to listen.
type watched struct {
	journal.Store
	updated chan struct{}
}

func (w *watched) Update(key journal.Key, lazy bool, change journal.Change) error {
	err := w.Store.Update(key, lazy, change)
	select {
	case w.updated <- struct{}{}:
	default:
	}
	return err
}

// process is a journal of its own, and its store.
func (s *suite) process(lost func(journal.Entry)) (*journal.Journal, *watched) {
	s.Helper()
	store, err := s.Open()
	if err != nil {
		s.Fatal(err)
	}
	w := &watched{store, make(chan struct{}, 1)}
	j, err := journal.Open(w, lost, func(err error) { s.Error(err) })
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(j.Release)
	return j, w
}

func message(id string) *sms.Message {
	return &sms.Message{
		ID: id, Reference: "ref-" + id, User: "johndow", Body: sms.Hide("hello"),
		To: sms.Number{Value: "+15551231234", Kind: sms.Phone},
	}
}

// begin begins a message, or waits for what becomes of it.
func (s *suite) begin(j *journal.Journal, m *sms.Message) (*journal.Turn, sms.Receipt) {
	s.Helper()
	turn, r, err := j.Begin(context.Background(), time.Now().Add(journal.Patience), m, journal.Terms{Window: time.Minute, Keep: 48 * time.Hour})
	if err != nil {
		s.Error(err)
		return new(journal.Turn), r
	}
	return turn, r
}

// Messages are kept as they came, from before they are sent, unless they certainly did not go out; and longer than entries.
func messages(t *testing.T, s *suite) {
	j, store := s.process(func(e journal.Entry) { t.Errorf("lost: %v", e) })
	kept := func(want ...string) {
		t.Helper()
		s.same(s.rows("SELECT id, state, adapter, parts, ids FROM acrobits_sms_messages ORDER BY id"), want)
	}
	begin := func(id string) *journal.Turn {
		t.Helper()
		m := message(id)
		m.Disposition.ID = "app-" + id
		turn, _ := s.begin(j, m)
		if !turn.Mine() {
			t.Fatalf("%s is a repeat", id)
		}
		return turn
	}

	m := message("1")
	m.From, m.InstallID, m.ContentType, m.Smart = sms.Number{Value: "+15550001111", Kind: sms.Phone}, "phone\x00", "text/plain", true
	m.Disposition = sms.Disposition{ID: "app-1", Wishes: []string{"positive-delivery", "display"}}
	m.Body = sms.Hide("Grüße\n'\";\x00😀")
	turn, _ := s.begin(j, m)
	s.same(s.rows("SELECT reference, username, installid, sender, recipient, body, content_type, disposition, smart, state FROM acrobits_sms_messages"),
		[]string{"ref-1|johndow|phone\uFFFD|+15550001111|+15551231234|Grüße\n'\";\uFFFD😀|text/plain|app-1:positive-delivery,display|1|1"})
	turn.Part("twilio", "SM1", sms.Split{Parts: 1})
	turn.End(sms.Receipt{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1", Parts: 1})

	begin("2").End(sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Adapter: "twilio"})
	begin("3").Abandon(sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Limited)})
	begin("4").End(sms.Receipt{Refusal: sms.Refuse(sms.Unknown), Adapter: "twilio"})
	partly := begin("5")
	partly.Part("twilio", "SM5", sms.Split{Parts: 2})
	partly.End(sms.Receipt{Refusal: sms.PartlySent(1, 2), Adapter: "twilio", Parts: 2, Resumable: true})
	kept(`1|2|twilio|1|["SM1"]`, "4|4|twilio|0|null", `5|3|twilio|2|["SM5"]`)
	unkept := message("6")
	unkept.Disposition.ID = "app-6"
	if turn, _, err := j.Begin(context.Background(), now().Add(journal.Patience), unkept, journal.Terms{}); err != nil || !turn.Mine() {
		t.Error(err)
	}
	begin("7")
	unkept.Disposition.ID = "app-5" // the rest of what was kept
	if turn, _, err := j.Begin(context.Background(), now().Add(journal.Patience), unkept, journal.Terms{}); err != nil || !turn.Mine() {
		t.Error(err)
	} else {
		turn.Part("twilio", "SM5b", sms.Split{Parts: 2})
		turn.End(sms.Receipt{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM5", Parts: 2})
	}
	kept(`1|2|twilio|1|["SM1"]`, "4|4|twilio|0|null", `5|2|twilio|2|["SM5","SM5b"]`, "7|1||0|null")

	s.exec("UPDATE acrobits_sms_leases SET until = 1")
	s.tend(store, "other")
	kept(`1|2|twilio|1|["SM1"]`, "4|4|twilio|0|null", `5|2|twilio|2|["SM5","SM5b"]`, "7|4||0|null")
	s.exec("UPDATE acrobits_sms_entries SET begun = 1, until = 1")
	s.tend(store, "other")
	s.size(store, 0)
	s.exec("UPDATE acrobits_sms_messages SET until = 1 WHERE id <> '4'")
	s.tend(store, "other")
	kept("4|4|twilio|0|null")
}

// What became of a message is told to whoever reads its reference out, also when the same words are sent once more.
func references(t *testing.T, s *suite) {
	j, _ := s.process(func(e journal.Entry) { t.Errorf("lost: %v", e) })
	find := func(reference string, want ...journal.State) {
		t.Helper()
		found, err := j.Find(reference)
		if err != nil {
			t.Error(err)
		}
		var got []journal.State
		for _, e := range found {
			got = append(got, e.State)
		}
		s.same(got, want)
	}
	for id, r := range map[string]sms.Receipt{"1": {Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1"}, "2": {Refusal: sms.Refuse(sms.Unknown)}} {
		m := message(id)
		m.User = id
		turn, _, err := j.Begin(context.Background(), now().Add(journal.Patience), m, journal.Terms{}) // no window
		if err != nil || !turn.Mine() {
			t.Fatal(err)
		}
		if r.Outcome == sms.Accepted {
			turn.Part("twilio", "SM1", sms.Split{Parts: 1})
		}
		turn.End(r)
		turn.Reached()
	}
	for id, state := range map[string]journal.State{"1": journal.Accepted, "2": journal.Unknown} {
		find("ref-"+id, state)
		for again := range 3 {
			m := message(id + "again" + fmt.Sprint(again))
			m.User = id
			turn, _, err := j.Begin(context.Background(), now().Add(journal.Patience), m, journal.Terms{})
			if err != nil || !turn.Mine() {
				t.Fatal(err)
			}
			find("ref-"+id, state)
			find(m.Reference, journal.Pending)
			if again == 0 {
				turn.Abandon(sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Limited)})
				find("ref-"+id, state)
				find(m.Reference)
				continue
			}
			turn.End(sms.Receipt{Refusal: sms.Refuse(sms.Unknown)})
			find(m.Reference, journal.Unknown)
		}
		find("ref-"+id, state)
	}
}

// A message that one process sends is waited for in another, and told there, also after the end of all.
func waitedFor(t *testing.T, s *suite) {
	none := func(e journal.Entry) { t.Errorf("lost: %v", e) }
	first, _ := s.process(none)
	second, store := s.process(none)
	turn, _ := s.begin(first, message("1"))
	if !turn.Mine() {
		t.Fatal("nobody sends it")
	}
	told := make(chan sms.Receipt)
	again := message("2")
	go func() {
		other, r := s.begin(second, again)
		if other.Mine() {
			t.Error("sent twice")
		}
		told <- r
	}()
	<-store.updated // it has found that the first sends it
	turn.Part("twilio", "SM1", sms.Split{Parts: 1})
	turn.End(sms.Receipt{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1", Parts: 1})
	want := sms.Receipt{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1", Parts: 1, Repeat: true}
	s.same(<-told, want)
	if again.Reference != "ref-1" {
		t.Errorf("the repeat has the reference %s", again.Reference)
	}
	third, _ := s.process(none)
	other, r := s.begin(third, message("3"))
	s.same(r, want)
	if other.Mine() {
		t.Error("sent twice")
	}
	turn.Reached()
	if other, _ = s.begin(second, message("4")); !other.Mine() {
		t.Error("the phone has the answer, and the message cannot be sent once more")
	}
	other.Abandon(sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Internal)})
	if other, _ = s.begin(first, message("5")); !other.Mine() {
		t.Error("a claim that was taken back is still there")
	}
	other.End(sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Adapter: "twilio"})
	if found, err := first.Find("ref-5"); len(found) != 1 || err != nil || found[0].Cause != sms.NoCredit {
		t.Errorf("found %v, %v", found, err)
	}
}

// What a process was sending when it ended is not sent again by another, which says that it is lost.
func lostWithItsProcess(t *testing.T, s *suite) {
	dead, _ := s.process(func(e journal.Entry) { t.Errorf("lost: %v", e) })
	if turn, _ := s.begin(dead, message("1")); !turn.Mine() {
		t.Fatal("nobody sends it")
	}
	s.exec("UPDATE acrobits_sms_leases SET until = 1")
	var lost []string
	alive, _ := s.process(func(e journal.Entry) { lost = append(lost, e.ID) })
	turn, r := s.begin(alive, message("2"))
	if turn.Mine() || r.Refusal == nil || r.Refusal.Cause != sms.Unknown {
		t.Errorf("a repeat of what was lost: %v", r)
	}
	s.same(lost, []string{"1"})
}

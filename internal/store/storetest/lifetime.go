package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// All old entries are deleted, also if there are more than one batch. No valid entry is deleted.
func retention(t *testing.T, s *suite) {
	store := s.store()
	s.maintain(store, "a")
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
	s.maintain(store, "a")
	s.size(store, len(stay))
	for i, e := range stay {
		s.same(s.read(store, key(100_000+i)), e)
	}
}

// Entries and the secret are still there when a store is opened again.
func kept(t *testing.T, s *suite) {
	store, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	secret, want := *store.Secret(), full()
	s.maintain(store, "a")
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

// Several processes may open a new place at once, and get the same secret.
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
	if *stores[0].Secret() == (mac.Key{}) {
		t.Error("the secret is empty")
	}
}

// Tables of a newer version are not changed.
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

// Tables of an older version are migrated, and keep their rows.
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
	for _, table := range []string{"messages", "sequence", "deliveries", "holders", "first_holders", "hidden", "receipts", "media", "devices", "pushes"} {
		s.exec("DROP TABLE acrobits_sms_" + table)
	}
	s.exec("ALTER TABLE acrobits_sms_entries DROP COLUMN cuts")
	s.exec("ALTER TABLE acrobits_sms_entries DROP COLUMN digest")
	for _, column := range []string{"username", "segments", "code", "detail"} {
		s.exec("ALTER TABLE acrobits_sms_entries DROP COLUMN " + column)
	}
	want.Split.Cuts, want.Text = 0, 0
	want.User, want.Segments, want.Code, want.Detail = "", 0, "", ""
	s.exec("UPDATE acrobits_sms_version SET version = 1")
	store = s.store()
	s.same(s.read(store, key(1)), want)
	s.same(*store.Secret(), secret)
	s.same(s.rows("SELECT id FROM acrobits_sms_messages"), []string(nil))
}

// A message that an older version has stored keeps its columns, and is no item.
func olderMessage(t *testing.T, s *suite) {
	store, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	for _, table := range []string{"sequence", "deliveries", "holders", "first_holders", "hidden", "receipts", "media", "devices", "pushes"} {
		s.exec("DROP TABLE acrobits_sms_" + table)
	}
	for _, index := range []string{"item", "fetch", "reply", "due", "assembly"} {
		s.exec("DROP INDEX acrobits_sms_messages_" + index)
	}
	for _, column := range []string{"direction", "gateway", "number", "item", "due", "assembly", "part", "delivery"} {
		s.exec("ALTER TABLE acrobits_sms_messages DROP COLUMN " + column)
	}
	s.exec("UPDATE acrobits_sms_version SET version = 5")
	s.exec("INSERT INTO acrobits_sms_messages (id, reference, username, installid, sender, recipient, body, content_type, disposition, smart, " +
		"begun, until, state, adapter, parts, ids, segments) VALUES ('1', 'ref', 'johndow', '', '+15550001111', '+15551231234', 'hi', " +
		"'text/plain', '', 0, 1, 2, 2, 'twilio', 1, '[]', 1)")
	s.store()
	s.same(s.rows("SELECT id, sender, recipient, body, until, direction, gateway, number, item, due, delivery FROM acrobits_sms_messages"),
		[]string{"1|+15550001111|+15551231234|hi|2|0||||" + "|0"})
	s.same(s.rows("SELECT last FROM acrobits_sms_sequence"), []string{"0"})
}

// A message that an older version has sent is recognised by its app id, although that version used
// another key.
func olderWithIDs(t *testing.T, s *suite) {
	store := s.store()
	now := time.Now()
	late := now.Add(journal.Retention / 2)
	entries := map[string]journal.Entry{
		"accepted": {State: journal.Accepted, IDs: []string{"SM1"}, Split: sms.Split{Parts: 1}, Until: late},
		"unknown":  {State: journal.MaybeSent, Until: late},
		"partial":  {State: journal.Refused, IDs: []string{"SM2"}, Split: sms.Split{Parts: 3}, Until: late},
		"pending":  {State: journal.Pending, Owner: "who has ended"},
		"refused":  {State: journal.Refused, Until: late},
		"long ago": {State: journal.Accepted, IDs: []string{"SM3"}, Until: now.Add(-time.Second)},
	}
	for id, e := range entries {
		m := withID(0, id, "hello "+id)
		digest := store.Secret().Digest(m.Site, m.User, m.InstallID, m.From.Value, m.To.Value, m.ContentType, id, m.Body.Reveal())
		e.ID, e.Reference, e.Named, e.Begun = "old "+id, "OLD"+id, true, now.Add(-time.Minute)
		s.put(store, journal.Key(digest[:16]), e)
	}
	var lost []string
	j, _ := s.process(func(e journal.Entry) { lost = append(lost, e.ID) })
	for range 2 {
		for id, want := range map[string]string{
			"accepted": "accepted SM1 OLDaccepted", "unknown": "unknown  OLDunknown", "partial": "unknown  OLDpartial", "pending": "unknown  OLDpending",
		} {
			m := withID(1, id, "hello "+id)
			claim, r := s.begin(j, m)
			if got := r.Outcome.String() + " " + r.ID + " " + claim.Reference(); claim.Won() || got != want {
				t.Errorf("%s: sent again %t, is %s, want %s", id, claim.Won(), got, want)
			}
		}
	}
	for _, id := range []string{"refused", "long ago", "new"} {
		claim, _ := s.begin(j, withID(2, id, "hello "+id))
		if !claim.Won() {
			t.Errorf("%s is not sent", id)
			continue
		}
		claim.End(sms.Result{Outcome: sms.Accepted})
		if claim, _ = s.begin(j, withID(3, id, "hello "+id)); claim.Won() {
			t.Errorf("%s is sent twice", id)
		}
	}
	s.same(lost, []string{"old pending"})
}

// A damaged row affects only its own message.
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

// A closed store accepts no change.
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

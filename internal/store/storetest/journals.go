package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// watched is a store that reports each update. The test need not receive the reports.
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

// process opens a store and a journal on it, as another process does.
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

// begin claims a message, or waits for the result of the first one.
func (s *suite) begin(j *journal.Journal, m *sms.Message) (*journal.Claim, sms.Result) {
	s.Helper()
	claim, r, err := j.Begin(context.Background(), time.Now().Add(journal.StoreTimeout), m, journal.Options{Window: time.Minute, Keep: 48 * time.Hour})
	if err != nil {
		s.Error(err)
		return new(journal.Claim), r
	}
	return claim, r
}

// Messages are stored as the app sent them, before they are sent, and longer than their entries. A
// message that was certainly not sent is deleted.
func messages(t *testing.T, s *suite) {
	j, store := s.process(func(e journal.Entry) { t.Errorf("lost: %v", e) })
	kept := func(want ...string) {
		t.Helper()
		s.same(s.rows("SELECT id, state, adapter, parts, ids FROM acrobits_sms_messages ORDER BY id"), want)
	}
	begin := func(id string) *journal.Claim {
		t.Helper()
		m := message(id)
		m.Disposition.ID = "app-" + id
		claim, _ := s.begin(j, m)
		if !claim.Won() {
			t.Fatalf("%s is a repeat", id)
		}
		return claim
	}

	m := message("1")
	m.From, m.InstallID, m.ContentType, m.Smart = sms.Number{Value: "+15550001111", Kind: sms.Phone}, "phone\x00", "text/plain", true
	m.Disposition = sms.Disposition{ID: "app-1", Wishes: []string{"positive-delivery", "display"}}
	m.Segments = 2
	m.Body = sms.Hide("Grüße\n'\";\x00😀")
	claim, _ := s.begin(j, m)
	s.same(s.rows("SELECT reference, username, installid, sender, recipient, body, content_type, disposition, smart, segments, state FROM acrobits_sms_messages"),
		[]string{"ref-1|johndow|phone\uFFFD|+15550001111|+15551231234|Grüße\n'\";\uFFFD😀|text/plain|app-1:positive-delivery,display|1|2|1"})
	claim.Part("twilio", "SM1", sms.Split{Parts: 1})
	claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1", Parts: 1})

	begin("2").End(sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Adapter: "twilio"})
	begin("3").Abandon(sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Limited)})
	begin("4").End(sms.Result{Refusal: sms.Refuse(sms.Unconfirmed), Adapter: "twilio"})
	partly := begin("5")
	partly.Part("twilio", "SM5", sms.Split{Parts: 2})
	partly.End(sms.Result{Refusal: sms.PartlySent(1, 2), Adapter: "twilio", Parts: 2, RestNotSent: true})
	kept(`1|2|twilio|1|["SM1"]`, "4|4|twilio|0|null", `5|3|twilio|2|["SM5"]`)
	unkept := message("6")
	unkept.Disposition.ID = "app-6"
	if claim, _, err := j.Begin(context.Background(), now().Add(journal.StoreTimeout), unkept, journal.Options{}); err != nil || !claim.Won() {
		t.Error(err)
	}
	begin("7")
	unkept.Disposition.ID = "app-5" // the rest of what was kept
	if claim, _, err := j.Begin(context.Background(), now().Add(journal.StoreTimeout), unkept, journal.Options{}); err != nil || !claim.Won() {
		t.Error(err)
	} else {
		claim.Part("twilio", "SM5b", sms.Split{Parts: 2})
		claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM5", Parts: 2})
	}
	kept(`1|2|twilio|1|["SM1"]`, "4|4|twilio|0|null", `5|2|twilio|2|["SM5","SM5b"]`, "7|1||0|null")

	s.exec("UPDATE acrobits_sms_leases SET until = 1")
	s.maintain(store, "other")
	kept(`1|2|twilio|1|["SM1"]`, "4|4|twilio|0|null", `5|2|twilio|2|["SM5","SM5b"]`, "7|4||0|null")
	s.exec("UPDATE acrobits_sms_entries SET begun = 1, until = 1")
	s.maintain(store, "other")
	s.size(store, 0)
	s.exec("UPDATE acrobits_sms_messages SET until = 1 WHERE id <> '4'")
	s.maintain(store, "other")
	kept("4|4|twilio|0|null")
}

// The result of a message is found by its reference, also after the same text was sent again.
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
	for id, r := range map[string]sms.Result{"1": {Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1"}, "2": {Refusal: sms.Refuse(sms.Unconfirmed)}} {
		m := message(id)
		m.User = id
		claim, _, err := j.Begin(context.Background(), now().Add(journal.StoreTimeout), m, journal.Options{}) // no window
		if err != nil || !claim.Won() {
			t.Fatal(err)
		}
		if r.Outcome == sms.Accepted {
			claim.Part("twilio", "SM1", sms.Split{Parts: 1})
		}
		claim.End(r)
		claim.ReplyAcknowledged()
	}
	for id, state := range map[string]journal.State{"1": journal.Accepted, "2": journal.MaybeSent} {
		find("ref-"+id, state)
		for again := range 3 {
			m := message(id + "again" + fmt.Sprint(again))
			m.User = id
			claim, _, err := j.Begin(context.Background(), now().Add(journal.StoreTimeout), m, journal.Options{})
			if err != nil || !claim.Won() {
				t.Fatal(err)
			}
			find("ref-"+id, state)
			find(m.Reference, journal.Pending)
			if again == 0 {
				claim.Abandon(sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Limited)})
				find("ref-"+id, state)
				find(m.Reference)
				continue
			}
			claim.End(sms.Result{Refusal: sms.Refuse(sms.Unconfirmed)})
			find(m.Reference, journal.MaybeSent)
		}
		find("ref-"+id, state)
	}
}

// If one process sends a message, another process waits for its result and returns it, also after
// all processes have ended.
func waitedFor(t *testing.T, s *suite) {
	none := func(e journal.Entry) { t.Errorf("lost: %v", e) }
	first, _ := s.process(none)
	second, store := s.process(none)
	claim, _ := s.begin(first, message("1"))
	if !claim.Won() {
		t.Fatal("nobody sends it")
	}
	told := make(chan sms.Result)
	var reference string
	go func() {
		other, r := s.begin(second, message("2"))
		reference = other.Reference()
		if other.Won() {
			t.Error("sent twice")
		}
		told <- r
	}()
	<-store.updated // it has found that the first sends it
	claim.Part("twilio", "SM1", sms.Split{Parts: 1})
	claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1", Parts: 1})
	want := sms.Result{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM1", Parts: 1, Duplicate: true}
	s.same(<-told, want)
	if reference != "ref-1" {
		t.Errorf("the repeat has the reference %s", reference)
	}
	third, _ := s.process(none)
	other, r := s.begin(third, message("3"))
	s.same(r, want)
	if other.Won() {
		t.Error("sent twice")
	}
	claim.ReplyAcknowledged()
	if other, _ = s.begin(second, message("4")); !other.Won() {
		t.Error("the phone has the answer, and the message cannot be sent once more")
	}
	other.Abandon(sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Internal)})
	if other, _ = s.begin(first, message("5")); !other.Won() {
		t.Error("a claim that was taken back is still there")
	}
	other.End(sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Adapter: "twilio"})
	if found, err := first.Find("ref-5"); len(found) != 1 || err != nil || found[0].Cause != sms.NoCredit {
		t.Errorf("found %v, %v", found, err)
	}
}

// A message whose files a process was collecting when it ended was certainly not sent: another
// process sends it. From StartSending on it may have been.
func collecting(t *testing.T, s *suite) {
	picture := func(id string) *sms.Message {
		m := message(id)
		m.FilesDigest = "digest"
		return m
	}
	dead, _ := s.process(func(e journal.Entry) { t.Errorf("lost: %v", e) })
	first, _ := s.begin(dead, picture("1"))
	if !first.Won() {
		t.Fatal("nobody sends it")
	}
	s.same(s.rows("SELECT id FROM acrobits_sms_messages"), []string{"1"})
	s.exec("UPDATE acrobits_sms_leases SET until = 1")
	var lost []string
	alive, _ := s.process(func(e journal.Entry) { lost = append(lost, e.ID) })
	s.same(s.rows("SELECT id FROM acrobits_sms_messages"), []string(nil))
	second, _ := s.begin(alive, picture("2"))
	if !second.Won() || second.Reference() != "ref-1" {
		t.Errorf("claimed again: %t, reference %s", second.Won(), second.Reference())
	}
	if err := first.StartSending(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("the first process sends it too: %v", err)
	}
	first.Abandon(sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.Internal)})
	if err := second.StartSending(); err != nil {
		t.Error(err)
	}
	s.exec("UPDATE acrobits_sms_leases SET until = 1")
	third, _ := s.process(func(e journal.Entry) { lost = append(lost, e.ID) })
	if claim, r := s.begin(third, picture("3")); claim.Won() || r.Cause() != sms.Unconfirmed {
		t.Errorf("after StartSending: %v", r)
	}
	s.same(lost, []string{"2"})
}

// A message that a process was sending when it ended is not sent again by another process, which
// reports it lost.
func lostWithItsProcess(t *testing.T, s *suite) {
	dead, _ := s.process(func(e journal.Entry) { t.Errorf("lost: %v", e) })
	if claim, _ := s.begin(dead, message("1")); !claim.Won() {
		t.Fatal("nobody sends it")
	}
	s.exec("UPDATE acrobits_sms_leases SET until = 1")
	var lost []string
	alive, _ := s.process(func(e journal.Entry) { lost = append(lost, e.ID) })
	claim, r := s.begin(alive, message("2"))
	if claim.Won() || r.Refusal == nil || r.Refusal.Cause != sms.Unconfirmed {
		t.Errorf("a repeat of what was lost: %v", r)
	}
	s.same(lost, []string{"1"})
}

package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// withID is a message with an app id.
func withID(n int, id, text string) *sms.Message {
	m := message(fmt.Sprint(n))
	if m.Disposition.ID, m.Body = id, sms.Hide(text); id == "group" {
		m.Site = fmt.Sprintf("host%d.example.com/path%d", n%3, n%2)
	}
	return m
}

// An app id that is used for two texts to one recipient is ignored: the second text is sent, and
// later the first one too. A message with an id of its own is sent once, at whichever address and
// process it arrives. A text to a group is sent once to each recipient.
func sharedIDs(t *testing.T, s *suite) {
	none := func(e journal.Entry) { t.Errorf("lost: %v", e) }
	first, _ := s.process(none)
	processes := []*journal.Journal{first, first}
	if s.DB != nil {
		processes[1], _ = s.process(none)
	}
	n := 0
	tap := func(id, text, to string, reached bool, want bool) {
		t.Helper()
		n++
		m := withID(n, id, text)
		m.To.Value = to
		claim, _ := s.begin(processes[n%2], m)
		if claim.Won() != want {
			t.Errorf("%d: %s %q to %s is sent: %t", n, id, text, to, !want)
		}
		if claim.Won() {
			claim.Part("twilio", fmt.Sprint("SM", n), sms.Split{Parts: 1})
			claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "twilio", ID: claim.ProviderID(), Parts: 1})
		}
		if reached {
			claim.ReplyAcknowledged()
		}
	}
	const ann, bob = "+15551231234", "+15551231235"
	for range 4 { // a group
		tap("group", "ok", ann, true, n == 0)
	}
	tap("group", "ok", bob, true, true)
	tap("group", "ok", bob, true, false)
	tap("constant", "ok", ann, true, true)
	tap("constant", "ok", ann, true, false) // nobody can know
	tap("constant", "no", ann, true, true)
	tap("constant", "ok", ann, true, true)
	tap("constant", "ok", ann, false, true)
	tap("constant", "ok", ann, false, false) // within the window of the last, which the phone may not know of
	tap("constant", "no", ann, true, true)
	tap("constant", "yes", ann, false, true)
	tap("constant", "ok", bob, true, true)
	tap("constant", "yes", ann, true, false)
	tap("constant", "yes", ann, true, true)
	tap("another", "ok", ann, false, true)
	tap("another", "no", ann, true, true)
	tap("another", "ok", ann, true, false) // within its window
	if s.DB == nil {
		return
	}
	processes[0], _ = s.process(none) // it starts anew
	other, store := s.process(none)
	processes[1] = other
	tap("constant", "ok", ann, true, false)
	tap("constant", "ok", ann, true, true)
	tap("constant", "maybe", ann, true, true)
	tap("group", "ok", ann, true, false)
	for range 3 { // the mark stays as long as the id comes
		s.exec(fmt.Sprintf("UPDATE acrobits_sms_entries SET begun = begun - %d, until = 0", (journal.Retention * 2 / 3).Milliseconds()))
		s.maintain(store, "other")
		tap("constant", "soon", ann, true, true)
		tap("constant", "soon", ann, true, true)
	}
}

// If many texts with the same id arrive at once, each is sent once.
func sharedAtOnce(t *testing.T, s *suite) {
	none := func(e journal.Entry) { t.Errorf("lost: %v", e) }
	first, _ := s.process(none)
	processes := []*journal.Journal{first, first}
	if s.DB != nil {
		processes[1], _ = s.process(none)
	}
	const texts = 8
	var sent [texts]atomic.Int32
	var all sync.WaitGroup
	for i := range 8 * texts {
		all.Go(func() {
			m := withID(i, "constant", fmt.Sprint("text ", i%texts))
			claim, r := s.begin(processes[i%2], m)
			if claim.Won() {
				sent[i%texts].Add(1)
				claim.Part("twilio", "SM", sms.Split{Parts: 1})
				claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM", Parts: 1})
			} else if r.Outcome != sms.Accepted {
				t.Errorf("a repeat is told %v", r)
			}
		})
	}
	all.Wait()
	for i := range sent {
		if n := sent[i].Load(); n != 1 {
			t.Errorf("text %d is sent %d times", i, n)
		}
	}
}

package journal

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// An id that is for the phone alone is told to every repeat, in other processes too, and cannot be read where it is stored.
func TestPrivateID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const private = "+15551231234-Hello"
		s, l := newShelf(), new(told)
		first, second := l.open(t, s), l.open(t, s)
		defer first.Release()
		defer second.Release()
		claim, _, err := first.begin(textMessage("1"))
		if err != nil || !claim.Won() {
			t.Fatal(err)
		}
		claim.PrivatePart("a", sms.Hide(private), sms.Split{Parts: 1})
		if claim.ProviderID() != "" || claim.PrivateID().Reveal() != private {
			t.Errorf("id %q, %q", claim.ProviderID(), claim.PrivateID().Reveal())
		}
		claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "a", PrivateID: claim.PrivateID()})
		for _, j := range []*Journal{first, second} {
			repeat, r, err := j.begin(textMessage("1"))
			if err != nil || repeat.Won() || r.ID != "" || r.PhoneID() != private || r.ShownID("ref") != "ref" {
				t.Errorf("a repeat gets %q, %v", r.PhoneID(), err)
			}
		}
		e := s.entries[claim.key]
		if stored := strings.Join(e.IDs, " "); strings.Contains(stored, private) || strings.Contains(stored, "Hello") || !strings.Contains(stored, second.IDHash(private)) {
			t.Errorf("stored as %s", stored)
		}
		if shown := e.ShownIDs(); len(shown) != 1 || shown[0] != e.Reference {
			t.Errorf("shown as %v", shown)
		}
		if a, b := first.seal(sms.Hide(private)), first.seal(sms.Hide(private)); a == b {
			t.Error("it is sealed in the same way twice")
		}
		other := l.open(t, newShelf())
		defer other.Release()
		if id := other.unseal(e.IDs[0]); !id.Empty() || other.IDHash(private) == first.IDHash(private) {
			t.Errorf("another journal reads %q", id.Reveal())
		}
	})
}

// An id of a provider's that looks as if it were sealed is told as it is.
func TestIDThatLooksSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, id := range []string{"sealed:", "sealed:00:AAAA", "sealed:x"} {
			s, l := newShelf(), new(told)
			j, again := l.open(t, s), l.open(t, s)
			claim, _, err := j.begin(textMessage("1"))
			if err != nil {
				t.Fatal(err)
			}
			claim.Part("a", id, sms.Split{Parts: 1})
			claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "a", ID: claim.ProviderID(), PrivateID: claim.PrivateID()})
			if _, r, err := again.begin(textMessage("1")); err != nil || r.PhoneID() != id {
				t.Errorf("%q is told as %q, %v", id, r.PhoneID(), err)
			}
			j.Release()
			again.Release()
		}
	})
}

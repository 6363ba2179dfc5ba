package journal

import (
	"crypto/sha256"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Retention is for how long a message is remembered, and a repeat of one that the app gave an id to is recognised.
const Retention = 24 * time.Hour

// State is how far a message is.
type State uint8

// The states. An entry of the zero state is none.
const (
	None     State = iota
	Pending        // it may be on its way
	Accepted       // by a provider, all of it
	Refused        // what did not go out is certain: all of it, or the parts after those that did
	Unknown        // it may have gone out
)

var stateNames = [...]string{"none", "pending", "accepted", "refused", "unknown"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// Entry is what is remembered of a message.
type Entry struct {
	// ID is the message's, Reference what its user can read out.
	ID, Reference string
	// Owner is the process that is sending it, if it is pending.
	Owner string
	// Window is for how long a repeat is recognised after the end, if it is not.
	Window time.Duration
	// Begun is when it was last begun, Until when repeats are recognised no more.
	Begun, Until time.Time
	// Adapter is the last one that it was sent by.
	Adapter string
	// Split is how the text is sent in parts, and IDs are the provider's ids of those that were accepted.
	Split sms.Split
	IDs   []string
	State State
	// Named tells that the app gave it an id of its own.
	Named bool
	// Cause is why it was not accepted.
	Cause sms.Cause
	// Kept is written beside the entry, where a store has room for it, and never read with it; nil if there is nothing to keep.
	Kept *Kept
}

// Kept is what is kept of a message itself, longer than its entry: as the app sent it, for those whom its user asks.
type Kept struct {
	*sms.Message
	// ID is that of the entry that it belongs to.
	ID string
	// Until is when it is forgotten.
	Until time.Time
}

// Gone reports whether the message of an entry is not to be kept, since it certainly did not go out.
func (k *Kept) Gone(e *Entry) bool {
	return e.ID != k.ID || e.State == Refused && len(e.IDs) == 0
}

// Partial reports whether some parts went out, and it is certain that the others did not.
func (e *Entry) Partial() bool { return e.State == Refused && len(e.IDs) > 0 }

// Receipt is what a repeat is told.
func (e *Entry) Receipt() sms.Receipt {
	r := sms.Receipt{Adapter: e.Adapter, Parts: e.Split.Parts, Repeat: true}
	switch {
	case e.State == Accepted:
		r.Outcome = sms.Accepted
		if len(e.IDs) > 0 {
			r.ID = e.IDs[0]
		}
	case e.State == Refused && !e.Partial():
		r.Outcome, r.Refusal = sms.Refused, sms.Refuse(e.Cause)
	case len(e.IDs) > 0:
		r.Refusal = sms.PartlySent(len(e.IDs), e.Split.Parts)
	default:
		r.Refusal = sms.Refuse(sms.Unknown)
	}
	return r
}

// end is the end of an attempt to send the message.
func (e *Entry) end(state State, now time.Time) {
	e.State, e.Owner, e.Until = state, "", now.Add(e.Window)
	if e.Named {
		e.Until = e.Begun.Add(Retention)
	}
}

// Lose makes the entry of a process that has ended unknown: whether it was sent will never be known.
func (e *Entry) Lose(now time.Time) {
	e.Cause = sms.Unknown
	e.end(Unknown, now)
}

// Key tells messages apart. It is made under a secret of the journal, so that it tells nothing of the message.
type Key [16]byte

// keyOf is the key of a message: who sends what to whom from where, and the app's id for it.
func keyOf(secret *keyed.Key, m *sms.Message) (k Key) {
	texts := append(make([]string, 0, 12), m.Site, m.User, m.InstallID, m.From.Value, m.To.Value, m.ContentType, m.Disposition.ID, m.Body.Reveal())
	texts = append(texts, m.Media...)
	d := secret.Digest(texts...)
	copy(k[:], d[:])
	return k
}

// Displaced is where an entry stays when another message with the same key takes its place: a user may still read its reference out.
func Displaced(before, after *Entry) (to Key, is bool) {
	if before.State == None || before.State == Pending || after.State == None || before.ID == after.ID || before.Reference == after.Reference {
		return to, false
	}
	sum := sha256.Sum256([]byte("displaced " + before.ID))
	return Key(sum[:len(to)]), true
}

// A Change is made to an entry where it is kept. Apply reports whether it made one. It may be called again with the same
// entry as before, if it could not be kept.
type Change interface {
	Apply(e *Entry, now time.Time) bool
}

// beginning claims a message for a turn, if it is to be sent.
type beginning struct{ *Turn }

func (b beginning) Apply(e *Entry, now time.Time) bool {
	t := b.Turn
	t.found, t.foundLost, t.before, t.entry = found(e, t.journal.owner, now), false, *e, *e
	switch t.found {
	case ended, away:
		return false
	case abandoned:
		e.Lose(now)
		t.entry, t.found, t.foundLost = *e, ended, true
		return true
	case nothing:
		*e = Entry{ID: t.message.ID, Reference: t.message.Reference}
	case refused:
		*e = Entry{ID: t.message.ID, Reference: e.Reference}
	case partial:
	}
	e.State, e.Owner, e.Begun, e.Named, e.Window = Pending, t.journal.owner, now, t.message.Disposition.ID != "", t.terms.Window
	if t.terms.Keep > 0 {
		e.Kept = &Kept{Message: t.message, ID: e.ID, Until: now.Add(t.terms.Keep)}
	}
	t.entry = *e
	return true
}

// finding is what a claim finds.
type finding uint8

const (
	nothing   finding = iota // the message is to be sent
	refused                  // it was not taken, and is tried anew
	partial                  // some parts went out, and the rest is to follow
	ended                    // it must not be sent again: the entry says what became of it
	away                     // another process is sending it
	abandoned                // the process that sent it has ended
)

func found(e *Entry, owner string, now time.Time) finding {
	remembered := now.Before(e.Until)
	switch {
	case e.State == Pending && e.Owner == owner: // begun in vain: what this process sends is known to it
		if len(e.IDs) > 0 {
			return partial
		}
		return nothing
	case e.State == Pending && e.Owner == "":
		return abandoned
	case e.State == Pending:
		return away
	case e.Partial() && remembered:
		return partial
	case (e.State == Accepted || e.State == Unknown) && remembered:
		return ended
	case e.State == Refused && now.Before(e.Begun.Add(Retention)) && !e.Partial():
		return refused
	}
	return nothing
}

// recording writes down how far a turn has come.
type recording struct{ *Turn }

func (r recording) Apply(e *Entry, now time.Time) bool {
	t := r.Turn
	if e.ID != t.entry.ID { // another message with the same text has taken its place
		return false
	}
	e.Adapter, e.Cause, e.Split, e.IDs, e.Kept = t.entry.Adapter, t.entry.Cause, t.entry.Split, t.entry.IDs, t.entry.Kept
	if t.entry.State != Pending {
		e.end(t.entry.State, now)
	}
	return true
}

// reaching writes down that the phone has the answer: what is accepted and has no id may be sent once more from now on.
type reaching struct{ *Turn }

func (r reaching) Apply(e *Entry, _ time.Time) bool {
	if e.ID != r.entry.ID || e.Named || e.State != Accepted || e.Until.IsZero() {
		return false
	}
	e.Until = time.Time{}
	return true
}

// abandoning takes a claim back: nothing was sent, nor will be.
type abandoning struct{ *Turn }

func (a abandoning) Apply(e *Entry, _ time.Time) bool {
	if e.ID != a.entry.ID || e.State != Pending || e.Owner != a.journal.owner {
		return false
	}
	*e = a.before
	e.Kept = a.entry.Kept
	return true
}

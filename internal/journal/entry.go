package journal

import (
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Retention is the time for which an entry is stored, and for which a duplicate with an app id is
// recognised.
const Retention = 24 * time.Hour

// State is the state of a message.
type State uint8

// The states. An entry with the state None does not exist in the store.
const (
	None      State = iota
	Pending         // the message may be in flight
	Accepted        // a provider accepted all parts
	Refused         // certainly not sent: the whole message, or the parts after those in IDs
	MaybeSent       // the message may have been sent
)

var stateNames = [...]string{"none", "pending", "accepted", "refused", "unknown"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// Entry is the stored state of a message.
type Entry struct {
	// ID is the message's id. Reference is the code that its user can read out.
	ID, Reference string
	// Owner is the process that is sending the message, if the state is Pending.
	Owner string
	// Window is the duplicate window of a message without an app id, counted from its end.
	Window time.Duration
	// Begun is the time of the last claim. From Until on, duplicates are no longer recognised.
	Begun, Until time.Time
	// User is the name of the sender.
	User string
	// Adapter is the last adapter that tried to send the message.
	Adapter string
	// Split is the division of the text into parts. IDs are the provider's ids of the accepted
	// parts.
	Split sms.Split
	IDs   []string
	State State
	// Named is set if the app gave the message an id of its own. Text is the digest of the
	// message's text, 0 if there is no app id.
	Named bool
	Text  int64
	// Shared is set once the app has used the id for another text too, so that it identifies no
	// message. An entry is then no longer Named.
	Shared bool
	// ReplyAcknowledged is set if the message is Named and the phone has received its reply.
	ReplyAcknowledged bool
	// Collecting is set from the claim of a message with pictures or files until StartSending. Until
	// then, the message was certainly not sent.
	Collecting bool
	// Segments is the largest number of segments in which the text may be sent.
	Segments int
	// Cause is the reason why the message was not accepted. Code and Detail are the provider's code
	// and words for it, as in the log.
	Cause        sms.Cause
	Code, Detail string
	// Kept is the message itself, for a store that stores messages. It is written with the entry,
	// and never read back. It is nil if the message is not to be stored.
	Kept *StoredMessage
}

// Flags encodes Named, Shared, ReplyAcknowledged and Collecting as one number for stores.
func (e *Entry) Flags() (flags int) {
	for i, is := range [...]bool{e.Named, e.Shared, e.ReplyAcknowledged, e.Collecting} {
		if is {
			flags |= 1 << i
		}
	}
	return flags
}

// SetFlags decodes the number that Flags returns.
func (e *Entry) SetFlags(flags int) {
	e.Named, e.Shared, e.ReplyAcknowledged, e.Collecting = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
}

// StoredMessage is a message that is stored as the app sent it, longer than its entry, so that operators can
// answer its user's questions.
type StoredMessage struct {
	*sms.Message
	// ID is the id of the entry that the message belongs to.
	ID string
	// Until is the time when the message is deleted.
	Until time.Time
}

// Obsolete reports whether the stored message must be deleted, because it was certainly not sent or
// belongs to another entry.
func (k *StoredMessage) Obsolete(e *Entry) bool {
	return e.ID != k.ID || e.State == Refused && len(e.IDs) == 0
}

// Partial reports whether some parts were sent and the others certainly not.
func (e *Entry) Partial() bool { return e.State == Refused && len(e.IDs) > 0 }

// Result is the result for a duplicate of the message.
func (e *Entry) Result() sms.Result {
	r := sms.Result{Adapter: e.Adapter, Parts: e.Split.Parts, MMS: e.Split.MMS(), Duplicate: true}
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
		r.Refusal = sms.Refuse(sms.Unconfirmed)
	}
	return r
}

// end ends an attempt to send the message.
func (e *Entry) end(state State, now time.Time) {
	e.State, e.Owner, e.Until = state, "", now.Add(e.Window)
	if e.Named {
		e.Until = e.Begun.Add(Retention)
	}
}

// MarkLost ends the entry of a process that has ended. The entry is set to MaybeSent, because nobody
// can find out whether the message was sent. An entry that was Collecting is set to Refused, and
// MarkLost reports false.
func (e *Entry) MarkLost(now time.Time) (maybeSent bool) {
	if e.Collecting {
		e.Cause = sms.Internal
		e.end(Refused, now)
		return false
	}
	e.Cause = sms.Unconfirmed
	e.end(MaybeSent, now)
	return true
}

// isOther reports whether the entry, under the same app id, belongs to another text.
func (e *Entry) isOther(text int64, now time.Time) bool {
	return e.State != None && e.Text != text && e.counts(now)
}

// counts reports whether the entry is still valid: pending, or younger than its window or
// Retention.
func (e *Entry) counts(now time.Time) bool {
	return e.State == Pending || now.Before(e.Until) || now.Before(e.Begun.Add(Retention))
}

// share marks an app id that was used for two texts. From then on, the entry's message counts as
// one without an app id. The mark lasts at least half of Retention, so that it outlives the
// duplicate windows of the messages sent under the id. An old entry whose message gets no duplicates
// any more is replaced by the mark alone.
func (e *Entry) share(m *sms.Message, now time.Time) bool {
	old := now.Sub(e.Begun) > Retention/2
	known := e.State == Pending || now.Before(e.Until) // a duplicate of the message must still be recognized
	switch {
	case e.State == None, !e.counts(now), old && !known:
		*e = Entry{ID: "shared " + m.ID, State: Accepted, Begun: now, Shared: true}
		return true
	case e.Shared && !old:
		return false
	case old:
		e.Begun = now
	}
	if !e.Shared {
		e.Shared, e.Named = true, false
		if e.Until = now.Add(e.Window); e.State == Accepted && e.ReplyAcknowledged {
			e.Until = time.Time{}
		}
	}
	return true
}

// acknowledge marks the entry as acknowledged. An accepted message without an app id gets no
// duplicates from then on.
func (e *Entry) acknowledge() (changed bool) {
	switch {
	case e.State != Accepted:
		return false
	case e.Named:
		changed, e.ReplyAcknowledged = !e.ReplyAcknowledged, true
	default:
		changed, e.Until = !e.Until.IsZero(), time.Time{}
	}
	return changed
}

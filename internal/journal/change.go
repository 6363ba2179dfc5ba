package journal

import (
	"time"
)

// Change is a change of an entry in the store. Apply reports whether it changed the entry. A store
// may call Apply again with the same entry as before, if it could not store the change.
type Change interface {
	Apply(e *Entry, now time.Time) bool
}

// Acknowledgement is the Change that marks the entry with an ID as acknowledged, if it exists. A
// store may do so without reading the rest of the entry.
type Acknowledgement interface {
	Change
	Acknowledges() (id string)
}

// beginning claims a message, unless it was sent before or another process is sending it.
type beginning struct{ *Claim }

func (b beginning) Apply(e *Entry, now time.Time) bool {
	t := b.Claim
	t.found, t.before, t.entry = found(e, t.journal.owner, now), nil, *e
	if e.isOther(t.text, now) {
		t.found, t.entry = otherText, Entry{ID: t.message.ID, Reference: t.message.Reference}
		return e.share(t.message, now)
	}
	shared := e.Shared && e.counts(now)
	if e.State != None {
		t.before = new(*e)
	}
	switch t.found {
	case ended, elsewhere:
		return false
	case abandoned:
		e.MarkLost(now)
		t.entry = *e
		return true
	case nothing:
		*e = Entry{ID: t.message.ID, Reference: t.message.Reference, User: t.message.User, Segments: t.message.Segments}
	case refused:
		*e = Entry{ID: t.message.ID, Reference: e.Reference, User: t.message.User, Segments: t.message.Segments}
	case partial:
	}
	e.State, e.Owner, e.Begun, e.Window = Pending, t.journal.owner, now, t.options.Window
	e.Collecting = t.message.FilesDigest != "" && len(e.IDs) == 0
	e.Named, e.Text, e.Shared, e.ReplyAcknowledged = t.text != 0 && !shared, t.text, shared, false
	if t.options.Keep > 0 {
		e.Kept = &StoredMessage{Message: t.message, ID: e.ID, Until: now.Add(t.options.Keep)}
	}
	t.entry = *e
	return true
}

// looking finds the entry that an older version of the program has stored for a message with an app
// id.
type looking struct{ *Claim }

func (l looking) Apply(e *Entry, now time.Time) bool {
	t := l.Claim
	t.found, t.entry = found(e, t.journal.owner, now), *e
	if t.found != abandoned {
		return false
	}
	e.MarkLost(now)
	t.entry = *e
	return true
}

// finding is the state in which a claim finds the entry of its key.
type finding uint8

const (
	nothing   finding = iota // no valid entry: the message must be sent
	refused                  // an earlier try was refused: the message is tried again
	partial                  // some parts were sent: the missing ones must be sent
	ended                    // the message must not be sent again: the entry has its result
	elsewhere                // another process is sending the message
	abandoned                // the process that was sending the message has ended
	otherText                // the app has used the id for another text too
)

func found(e *Entry, owner string, now time.Time) finding {
	remembered := now.Before(e.Until)
	switch {
	case e.State == Pending && e.Owner == owner: // left by a failed claim: inFlight has the others
		if len(e.IDs) > 0 {
			return partial
		}
		return nothing
	case e.State == Pending && e.Owner == "" && e.Collecting:
		return refused
	case e.State == Pending && e.Owner == "":
		return abandoned
	case e.State == Pending:
		return elsewhere
	case e.Partial() && remembered:
		return partial
	case (e.State == Accepted || e.State == MaybeSent) && remembered:
		return ended
	case e.State == Refused && now.Before(e.Begun.Add(Retention)) && !e.Partial():
		return refused
	}
	return nothing
}

// starting ends the collecting of files, unless the entry no longer belongs to the claim.
type starting struct{ *Claim }

func (s starting) Apply(e *Entry, _ time.Time) bool {
	s.lost = e.ID != s.entry.ID || e.State != Pending || e.Owner != s.journal.owner
	e.Collecting = e.Collecting && s.lost
	return !s.lost
}

// recording stores the progress or the result of a claim.
type recording struct{ *Claim }

func (r recording) Apply(e *Entry, now time.Time) bool {
	t := r.Claim
	if e.ID != t.entry.ID { // another message with the same text has replaced it
		return false
	}
	e.Code, e.Detail = t.entry.Code, t.entry.Detail
	e.Adapter, e.Cause, e.Split, e.IDs, e.Kept = t.entry.Adapter, t.entry.Cause, t.entry.Split, t.entry.IDs, t.entry.Kept
	e.Collecting = false
	if t.entry.State != Pending {
		e.end(t.entry.State, now)
	}
	return true
}

// acknowledging stores that the phone has received the reply. After that, the same text without an
// app id is a new message.
type acknowledging struct{ *Claim }

// Acknowledges implements Acknowledgement.
func (r acknowledging) Acknowledges() (id string) { return r.entry.ID }

func (r acknowledging) Apply(e *Entry, _ time.Time) bool {
	return e.ID == r.entry.ID && e.acknowledge()
}

// sharing marks an app id as used for two texts. It does nothing if the stored entry is of the
// message's own text: then the claim of the other text holds the key only for a moment.
type sharing struct{ *Claim }

func (s sharing) Apply(e *Entry, now time.Time) bool {
	if s.found = nothing; e.State != None && e.Text == s.text && e.counts(now) {
		return false
	}
	s.found = otherText
	return e.share(s.message, now)
}

// abandoning withdraws a claim. Nothing was sent under it.
type abandoning struct{ *Claim }

func (a abandoning) Apply(e *Entry, now time.Time) bool {
	if e.ID != a.entry.ID || e.State != Pending || e.Owner != a.journal.owner {
		return false
	}
	shared := e.Shared
	*e = Entry{}
	if a.before != nil {
		*e = *a.before
	}
	if shared { // the mark may have been set or renewed since the claim
		e.share(a.message, now)
	}
	e.Kept = a.entry.Kept
	return true
}

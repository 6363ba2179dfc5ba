package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Claim is the right to send a message. A Claim that is not Won belongs to a duplicate, which waits
// for the result of the first claim of the same message.
type Claim struct {
	journal *Journal
	key     Key
	text    int64 // the digest of the text, 0 if the key is not made from the app's id
	message *sms.Message
	options Options
	began   time.Time

	// id and reference are those of the message's first arrival, once the store has returned them.
	// Other requests read them under journal.mu.
	id, reference string

	found     finding // set by the last Change
	before    *Entry  // the entry that the claim replaces, nil if there was none
	entry     Entry
	attempted bool // a request to a provider was about to begin
	lost      bool // another process has taken the entry over; set by starting

	// The fields below are guarded by journal.mu.
	state    claimState
	result   sms.Result    // set in the states unstored and settled
	unstored []Change      // changes that the store has not accepted, in order
	done     chan struct{} // closed when the state changes; the first waiting duplicate makes it

	storing sync.Mutex // held while the unstored changes are tried again
}

// claimState is the state of a claim.
type claimState uint8

const (
	claiming claimState = iota // the store has not replied yet, or the claim waits for another one
	won                        // the caller sends the message
	unstored                   // there is a result, but the store has not accepted it: the key stays claimed
	settled                    // there is a result, and the key is free
	stopped                    // there is no result, and the key is free
)

// free reports whether another claim may use the key.
func (s claimState) free() bool { return s == settled || s == stopped }

// Options are the settings of a site for its messages.
type Options struct {
	// Window is the time within which a message without an app id counts as a duplicate, if the
	// first reply may not have reached the phone.
	Window time.Duration
	// Keep is the time for which the messages themselves are stored. 0 means that they are not
	// stored.
	Keep time.Duration
}

// Begin claims a message. If the claim is Won, the caller must send the message with the claim's ID
// and Reference, and then call End. Otherwise the message is a duplicate, and the result is that of
// the first message.
//
// Begin waits for the result of a message in flight until the context or the deadline ends. After
// an error nothing may be sent. The caller must not change the message until the claim is settled,
// except its ID and Reference.
func (j *Journal) Begin(ctx context.Context, deadline time.Time, m *sms.Message, options Options) (*Claim, sms.Result, error) {
	t := &Claim{journal: j, message: m, options: options, id: m.ID, reference: m.Reference, began: time.Now()}
	if secret := j.store.Secret(); m.Disposition.ID != "" {
		t.key, t.text = idKeyOf(secret, m), textOf(secret, m)
	} else {
		t.key = keyOf(secret, m)
	}
	return t.begin(ctx, deadline)
}

func (t *Claim) begin(ctx context.Context, deadline time.Time) (*Claim, sms.Result, error) {
	for {
		first := t.journal.enter(t)
		switch {
		case first == nil:
			return t.askStore(ctx, deadline)
		case first.text != t.text:
			if err := t.journal.store.Update(t.key, true, sharing{t}); err != nil {
				return nil, sms.Result{}, errors.Join(ErrUnavailable, err)
			}
			if t.found == otherText {
				return t.withoutID().begin(ctx, deadline)
			}
			if !t.awaitKey(ctx, deadline, first) {
				return t, unanswered("another text with this id is just being sent"), nil
			}
			continue
		}
		r, over, err := t.awaitFirst(ctx, deadline, first)
		switch {
		case err != nil:
			return nil, sms.Result{}, err
		case over:
			return t, r, nil
		}
	}
}

// withoutID is the claim of a message whose app id was also used for another text. The key is made
// from the text then.
func (t *Claim) withoutID() *Claim {
	m := t.message
	return &Claim{
		journal: t.journal, key: keyOf(t.journal.store.Secret(), m), message: m, options: t.options, id: m.ID, reference: m.Reference, began: t.began,
	}
}

// NoID reports whether the app's id of the message is ignored because the app has used it for
// different texts.
func (t *Claim) NoID() bool {
	return t.entry.Shared || t.text == 0 && t.message.Disposition.ID != ""
}

// enter registers a claim under its key. If the key has a claim already, enter returns that claim.
func (j *Journal) enter(t *Claim) (first *Claim) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if first = j.inFlight[t.key]; first == nil {
		j.inFlight[t.key] = t
	}
	return first
}

// askStore claims the message in the store. It waits while another process sends the same message.
func (t *Claim) askStore(ctx context.Context, deadline time.Time) (*Claim, sms.Result, error) {
	if !t.journal.leased() { // other processes may declare the messages of this one lost
		if err := t.journal.maintain(); err != nil {
			t.settle(notStored)
			return nil, sms.Result{}, errors.Join(ErrUnavailable, err)
		}
	}
	if t.text != 0 && t.journal.older {
		if r, known, err := t.findOlder(); known || err != nil {
			return t, r, err
		}
	}
	for {
		err := t.journal.store.Update(t.key, false, beginning{t})
		if t.found == abandoned { // reported as lost, even if the store returned an error
			t.journal.lost(t.entry)
		}
		if err != nil { // the store may have accepted the claim
			t.storeLater(abandoning{t}, notStored)
			return nil, sms.Result{}, errors.Join(ErrUnavailable, err)
		}
		t.setReference()
		switch t.found {
		case ended, abandoned:
			r := t.entry.Result()
			if isSealed(r.ID) {
				r.ID, r.PrivateID = "", t.journal.unseal(r.ID)
			}
			t.settle(r)
			return t, r, nil
		case otherText:
			t.stopWaiting()
			return t.withoutID().begin(ctx, deadline)
		case elsewhere:
			select {
			case <-time.After(poll):
			case <-ctx.Done():
			}
			if ctx.Err() != nil || !time.Now().Before(deadline) {
				t.stopWaiting()
				return t, unanswered(pendingElsewhere), nil
			}
		default:
			t.journal.mu.Lock()
			defer t.journal.mu.Unlock()
			t.state, t.id = won, t.entry.ID
			return t, sms.Result{}, nil
		}
	}
}

// findOlder looks up the result of a message that an older version of the program has stored. If
// that version sent the message in part, the missing parts are not sent.
func (t *Claim) findOlder() (r sms.Result, known bool, err error) {
	err = t.journal.store.Update(olderKeyOf(t.journal.store.Secret(), t.message), false, looking{t})
	if t.found == abandoned {
		t.journal.lost(t.entry)
	}
	switch {
	case err != nil:
		t.settle(notStored)
		return sms.Result{}, false, errors.Join(ErrUnavailable, err)
	case t.found == ended, t.found == abandoned, t.found == partial:
		t.setReference()
		r = t.entry.Result()
		t.settle(r)
		return r, true, nil
	case t.found == elsewhere:
		t.stopWaiting()
		return unanswered(pendingElsewhere), true, nil
	}
	return r, false, nil
}

func (t *Claim) setReference() {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.reference = t.entry.Reference
}

// Won reports whether the caller must send the message. It is false after End or Abandon.
func (t *Claim) Won() bool { return t.is(won) }

// Ended reports whether there is a result.
func (t *Claim) Ended() bool { return t.is(unstored) || t.is(settled) }

func (t *Claim) is(s claimState) bool {
	if t.journal == nil { // the zero Claim
		return t.state == s
	}
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	return t.state == s
}

// ID is the message's id. If the message was sent in part before, it is the id of the first
// arrival.
func (t *Claim) ID() string { return t.id }

// Reference is the code that the user can read out to support. A duplicate has the reference of the
// first message.
func (t *Claim) Reference() string { return t.reference }

// Sent returns which adapter sent parts of the message before, how it split the text, and how many
// parts were accepted. The missing parts can only be sent with the same split.
func (t *Claim) Sent() (adapter string, split sms.Split, accepted int) {
	return t.entry.Adapter, t.entry.Split, len(t.entry.IDs)
}

// FirstID is the id of the first message if this one is a duplicate, and else the same as ID.
func (t *Claim) FirstID() string { return cmp.Or(t.entry.ID, t.id) }

// IDs are the provider's ids of the accepted parts, as the store has them.
func (t *Claim) IDs() []string { return t.entry.IDs }

// Attempt notes that a request to a provider is about to begin. After that, a failure leaves the
// outcome unknown.
func (t *Claim) Attempt() { t.attempted = true }

// StartSending stores that a request to a provider may begin. It must be called for a message with
// pictures or files after they are collected. After an error nothing may be sent.
func (t *Claim) StartSending() error {
	if !t.entry.Collecting { // some parts were sent before
		return nil
	}
	if err := t.journal.store.Update(t.key, false, starting{t}); err != nil {
		return errors.Join(ErrUnavailable, err)
	}
	if t.lost {
		return errTakenOver
	}
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.entry.Collecting = false
	return nil
}

// errTakenOver means that the lease of this process ended while it collected files.
var errTakenOver = fmt.Errorf("%w in time: another process may have sent the message", ErrUnavailable)

// Attempted reports whether Attempt was called.
func (t *Claim) Attempted() bool { return t.attempted }

// ProviderID is the provider's id of the first accepted part. It is empty if that id is private.
func (t *Claim) ProviderID() string {
	if len(t.entry.IDs) == 0 || isSealed(t.entry.IDs[0]) {
		return ""
	}
	return t.entry.IDs[0]
}

// PrivateID is the provider's id of the first accepted part, if that id is private.
func (t *Claim) PrivateID() sms.Hidden {
	if len(t.entry.IDs) == 0 {
		return sms.Hidden{}
	}
	return t.journal.unseal(t.entry.IDs[0])
}

// PrivatePart stores that a part was accepted. Only the phone may learn its id.
func (t *Claim) PrivatePart(adapter string, id sms.Hidden, split sms.Split) {
	t.part(adapter, t.journal.seal(id), split)
}

// Part stores that a part was accepted.
func (t *Claim) Part(adapter, id string, split sms.Split) {
	if isSealed(id) { // the provider's id begins with the prefix of sealed ids
		id = t.journal.seal(sms.Hide(id))
	}
	t.part(adapter, id, split)
}

func (t *Claim) part(adapter, id string, split sms.Split) {
	t.journal.mu.Lock()
	t.entry.Adapter, t.entry.Split, t.entry.IDs = adapter, split, append(t.entry.IDs[:len(t.entry.IDs):len(t.entry.IDs)], id)
	t.journal.mu.Unlock()
	if split.Parts > 1 && len(t.entry.IDs) < split.Parts {
		if err := t.update(recording{t}); err != nil {
			t.journal.failed(err) // End stores the part again
		}
	}
}

// Abandon withdraws the claim of a message that this program refuses to send, for example because
// of a limit.
func (t *Claim) Abandon(r sms.Result) { t.finish(abandoning{t}, r) }

// End stores the result and gives it to the waiting duplicates. If the store does not accept the
// result, the key stays claimed until it does, so that the message is not sent again before.
func (t *Claim) End(r sms.Result) {
	t.journal.mu.Lock()
	t.entry.Cause, t.entry.State = r.Cause(), stateOf(r, len(t.entry.IDs))
	t.entry.Code, t.entry.Detail = r.Code, shorten(r.Detail)
	if r.Adapter != "" && len(t.entry.IDs) == 0 {
		t.entry.Adapter, t.entry.Split = r.Adapter, sms.Split{Parts: r.Parts}
		if r.MMS {
			t.entry.Split.Cuts = -1
		}
	}
	t.journal.mu.Unlock()
	t.finish(recording{t}, r)
}

// maxDetail bounds the stored detail of a failure, in bytes.
const maxDetail = 400

func shorten(s string) string {
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}

func (t *Claim) finish(change Change, r sms.Result) {
	if err := t.update(change); err != nil {
		t.journal.failed(err)
		t.storeLater(change, r)
		return
	}
	t.settle(r)
}

func stateOf(r sms.Result, sent int) State {
	switch {
	case r.Outcome == sms.Accepted:
		return Accepted
	case r.Outcome == sms.Refused || r.RestNotSent && sent > 0:
		return Refused
	}
	return MaybeSent
}

// ReplyAcknowledged stores that the phone has received the reply.
func (t *Claim) ReplyAcknowledged() {
	t.journal.mu.Lock()
	later := t.state == unstored
	if later && !t.acknowledged() {
		t.unstored = append(t.unstored, acknowledging{t})
	}
	later = later || t.entry.State != Accepted
	t.journal.mu.Unlock()
	if later {
		return
	}
	if err := t.update(acknowledging{t}); err != nil {
		t.journal.failed(err)
		if t.text == 0 {
			t.reinstate(acknowledging{t})
		}
	}
}

// update applies a change to the entry lazily: it does not wait for an fsync.
func (t *Claim) update(change Change) error { return t.journal.store.Update(t.key, true, change) }

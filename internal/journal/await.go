package journal

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// poll is the pause between two look-ups of a message that another process sends.
const poll = 250 * time.Millisecond

// pendingElsewhere is the detail of a duplicate whose wait for another process has ended without a
// result.
const pendingElsewhere = "another process is still sending the message"

var notStored = sms.Result{Outcome: sms.Refused, Refusal: sms.RefuseAs(sms.Internal, sms.JournalUnavailable)}

// watch returns the state of a claim. While the claim has no result, done is a channel that is
// closed when the claim gets a result or stops.
func (t *Claim) watch() (state claimState, done <-chan struct{}) {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	if t.done == nil && (t.state == claiming || t.state == won) {
		t.done = make(chan struct{})
	}
	return t.state, t.done
}

// wait waits until done is closed, and reports true. It reports false if the context or the
// deadline ends first.
func wait(ctx context.Context, deadline time.Time, done <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// awaitFirst waits for the result of the claim that is sending the same message. over is false if
// that claim ended without a result: then the caller must claim the message again.
func (t *Claim) awaitFirst(ctx context.Context, deadline time.Time, first *Claim) (r sms.Result, over bool, err error) {
	state, done := first.watch()
	switch {
	case state.free():
		return r, false, nil
	case state == unstored: // a duplicate gets the result only once it is stored
		if err = first.store(); err == nil {
			return r, false, nil
		}
	case !wait(ctx, deadline, done):
		return t.stillPending(first), true, nil
	}
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	switch {
	case err == nil && first.state == stopped:
		return r, false, nil
	case err == nil:
		return t.resultOf(first), true, nil
	case first.result.Outcome != sms.Refused && t.repeats(first): // "not sent" would be untrue
		return t.resultOf(first), true, nil
	}
	return r, true, errors.Join(ErrUnavailable, err)
}

// awaitKey waits until the claim of another text releases the key, and reports whether it did.
func (t *Claim) awaitKey(ctx context.Context, deadline time.Time, other *Claim) bool {
	state, done := other.watch()
	switch {
	case state.free():
		return true
	case state == unstored:
		return other.store() == nil
	case !wait(ctx, deadline, done):
		return false
	}
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	return other.state.free()
}

// repeats reports whether the message is certainly a duplicate of the first, and not a second
// message with the same text.
func (t *Claim) repeats(first *Claim) bool {
	return t.text != 0 || !first.acknowledged() && t.began.Sub(first.began) < first.options.Window
}

// resultOf returns the first claim's result as the result of a duplicate. The caller must have
// locked journal.mu.
func (t *Claim) resultOf(first *Claim) sms.Result {
	if t.entry = first.entry; t.entry.Reference != "" {
		t.reference = t.entry.Reference
	}
	r := first.result
	r.Duplicate = true
	t.state, t.result = settled, r
	return r
}

// stillPending is the result of a duplicate whose wait for the first message has ended without a
// result.
func (t *Claim) stillPending(first *Claim) sms.Result {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.reference = first.reference
	return unanswered("the first of the same messages has no result yet")
}

// unanswered is the result of a duplicate whose wait has ended without a result.
func unanswered(detail string) sms.Result {
	return sms.Result{Refusal: sms.Refuse(sms.Unconfirmed), Duplicate: true, Detail: detail}
}

// settle gives the result to the waiting duplicates, and releases the key.
func (t *Claim) settle(r sms.Result) {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.result = r
	t.change(settled)
}

// stopWaiting releases the key without a result. One of the waiting duplicates may claim it next.
func (t *Claim) stopWaiting() {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.change(stopped)
}

// storeLater keeps a change that the store did not accept, and gives the result to the waiting
// duplicates. The key stays claimed.
func (t *Claim) storeLater(change Change, r sms.Result) {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.result, t.unstored = r, append(t.unstored, change)
	t.change(unstored)
}

// reinstate claims the key of a settled claim again until the change is stored. Without it, a new
// message with the same text would count as a duplicate until then.
func (t *Claim) reinstate(change Change) {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	if t.journal.inFlight[t.key] == nil {
		t.journal.inFlight[t.key], t.unstored = t, append(t.unstored, change)
		t.change(unstored)
	}
}

// change sets the state and wakes the waiting duplicates. The caller must have locked journal.mu.
func (t *Claim) change(s claimState) {
	if t.state = s; s.free() {
		t.releaseKey()
	}
	if t.done != nil {
		close(t.done)
		t.done = nil
	}
}

func (t *Claim) releaseKey() { delete(t.journal.inFlight, t.key) }

// store tries again to store the changes that the store did not accept.
func (t *Claim) store() error {
	t.storing.Lock()
	defer t.storing.Unlock()
	for {
		change := t.nextUnstored()
		if change == nil {
			return nil
		}
		if err := t.update(change); err != nil {
			return err
		}
		t.journal.mu.Lock()
		t.unstored = t.unstored[1:]
		t.journal.mu.Unlock()
	}
}

// nextUnstored returns the next change to store. If there is none, it settles the claim and returns
// nil.
func (t *Claim) nextUnstored() Change {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	switch {
	case t.state != unstored:
		return nil
	case len(t.unstored) == 0:
		t.change(settled)
		return nil
	}
	return t.unstored[0]
}

// acknowledged reports whether the acknowledgement of the reply is among the unstored changes.
func (t *Claim) acknowledged() bool { return slices.Contains(t.unstored, Change(acknowledging{t})) }

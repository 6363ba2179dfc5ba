// Package journal is what delivery must remember: which messages are on their way, what became of them, and which of them a
// phone may ask for again.
package journal

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A lease says that its owner is alive.
const (
	Lease   = 30 * time.Second // for how long it holds
	Renewal = 5 * time.Second  // how often it is renewed
)

// poll is how often a store is asked about a message that another process sends.
const poll = 250 * time.Millisecond

// ErrAway says that nothing can be written down, so that nothing may be sent.
var ErrAway = errors.New("the journal cannot be written")

// Journal is what one process remembers, in a store that others may share. It is safe for concurrent use.
type Journal struct {
	store Store
	owner string
	// lost is told of messages whose process has ended, failed of errors of the store.
	lost   func(Entry)
	failed func(error)

	mu      sync.Mutex
	flight  map[Key]*Turn
	renewed time.Time // the last time that the lease was

	end     chan struct{} // of the tending, nil if nobody else may tend the store
	tended  sync.WaitGroup
	holders int // its users, messages on their way among them
}

// Open begins to use a store. lost is told of messages that were lost with their process, failed of errors of the store
// behind the back of a message. It has one holder.
func Open(store Store, lost func(Entry), failed func(error)) (*Journal, error) {
	j := &Journal{
		store: store, owner: uuid.NewString(), lost: lost, failed: failed,
		flight: make(map[Key]*Turn), holders: 1,
	}
	if err := j.tend(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if _, alone := store.(*Memory); !alone {
		j.end = make(chan struct{})
		j.tended.Go(j.tendOn)
	}
	return j, nil
}

func (j *Journal) tendOn() {
	ticker := time.NewTicker(Renewal)
	defer ticker.Stop()
	for {
		select {
		case <-j.end:
			return
		case <-ticker.C:
			if err := j.tend(); err != nil {
				j.failed(err)
			}
		}
	}
}

// tend renews the lease and writes down what could not be written before.
func (j *Journal) tend() error {
	began := time.Now()
	lost, err := j.store.Tend(j.owner)
	for _, e := range lost {
		j.lost(e)
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.renewed = began
	var late []*Turn
	for _, t := range j.flight {
		if t.unwritten != nil {
			late = append(late, t)
		}
	}
	j.mu.Unlock()
	for _, t := range late {
		if err := t.write(); err != nil {
			return err
		}
	}
	return nil
}

// leased reports whether this process is alive to others, if there may be any.
func (j *Journal) leased() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end == nil || time.Since(j.renewed) < 2*Renewal
}

// Hold keeps the journal open until Release. It reports false if it is closed.
func (j *Journal) Hold() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.holders == 0 {
		return false
	}
	j.holders++
	return true
}

// Release ends a hold, and closes the journal with the last.
func (j *Journal) Release() {
	j.mu.Lock()
	j.holders--
	last := j.holders == 0
	j.mu.Unlock()
	if !last {
		return
	}
	if j.end != nil {
		close(j.end)
		j.tended.Wait()
	}
	if err := errors.Join(j.tend(), j.store.Leave(j.owner), j.store.Close()); err != nil {
		j.failed(err)
	}
}

// Turn is a message's way through the journal.
type Turn struct {
	journal *Journal
	key     Key
	message *sms.Message
	terms   Terms
	came    time.Time

	mine      bool // this turn sends the message
	found     finding
	foundLost bool // by its process, as this claim found out
	before    Entry
	entry     Entry
	reached   bool
	ended     bool       // what became of the message is said
	gone      bool       // the next of the same may take its place
	unwritten Change     // what could not be written down
	late      sync.Mutex // held while it is
	receipt   sms.Receipt
	done      chan struct{} // made by the first who waits
}

// Terms are what the configuration says of the messages of a site.
type Terms struct {
	// Window is for how long repeats of a message are recognised that the app gave no id, if the first answer may not have
	// reached the phone.
	Window time.Duration
	// Keep is for how long messages themselves are kept, 0 if they are not.
	Keep time.Duration
}

// Begin claims a message. If the turn is Mine, the message is to be sent and End has to be called; its ID and reference are then
// those of the first time that it came. If not, it came before and the receipt says what became of it. A message that is just
// being sent is waited for until the context ends, or the deadline. Nothing may be sent after an error.
func (j *Journal) Begin(ctx context.Context, deadline time.Time, m *sms.Message, terms Terms) (*Turn, sms.Receipt, error) {
	t := &Turn{journal: j, key: keyOf(j.store.Secret(), m), message: m, terms: terms, came: time.Now()}
	for {
		first := j.enter(t)
		if first == nil {
			return t.claim(ctx, deadline)
		}
		r, over, err := t.follow(ctx, deadline, first)
		switch {
		case err != nil:
			return nil, sms.Receipt{}, err
		case over:
			return t, r, nil
		}
	}
}

// enter makes a turn the first of its key, or returns the one that is.
func (j *Journal) enter(t *Turn) (first *Turn) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if first = j.flight[t.key]; first == nil {
		j.flight[t.key] = t
	}
	return first
}

// follow waits for what the first of the same messages comes to. It is not over if there is no word from the first, and its place is free.
func (t *Turn) follow(ctx context.Context, deadline time.Time, first *Turn) (r sms.Receipt, over bool, err error) {
	t.journal.mu.Lock()
	if first.unwritten != nil { // nothing is repeated before it is written down
		t.journal.mu.Unlock()
		if err := first.write(); err == nil {
			return r, false, nil
		}
		t.journal.mu.Lock()
		defer t.journal.mu.Unlock()
		if first.receipt.Outcome != sms.Refused && t.repeats(first) { // that nothing was sent would be untrue
			return t.join(first), true, nil
		}
		return r, true, errors.Join(ErrAway, err)
	}
	if first.gone {
		t.journal.mu.Unlock()
		return r, false, nil
	}
	if first.done == nil {
		first.done = make(chan struct{})
	}
	done := first.done
	t.journal.mu.Unlock()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-done:
	case <-ctx.Done():
		return t.unheard(first), true, nil
	case <-timer.C:
		return t.unheard(first), true, nil
	}
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	if !first.ended {
		return r, false, nil
	}
	return t.join(first), true, nil
}

// repeats reports whether a message is that of the first once more, for sure, and no second text of the same words.
func (t *Turn) repeats(first *Turn) bool {
	return t.message.Disposition.ID != "" || !first.reached && t.came.Sub(first.came) < first.terms.Window
}

// join is what a repeat is told of the first, which has ended.
func (t *Turn) join(first *Turn) sms.Receipt {
	if t.entry = first.entry; t.entry.Reference != "" {
		t.message.Reference = t.entry.Reference
	}
	r := first.receipt
	r.Repeat = true
	return r
}

// unheard is what a repeat is told that no longer waits for the first.
func (t *Turn) unheard(first *Turn) sms.Receipt {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.message.Reference = first.message.Reference
	return unanswered("the first of the same messages has no answer yet")
}

// unanswered is the receipt of a repeat that no longer waits.
func unanswered(detail string) sms.Receipt {
	return sms.Receipt{Refusal: sms.Refuse(sms.Unknown), Repeat: true, Detail: detail}
}

// claim asks the store, as long as another process sends the same message.
func (t *Turn) claim(ctx context.Context, deadline time.Time) (*Turn, sms.Receipt, error) {
	if !t.journal.leased() { // others may take the messages of this process for lost
		if err := t.journal.tend(); err != nil {
			t.leave(notWritten)
			return nil, sms.Receipt{}, errors.Join(ErrAway, err)
		}
	}
	for {
		err := t.journal.store.Update(t.key, false, beginning{t})
		if t.foundLost { // perhaps kept, whatever the store says
			t.journal.lost(t.entry)
		}
		if err != nil {
			return nil, sms.Receipt{}, t.fail(err)
		}
		t.journal.mu.Lock()
		t.message.Reference = t.entry.Reference
		t.journal.mu.Unlock()
		switch t.found {
		case ended:
			r := t.entry.Receipt()
			t.leave(r)
			return t, r, nil
		case away:
			select {
			case <-time.After(poll):
			case <-ctx.Done():
			}
			if ctx.Err() != nil || !time.Now().Before(deadline) {
				t.giveUp()
				return t, unanswered("another process has not said yet what became of it"), nil
			}
		default:
			t.mine, t.message.ID = true, t.entry.ID
			return t, sms.Receipt{}, nil
		}
	}
}

var notWritten = sms.Receipt{Outcome: sms.Refused, Refusal: sms.RefuseAs(sms.Internal, sms.JournalAway)}

// fail ends a turn that could not be begun. Perhaps the store has kept the claim and only could not say so.
func (t *Turn) fail(err error) error {
	t.postpone(abandoning{t}, notWritten)
	return errors.Join(ErrAway, err)
}

// postpone keeps what could not be written down for later, and tells those who wait what became of the message.
func (t *Turn) postpone(change Change, r sms.Receipt) {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.unwritten = change
	t.tell(r)
}

// write writes down what could not be before.
func (t *Turn) write() error {
	t.late.Lock()
	defer t.late.Unlock()
	for {
		t.journal.mu.Lock()
		change, reached := t.unwritten, t.reached
		t.journal.mu.Unlock()
		if change == nil {
			return nil
		}
		if err := t.update(change); err != nil {
			return err
		}
		if reached {
			if err := t.update(reaching{t}); err != nil {
				return err
			}
		}
		if t.written(reached) {
			return nil
		}
	}
}

// written ends what could not be written down before, unless the phone has got its answer meanwhile.
func (t *Turn) written(reached bool) bool {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	if t.reached != reached {
		return false
	}
	t.unwritten = nil
	t.makeRoom()
	return true
}

// leave tells those who wait what became of the message, and makes room for the next with the same text.
func (t *Turn) leave(r sms.Receipt) {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.tell(r)
	t.makeRoom()
}

// giveUp leaves the place to one of those who wait, since nobody is left who asks here what became of the message.
func (t *Turn) giveUp() {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	t.makeRoom()
	t.wake()
}

func (t *Turn) makeRoom() {
	delete(t.journal.flight, t.key)
	t.gone = true
}

func (t *Turn) tell(r sms.Receipt) {
	t.receipt, t.ended = r, true
	t.wake()
}

func (t *Turn) wake() {
	if t.done != nil {
		close(t.done)
		t.done = nil
	}
}

// Mine reports whether the message is to be sent.
func (t *Turn) Mine() bool { return t.mine }

// Ended reports whether it is settled what became of the message.
func (t *Turn) Ended() bool {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	return t.ended
}

// Sent says how much of the message went out before, and by which adapter: the number of parts, all and those that were
// accepted. The rest can only be sent in the same parts.
func (t *Turn) Sent() (adapter string, split sms.Split, accepted int) {
	return t.entry.Adapter, t.entry.Split, len(t.entry.IDs)
}

// ID is the provider's id of the first part.
func (t *Turn) ID() string {
	if len(t.entry.IDs) == 0 {
		return ""
	}
	return t.entry.IDs[0]
}

// Part writes down that a part was accepted.
func (t *Turn) Part(adapter, id string, split sms.Split) {
	t.journal.mu.Lock()
	t.entry.Adapter, t.entry.Split, t.entry.IDs = adapter, split, append(t.entry.IDs[:len(t.entry.IDs):len(t.entry.IDs)], id)
	t.journal.mu.Unlock()
	if split.Parts > 1 && len(t.entry.IDs) < split.Parts {
		if err := t.update(recording{t}); err != nil {
			t.journal.failed(err) // the end is still to be written down
		}
	}
}

// Abandon takes the claim of a message back that is not sent for a reason of ours.
func (t *Turn) Abandon(r sms.Receipt) { t.finish(abandoning{t}, r) }

// End writes down what became of the message and tells those who wait. If it cannot be written down, that is tried again
// until it is, and nothing is sent for the same message before.
func (t *Turn) End(r sms.Receipt) {
	t.journal.mu.Lock()
	t.entry.Cause, t.entry.State = r.Cause(), stateOf(r, len(t.entry.IDs))
	if r.Adapter != "" && len(t.entry.IDs) == 0 {
		t.entry.Adapter = r.Adapter
	}
	t.journal.mu.Unlock()
	t.finish(recording{t}, r)
}

func (t *Turn) finish(change Change, r sms.Receipt) {
	if err := t.update(change); err != nil {
		t.journal.failed(err)
		t.postpone(change, r)
		return
	}
	t.leave(r)
}

func stateOf(r sms.Receipt, sent int) State {
	switch {
	case r.Outcome == sms.Accepted:
		return Accepted
	case r.Outcome == sms.Refused || r.Resumable && sent > 0:
		return Refused
	}
	return Unknown
}

// Reached writes down that the phone has the answer.
func (t *Turn) Reached() {
	t.journal.mu.Lock()
	t.reached = true
	later := t.unwritten != nil || t.entry.State != Accepted
	t.journal.mu.Unlock()
	if later {
		return
	}
	if err := t.update(reaching{t}); err != nil {
		t.journal.failed(err)
		t.comeBack(reaching{t})
	}
}

// comeBack takes the place of a message that has ended once more, until the change is written down: the next text of the same words
// would be taken for a repeat before.
func (t *Turn) comeBack(change Change) {
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	if t.journal.flight[t.key] == nil {
		t.journal.flight[t.key], t.gone, t.unwritten = t, false, change
	}
}

// update changes the entry lazily.
func (t *Turn) update(change Change) error { return t.journal.store.Update(t.key, true, change) }

// Count takes a claim from the counts of its rules.
func (j *Journal) Count(claim *limit.Claim) error { return j.store.Count(claim) }

// Find returns what is remembered of the messages with a reference.
func (j *Journal) Find(reference string) ([]Entry, error) {
	found, err := j.store.Find(reference)
	seen := make(map[string]bool)
	return slices.DeleteFunc(found, func(e Entry) bool { // one that has its place back is there twice
		again := seen[e.ID]
		seen[e.ID] = true
		return again
	}), err
}

// Size is how many messages are remembered, and how many are on their way in this process.
func (j *Journal) Size() (remembered, onTheirWay int, err error) {
	j.mu.Lock()
	onTheirWay = len(j.flight)
	j.mu.Unlock()
	remembered, err = j.store.Size()
	return remembered, onTheirWay, err
}

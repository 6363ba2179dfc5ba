package delivery

import (
	"slices"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// If a provider does not say when a quota ends, 1 message is let through as a test after firstGap.
// Each failed test doubles the gap, up to maxGap. A quota is forgotten if no message tested it
// for forgetAfter.
const (
	firstGap    = time.Minute
	maxGap      = 15 * time.Minute
	forgetAfter = time.Hour
)

// maxSenders bounds the senders of an account whose quotas are remembered.
const maxSenders = 1000

// quotas are the provider's limits that an account or its senders have reached. In the zero value
// no limit is reached. It is safe for concurrent use.
type quotas struct {
	mu      sync.Mutex
	account *quota
	senders map[sms.Number]*quota
}

// quota is one limit that is reached.
type quota struct {
	until   time.Time     // no message is sent before this time
	gap     time.Duration // the wait before the test, 0 if the provider says when the quota ends
	testing bool          // a test is in flight
}

// blocks reports whether no message may be sent now.
func (q *quota) blocks(now time.Time) bool { return now.Before(q.until) || q.testing }

// over reports whether the quota can be forgotten.
func (q *quota) over(now time.Time) bool {
	end := q.until
	if q.gap > 0 {
		end = end.Add(forgetAfter)
	}
	return !q.testing && !now.Before(end)
}

// extend returns the new state after the provider has said that the quota is reached. wait is the
// time until its end, 0 if the provider does not say it. tested means that the refused message was
// the test.
func (q *quota) extend(now time.Time, wait time.Duration, tested bool) *quota {
	switch {
	case wait > 0:
		return &quota{until: now.Add(wait)}
	case q == nil || q.over(now):
		return &quota{until: now.Add(firstGap), gap: firstGap}
	case tested:
		gap := min(2*q.gap, maxGap)
		return &quota{until: now.Add(gap), gap: gap}
	}
	return q // a message sent before the quota was known; it says nothing new
}

// find returns the quotas that apply to a sender, and forgets those that are over. The caller must
// have locked mu.
func (q *quotas) find(sender sms.Number, now time.Time) (found []*quota) {
	if q.account != nil && q.account.over(now) {
		q.account = nil
	}
	if q.account != nil {
		found = append(found, q.account)
	}
	if s := q.senders[sender]; s != nil {
		if s.over(now) {
			delete(q.senders, sender)
		} else {
			found = append(found, s)
		}
	}
	return found
}

// refusal returns the refusal of a message of a sender, nil if no quota blocks it.
func (q *quotas) refusal(sender sms.Number) *sms.Refusal {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	return refusalOf(q.find(sender, now), now)
}

// refusalOf returns the refusal by the quota that ends last. A quota without a known end counts as
// the last.
func refusalOf(found []*quota, now time.Time) (r *sms.Refusal) {
	var wait time.Duration
	for _, q := range found {
		switch {
		case !q.blocks(now):
		case q.gap > 0:
			return sms.ReachedQuota(0)
		case q.until.Sub(now) > wait:
			wait = q.until.Sub(now)
			r = sms.ReachedQuota(wait)
		}
	}
	return r
}

// enter lets a message of a sender through, unless a quota blocks it. The message may be the test
// of a quota without a known end. The caller must call settle with the result.
func (q *quotas) enter(sender sms.Number) (settle func(sms.Result), refusal *sms.Refusal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	found := q.find(sender, now)
	if r := refusalOf(found, now); r != nil {
		return nil, r
	}
	for _, t := range found {
		t.testing = true
	}
	return func(r sms.Result) { q.settle(sender, found, r) }, nil
}

// settle updates the quotas with the result of a message. An accepted test ends the quota. After a
// test that failed for another reason than a quota, the next message is the test.
func (q *quotas) settle(sender sms.Number, tested []*quota, r sms.Result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, t := range tested {
		t.testing = false
		switch {
		case r.Outcome != sms.Accepted:
		case t == q.account:
			q.account = nil
		case t == q.senders[sender]:
			delete(q.senders, sender)
		}
	}
	if r.Cause() != sms.Quota {
		return
	}
	switch r.Scope {
	case sms.ForAccount:
		q.account = q.account.extend(now, r.RetryAfter, slices.Contains(tested, q.account))
	case sms.ForSender:
		old := q.senders[sender]
		if old == nil {
			q.makeRoom(now)
		}
		q.senders[sender] = old.extend(now, r.RetryAfter, slices.Contains(tested, old))
	}
}

// makeRoom makes room for one more sender. It forgets the quotas that are over, and if that is not
// enough, the quota that ends first.
func (q *quotas) makeRoom(now time.Time) {
	if q.senders == nil {
		q.senders = make(map[sms.Number]*quota)
	}
	if len(q.senders) < maxSenders {
		return
	}
	var first sms.Number
	for sender, s := range q.senders {
		if s.over(now) {
			delete(q.senders, sender)
		} else if known := q.senders[first]; known == nil || s.until.Before(known.until) {
			first = sender
		}
	}
	if len(q.senders) >= maxSenders {
		delete(q.senders, first)
	}
}

// clear forgets all quotas.
func (q *quotas) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.account, q.senders = nil, nil
}

// Quota is a limit of the provider that was reached.
type Quota struct {
	// For is the owner of the limit: account or sender.
	For string `json:"for"`
	// Sender is the masked number of the sender.
	Sender string `json:"sender,omitempty"`
	// Until is the time from which messages are sent again. Test is set if the provider does not
	// say when the quota ends: then only 1 message is sent at that time.
	Until time.Time `json:"until"`
	Test  bool      `json:"test,omitempty"`
}

// maxListed bounds the senders in a list.
const maxListed = 20

// list returns the quotas that are reached: the account's first, then those of the senders, the
// latest end first.
func (q *quotas) list() (all []Quota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for sender, s := range q.senders {
		if !s.over(now) {
			all = append(all, Quota{sms.ForSender.String(), sender.String(), s.until, s.gap > 0})
		}
	}
	slices.SortFunc(all, func(a, b Quota) int { return b.Until.Compare(a.Until) })
	all = all[:min(len(all), maxListed)]
	if a := q.account; a != nil && !a.over(now) {
		all = slices.Insert(all, 0, Quota{For: sms.ForAccount.String(), Until: a.until, Test: a.gap > 0})
	}
	return all
}

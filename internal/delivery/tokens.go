package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A failure to get a token is remembered for one of these times. So a wrong secret does not cause a
// request for each message.
const (
	pauseAfterRefusal = 30 * time.Second
	pauseAfterFailure = 3 * time.Second
)

// Tokens caches the token of one account until shortly before it expires. Concurrent messages share
// one fetch. It is safe for concurrent use.
type Tokens struct {
	slot    chan struct{} // full while a goroutine uses the fields below
	secret  sms.Hidden
	renew   time.Time // a new token is fetched from this time on
	expires time.Time // until then the token is used if no new one can be fetched
	failure sms.Result
	retry   time.Time // after a failure, no token is fetched before this time
}

// NewTokens makes an empty store.
func NewTokens() *Tokens { return &Tokens{slot: make(chan struct{}, 1)} }

// errWaiting means that the deadline passed while another message fetched the token.
var errWaiting = errors.New("no token in time")

// hold waits until the slot is free, and occupies it.
func (t *Tokens) hold(ctx context.Context) error {
	select {
	case t.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errWaiting
	}
}

// get returns the token. fresh reports whether it was fetched for this call. Without a token,
// failure is a refusal.
func (t *Tokens) get(ctx context.Context, fetch func(context.Context) (adapters.Token, sms.Result)) (secret sms.Hidden, fresh bool, failure sms.Result) {
	if err := t.hold(ctx); err != nil {
		return sms.Hidden{}, false, sms.Result{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, Detail: err.Error(),
		}
	}
	defer func() { <-t.slot }()
	now := time.Now()
	kept, pausing := !t.secret.Empty() && now.Before(t.expires), now.Before(t.retry)
	switch {
	case kept && (pausing || now.Before(t.renew)):
		return t.secret, false, sms.Result{}
	case pausing:
		return sms.Hidden{}, false, t.failure
	}
	token, r := fetch(ctx)
	if token.Secret.Empty() {
		if end, ok := ctx.Deadline(); !ok || time.Now().Before(end) { // not this message's own deadline
			t.remember(r)
		}
		if kept {
			return t.secret, false, sms.Result{}
		}
		return sms.Hidden{}, false, r
	}
	t.secret, t.expires, t.retry = token.Secret, now.Add(token.Lifetime), time.Time{}
	t.renew = t.expires.Add(-min(time.Minute, token.Lifetime/4))
	return t.secret, true, sms.Result{}
}

// remember stores a failure, so that messages fail at once until the pause ends. The caller must
// hold the slot.
func (t *Tokens) remember(failure sms.Result) {
	pause := pauseAfterFailure
	switch failure.Cause() {
	case sms.Misconfigured:
		pause = pauseAfterRefusal
	case sms.Quota: // the account's quotas remember the time
	default:
		pause = max(pause, min(failure.RetryAfter, pauseAfterRefusal))
	}
	t.failure, t.retry = failure, time.Now().Add(pause)
	t.failure.Attempts = 0
}

// forgetFailure lets the next message fetch a token. It does nothing while a fetch is in progress,
// since no failure is stored then.
func (t *Tokens) forgetFailure() {
	select {
	case t.slot <- struct{}{}:
		t.retry = time.Time{}
		<-t.slot
	default:
	}
}

// drop forgets a token that the provider rejected. If the rejected token was new, the next one
// would be rejected too, so drop remembers a failure.
func (t *Tokens) drop(ctx context.Context, secret sms.Hidden, fresh bool, r sms.Result) {
	if t.hold(ctx) != nil {
		return
	}
	defer func() { <-t.slot }()
	if t.secret.Reveal() != secret.Reveal() {
		return
	}
	t.secret = sms.Hidden{}
	if fresh && r.Cause() == sms.Misconfigured {
		t.remember(r)
	}
}

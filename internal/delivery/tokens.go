package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// How long a failure to get a token is remembered, so that a wrong secret does not hammer the provider.
const (
	pauseAfterRefusal = 30 * time.Second
	pauseAfterFailure = 3 * time.Second
)

// Tokens keeps the token of one provider account until shortly before it expires. However many messages need it, it is
// fetched once at a time. It is safe for concurrent use.
type Tokens struct {
	slot    chan struct{} // held by whoever reads or writes what follows
	secret  sms.Hidden
	renew   time.Time // when the token is fetched anew
	expires time.Time // until when it serves if there is no new one
	failure sms.Receipt
	retry   time.Time // until when nothing is fetched after a failure
}

// NewTokens makes an empty store.
func NewTokens() *Tokens { return &Tokens{slot: make(chan struct{}, 1)} }

// errWaiting says that the time was up before it was a message's turn.
var errWaiting = errors.New("no token in time")

// hold waits for the slot.
func (t *Tokens) hold(ctx context.Context) error {
	select {
	case t.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errWaiting
	}
}

// get returns the token, and whether it was fetched for this call. Without a token the receipt is a refusal.
func (t *Tokens) get(ctx context.Context, fetch func(context.Context) (adapters.Token, sms.Receipt)) (secret sms.Hidden, fresh bool, failure sms.Receipt) {
	if err := t.hold(ctx); err != nil {
		return sms.Hidden{}, false, sms.Receipt{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, Detail: err.Error(),
		}
	}
	defer func() { <-t.slot }()
	now := time.Now()
	kept, pausing := !t.secret.Empty() && now.Before(t.expires), now.Before(t.retry)
	switch {
	case kept && (pausing || now.Before(t.renew)):
		return t.secret, false, sms.Receipt{}
	case pausing:
		return sms.Hidden{}, false, t.failure
	}
	token, r := fetch(ctx)
	if token.Secret.Empty() {
		if end, ok := ctx.Deadline(); !ok || time.Now().Before(end) { // or else it was this message that was late
			t.remember(r)
		}
		if kept {
			return t.secret, false, sms.Receipt{}
		}
		return sms.Hidden{}, false, r
	}
	t.secret, t.expires, t.retry = token.Secret, now.Add(token.Lifetime), time.Time{}
	t.renew = t.expires.Add(-min(time.Minute, token.Lifetime/4))
	return t.secret, true, sms.Receipt{}
}

// remember makes the next messages fail at once for a while. It is called with the slot held.
func (t *Tokens) remember(failure sms.Receipt) {
	pause := pauseAfterFailure
	if failure.Cause() == sms.Misconfigured {
		pause = pauseAfterRefusal
	}
	t.failure, t.retry = failure, time.Now().Add(max(pause, min(failure.RetryAfter, pauseAfterRefusal)))
	t.failure.Attempts = 0
}

// drop forgets a token that the provider did not take. If it was a new one, the next would fare no better, so that is
// remembered as a failure.
func (t *Tokens) drop(ctx context.Context, secret sms.Hidden, fresh bool, r sms.Receipt) {
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

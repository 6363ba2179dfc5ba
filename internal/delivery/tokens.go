package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
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
	cache *cache.Remote[struct{}, adapters.Token]
}

// NewTokens makes an empty store.
func NewTokens() *Tokens {
	return &Tokens{cache.NewRemote[struct{}](1, func(adapters.Token) bool { return false })}
}

// noToken is the error of a fetch without a token.
type noToken struct{ result sms.Result }

func (noToken) Error() string { return "no token" }

// tokenLife renews a token shortly before it expires, and uses it to the end if that fails.
func tokenLife(t adapters.Token) (fresh, stale time.Duration) {
	stale = min(time.Minute, t.Lifetime/4)
	return t.Lifetime - stale, stale
}

// get returns the token. fresh reports whether it was fetched for this call. Without a token,
// failure is a refusal.
func (t *Tokens) get(ctx context.Context, fetch func(context.Context) (adapters.Token, sms.Result)) (secret sms.Hidden, fresh bool, failure sms.Result) {
	token, err := t.cache.Get(ctx, struct{}{}, tokenLife, func() (adapters.Token, error) {
		var token adapters.Token
		if token, failure = fetch(ctx); token.Secret.Empty() {
			return token, pauseAfter(failure)
		}
		fresh = true
		return token, nil
	})
	var none noToken
	switch {
	case err == nil:
		return token.Secret, fresh, sms.Result{}
	case failure.Refusal != nil: // of the own fetch
	case errors.As(err, &none):
		failure = none.result
	default:
		failure = sms.Result{
			Outcome: sms.Refused, Refusal: &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, Detail: "no token in time",
		}
	}
	return sms.Hidden{}, false, failure
}

// pauseAfter returns a failure with the time during which messages fail at once.
func pauseAfter(failure sms.Result) *cache.Failure {
	pause := pauseAfterFailure
	switch failure.Cause() {
	case sms.Misconfigured:
		pause = pauseAfterRefusal
	case sms.Quota: // the account's quotas remember the time
	default:
		pause = max(pause, min(failure.RetryAfter, pauseAfterRefusal))
	}
	failure.Attempts = 0
	return &cache.Failure{Err: noToken{failure}, Pause: pause}
}

// drop forgets a token that the provider rejected. If the rejected token was new, the next one
// would be rejected too, so drop remembers a failure.
func (t *Tokens) drop(secret sms.Hidden, fresh bool, r sms.Result) {
	var failure *cache.Failure
	if fresh && r.Cause() == sms.Misconfigured {
		failure = pauseAfter(r)
	}
	t.cache.Reject(struct{}{}, func(t adapters.Token) bool { return t.Secret.Reveal() == secret.Reveal() }, failure)
}

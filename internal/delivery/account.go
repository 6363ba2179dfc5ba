package delivery

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/turnstile"
)

// An account rests after so many failures one after the other, for so long. Then one message tries whether it is well again.
const (
	failures = 5
	rest     = 30 * time.Second
)

// Account is what is known of a provider's account while messages go through it. Whoever uses the account shares it. It is safe
// for concurrent use.
type Account struct {
	// Changed is told that the account begins to rest, and that it works again; nil if nobody asks.
	Changed func(resting bool)

	tokens    *Tokens
	turnstile *turnstile.Turnstile
	breaker   *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu     sync.Mutex
	bounds []*bound
	last   sms.Cause // of the last failure
	failed time.Time
}

// NewAccount makes an account of which nothing is known.
func NewAccount() *Account {
	a := &Account{tokens: NewTokens(), turnstile: turnstile.New()}
	a.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     rest,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if a.Changed != nil && (from == gobreaker.StateClosed || to == gobreaker.StateClosed) {
				a.Changed(to == gobreaker.StateOpen)
			}
		},
	})
	return a
}

// bound is one of the bounds of an account, 0 is none.
type bound struct {
	atOnce    int
	perSecond float64
}

// Limit bounds how many requests go to the account at once and in a second, 0 is no bound, until that is taken back. Where several
// have set bounds, the tightest hold.
func (a *Account) Limit(atOnce int, perSecond float64) (takeBack func() error) {
	b := &bound{atOnce, perSecond}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bounds = append(a.bounds, b)
	a.tighten()
	return func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.bounds = slices.DeleteFunc(a.bounds, func(other *bound) bool { return other == b })
		a.tighten()
		return nil
	}
}

func (a *Account) tighten() {
	var tightest bound
	for _, b := range a.bounds {
		tightest.atOnce = tighter(tightest.atOnce, b.atOnce)
		tightest.perSecond = tighter(tightest.perSecond, b.perSecond)
	}
	a.turnstile.Limit(tightest.atOnce, tightest.perSecond)
}

func tighter[N int | float64](a, b N) N {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// resting reports whether nothing is sent through the account just now.
func (a *Account) resting() bool { return a.breaker.State() == gobreaker.StateOpen }

// longestWait is how long a message waits for its turn. What would have to wait longer is told to be refused while its app still
// listens.
const longestWait = 5 * time.Second

var errFailure = errors.New("no answer")

// Why a request is not let through, for the operator.
const (
	rests  = "the account rests, since it gave no usable answer several times in a row"
	full   = "the account has no room: too many messages wait for their turn"
	paused = "sending was paused while it waited"
)

// enter lets a user's request through when it is its turn, but not after the given time, and not if all is held by then. Who was let
// through says with what receipt it leaves.
func (a *Account) enter(user string, until time.Time, held func() bool) (leave func(sms.Receipt), refusal *sms.Refusal, why string) {
	if a.resting() { // nothing to wait for
		return nil, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, rests
	}
	if latest := time.Now().Add(longestWait); latest.Before(until) {
		until = latest
	}
	if !a.turnstile.Enter(user, until) {
		return nil, &sms.Refusal{Cause: sms.Busy, ByProvider: true}, full
	}
	if held != nil && held() {
		a.turnstile.Leave()
		return nil, &sms.Refusal{Cause: sms.Held, RetryAfter: time.Minute}, paused
	}
	done, err := a.breaker.Allow()
	if err != nil {
		a.turnstile.Leave()
		return nil, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, rests
	}
	return func(r sms.Receipt) {
		a.turnstile.Leave()
		c := r.Cause()
		if c != sms.NoCause {
			a.note(c)
		}
		if c == sms.Unavailable || c == sms.Unknown {
			done(errFailure)
			return
		}
		done(nil)
	}, nil, ""
}

func (a *Account) note(c sms.Cause) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.failed = c, time.Now()
}

// Closed is the breaker's state of an account that does not rest.
const Closed = "closed"

// Status is what can be told of an account.
type Status struct {
	// Breaker is Closed, open while the account rests, or half-open while one message tries.
	Breaker string `json:"breaker"`
	// Running and Waiting are the requests on their way and before their turn.
	Running int `json:"running"`
	Waiting int `json:"waiting"`
	// LastFailure is the cause of the last one, LastFailed when that was.
	LastFailure string     `json:"last_failure,omitempty"`
	LastFailed  *time.Time `json:"last_failed,omitempty"`
}

// Status says how the account is.
func (a *Account) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{Breaker: a.breaker.State().String()}
	s.Running, s.Waiting = a.turnstile.Load()
	if !a.failed.IsZero() {
		failed := a.failed
		s.LastFailure, s.LastFailed = a.last.String(), &failed
	}
	return s
}

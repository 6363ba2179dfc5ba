package delivery

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The circuit breaker of an account opens after this number of failures in a row, and stays open
// for openFor. Then 1 message is let through as a test.
const (
	failures = 5
	openFor  = 30 * time.Second
)

// breaker is the circuit breaker of an account. A failed connection, or a failure to get a token,
// is a failure of the account. An unusable reply may be caused by the recipient, and must not stop
// messages to others: for each recipient, it counts once until the next usable reply. It is safe
// for concurrent use.
type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]

	mu      sync.Mutex
	counted map[sms.Number]bool // recipients whose unusable reply was counted; at most `failures` entries
}

// newBreaker makes a closed breaker. It calls changed when the breaker opens and when it closes.
func newBreaker(changed func(open bool)) *breaker {
	b := new(breaker)
	b.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNoEvidence) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if from == gobreaker.StateClosed || to == gobreaker.StateClosed {
				changed(to == gobreaker.StateOpen)
			}
		},
	})
	return b
}

var (
	errFailure    = errors.New("no usable answer")
	errNoEvidence = errors.New("says nothing about the account")
)

// verdict returns how the breaker counts the result of a message: nil for a usable reply, which a
// refusal is too; errFailure for a failure; errNoEvidence for a result that says nothing about the
// account. While the breaker is not closed, every unusable reply is a failure.
func (b *breaker) verdict(m *sms.Message, r sms.Result) error {
	cause, sent := r.Cause(), r.Attempts > 0
	switch {
	case cause == sms.Unavailable && (!sent || r.Status == 0):
		return errFailure
	case !sent, r.MaybeOtherReply:
		return errNoEvidence
	case cause != sms.Unavailable && cause != sms.Unconfirmed:
		b.forget()
		return nil
	case b.State() == gobreaker.StateClosed && !b.first(m.To):
		return errNoEvidence
	}
	return errFailure
}

// first reports whether no failure of the recipient was counted before, and counts this one.
func (b *breaker) first(to sms.Number) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counted[to] {
		return false
	}
	if b.counted == nil || len(b.counted) >= failures { // the breaker has opened since
		b.counted = make(map[sms.Number]bool)
	}
	b.counted[to] = true
	return true
}

func (b *breaker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counted = nil
}

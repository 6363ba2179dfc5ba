package delivery

import (
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery/fairqueue"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Account is the state of an account at a provider: token, bounds, circuit breaker and quotas. All
// routes that use the account share it. It is safe for concurrent use.
type Account struct {
	// BreakerChanged is called when the circuit breaker opens and when it closes; it may be nil.
	BreakerChanged func(open bool)

	tokens  *Tokens
	queue   *fairqueue.Queue
	breaker *breaker

	quotas quotas

	connections *connections

	mu     sync.Mutex
	bounds []*bound
	last   sms.Result // the last failure
	failed time.Time
}

// NewAccount makes an account without a token, bounds, failures or quotas.
func NewAccount() *Account {
	a := &Account{tokens: NewTokens(), queue: fairqueue.New(), connections: newConnections()}
	a.breaker = newBreaker(func(open bool) {
		if a.BreakerChanged != nil {
			a.BreakerChanged(open)
		}
	})
	return a
}

// bound is what one call of Limit has set. 0 means no bound.
type bound struct {
	atOnce    int
	perSecond float64
}

// Limit bounds the requests to the account: how many are in flight, and how many begin in a second.
// 0 means no bound. The bounds apply until takeBack is called. If several callers have set bounds,
// the tightest ones apply.
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
	a.queue.Limit(tightest.atOnce, tightest.perSecond)
}

func tighter[N int | float64](a, b N) N {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// breakerOpen reports whether the circuit breaker is open, so that it lets no request through.
func (a *Account) breakerOpen() bool { return a.breaker.State() == gobreaker.StateOpen }

// maxWait bounds how long a message waits for room in the account. Then it is refused, while
// the app still waits for the reply.
const maxWait = 5 * time.Second

// Reasons why the account admits no request, for the operator.
const (
	isOpen   = "the circuit breaker is open: the account gave no usable answer several times in a row"
	isFull   = "the account has no room: too many messages wait for their turn"
	isPaused = "sending was paused while it waited"
	isSpent  = "the provider's limit is reached: no request is sent to the account until it ends"
)

// enter waits until the account admits a request, at most until the given time. It refuses the
// request while sending is paused. The caller must call leave with the result of the request.
func (a *Account) enter(m *sms.Message, until time.Time, held func() bool) (leave func(sms.Result), refusal *sms.Refusal, why string) {
	if r := a.quotas.refusal(m.From); r != nil { // do not wait in the queue in vain
		return nil, r, isSpent
	}
	if a.breakerOpen() {
		return nil, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, isOpen
	}
	if latest := time.Now().Add(maxWait); latest.Before(until) {
		until = latest
	}
	if !a.queue.Enter(m.User, until) {
		return nil, &sms.Refusal{Cause: sms.Busy, ByProvider: true}, isFull
	}
	if held != nil && held() {
		a.queue.Leave()
		return nil, &sms.Refusal{Cause: sms.Held, RetryAfter: time.Minute}, isPaused
	}
	settle, refusal := a.quotas.enter(m.From)
	if refusal != nil {
		a.queue.Leave()
		return nil, refusal, isSpent
	}
	done, err := a.breaker.Allow()
	if err != nil {
		settle(sms.Result{})
		a.queue.Leave()
		return nil, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true}, isOpen
	}
	return func(r sms.Result) {
		settle(r)
		a.queue.Leave()
		if r.Cause() != sms.NoCause {
			a.noteFailure(r)
		}
		done(a.breaker.verdict(m, r))
	}, nil, ""
}

func (a *Account) noteFailure(r sms.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.failed = sms.Result{Refusal: r.Refusal, Code: r.Code, Detail: r.Detail}, time.Now()
}

// Closed is the state of a circuit breaker that lets all requests through.
const Closed = "closed"

// Status describes an account to operators.
type Status struct {
	// Breaker is the state of the circuit breaker: Closed, open, or half-open while one message is
	// let through as a test.
	Breaker string `json:"breaker"`
	// Running is the number of requests in flight, Waiting the number of those that wait for room.
	Running int `json:"running"`
	Waiting int `json:"waiting"`
	// LastFailure is the cause of the last failure, LastFailed its time.
	LastFailure string     `json:"last_failure,omitempty"`
	LastFailed  *time.Time `json:"last_failed,omitempty"`
	// LastCode and LastDetail are the provider's code and words for the last failure, as in the
	// log.
	LastCode   string `json:"last_provider_code,omitempty"`
	LastDetail string `json:"last_detail,omitempty"`
	// Quotas are the provider's limits that were reached.
	Quotas []Quota `json:"quotas,omitempty"`
}

// Resume forgets the provider's limits that were reached, so that the next message is sent.
func (a *Account) Resume() {
	a.quotas.clear()
	a.tokens.cache.Retry()
}

// Status returns the state of the account.
func (a *Account) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{Breaker: a.breaker.State().String(), Quotas: a.quotas.list()}
	s.Running, s.Waiting = a.queue.Load()
	if !a.failed.IsZero() {
		failed := a.failed
		s.LastFailure, s.LastFailed = a.last.Cause().String(), &failed
		s.LastCode, s.LastDetail = a.last.Code, a.last.Detail
	}
	return s
}

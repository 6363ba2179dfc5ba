package users

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
)

// ErrBusy is returned if a credential was not checked because too many others were waiting.
var ErrBusy = errors.New("too many credentials are being checked")

const (
	// maxWait bounds the wait of a credential.
	maxWait = 10 * time.Second

	// maxWaiting bounds the queue. If the queue is full, a new credential replaces the last
	// one, or is refused.
	maxWaiting = 1024

	// longQueue is the expected work for each slot from which the queue counts as long. While
	// it is long, hashes with a known result are not computed.
	longQueue = 250 * time.Millisecond

	// usageHalfLife is the time in which the usage of a prefix decays by half.
	usageHalfLife = 5 * time.Minute

	// maxPrefixes bounds the prefixes with stored usage.
	maxPrefixes = 1 << 14
)

// slowHashes is the queue of all slow hashes of this process. One processor is left for everything
// else.
var slowHashes = newHashQueue(max(1, runtime.GOMAXPROCS(0)-1))

// hashQueue lets a few credentials at once be compared with slow hashes. Credentials from a network
// where their user has logged in before come first. The others are ordered by the recent usage of
// their prefix (/24 of IPv4, /48 of IPv6), the lowest first, so that a flood from many networks
// does not keep out new users. A right credential does not count as usage.
//
// The place in the queue depends on nothing else, so that it does not reveal which names exist.
type hashQueue struct {
	slots int

	mu      sync.Mutex
	running int
	arrived uint64
	waiting waiters
	backlog time.Duration // the sum of the expected durations of the waiting credentials
	usage   *cache.Table[netip.Prefix, usage]
}

// usage counts the credentials of a prefix that needed slow hashes. The count decays by half in
// each half-life.
type usage struct {
	count float64
	at    time.Time
}

func (u usage) after(now time.Time) float64 {
	return u.count * math.Exp2(-max(0, now.Sub(u.at)).Seconds()/usageHalfLife.Seconds())
}

func newHashQueue(slots int) *hashQueue {
	return &hashQueue{slots: slots, usage: cache.NewTable[netip.Prefix, usage](maxPrefixes)}
}

// prefixOf returns the prefix by which usage is counted: the largest network that one customer of a
// provider usually has.
func prefixOf(network netip.Prefix) netip.Prefix {
	bits := 24
	if network.Addr().Is6() {
		bits = 48
	}
	return netip.PrefixFrom(network.Addr(), min(bits, network.Bits())).Masked()
}

// acquire waits for a slot, which release frees. known is set if the user has logged in from the
// network before; expected is the expected duration of the check. The error is ErrBusy if no slot
// was free in time.
func (q *hashQueue) acquire(ctx context.Context, network netip.Prefix, known bool, expected time.Duration) error {
	q.mu.Lock()
	used := q.use(prefixOf(network), 1)
	if q.running < q.slots {
		q.running++
		q.mu.Unlock()
		return nil
	}
	q.arrived++
	w := &waiter{known: known, used: int(math.Round(used)), arrived: q.arrived, expected: expected, granted: make(chan bool, 1)}
	if len(q.waiting) >= maxWaiting {
		last := q.waiting.last()
		if !w.before(last) {
			q.mu.Unlock()
			return ErrBusy
		}
		q.remove(last)
		last.granted <- false
	}
	heap.Push(&q.waiting, w)
	q.backlog += expected
	q.mu.Unlock()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case ok := <-w.granted:
		return errUnlessGranted(ok)
	case <-ctx.Done():
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.at < 0 { // w got a slot, or was displaced, at the same moment
		return errUnlessGranted(<-w.granted)
	}
	q.remove(w)
	return ErrBusy
}

func errUnlessGranted(ok bool) error {
	if !ok {
		return ErrBusy
	}
	return nil
}

// release frees a slot.
func (q *hashQueue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.running--
		return
	}
	next := q.waiting[0]
	q.remove(next)
	next.granted <- true
}

// refund subtracts a right credential from the usage of its prefix.
func (q *hashQueue) refund(network netip.Prefix) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.use(prefixOf(network), -1)
}

// use adds to the usage of a prefix and returns the usage before.
func (q *hashQueue) use(prefix netip.Prefix, more float64) float64 {
	now := time.Now()
	u, _ := q.usage.Get(prefix)
	before := u.after(now)
	q.usage.Put(prefix, usage{max(0, before+more), now})
	return before
}

// isLong reports whether the queue is long.
func (q *hashQueue) isLong() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.backlog > longQueue*time.Duration(q.slots)
}

// remove removes a waiter.
func (q *hashQueue) remove(w *waiter) {
	heap.Remove(&q.waiting, w.at)
	q.backlog -= w.expected
}

// waiter is a credential that waits.
type waiter struct {
	known    bool
	used     int
	arrived  uint64
	expected time.Duration
	granted  chan bool // gets true with a slot, false if the waiter was displaced
	at       int       // the index in the heap, negative if the waiter was removed
}

// before reports whether w is checked before another waiter.
func (w *waiter) before(other *waiter) bool {
	switch {
	case w.known != other.known:
		return w.known
	case w.used != other.used:
		return w.used < other.used
	}
	return w.arrived < other.arrived
}

// waiters is a heap, https://pkg.go.dev/container/heap.
type waiters []*waiter

func (l waiters) Len() int           { return len(l) }
func (l waiters) Less(i, j int) bool { return l[i].before(l[j]) }

func (l waiters) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].at, l[j].at = i, j
}

func (l *waiters) Push(w any) {
	w.(*waiter).at = len(*l)
	*l = append(*l, w.(*waiter))
}

func (l *waiters) Pop() any {
	end := len(*l) - 1
	w := (*l)[end]
	(*l)[end] = nil
	*l, w.at = (*l)[:end], -1
	return w
}

// last returns the waiter that would be checked last.
func (l waiters) last() *waiter {
	return slices.MaxFunc(l, func(a, b *waiter) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
}

const (
	// maxTimes is the number of stored durations.
	maxTimes = 16

	// freshTime is the maximum age of the last stored duration for imitated checks.
	freshTime = 5 * time.Second
)

// times stores the durations of the last checks of wrong passwords, without the wait.
type times struct {
	mu        sync.Mutex
	durations [maxTimes]time.Duration
	count     int
	last      time.Time
}

func (t *times) record(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Before(t.last) { // the clock was set back
		t.count = 0
	}
	t.durations[t.count%maxTimes] = took
	t.count++
	t.last = now
}

// mean returns the mean of the stored durations, 0 if there are none.
func (t *times) mean() (sum time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(t.count, maxTimes)
	for _, took := range t.durations[:n] {
		sum += took
	}
	return sum / time.Duration(max(1, n))
}

// sample returns a random stored duration, so that imitated checks vary as computed ones do. ok is
// false if the durations are too old.
func (t *times) sample() (took time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if age := time.Since(t.last); t.count == 0 || age < 0 || age > freshTime {
		return 0, false
	}
	return t.durations[rand.IntN(min(t.count, maxTimes))], true
}

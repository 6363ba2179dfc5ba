package lockout

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
)

const (
	// maxConcurrent bounds the credentials of a network that are checked at once. maxWaiting
	// bounds the credentials of a network that wait.
	maxConcurrent, maxWaiting = 4, 512

	// maxWait bounds the wait of one credential.
	maxWait = 10 * time.Second
)

// Queues bound how many credentials of each network are checked at once. Many concurrent guesses
// would otherwise all pass the Guard before the first was found wrong.
type Queues struct {
	mu     sync.Mutex
	queues *cache.Table[netip.Prefix, *Queue]
}

// NewQueues makes empty queues.
func NewQueues() *Queues { return &Queues{queues: cache.NewTable[netip.Prefix, *Queue](size)} }

// Of returns the queue of a network, nil for the zero Prefix, because everybody may share an
// unknown network. A nil Queue admits at once.
func (t *Queues) Of(from netip.Prefix) *Queue {
	if !from.IsValid() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.queues.Get(from)
	if !ok {
		l = &Queue{slots: semaphore.NewWeighted(maxConcurrent)}
		t.queues.Put(from, l)
	}
	return l
}

// Queue is the queue of one network.
type Queue struct {
	slots   *semaphore.Weighted
	waiting atomic.Int32
}

// Acquire waits for a slot, which Release frees. It returns false if the queue is full, if no slot
// is free within maxWait, or if the context ends.
func (l *Queue) Acquire(ctx context.Context) bool {
	if l == nil || l.slots.TryAcquire(1) {
		return true
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > maxWaiting {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	return l.slots.Acquire(ctx, 1) == nil
}

// Release frees a slot.
func (l *Queue) Release() {
	if l != nil {
		l.slots.Release(1)
	}
}

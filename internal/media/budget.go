package media

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// The bounds of a process.
const (
	maxCollecting   = 16        // messages whose files are collected at once
	maxPerUser      = 2         // those of a single user
	maxDecoderBytes = 128 << 20 // memory of pictures that are decoded at once
)

// Budget bounds what all collectors of a process do at once.
type Budget struct {
	messages, decoders *semaphore.Weighted

	mu    sync.Mutex
	users map[string]*userSlots
}

// userSlots are the messages of a user that are collected or wait.
type userSlots struct {
	*semaphore.Weighted
	waiting int
}

// NewBudget makes a budget. A process needs one.
func NewBudget() *Budget {
	return &Budget{
		messages: semaphore.NewWeighted(maxCollecting),
		decoders: semaphore.NewWeighted(maxDecoderBytes),
		users:    make(map[string]*userSlots),
	}
}

// acquire waits until a message of a user may be collected. release must be called afterwards.
func (b *Budget) acquire(ctx context.Context, user string) (release func(), err error) {
	b.mu.Lock()
	slots := b.users[user]
	if slots == nil {
		slots = &userSlots{Weighted: semaphore.NewWeighted(maxPerUser)}
		b.users[user] = slots
	}
	slots.waiting++
	b.mu.Unlock()
	leave := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if slots.waiting--; slots.waiting == 0 {
			delete(b.users, user)
		}
	}
	if err := slots.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	if err := b.messages.Acquire(ctx, 1); err != nil {
		slots.Release(1)
		leave()
		return nil, err
	}
	return func() {
		b.messages.Release(1)
		slots.Release(1)
		leave()
	}, nil
}

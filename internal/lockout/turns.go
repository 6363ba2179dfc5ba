package lockout

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
)

const (
	// atOnce is how many credentials of a network are looked at at a time, and longestLine how many more wait for that.
	atOnce, longestLine = 4, 512

	// longestWait is how long one waits.
	longestWait = 10 * time.Second
)

// Turns keep the credentials of each network in a line. Many that come at once would all pass the guard before the first
// was found wrong, and take the time of others.
type Turns struct {
	mu    sync.Mutex
	lines *recent.Table[netip.Prefix, *Line]
}

// NewTurns makes empty lines.
func NewTurns() *Turns { return &Turns{lines: recent.NewTable[netip.Prefix, *Line](size)} }

// Of is the line of a network. One that is not known has none: everybody may share it.
func (t *Turns) Of(from netip.Prefix) *Line {
	if !from.IsValid() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.lines.Get(from)
	if !ok {
		l = &Line{turns: semaphore.NewWeighted(atOnce)}
		t.lines.Put(from, l)
	}
	return l
}

// Line is the line of a network.
type Line struct {
	turns   *semaphore.Weighted
	waiting atomic.Int32
}

// Take waits for a turn, to be given back by Done. Without one there are too many before it.
func (l *Line) Take(ctx context.Context) bool {
	if l == nil || l.turns.TryAcquire(1) {
		return true
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > longestLine {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	return l.turns.Acquire(ctx, 1) == nil
}

// Done gives a turn back.
func (l *Line) Done() {
	if l != nil {
		l.turns.Release(1)
	}
}

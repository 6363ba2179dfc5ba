// Package turnstile lets requests through, so many at once and so many in a second. Those who wait are let through in turn by
// user, so that one who sends much delays nobody but himself.
package turnstile

import (
	"container/list"
	"sync"
	"time"
)

// most bounds how many wait.
const most = 1024

// Turnstile is safe for concurrent use.
type Turnstile struct {
	mu      sync.Mutex
	atOnce  int           // 0: no bound
	gap     time.Duration // between two that enter
	running int
	last    time.Time // when somebody entered
	waiting int
	queues  map[string]*queue // of those who wait, by user
	turns   list.List         // of the queues, the next one first
	timer   *time.Timer       // set while the next has only to wait for the time
}

// queue is of one user.
type queue struct {
	list.List
	user string
	turn *list.Element
}

// waiter is one who waits: admitted is closed when it is his turn.
type waiter struct {
	admitted chan struct{}
	in       bool
}

// New makes a turnstile without bounds.
func New() *Turnstile { return &Turnstile{queues: make(map[string]*queue)} }

// Limit sets how many are let through at once and in a second, 0 is no bound.
func (t *Turnstile) Limit(atOnce int, perSecond float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.atOnce, t.gap = atOnce, 0
	if perSecond > 0 {
		t.gap = time.Duration(float64(time.Second) / perSecond)
	}
	if t.timer != nil && t.timer.Stop() {
		t.timer = nil
	}
	t.admit()
}

// Enter waits for the user's turn, and reports false if that did not come in time. Who entered has to leave.
func (t *Turnstile) Enter(user string, until time.Time) bool {
	t.mu.Lock()
	if t.waiting == 0 && t.open(time.Now()) {
		t.let()
		t.mu.Unlock()
		return true
	}
	patience := time.Until(until)
	if t.waiting >= most || patience <= 0 {
		t.mu.Unlock()
		return false
	}
	w := &waiter{admitted: make(chan struct{})}
	mine := t.queues[user]
	if mine == nil {
		mine = &queue{user: user}
		mine.turn = t.turns.PushBack(mine)
		t.queues[user] = mine
	}
	place := mine.PushBack(w)
	t.waiting++
	t.admit()
	t.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.admitted:
		return true
	case <-timer.C:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !w.in {
		t.remove(mine, place)
	}
	return w.in
}

// remove takes a waiter from a queue.
func (t *Turnstile) remove(q *queue, place *list.Element) *waiter {
	w := q.Remove(place).(*waiter)
	t.waiting--
	if q.Len() == 0 {
		t.turns.Remove(q.turn)
		delete(t.queues, q.user)
	} else {
		t.turns.MoveToBack(q.turn)
	}
	return w
}

// Leave makes room for another.
func (t *Turnstile) Leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	t.admit()
}

// Load is how many have entered and how many wait.
func (t *Turnstile) Load() (running, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running, t.waiting
}

func (t *Turnstile) room() bool { return t.atOnce == 0 || t.running < t.atOnce }

// next is when the next may enter.
func (t *Turnstile) next() time.Time { return t.last.Add(t.gap) }

func (t *Turnstile) open(now time.Time) bool { return t.room() && !now.Before(t.next()) }

// let counts one who enters.
func (t *Turnstile) let() {
	t.running++
	if t.gap > 0 {
		t.last = time.Now()
	}
}

// admit lets those in whose turn it is.
func (t *Turnstile) admit() {
	for t.waiting > 0 && t.room() {
		if wait := time.Until(t.next()); wait > 0 {
			if t.timer == nil {
				t.timer = time.AfterFunc(wait, func() {
					t.mu.Lock()
					defer t.mu.Unlock()
					t.timer = nil
					t.admit()
				})
			}
			return
		}
		next := t.turns.Front().Value.(*queue)
		w := t.remove(next, next.Front())
		t.let()
		w.in = true
		close(w.admitted)
	}
}

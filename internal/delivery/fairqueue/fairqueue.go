// Package fairqueue bounds the requests of an account: how many are in flight, and how many begin
// in a second. Requests beyond a bound wait. The queue serves the waiting users round-robin, so
// that a user with many messages does not delay the others.
//
// It never drops an admitted request, and no request waits beyond its deadline. internal/delivery
// calls it once for each request to a provider. A Queue is safe for concurrent use.
package fairqueue

import (
	"container/list"
	"sync"
	"time"
)

// maxWaiting bounds the number of waiting requests.
const maxWaiting = 1024

// Queue admits requests within its bounds. New makes one.
type Queue struct {
	mu          sync.Mutex
	maxInFlight int           // 0: no bound
	interval    time.Duration // the shortest time between the beginnings of two requests
	inFlight    int
	lastBegun   time.Time
	waiting     int
	users       map[string]*userQueue // users with waiting requests
	order       list.List             // *userQueue values; the front user is served next
	timer       *time.Timer           // set while only the interval delays the next request
}

// userQueue is the list of waiting requests of one user.
type userQueue struct {
	list.List
	user  string
	place *list.Element // in Queue.order
}

// waiter is a waiting request. admitted is closed when it may begin.
type waiter struct {
	admitted chan struct{}
	in       bool
}

// New makes a queue without bounds.
func New() *Queue { return &Queue{users: make(map[string]*userQueue)} }

// Limit sets how many requests may be in flight, and how many may begin in a second. 0 means no
// bound.
func (q *Queue) Limit(inFlight int, perSecond float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.maxInFlight, q.interval = inFlight, 0
	if perSecond > 0 {
		q.interval = time.Duration(float64(time.Second) / perSecond)
	}
	if q.timer != nil && q.timer.Stop() {
		q.timer = nil
	}
	q.admit()
}

// Enter waits until a request of the user may begin. It reports false if the deadline passes
// before, or if too many requests wait. After true, the caller must call Leave when the request has
// ended.
func (q *Queue) Enter(user string, deadline time.Time) bool {
	q.mu.Lock()
	if q.waiting == 0 && q.hasRoom() && !time.Now().Before(q.nextBegin()) {
		q.begin()
		q.mu.Unlock()
		return true
	}
	patience := time.Until(deadline)
	if q.waiting >= maxWaiting || patience <= 0 {
		q.mu.Unlock()
		return false
	}
	w := &waiter{admitted: make(chan struct{})}
	mine := q.users[user]
	if mine == nil {
		mine = &userQueue{user: user}
		mine.place = q.order.PushBack(mine)
		q.users[user] = mine
	}
	place := mine.PushBack(w)
	q.waiting++
	q.admit()
	q.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.admitted:
		return true
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.in {
		q.remove(mine, place)
	}
	return w.in
}

// remove removes a request from the queue of its user, and moves the user behind the other users.
func (q *Queue) remove(u *userQueue, place *list.Element) *waiter {
	w := u.Remove(place).(*waiter)
	q.waiting--
	if u.Len() == 0 {
		q.order.Remove(u.place)
		delete(q.users, u.user)
	} else {
		q.order.MoveToBack(u.place)
	}
	return w
}

// Leave ends a request that Enter has admitted.
func (q *Queue) Leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight--
	q.admit()
}

// Load returns how many requests are in flight and how many wait.
func (q *Queue) Load() (inFlight, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inFlight, q.waiting
}

func (q *Queue) hasRoom() bool { return q.maxInFlight == 0 || q.inFlight < q.maxInFlight }

// nextBegin is when the next request may begin at the earliest.
func (q *Queue) nextBegin() time.Time { return q.lastBegun.Add(q.interval) }

// begin counts a request as in flight.
func (q *Queue) begin() {
	q.inFlight++
	if q.interval > 0 {
		q.lastBegun = time.Now()
	}
}

// admit admits waiting requests as far as the bounds allow. The caller must have locked mu.
func (q *Queue) admit() {
	for q.waiting > 0 && q.hasRoom() {
		if wait := time.Until(q.nextBegin()); wait > 0 {
			if q.timer == nil {
				q.timer = time.AfterFunc(wait, func() {
					q.mu.Lock()
					defer q.mu.Unlock()
					q.timer = nil
					q.admit()
				})
			}
			return
		}
		next := q.order.Front().Value.(*userQueue)
		w := q.remove(next, next.Front())
		q.begin()
		w.in = true
		close(w.admitted)
	}
}

package users

import (
	"sync"
	"time"
)

// teller tells failures.
type teller struct {
	mu    sync.Mutex
	last  string    // the one that was told last
	quiet time.Time // until when it is not told again
}

// tell tells a failure, but the same one once a minute at most, because strangers may cause it.
func (t *teller) tell(err error, report func(error)) {
	t.mu.Lock()
	again := err.Error() == t.last && time.Now().Before(t.quiet)
	if !again {
		t.last, t.quiet = err.Error(), time.Now().Add(time.Minute)
	}
	t.mu.Unlock()
	if !again {
		report(err)
	}
}

package users

import (
	"sync"
	"time"
)

// throttledReport reports failures, the same text at most once per minute.
type throttledReport struct {
	mu    sync.Mutex
	last  string    // the failure that was reported last
	until time.Time // when the same failure may be reported again
}

// Report reports a failure unless the same text was reported last and within a minute, because
// strangers may cause many.
func (t *throttledReport) Report(err error, report func(error)) {
	t.mu.Lock()
	again := err.Error() == t.last && time.Now().Before(t.until)
	if !again {
		t.last, t.until = err.Error(), time.Now().Add(time.Minute)
	}
	t.mu.Unlock()
	if !again {
		report(err)
	}
}

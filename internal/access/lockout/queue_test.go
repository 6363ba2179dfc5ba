package lockout

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A few are checked at once, some wait for theirs, and more are too many. Other networks do not
// wait for them.
func TestQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queues, here := NewQueues(), from("203.0.113.9")
		var acquired, refused atomic.Int32
		start := func(ctx context.Context) {
			go func() {
				if queues.Of(here).Acquire(ctx) {
					acquired.Add(1)
				} else {
					refused.Add(1)
				}
			}()
		}
		want := func(what string, yes, no int32) {
			t.Helper()
			if synctest.Wait(); acquired.Load() != yes || refused.Load() != no {
				t.Errorf("%s: %d acquired and %d were refused, want %d and %d", what, acquired.Load(), refused.Load(), yes, no)
			}
		}
		gone, hangUp := context.WithCancel(t.Context())
		for range maxConcurrent + 1 {
			start(gone)
		}
		want("five", maxConcurrent, 0)
		for range maxWaiting {
			start(t.Context())
		}
		want("more than fit", maxConcurrent, 1)
		if !queues.Of(from("203.0.113.10")).Acquire(t.Context()) || !queues.Of(netip.Prefix{}).Acquire(t.Context()) {
			t.Error("others have to wait")
		}
		queues.Of(netip.Prefix{}).Release()
		hangUp()
		want("one hangs up", maxConcurrent, 2)
		queues.Of(here).Release()
		want("one is done", maxConcurrent+1, 2)
		time.Sleep(maxWait)
		want("the others waited too long", maxConcurrent+1, maxWaiting)
	})
}

func BenchmarkQueue(b *testing.B) {
	queues, here := NewQueues(), from("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		queue := queues.Of(here)
		if !queue.Acquire(b.Context()) {
			b.Fatal("refused")
		}
		queue.Release()
	}
}

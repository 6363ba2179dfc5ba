package lockout

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A few have their turn at once, some wait for theirs, and more are too many. Other networks do not wait for them.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, here := NewTurns(), from("203.0.113.9")
		var taken, refused atomic.Int32
		come := func(ctx context.Context) {
			go func() {
				if turns.Of(here).Take(ctx) {
					taken.Add(1)
				} else {
					refused.Add(1)
				}
			}()
		}
		want := func(what string, yes, no int32) {
			t.Helper()
			if synctest.Wait(); taken.Load() != yes || refused.Load() != no {
				t.Errorf("%s: %d have a turn and %d were refused, want %d and %d", what, taken.Load(), refused.Load(), yes, no)
			}
		}
		gone, hangUp := context.WithCancel(t.Context())
		for range atOnce + 1 {
			come(gone)
		}
		want("five", atOnce, 0)
		for range longestLine {
			come(t.Context())
		}
		want("more than fit", atOnce, 1)
		if !turns.Of(from("203.0.113.10")).Take(t.Context()) || !turns.Of(netip.Prefix{}).Take(t.Context()) {
			t.Error("others have to wait")
		}
		turns.Of(netip.Prefix{}).Done()
		hangUp()
		want("one hangs up", atOnce, 2)
		turns.Of(here).Done()
		want("one is done", atOnce+1, 2)
		time.Sleep(longestWait)
		want("the others waited too long", atOnce+1, longestLine)
	})
}

func BenchmarkTurn(b *testing.B) {
	turns, here := NewTurns(), from("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		line := turns.Of(here)
		if !line.Take(b.Context()) {
			b.Fatal("refused")
		}
		line.Done()
	}
}

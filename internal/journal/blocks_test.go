package journal

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
)

// While the store is away, the blocks that were there last hold; when it is back, those of other processes hold within 5 seconds.
func TestBlocksWhileStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		first, second := l.open(t, s), l.open(t, s)
		defer first.Release()
		defer second.Release()
		ann, err := block.New("ann", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Block(ann); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !second.Blocked("ann", "a.example") {
			t.Error("another process does not know it after 5 seconds")
		}
		s.be(unavailable)
		time.Sleep(time.Hour)
		synctest.Wait()
		if !first.Blocked("ann", "a.example") || !second.Blocked("ann", "a.example") {
			t.Error("nobody is blocked while the store is away")
		}
		s.be(available)
		if n, err := first.Unblock(ann); n != 1 || err != nil || first.Blocked("ann", "a.example") {
			t.Errorf("not unblocked: %d %v", n, err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if second.Blocked("ann", "a.example") {
			t.Error("another process blocks after 5 seconds")
		}
	})
}

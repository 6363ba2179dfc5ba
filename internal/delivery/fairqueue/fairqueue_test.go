package fairqueue

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Never are more let through than the bounds say, all are in the end, and nothing is kept of those
// who left.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		atOnce, perSecond := rapid.IntRange(0, 4).Draw(rt, "at once"), rapid.SampledFrom([]float64{0, 0.5, 1, 10}).Draw(rt, "per second")
		stays := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 30).Draw(rt, "stays")
		patience := time.Duration(rapid.IntRange(0, 20).Draw(rt, "patience")) * time.Second
		var wrong string
		synctest.Test(t, func(*testing.T) {
			queue := New()
			queue.Limit(atOnce, perSecond)
			var mu sync.Mutex
			var entered []time.Time
			inside := 0
			var wg sync.WaitGroup
			for i, stay := range stays {
				wg.Go(func() {
					began := time.Now()
					if !queue.Enter(fmt.Sprint(i%3), began.Add(patience)) {
						if waited := time.Since(began); waited != patience {
							wrong = fmt.Sprintf("gave up after %v of %v", waited, patience)
						}
						return
					}
					mu.Lock()
					inside++
					if atOnce > 0 && inside > atOnce {
						wrong = fmt.Sprintf("%d at once, at most %d", inside, atOnce)
					}
					entered = append(entered, time.Now())
					mu.Unlock()
					time.Sleep(time.Duration(stay) * time.Millisecond)
					mu.Lock()
					inside--
					mu.Unlock()
					queue.Leave()
				})
			}
			wg.Wait()
			slices.SortFunc(entered, time.Time.Compare)
			for i := 1; i < len(entered) && perSecond > 0; i++ {
				if gap := entered[i].Sub(entered[i-1]); gap < time.Duration(float64(time.Second)/perSecond) {
					wrong = fmt.Sprintf("two within %v", gap)
				}
			}
			if atOnce == 0 && perSecond == 0 && len(entered) != len(stays) {
				wrong = "somebody was kept out without bounds"
			}
			if running, waiting := queue.Load(); running+waiting != 0 || len(queue.users) != 0 || queue.order.Len() != 0 {
				wrong = fmt.Sprintf("%d run, %d wait, %d queues in the end", running, waiting, len(queue.users))
			}
			time.Sleep(time.Minute) // a timer may still be set
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// A user who sends much does not delay another: of two users who wait, each begins a request in
// turn.
func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := New()
		queue.Limit(0, 1)
		var mu sync.Mutex
		var order string
		enter := func(user string) {
			if queue.Enter(user, time.Now().Add(time.Minute)) {
				mu.Lock()
				order += user
				mu.Unlock()
				queue.Leave()
			}
		}
		for range 20 {
			go enter("a")
		}
		synctest.Wait()
		go enter("b")
		synctest.Wait()
		go enter("c")
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := "aabc" + "aaaaaaaaaaaaaaaaaa"; order != want && order != "abca"+want[4:] && order != "abac"+want[4:] {
			t.Error(order)
		}
	})
}

// A waiting message proceeds when the bound is loosened.
func TestLoosened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue, began := New(), time.Now()
		queue.Limit(0, 0.1)
		queue.Enter("bob", began)
		var wg sync.WaitGroup
		wg.Go(func() {
			if !queue.Enter("ann", began.Add(time.Minute)) || time.Since(began) != time.Second {
				t.Errorf("let in after %v", time.Since(began))
			}
		})
		time.Sleep(time.Second)
		queue.Limit(0, 100)
		wg.Wait()
	})
}

// The number of those who wait is bounded.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := New()
		queue.Limit(1, 0)
		queue.Enter("first", time.Now())
		for i := range maxWaiting {
			go queue.Enter(fmt.Sprint(i), time.Now().Add(time.Minute))
		}
		synctest.Wait()
		began := time.Now()
		if queue.Enter("late", time.Now().Add(time.Hour)) || time.Since(began) != 0 {
			t.Error("one more waits")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if running, waiting := queue.Load(); running != 1 || waiting != 0 {
			t.Errorf("%d run, %d wait", running, waiting)
		}
	})
}

// Nobody allocates who need not wait.
func TestAllocations(t *testing.T) {
	queue := New()
	queue.Limit(8, 0)
	if n := testing.AllocsPerRun(100, func() { queue.Enter("johndow", time.Time{}); queue.Leave() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

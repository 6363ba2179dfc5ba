package turnstile

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

// Never are more let through than the bounds say, all are in the end, and nothing is kept of those who left.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		atOnce, perSecond := rapid.IntRange(0, 4).Draw(rt, "at once"), rapid.SampledFrom([]float64{0, 0.5, 1, 10}).Draw(rt, "per second")
		stays := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 30).Draw(rt, "stays")
		patience := time.Duration(rapid.IntRange(0, 20).Draw(rt, "patience")) * time.Second
		var wrong string
		synctest.Test(t, func(*testing.T) {
			turn := New()
			turn.Limit(atOnce, perSecond)
			var mu sync.Mutex
			var entered []time.Time
			inside := 0
			var wg sync.WaitGroup
			for i, stay := range stays {
				wg.Go(func() {
					began := time.Now()
					if !turn.Enter(fmt.Sprint(i%3), began.Add(patience)) {
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
					turn.Leave()
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
			if running, waiting := turn.Load(); running+waiting != 0 || len(turn.queues) != 0 || turn.turns.Len() != 0 {
				wrong = fmt.Sprintf("%d run, %d wait, %d queues in the end", running, waiting, len(turn.queues))
			}
			time.Sleep(time.Minute) // a timer may still be set
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// One who sends much does not delay another: of two who wait, each is let through in turn.
func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := New()
		turn.Limit(0, 1)
		var mu sync.Mutex
		var order string
		enter := func(user string) {
			if turn.Enter(user, time.Now().Add(time.Minute)) {
				mu.Lock()
				order += user
				mu.Unlock()
				turn.Leave()
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

// Who waits under a bound is let in when it is loosened.
func TestLoosened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn, began := New(), time.Now()
		turn.Limit(0, 0.1)
		turn.Enter("bob", began)
		var wg sync.WaitGroup
		wg.Go(func() {
			if !turn.Enter("ann", began.Add(time.Minute)) || time.Since(began) != time.Second {
				t.Errorf("let in after %v", time.Since(began))
			}
		})
		time.Sleep(time.Second)
		turn.Limit(0, 100)
		wg.Wait()
	})
}

// The number of those who wait is bounded.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := New()
		turn.Limit(1, 0)
		turn.Enter("first", time.Now())
		for i := range most {
			go turn.Enter(fmt.Sprint(i), time.Now().Add(time.Minute))
		}
		synctest.Wait()
		began := time.Now()
		if turn.Enter("late", time.Now().Add(time.Hour)) || time.Since(began) != 0 {
			t.Error("one more waits")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if running, waiting := turn.Load(); running != 1 || waiting != 0 {
			t.Errorf("%d run, %d wait", running, waiting)
		}
	})
}

// Nobody allocates who need not wait.
func TestAllocations(t *testing.T) {
	turn := New()
	turn.Limit(8, 0)
	if n := testing.AllocsPerRun(100, func() { turn.Enter("johndow", time.Time{}); turn.Leave() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

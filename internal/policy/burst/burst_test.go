package burst

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		number func(i int) int // the last digits of the ith message
		every  time.Duration
		held   bool
	}{
		"upwards":            {func(i int) int { return i }, time.Second, true},
		"downwards":          {func(i int) int { return 100 - i }, time.Second, true},
		"from both sides":    {func(i int) int { return []int{50 + i/2, 89 - i/2}[i%2] }, time.Second, true},
		"mixed with others":  {func(i int) int { return []int{50 + i/2, 900 + 7*i}[i%2] }, time.Second, true},
		"one and the same":   {func(int) int { return 7 }, time.Second, false},
		"back and forth":     {func(i int) int { return 7 + i%9 }, time.Second, false},
		"every other":        {func(i int) int { return 2 * i }, time.Second, true},
		"every third":        {func(i int) int { return 900 - 3*i }, time.Second, true},
		"eleven apart":       {func(i int) int { return 11 * i }, time.Second, true},
		"in disorder":        {func(i int) int { return i * 7 % 41 }, time.Second, true},
		"one of each dozen":  {func(i int) int { return 12 * i }, time.Second, false},
		"all over the place": {func(i int) int { return i * 7919 % 10_000 }, time.Second, false},
		"two offices":        {func(i int) int { return i%9 + 1000*(i/9%2) }, time.Second, false},
		"slowly":             {func(i int) int { return i }, 2 * time.Minute, false},
		"runs of nine":       {func(i int) int { return i + i/9 }, time.Second, true},
		"runs of nine apart": {func(i int) int { return i%9 + 200*(i/9) }, time.Second, false},
	} {
		w, held, now := NewDetector(), 0, start
		for i := range 40 {
			if kind, wait := w.Observe("ann", fmt.Sprintf("+1555123%04d", c.number(i)), "US", now); kind == NumbersInARow && wait > 0 {
				held++
			} else if kind != None {
				t.Errorf("%s: %v", name, kind)
			}
			now = now.Add(c.every)
		}
		if (held > 0) != c.held {
			t.Errorf("%s: %d of 40 were held", name, held)
		}
		if kind, _ := w.Observe("ann", "+15551230041", "US", now.Add(runWindow)); kind != None {
			t.Errorf("%s: it is held for ever", name)
		}
	}
}

func TestCountries(t *testing.T) {
	w, now := NewDetector(), start
	text := func(country string) Kind {
		now = now.Add(time.Minute)
		kind, _ := w.Observe("ann", fmt.Sprintf("+%d", now.Unix()), country, now)
		return kind
	}
	for _, country := range []string{"US", "CA", "MX", "US", "GB", "DE", "CA", "US"} {
		if kind := text(country); kind != None {
			t.Fatalf("%s: %v", country, kind)
		}
	}
	kind, wait := w.Observe("ann", "+33612345678", "FR", now)
	if kind != ManyCountries || wait <= 0 || wait >= countryWindow {
		t.Fatalf("a sixth country: %v %s", kind, wait)
	}
	if kind := text("DE"); kind != None {
		t.Errorf("a known country: %v", kind)
	}
	if kind, _ := w.Observe("bob", "+33612345678", "FR", now); kind != None {
		t.Errorf("another user: %v", kind)
	}
	if kind, _ := w.Observe("ann", "+33612345678", "FR", now.Add(wait)); kind != None {
		t.Errorf("after the time it was told: %v", kind)
	}
	if kind, _ := w.Observe("ann", "12345", "", now); kind != None {
		t.Errorf("a short code: %v", kind)
	}
}

// Numbers of a burst do not count against others.
func TestNeighbour(t *testing.T) {
	w := NewDetector()
	for i := range 12 {
		w.Observe("ann", fmt.Sprintf("+1555123%04d", 1000+i), "US", start)
	}
	for _, far := range []int{1000 - span, 1011 + span} {
		if kind, _ := w.Observe("ann", fmt.Sprintf("+1555123%04d", far), "US", start); kind != None {
			t.Errorf("%d: %v", far, kind)
		}
	}
}

// However many send at once, a run ends at the same length.
func TestParallel(t *testing.T) {
	w := NewDetector()
	var wg sync.WaitGroup
	var passed atomic.Int32
	for i := range 64 {
		wg.Go(func() {
			if kind, _ := w.Observe("ann", fmt.Sprintf("+1555123%04d", i), "US", start); kind == None {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n < maxRun || n > 64*maxRun/(maxRun+1) {
		t.Errorf("%d of 64 passed", n)
	}
}

// A million users do not fill the memory.
func TestBounded(t *testing.T) {
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	w := NewDetector()
	for i := range 1_000_000 {
		w.Observe(fmt.Sprintf("user%d", i), "+15551234567", "US", start)
	}
	for i := range 20 * maxNumbers { // and one who never stops
		w.Observe("ann", fmt.Sprintf("+1555%07d", 2*i), "US", start)
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%.1f MiB", float64(grown)/(1<<20))
	} else {
		t.Logf("%.1f MiB after a million users", float64(grown)/(1<<20))
	}
	runtime.KeepAlive(w)
}

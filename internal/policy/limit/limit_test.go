package limit

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func rules(t testing.TB, lines ...string) (list []Rule) {
	t.Helper()
	for _, line := range lines {
		r, err := Parse(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		if r.String() != line {
			t.Errorf("%s is written %s", line, r)
		}
		list = append(list, r)
	}
	return list
}

// cutover is how long after noon the 28th of March 2027 begins on the Azores, at one o'clock.
const cutover = 124*24*time.Hour - 11*time.Hour

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// take counts what is used, or says which rule that would break.
func (c *Counters) take(rules []Rule, u Usage, now time.Time) *Exceeded {
	charge := Charge{Rules: rules, Usage: u}
	c.Apply(&charge, now)
	return charge.Exceeded
}

// Each step is a message at a time after noon, and whether it may be sent or how long it has to
// wait.
func TestTake(t *testing.T) {
	type step struct {
		at   time.Duration
		use  Usage
		want string
	}
	bob, ann := Usage{User: "bob", Segments: 1}, Usage{User: "ann", Segments: 1}
	long := Usage{User: "bob", Segments: 3}
	for name, c := range map[string]struct {
		rules []string
		steps []step
	}{
		"a window refills steadily": {[]string{"user 3 messages per minute"}, []step{
			{0, bob, ""}, {0, bob, ""}, {0, bob, ""}, {0, bob, "20s"}, {0, ann, ""}, {19 * time.Second, bob, "1s"}, {20 * time.Second, bob, ""}, {20 * time.Second, bob, "20s"}, {time.Hour, bob, ""},
		}},
		"segments": {[]string{"user 4 segments per hour"}, []step{
			{0, long, ""}, {0, long, "30m0s"}, {0, bob, ""}, {0, bob, "15m0s"}, {30 * time.Minute, long, "15m0s"}, {45 * time.Minute, long, ""},
		}},
		"pictures": {[]string{"user 4 pictures per hour", "user 2 messages per day"}, []step{
			{0, Usage{User: "bob", Pictures: 3}, ""}, {0, Usage{User: "bob", Pictures: 2}, "15m0s"}, {0, Usage{User: "bob", Pictures: 5}, "0s"},
			{0, Usage{User: "bob", Pictures: 1}, ""}, {0, Usage{User: "ann", Pictures: 4}, ""},
		}},
		"what never fits": {[]string{"user 2 segments per hour", "user 1 messages per minute"}, []step{
			{0, bob, ""}, {0, long, "0s"},
		}},
		"a day of the calendar": {[]string{"site 2 messages per day"}, []step{
			{0, bob, ""}, {time.Hour, ann, ""}, {2 * time.Hour, bob, "10h0m0s"}, {12 * time.Hour, bob, ""}, {11 * time.Hour, ann, ""}, {13 * time.Hour, ann, "23h0m0s"},
		}},
		"a day elsewhere": {[]string{"site 1 messages per day Asia/Tokyo"}, []step{
			{0, bob, ""}, {2*time.Hour + 59*time.Minute, bob, "1m0s"}, {3 * time.Hour, bob, ""},
		}},
		"a month": {[]string{"user 1 messages per month"}, []step{
			{0, bob, ""}, {24 * time.Hour, bob, "132h0m0s"}, {156 * time.Hour, bob, ""},
			{(156 + 30*24) * time.Hour, bob, "24h0m0s"}, {(156 + 31*24) * time.Hour, bob, ""}, // begun on the 1st
		}},
		"a day that begins at one o'clock": {[]string{"user 1 messages per day Atlantic/Azores"}, []step{
			{cutover - 2*time.Hour, bob, ""}, {cutover - 30*time.Minute, bob, "30m0s"}, {cutover, bob, ""}, {cutover + time.Minute, bob, "22h59m0s"},
		}},
		"the longest wait counts, and what is refused takes nothing": {[]string{"user 1 messages per minute", "site 2 messages per day"}, []step{
			{0, bob, ""}, {0, bob, "1m0s"}, {0, ann, ""}, {0, ann, "12h0m0s"},
		}},
		"senders and countries": {[]string{"sender 1 messages per hour", "country 2 messages per hour"}, []step{
			{0, Usage{Sender: "+1", Country: "US"}, ""}, {0, Usage{Sender: "+1", Country: "CA"}, "1h0m0s"}, {0, Usage{Country: "US"}, ""}, {0, Usage{Country: "CA"}, "1h0m0s"}, {0, Usage{Sender: "+2", Country: "US"}, "30m0s"}, {0, Usage{Sender: "+2", Country: "CA"}, ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			counters, list := NewCounters(), rules(t, c.rules...)
			for i, s := range c.steps {
				got := ""
				if x := counters.take(list, s.use, noon.Add(s.at)); x != nil {
					got = x.Wait.String()
				}
				if got != s.want {
					t.Errorf("step %d: %q, want %q", i, got, s.want)
				}
			}
		})
	}
}

// However many ask at once and in what order, no rule lets one message too many pass.
func TestNeverOneTooMany(t *testing.T) {
	list := rules(t, "user 10 messages per minute", "user 25 segments per day", "site 40 messages per day")
	counters := NewCounters()
	var passed [8]atomic.Int32
	var all atomic.Int32
	var wg sync.WaitGroup
	for client := range 64 {
		wg.Go(func() {
			for range 50 {
				who := client % len(passed)
				if counters.take(list, Usage{User: fmt.Sprint(who), Segments: 2}, noon) == nil {
					passed[who].Add(1)
					all.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for who := range passed {
		if n := passed[who].Load(); n > 10 {
			t.Errorf("user %d sent %d messages", who, n)
		}
	}
	if all.Load() != 40 {
		t.Errorf("%d messages went out, want exactly 40", all.Load())
	}
}

// Whatever comes when, what passes within a window is at most what it holds and what it was
// refilled by.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rule{Scope: User, Unit: Segments, Period: Minute, Max: rapid.IntRange(1, 50).Draw(t, "most")}
		counters := NewCounters()
		now, passed := noon, 0
		for range rapid.IntRange(1, 200).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "pause")) * time.Millisecond)
			n := rapid.IntRange(1, 4).Draw(t, "segments")
			x := counters.take([]Rule{r}, Usage{User: "bob", Segments: n}, now)
			if x == nil {
				passed += n
			} else if x.Wait > 0 {
				if counters.take([]Rule{r}, Usage{User: "bob", Segments: n}, now.Add(x.Wait-1)) != nil {
					continue
				}
				t.Fatalf("%d segments had to wait less than %s", n, x.Wait)
			}
		}
		if most := float64(r.Max) * (1 + now.Sub(noon).Minutes()); float64(passed) > most {
			t.Fatalf("%d segments in %s, at most %.1f", passed, now.Sub(noon), most)
		}
	})
}

// A changed rule goes on with what was counted.
func TestRulesChange(t *testing.T) {
	counters := NewCounters()
	for range 3 {
		counters.take(rules(t, "user 3 messages per day"), Usage{User: "bob"}, noon)
	}
	if counters.take(rules(t, "user 4 messages per day"), Usage{User: "bob"}, noon) != nil || counters.take(rules(t, "user 4 messages per day"), Usage{User: "bob"}, noon) == nil {
		t.Error("what was counted is forgotten or counted twice")
	}
}

// Sites that share counters, but not the zone, have a day each.
func TestZonesApart(t *testing.T) {
	c, sent := NewCounters(), [2]int{}
	sites := [2][]Rule{rules(t, "site 10 messages per day"), rules(t, "site 10 messages per day Asia/Tokyo")}
	for i := range 2 * 24 * 6 { // two days of UTC, in which three of Tokyo's are
		for j, site := range sites {
			if c.take(site, Usage{User: "bob", Segments: 1}, noon.Add(12*time.Hour+time.Duration(i)*10*time.Minute)) == nil {
				sent[j]++
			}
		}
	}
	if sent != [2]int{20, 30} {
		t.Errorf("%d messages, want 20 and 30", sent)
	}
}

func TestMerge(t *testing.T) {
	got, err := Merge(Default, rules(t, "user 3 pictures per minute", "user 5 messages per minute", "country 7 messages per day Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(nil, rules(t, "user 5 messages per day", "user 6 messages per day Europe/Berlin")); err == nil || err.Error() != "user is limited twice per day, in messages" {
		t.Error(err)
	}
	var lines []string
	for _, r := range got {
		lines = append(lines, r.String())
	}
	want := []string{"user 5 messages per minute", "user 1000 segments per day", "site 10000 segments per day", "country 7 messages per day Europe/Berlin",
		"user 3 pictures per minute", "user 100 pictures per day"}
	if diff := cmp.Diff(want, lines); diff != "" || Default[0].Max != 30 {
		t.Error(diff, Default[0])
	}
	if texts := ForTexts(got); len(texts) != 4 || len(ForTexts(nil)) != 0 {
		t.Errorf("texts: %v", texts)
	}
}

func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                                    "write a limit such as",
		"user 30 messages":                    "write a limit such as",
		"users 30 messages per minute":        "write a limit such as",
		"user 30 texts per minute":            "write a limit such as",
		"user 30 messages each minute":        "write a limit such as",
		"user 30 messages per week":           "write a limit such as",
		"user 0 messages per day":             "from 1 to 1000000",
		"user -1 messages per day":            "from 1 to 1000000",
		"user 1e3 messages per day":           "from 1 to 1000000",
		"user 1000001 messages per day":       "from 1 to 1000000",
		"user 30 messages per hour UTC":       "only days and months",
		"user 30 messages per day Mars/North": "unknown time zone",
	} {
		if _, err := Parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", line, err, want)
		}
	}
}

// A million names take a bounded place.
func TestBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	counters := NewCounters()
	for i := range 1_000_000 {
		counters.take(Default, Usage{User: fmt.Sprint(i), Segments: 1}, noon.Add(time.Duration(i)*24*time.Hour))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20)
	t.Logf("%.1f MiB after a million names", used)
	if used > 48 {
		t.Errorf("%.1f MiB", used)
	}
	runtime.KeepAlive(counters)
}

func BenchmarkTake(b *testing.B) {
	counters, use, now := NewCounters(), Usage{User: "bob", Segments: 1}, noon
	list := Default
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Hour)
		if counters.take(list, use, now) != nil {
			b.Fatal("refused")
		}
	}
}

// later is a time after another one on a machine whose clock was set meanwhile.
func later(t time.Time, after, set time.Duration) time.Time {
	t = t.Add(after)
	*(*uint64)(unsafe.Pointer(&t)) += uint64(int64(set/time.Second)) << 30 // the seconds of its wall clock, not of its monotonic one
	return t
}

// Setting the clock neither fills a window nor empties it.
func TestClockIsSetBack(t *testing.T) {
	counters, list, now := NewCounters(), rules(t, "user 2 messages per minute"), time.Now().Round(0) // as a database keeps it
	for range 2 {
		if x := counters.take(list, Usage{User: "bob"}, now); x != nil {
			t.Error(x)
		}
	}
	if x := counters.take(list, Usage{User: "bob"}, now.Add(-2*time.Hour)); x == nil || x.Wait > time.Minute {
		t.Errorf("after the clock was set back: %v", x)
	}
}

func TestClockIsSet(t *testing.T) {
	for _, set := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		counters, list, began := NewCounters(), rules(t, "user 1 messages per hour"), time.Now()
		if now := later(began, time.Second, set); now.Sub(began) != time.Second || now.Round(0).Sub(began.Round(0)) != set+time.Second {
			t.Fatal("the clock of this test does not work")
		}
		for i, c := range []struct {
			now  time.Time
			want bool
		}{{began, true}, {later(began, time.Minute, set), false}, {later(began, time.Hour, set), true}, {later(began, time.Hour+time.Minute, 0), false}} {
			if x := counters.take(list, Usage{User: "bob"}, c.now); (x == nil) != c.want || x != nil && x.Wait != 59*time.Minute {
				t.Errorf("set by %s, message %d: %v", set, i, x)
			}
		}
	}
}

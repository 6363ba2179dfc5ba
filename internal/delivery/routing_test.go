package delivery

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery/routing"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// recorder is a transport that remembers which hosts were asked. Its answers are statuses, 0 for a
// connection that did not come about.
type recorder struct {
	asked  []string
	answer map[string]int
}

var errNoConnection = errors.New("nobody listens")

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.asked = append(r.asked, req.URL.Host)
	status, given := r.answer[req.URL.Host]
	if given && status == 0 {
		return nil, errNoConnection
	}
	if !given {
		status = 200
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"7"}`)), ContentLength: -1}, nil
}

// recorded is a deliverer with so many routes, named 0, 1, 2 and so on.
func recorded(t interface{ Fatal(...any) }, n int) (*Deliverer, *recorder) {
	r := &recorder{answer: map[string]int{}}
	d := &Deliverer{Timeout: time.Second, AttemptTimeout: time.Second, NotSent: func(err error) bool { return err == errNoConnection }}
	def, err := adapters.Parse("x", "x", 1, definition)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		a, err := def.Bind(strconv.Itoa(i), "http://"+strconv.Itoa(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Routes = append(d.Routes, Route{Adapter: a, Transport: r, Account: NewAccount()})
	}
	return d, r
}

// bar bars every message for a cause.
func bar(cause sms.Cause) func(*sms.Message) sms.Cause {
	return func(*sms.Message) sms.Cause { return cause }
}

// A route that bars a message is left out, as if it did not stand there.
func TestBars(t *testing.T) {
	const open, destination, picture, other = sms.NoCause, sms.DestinationNotAllowed, sms.UnsupportedContent, sms.Misconfigured
	for name, c := range map[string]struct {
		bars   []sms.Cause
		answer map[string]int
		asked  string
		cause  string
		passed int
	}{
		"the second":         {[]sms.Cause{destination, open, open}, nil, "1", "", 0},
		"the last":           {[]sms.Cause{other, destination, open}, nil, "2", "", 0},
		"failover":           {[]sms.Cause{open, other, open}, map[string]int{"0": 402}, "0 2", "", 1},
		"no failover to":     {[]sms.Cause{open, other, other}, map[string]int{"0": 402}, "0", "no_credit", 0},
		"all refuse":         {[]sms.Cause{open, other, open}, map[string]int{"0": 0, "2": 402}, "0 2", "no_credit", 1},
		"none":               {[]sms.Cause{other, other, other}, nil, "", "misconfigured.no_adapter", 0},
		"none, destination":  {[]sms.Cause{other, destination, picture}, nil, "", "destination_not_allowed", 0},
		"none, for pictures": {[]sms.Cause{picture, other, other}, nil, "", "unsupported_content", 0},
	} {
		d, asked := recorded(t, 3)
		asked.answer = c.answer
		for i, cause := range c.bars {
			d.Routes[i].Exclude = bar(cause)
		}
		m := message()
		log := new(Untracked)
		r := d.Deliver(t.Context(), m, log)
		cause := ""
		if r.Outcome != sms.Accepted {
			cause = r.Refusal.Error()
		}
		if got := strings.Join(asked.asked, " "); got != c.asked || cause != c.cause || len(r.OtherRefusals) != c.passed {
			t.Errorf("%s: asked %q, %q, passed over %d; want %q, %q, %d", name, got, cause, len(r.OtherRefusals), c.asked, c.cause, c.passed)
		}
		if none := c.asked == ""; none != (r.Detail == "no adapter's conditions hold for this message") || none == log.Attempted() || none && (r.Adapter != "" || r.Outcome != sms.Refused) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// places counts how often the routes stand at a place, over many messages.
func places(d *Deliverer, place, messages int) (counts []int) {
	counts = make([]int, len(d.Routes))
	for i := range messages {
		routes, _ := d.routes(&sms.Message{ID: fmt.Sprintf("8d0c6b0e-0d8e-4a42-a3a3-%012x", i)})
		n, _ := strconv.Atoi(routes[place].Adapter.Name)
		counts[n]++
	}
	return counts
}

// fits reports whether counts are what chances lead to expect, by a chi-square test that errs once
// in 10,000.
func fits(t *testing.T, what string, counts []int, chances ...float64) {
	t.Helper()
	total, sum, degrees := 0, 0.0, -1
	for _, n := range counts {
		total += n
	}
	for i, chance := range chances {
		want := chance * float64(total)
		if want == 0 {
			if counts[i] > 0 {
				t.Errorf("%s: %d is drawn", what, i)
			}
			continue
		}
		sum += math.Pow(float64(counts[i])-want, 2) / want
		degrees++
	}
	if bound := []float64{1e-9, 15.14, 18.42, 21.11}[degrees]; sum > bound {
		t.Errorf("%s: %v, chi-square %.1f", what, counts, sum)
	}
}

// Neighbours with a weight are the first as often as it says; the others follow, drawn in the same
// way.
func TestWeights(t *testing.T) {
	const messages = 10_000
	d, _ := recorded(t, 5)
	for i, weight := range []int{0, 3, 1, 0, 2} {
		d.Routes[i].Weight = weight
	}
	fits(t, "the one before", places(d, 0, messages), 1, 0, 0, 0, 0)
	fits(t, "two", places(d, 1, messages), 0, 0.75, 0.25, 0, 0)
	fits(t, "the other", places(d, 2, messages), 0, 0.25, 0.75, 0, 0)
	fits(t, "behind", places(d, 3, messages), 0, 0, 0, 1, 0)
	fits(t, "alone", places(d, 4, messages), 0, 0, 0, 0, 1)

	d, _ = recorded(t, 3)
	for i, weight := range []int{5, 3, 2} {
		d.Routes[i].Weight = weight
	}
	fits(t, "three", places(d, 0, messages), 0.5, 0.3, 0.2)
	fits(t, "the second of three", places(d, 1, messages), 0.3*0.5/0.7+0.2*0.5/0.8, 0.5*0.3/0.5+0.2*0.3/0.8, 0.5*0.2/0.5+0.3*0.2/0.7)
	d.Routes[1].Exclude = bar(sms.Misconfigured)
	fits(t, "those left", places(d, 0, messages), 5.0/7, 0, 2.0/7)

	// One message always has the same order, and failover follows it.
	d, asked := recorded(t, 4)
	for i := range d.Routes {
		d.Routes[i].Weight = i + 1
		asked.answer[strconv.Itoa(i)] = 402
	}
	orders := map[string]bool{}
	for i := range 100 {
		m := message()
		m.ID = strconv.Itoa(i)
		asked.asked = nil
		r := d.Deliver(t.Context(), m, new(Untracked))
		first := strings.Join(asked.asked, " ")
		asked.asked = nil
		d.Deliver(t.Context(), m, new(Untracked))
		if second := strings.Join(asked.asked, " "); first != second || len(r.OtherRefusals) != 3 {
			t.Errorf("asked %s, and then %s", first, second)
		}
		orders[first] = true
	}
	if len(orders) < 10 {
		t.Errorf("%d orders", len(orders))
	}
}

// Messages that no condition concerns cost nothing more.
func TestRoutesAllocations(t *testing.T) {
	d, _ := recorded(t, 3)
	m := message()
	if n := testing.AllocsPerRun(100, func() { _, _ = d.routes(m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// lines are conditions, each with what it means.
var lines = []struct {
	line  string
	means func(*sms.Message) bool
}{
	{"to DE", func(m *sms.Message) bool { return strings.HasPrefix(m.To.Value, "+49") }},
	{"to +4420 US", func(m *sms.Message) bool {
		return strings.HasPrefix(m.To.Value, "+4420") || m.To.Value == "+12125551234"
	}},
	{"from +15551234567", func(m *sms.Message) bool { return m.From.Value == "+15551234567" }},
	{"user alice", func(m *sms.Message) bool { return m.User == "alice" }},
	{"group sales", func(m *sms.Message) bool { return slices.Contains(m.Groups, "sales") }},
	{"smart", func(m *sms.Message) bool { return m.Smart }},
	{"text", func(m *sms.Message) bool { return true }},
	{"segments > 1", func(m *sms.Message) bool { return len(m.Body.Reveal()) > 160 }},
	{"unicode", func(m *sms.Message) bool { return m.Body.Reveal() == "Привет" }},
}

// No provider ever gets a message for which its conditions do not hold, or from a number of
// another. Those that may get it are asked as if only they stood there, and without conditions and
// weights that is the chain as it is written.
func TestRoutingProperties(t *testing.T) {
	phone := func(s string) sms.Number { return sms.Number{Value: s, Kind: sms.Phone} }
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "routes")
		d, asked := recorded(t, n)
		plain := rapid.IntRange(0, 3).Draw(t, "plain") == 0
		means := make([][]func(*sms.Message) bool, n)
		ways := make([]routing.Criteria, n)
		listed := map[sms.Number]bool{}
		for i := range d.Routes {
			asked.answer[strconv.Itoa(i)] = rapid.SampledFrom([]int{200, 402, 429, 500, 400, 0}).Draw(t, "answer")
			if plain {
				continue
			}
			for range rapid.IntRange(0, 2).Draw(t, "conditions") {
				c := rapid.SampledFrom(lines).Draw(t, "condition")
				line, holds := c.line, c.means
				if rapid.Bool().Draw(t, "not") {
					line, holds = "not "+line, func(m *sms.Message) bool { return !c.means(m) }
				}
				parsed, err := routing.Parse(strings.Fields(line), "US")
				if err != nil {
					t.Fatal(err)
				}
				ways[i].Conditions = append(ways[i].Conditions, parsed)
				means[i] = append(means[i], holds)
			}
			if rapid.IntRange(0, 4).Draw(t, "senders") == 0 {
				own := phone("+15551234567")
				ways[i].Senders, listed[own] = []sms.Number{own}, true
			}
			d.Routes[i].Weight = rapid.IntRange(0, 3).Draw(t, "weight")
		}
		for i, bars := range routing.Filters(ways) {
			d.Routes[i].Exclude = bars
		}
		m := message()
		m.ID = rapid.StringMatching(`[0-9a-f]{8}`).Draw(t, "id")
		m.To = phone(rapid.SampledFrom([]string{"+4915112345678", "+442079460123", "+447400123456", "+12125551234"}).Draw(t, "to"))
		m.From = rapid.SampledFrom([]sms.Number{phone("+15551234567"), phone("+15557654321"), {}}).Draw(t, "from")
		m.User = rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "user")
		m.Groups = rapid.SampledFrom([][]string{nil, {"sales"}, {"it", "sales"}}).Draw(t, "groups")
		m.Smart = rapid.Bool().Draw(t, "smart")
		m.Body = sms.Hide(rapid.SampledFrom([]string{"Hello", "Привет", strings.Repeat("x", 161)}).Draw(t, "body"))

		may := func(i int) bool {
			if listed[m.From] != (len(ways[i].Senders) > 0) {
				return false
			}
			for _, holds := range means[i] {
				if !holds(m) {
					return false
				}
			}
			return true
		}
		r := d.Deliver(t.Context(), m, new(Untracked))
		var runs [][]string // of those that may get it, in order; those in one run in any
		for i := range n {
			if i == 0 || d.Routes[i].Weight == 0 || d.Routes[i-1].Weight == 0 {
				runs = append(runs, nil)
			}
			if may(i) {
				runs[len(runs)-1] = append(runs[len(runs)-1], strconv.Itoa(i))
			}
		}
		chain := slices.Concat(runs...)
		if len(chain) == 0 {
			seen["none"]++
			if len(asked.asked) > 0 || r.Outcome != sms.Refused || r.Refusal == nil {
				t.Fatalf("asked %v: %+v", asked.asked, r)
			}
			return
		}
		for i, name := range asked.asked {
			if !slices.Contains(chain, name) || slices.Contains(asked.asked[:i], name) {
				t.Fatalf("asked %v of %v", asked.asked, chain)
			}
			if status := asked.answer[name]; i < len(asked.asked)-1 && status != 402 && status != 429 && status != 0 {
				t.Fatalf("asked %v, though %s answered %d", asked.asked, name, status)
			}
		}
		at := 0
		for _, run := range runs { // the runs one after the other
			part := asked.asked[at:min(at+len(run), len(asked.asked))]
			at += len(part)
			for _, name := range part {
				if !slices.Contains(run, name) {
					t.Fatalf("asked %v of %v", asked.asked, runs)
				}
			}
		}
		last := asked.answer[asked.asked[len(asked.asked)-1]]
		if tried := len(asked.asked) == len(chain); !tried && (last == 402 || last == 429 || last == 0) {
			t.Fatalf("asked %v of %v, but the last did not take it", asked.asked, chain)
		}
		if plain {
			seen["plain"]++
			if !slices.Equal(asked.asked, chain[:len(asked.asked)]) {
				t.Fatalf("asked %v, want the chain", asked.asked)
			}
		} else if len(chain) < n {
			seen["some"]++
		}
	})
	for _, what := range []string{"none", "plain", "some"} {
		if seen[what] == 0 {
			t.Errorf("%s was never drawn: %v", what, seen)
		}
	}
}

package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// fake is a provider without a network: it answers as its script says, then with an id, and counts.
type fake struct {
	script []string      // status and perhaps seconds of Retry-After, "dial" or "hang"
	slow   time.Duration // before it answers
	count  int
	took   int
	at     []time.Duration
	began  time.Time
}

var errDial = errors.New("nobody listens")

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.began.IsZero() {
		f.began = time.Now()
	}
	f.at = append(f.at, time.Since(f.began))
	says := "200"
	if f.count < len(f.script) {
		says = f.script[f.count]
	}
	f.count++
	time.Sleep(f.slow)
	header := http.Header{}
	switch says {
	case "dial":
		return nil, errDial
	case "hang":
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	status := 0
	var after string
	_, _ = fmt.Sscan(says, &status, &after)
	if after != "" {
		header.Set("Retry-After", after)
	}
	if status == 200 {
		f.took++
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(fmt.Sprintf(`{"id":"%d"}`, f.count)))}, nil
}

func fakeDeliverer(t *testing.T, head string, providers ...*fake) *Deliverer {
	t.Helper()
	d := &Deliverer{
		Timeout: DefaultTimeout, AttemptTimeout: DefaultAttemptTimeout, MaxParts: 10, Retries: DefaultRetries,
		NotSent: func(err error) bool { return errors.Is(err, errDial) },
	}
	for i, p := range providers {
		def, err := adapters.Parse("x", "x", 1, "text max 160 characters\nsend {\nPOST /\n"+head+"form {\nto {sms.to}\ntext {sms.body}\n}\n}\nreply json\naccepted status 200\nid id\n"+
			"cause quota when status 470\ncause quota when status 471 for sender\ncause quota when status 472 for recipient")
		if err != nil {
			t.Fatal(err)
		}
		a, err := def.Bind(fmt.Sprint("provider", i), "http://localhost", nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Routes = append(d.Routes, Route{Adapter: a, Transport: p, Account: NewAccount()})
	}
	return d
}

// A message that was certainly not accepted is retried while there is time; no other message is.
func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		scripts [][]string
		counts  []int
		cause   sms.Cause
		atMost  time.Duration // and at least half of it
	}{
		"dial":                        {[][]string{{"dial", "dial"}}, []int{3}, sms.NoCause, 1500 * time.Millisecond},
		"never there":                 {[][]string{{"dial", "dial", "dial", "dial", "dial"}}, []int{4}, sms.Unavailable, 3500 * time.Millisecond},
		"busy":                        {[][]string{{"429"}}, []int{2}, sms.NoCause, 500 * time.Millisecond},
		"busy, and says for how long": {[][]string{{"429 7"}}, []int{2}, sms.NoCause, 7 * time.Second},
		"busy for too long":           {[][]string{{"429 60"}}, []int{1}, sms.Busy, 0},
		"refused":                     {[][]string{{"400"}}, []int{1}, sms.Rejected, 0},
		"unknown":                     {[][]string{{"500"}}, []int{1}, sms.Unconfirmed, 0},
		"hangs":                       {[][]string{{"hang"}}, []int{1}, sms.Unconfirmed, 10 * time.Second},
		"unknown after busy":          {[][]string{{"429", "500"}}, []int{2}, sms.Unconfirmed, 500 * time.Millisecond},
		"refused after busy":          {[][]string{{"429", "400"}}, []int{2}, sms.Rejected, 500 * time.Millisecond},
		"the next first":              {[][]string{{"429"}, {"200"}}, []int{1, 1}, sms.NoCause, 0},
		"both busy":                   {[][]string{{"429"}, {"429"}}, []int{2, 1}, sms.NoCause, 500 * time.Millisecond},
		"one busy for long":           {[][]string{{"429 60", "429 60"}, {"429"}}, []int{1, 2}, sms.NoCause, 500 * time.Millisecond},
		"one without credit":          {[][]string{{"402"}, {"429", "429"}}, []int{1, 3}, sms.NoCause, 1500 * time.Millisecond},
		"one says that it is no use":  {[][]string{{"429"}, {"400"}}, []int{1, 1}, sms.Rejected, 0},
		"all without credit":          {[][]string{{"402"}, {"402"}}, []int{1, 1}, sms.NoCredit, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var providers []*fake
				for _, script := range c.scripts {
					providers = append(providers, &fake{script: script})
				}
				began, attempts := time.Now(), 0
				r := fakeDeliverer(t, "", providers...).Deliver(context.Background(), message(), new(Untracked))
				if took := time.Since(began); r.Cause() != c.cause || took > c.atMost || took < c.atMost/2 {
					t.Errorf("%s after %v", r.Cause(), took)
				}
				for i, p := range providers {
					if attempts += p.count; p.count != c.counts[i] {
						t.Errorf("provider %d was asked %d times at %v, want %d", i, p.count, p.at, c.counts[i])
					}
				}
				if r.Attempts != attempts {
					t.Errorf("%d attempts told, %d made", r.Attempts, attempts)
				}
			})
		})
	}
}

// A provider that says when to come back is not asked before, though another is.
func TestEachInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &fake{script: []string{"429 1"}}, &fake{script: []string{"429", "429", "429", "429"}}
		r := fakeDeliverer(t, "", one, two).Deliver(context.Background(), message(), new(Untracked))
		if r.Outcome != sms.Accepted || one.count != 2 || one.at[1] < time.Second || two.count < 2 {
			t.Errorf("%s, asked at %v and %v", r.Cause(), one.at, two.at)
		}
	})
}

// When some parts are out, the others are not given up before it is certain that this provider will
// not take them.
func TestPartsPersist(t *testing.T) {
	for name, c := range map[string]struct {
		script    []string
		heldAfter int
		took      int
		cause     sms.Cause
		resumable bool
		atMost    time.Duration // and at least half of it
	}{
		"all at once":    {nil, 0, 3, sms.NoCause, false, 0},
		"one in a while": {[]string{"200", "429 1", "200", "429 2", "200"}, 0, 3, sms.NoCause, false, 3 * time.Second},
		"not there":      {[]string{"200", "dial", "dial"}, 0, 3, sms.NoCause, false, 1500 * time.Millisecond},
		"busy for long":  {[]string{"200", "429 60"}, 0, 1, sms.Unconfirmed, true, 0},
		"always busy":    {[]string{"200", "429", "429", "429", "429"}, 0, 1, sms.Unconfirmed, true, 3500 * time.Millisecond},
		"refused":        {[]string{"200", "200", "400"}, 0, 2, sms.Unconfirmed, true, 0},
		"unknown":        {[]string{"200", "500"}, 0, 1, sms.Unconfirmed, false, 0},
		"paused":         {nil, 2, 2, sms.Unconfirmed, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, began := &fake{script: c.script}, time.Now()
				d := fakeDeliverer(t, "", p)
				d.Paused = func() bool { return c.heldAfter > 0 && p.count == c.heldAfter }
				m := message()
				m.Body = sms.Hide(strings.Repeat("word ", 80))
				r := d.Deliver(context.Background(), m, new(Untracked))
				if took := time.Since(began); r.Cause() != c.cause || r.RestNotSent != c.resumable || took > c.atMost || took < c.atMost/2 {
					t.Errorf("%s, resumable %t, after %v", r.Cause(), r.RestNotSent, took)
				}
				if p.took != c.took || r.Attempts != p.count || r.Parts != 3 {
					t.Errorf("%d of %d parts taken, %d attempts told, %d made", p.took, r.Parts, r.Attempts, p.count)
				}
			})
		})
	}
}

// A pause says nothing of an account that rested: nobody has asked it.
func TestPauseIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{script: []string{"500", "500", "500", "500", "500"}}
		d := fakeDeliverer(t, "", p)
		changes := 0
		d.Routes[0].Account.BreakerChanged = func(bool) { changes++ }
		for i := range failures {
			d.Deliver(context.Background(), messageTo(i), new(Untracked))
		}
		time.Sleep(openFor + time.Second)
		d.Paused = func() bool { return true }
		r := d.Deliver(context.Background(), message(), new(Untracked))
		if r.Cause() != sms.Held || p.count != failures || changes != 1 || d.Routes[0].Account.Status().Breaker == Closed {
			t.Errorf("%s, %d requests, %d changes, the breaker is %s", r.Cause(), p.count, changes, d.Routes[0].Account.Status().Breaker)
		}
	})
}

// The Retry-After of a provider is waited for to its end, and messages that failed together are not
// retried together.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(map[time.Duration]bool)
		for range 100 {
			p := &fake{script: []string{"429"}}
			fakeDeliverer(t, "", p).Deliver(context.Background(), message(), new(Untracked))
			seen[p.at[1].Round(10*time.Millisecond)] = true
		}
		if len(seen) < 10 {
			t.Errorf("100 came back after %v", seen)
		}
		p := &fake{script: []string{"429 7"}}
		fakeDeliverer(t, "", p).Deliver(context.Background(), message(), new(Untracked))
		if p.at[1] < 7*time.Second {
			t.Errorf("asked again after %v instead of 7s", p.at[1])
		}
	})
}

// Where the provider tells messages apart by our id, an unknown one is sent once more; whatever but
// a yes says nothing new.
func TestIdempotent(t *testing.T) {
	for _, c := range []struct {
		script  []string
		outcome sms.Outcome
		count   int
	}{
		{[]string{"500"}, sms.Accepted, 2},
		{[]string{"hang"}, sms.Accepted, 2},
		{[]string{"500", "500"}, sms.OutcomeUnknown, 2},
		{[]string{"500", "400"}, sms.OutcomeUnknown, 2},
		{[]string{"500", "dial"}, sms.OutcomeUnknown, 2},
		{[]string{"500", "429"}, sms.OutcomeUnknown, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &fake{script: c.script}
			r := fakeDeliverer(t, "header X-Idempotency-Key {message.id}\n", p).Deliver(context.Background(), message(), new(Untracked))
			if r.Outcome != c.outcome || p.count != c.count || r.Attempts != c.count {
				t.Errorf("%v: %s after %d requests (%d told)", c.script, r.Outcome, p.count, r.Attempts)
			}
		})
	}
}

// An account that gives no answers rests: messages are told so at once, or go to the next, and one
// tries after a while.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, second := &fake{script: []string{"500", "500", "500", "500", "500", "500"}}, &fake{}
		d := fakeDeliverer(t, "", p)
		var rests []bool
		d.Routes[0].Account.BreakerChanged = func(resting bool) { rests = append(rests, resting) }
		for i := range failures {
			if r := d.Deliver(context.Background(), messageTo(i), new(Untracked)); r.Cause() != sms.Unconfirmed {
				t.Errorf("before: %s", r.Cause())
			}
		}
		began := time.Now()
		r := d.Deliver(context.Background(), message(), new(Untracked))
		if r.Cause() != sms.Unavailable || r.Outcome != sms.Refused || p.count != failures || time.Since(began) != 0 {
			t.Errorf("while it rests: %s after %v and %d requests", r.Cause(), time.Since(began), p.count)
		}
		if s := d.Routes[0].Account.Status(); s.Breaker != "open" || s.LastFailure != "unknown" || s.Running != 0 {
			t.Errorf("status %+v", s)
		}
		d.Routes = append(d.Routes, fakeDeliverer(t, "", second).Routes...)
		d.Routes[1].Adapter.Name = "second"
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted || second.took != 1 {
			t.Errorf("the next adapter: %s", r.Cause())
		}
		d.Routes = d.Routes[:1]
		time.Sleep(openFor + time.Second)
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Cause() != sms.Unconfirmed || p.count != failures+1 {
			t.Errorf("the one that tries: %s, %d requests", r.Cause(), p.count)
		}
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Cause() != sms.Unavailable {
			t.Errorf("after a failed try: %s", r.Cause())
		}
		time.Sleep(openFor + time.Second)
		for range 2 {
			if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted {
				t.Errorf("well again: %s", r.Cause())
			}
		}
		if !slices.Equal(rests, []bool{true, false}) {
			t.Errorf("told that it rests: %v", rests)
		}
	})
}

// Refusals are answers: they make no account rest.
func TestRefusalsAreNoFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{script: []string{"400", "402", "401", "429", "400", "400", "400", "400"}}
		d := fakeDeliverer(t, "", p)
		d.Retries = 0
		for range p.script {
			d.Deliver(context.Background(), message(), new(Untracked))
		}
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted {
			t.Error(r.Cause())
		}
	})
}

// shelf is a log that remembers.
type shelf struct {
	adapter string
	split   sms.Split
	ids     []string
}

func (s *shelf) Sent() (adapter string, split sms.Split, accepted int) {
	return s.adapter, s.split, len(s.ids)
}
func (s *shelf) Attempt()              {}
func (s *shelf) ProviderID() string    { return s.ids[0] }
func (s *shelf) PrivateID() sms.Hidden { return sms.Hidden{} }
func (s *shelf) PrivatePart(adapter string, id sms.Hidden, split sms.Split) {
	s.Part(adapter, id.Reveal(), split)
}
func (s *shelf) Part(adapter, id string, split sms.Split) {
	s.adapter, s.split, s.ids = adapter, split, append(s.ids, id)
}

// After a failure in the middle a repeat sends what is missing, and nothing else, by the same
// adapter.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &fake{script: []string{"200", "402", "200", "500"}}, &fake{}
		d := fakeDeliverer(t, "text max 10 characters\n", first, second)
		log, m := new(shelf), message()
		m.Body = sms.Hide("Hello dear old friend")
		for i, want := range []struct {
			outcome     sms.Outcome
			resumable   bool
			sent, count int
		}{{sms.OutcomeUnknown, true, 1, 2}, {sms.OutcomeUnknown, false, 2, 4}} {
			r := d.Deliver(context.Background(), m, log)
			if r.Outcome != want.outcome || r.RestNotSent != want.resumable || len(log.ids) != want.sent || first.count != want.count || second.count != 0 {
				t.Errorf("%d: %s %s, %d parts after %d requests, %d to the other", i, r.Outcome, r.Refusal, len(log.ids), first.count, second.count)
			}
			if r.Refusal.Value("sent") != fmt.Sprint(want.sent) || r.Refusal.Value("parts") != "3" {
				t.Errorf("%d: told %v", i, r.Refusal.Values)
			}
		}
		if r := d.Deliver(context.Background(), m, log); r.Outcome != sms.Accepted || r.ID != "1" || first.took != 3 {
			t.Errorf("the rest: %s, id %s, %d taken", r.Outcome, r.ID, first.took)
		}
		before, now := first.count, log.split
		for _, split := range []sms.Split{{Parts: 4}, {Parts: 3, Cuts: now.Cuts + 1}} {
			log = &shelf{"provider0", split, []string{"1"}}
			if r := d.Deliver(context.Background(), m, log); !r.RestNotSent || first.count != before {
				t.Errorf("a text that is split otherwise: %s", r.Outcome)
			}
		}
		late := *m
		late.Received = time.Now().Add(-d.Timeout)
		if r := d.Deliver(context.Background(), &late, &shelf{"provider0", now, []string{"1"}}); r.Cause() != sms.Unconfirmed || !r.RestNotSent || first.count != before {
			t.Errorf("too late for the rest: %s", r.Refusal)
		}
		log.adapter = "gone"
		if r := d.Deliver(context.Background(), m, log); !r.RestNotSent || second.count != 0 {
			t.Errorf("an adapter that is gone: %s", r.Outcome)
		}
	})
}

package delivery

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// messageFrom is a message of a sender and user of their own.
func messageFrom(sender int) *sms.Message {
	m := message()
	m.User = fmt.Sprint("user", sender)
	m.From = sms.Number{Value: fmt.Sprint("+1555000", 1000+sender), Kind: sms.Phone}
	return m
}

// The provider's limit leaves alone what it concerns, for as long as the provider says or as tests
// find out.
func TestQuota(t *testing.T) {
	type step struct {
		after  time.Duration // since the step before
		sender int
		says   string // by the provider, if it is asked; empty if it must not be
		cause  sms.Cause
		wait   time.Duration // told to the app
	}
	const m, second = time.Minute, time.Second
	for name, steps := range map[string][]step{
		"of the account, for an hour": {
			{0, 0, "429 3600", sms.Quota, time.Hour}, {0, 1, "", sms.Quota, time.Hour}, {10 * m, 0, "", sms.Quota, 50 * m},
			{50*m - second, 2, "", sms.Quota, second}, {second, 1, "200", sms.NoCause, 0}, {0, 2, "200", sms.NoCause, 0},
		},
		"of the account, named, for a minute": {{0, 0, "470 59", sms.Quota, 59 * second}, {58 * second, 1, "", sms.Quota, second}, {second, 1, "200", sms.NoCause, 0}},
		"capped":                              {{0, 0, "429 86400", sms.Quota, time.Hour}, {time.Hour, 0, "200", sms.NoCause, 0}},
		"extended":                            {{0, 0, "429 120", sms.Quota, 2 * m}, {2 * m, 0, "429 600", sms.Quota, 10 * m}, {9 * m, 1, "", sms.Quota, m}, {m, 1, "200", sms.NoCause, 0}},
		"negative is no time":                 {{0, 0, "470 -5", sms.Quota, 0}, {m - second, 0, "", sms.Quota, 0}, {second, 0, "200", sms.NoCause, 0}, {0, 1, "200", sms.NoCause, 0}},
		"zero is no time":                     {{0, 0, "470 0", sms.Quota, 0}, {m - second, 0, "", sms.Quota, 0}, {second, 0, "200", sms.NoCause, 0}},
		"tests at doubling gaps": {
			{0, 0, "470", sms.Quota, 0}, {m, 1, "470", sms.Quota, 0}, {2*m - second, 0, "", sms.Quota, 0}, {second, 2, "470", sms.Quota, 0},
			{4 * m, 0, "470", sms.Quota, 0}, {8 * m, 0, "470", sms.Quota, 0}, {15*m - second, 0, "", sms.Quota, 0}, {second, 0, "470", sms.Quota, 0},
			{15*m - second, 0, "", sms.Quota, 0}, {second, 0, "200", sms.NoCause, 0}, {0, 1, "200", sms.NoCause, 0},
			{0, 1, "470", sms.Quota, 0}, {m, 1, "200", sms.NoCause, 0}, // the gap is the first again
		},
		"a test that fails otherwise": {
			{0, 0, "470", sms.Quota, 0}, {m, 0, "400", sms.Rejected, 0}, {0, 1, "500", sms.Unconfirmed, 0}, {0, 1, "470", sms.Quota, 0},
			{2*m - second, 1, "", sms.Quota, 0}, {second, 1, "200", sms.NoCause, 0}, {0, 0, "200", sms.NoCause, 0},
		},
		"a test that is told a time":     {{0, 0, "470", sms.Quota, 0}, {m, 0, "470 600", sms.Quota, 10 * m}, {9 * m, 1, "", sms.Quota, m}, {m, 1, "200", sms.NoCause, 0}},
		"that nobody tests is forgotten": {{0, 0, "470", sms.Quota, 0}, {m, 0, "470", sms.Quota, 0}, {2*m + time.Hour, 0, "470", sms.Quota, 0}, {m, 0, "200", sms.NoCause, 0}},
		"of a sender": {
			{0, 0, "471 600", sms.Quota, 10 * m}, {0, 0, "", sms.Quota, 10 * m}, {0, 1, "200", sms.NoCause, 0}, {0, 2, "471", sms.Quota, 0},
			{m, 0, "", sms.Quota, 9 * m}, {0, 2, "200", sms.NoCause, 0}, {9 * m, 0, "200", sms.NoCause, 0},
		},
		"of a sender and the account": {
			{0, 0, "471 600", sms.Quota, 10 * m}, {0, 1, "429 120", sms.Quota, 2 * m}, {0, 0, "", sms.Quota, 10 * m}, {0, 2, "", sms.Quota, 2 * m},
			{2 * m, 2, "200", sms.NoCause, 0}, {0, 0, "", sms.Quota, 8 * m},
		},
		"of a recipient": {{0, 0, "472 600", sms.Quota, 10 * m}, {0, 0, "472", sms.Quota, 0}, {0, 0, "200", sms.NoCause, 0}, {0, 1, "200", sms.NoCause, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &fake{}
				d := fakeDeliverer(t, "", p)
				for i, s := range steps {
					time.Sleep(s.after)
					before := p.count
					p.script = append(p.script[:before:before], s.says)
					if s.says == "" {
						p.script[before] = "200"
					}
					began := time.Now()
					r := d.Deliver(context.Background(), messageFrom(s.sender), new(Untracked))
					if asked := p.count - before; r.Cause() != s.cause || asked != min(len(s.says), 1) || time.Since(began) != 0 {
						t.Fatalf("step %d: %s, asked %d times in %v", i, r.Cause(), asked, time.Since(began))
					}
					if r.Refusal != nil && r.Refusal.RetryAfter != s.wait {
						t.Errorf("step %d: try again in %v", i, r.Refusal.RetryAfter)
					}
				}
			})
		})
	}
}

// One message at a time is the test, and only its success ends a quota.
func TestOneTestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAccount()
		refuse := func(m *sms.Message, scope sms.Scope) {
			leave, _, _ := a.enter(m, time.Now().Add(time.Minute), nil)
			leave(sms.Result{Outcome: sms.Refused, Scope: scope, Refusal: sms.ReachedQuota(0)})
		}
		early, _, _ := a.enter(messageFrom(9), time.Now().Add(time.Minute), nil) // it was under way before
		refuse(messageFrom(0), sms.ForAccount)
		early(sms.Result{Outcome: sms.Accepted})
		time.Sleep(firstGap)
		entered := 0
		var leave func(sms.Result)
		for i := range 5 {
			if l, refusal, why := a.enter(messageFrom(i), time.Now().Add(time.Minute), nil); refusal == nil {
				entered, leave = entered+1, l
			} else if refusal.Cause != sms.Quota || why == "" {
				t.Errorf("%s: %s", refusal, why)
			}
		}
		if entered != 1 {
			t.Fatalf("%d tests at once", entered)
		}
		if q := a.Status().Quotas; len(q) != 1 || !q[0].Test || q[0].For != "account" {
			t.Errorf("status %+v", q)
		}
		leave(sms.Result{Outcome: sms.Accepted})
		if q := a.Status().Quotas; len(q) != 0 {
			t.Errorf("status after a test %+v", q)
		}
		// A test that is not sent after all is none.
		refuse(messageFrom(0), sms.ForSender)
		time.Sleep(firstGap)
		if _, refusal, _ := a.enter(messageFrom(0), time.Now().Add(time.Minute), func() bool { return true }); refusal.Cause != sms.Held {
			t.Error(refusal)
		}
		if _, refusal, _ := a.enter(messageFrom(0), time.Now().Add(time.Minute), nil); refusal != nil {
			t.Errorf("after a pause: %s", refusal)
		}
	})
}

// A message that waits in the queue when a quota is reached is not sent.
func TestQuotaWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{script: []string{"429 600"}, slow: time.Second}
		d := fakeDeliverer(t, "", p)
		defer d.Routes[0].Account.Limit(1, 0)()
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				if r := d.Deliver(context.Background(), messageFrom(i), new(Untracked)); r.Cause() != sms.Quota {
					t.Error(r.Cause())
				}
			})
		}
		wg.Wait()
		if p.count != 1 {
			t.Errorf("%d requests", p.count)
		}
	})
}

// The next adapter takes the message, and of several quotas the one that ends first is told.
func TestQuotaGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &fake{script: []string{"429 3600"}}, &fake{script: []string{"200", "200", "429 600"}}
		d := fakeDeliverer(t, "", first, second)
		for i := range 2 {
			if r := d.Deliver(context.Background(), messageFrom(i), new(Untracked)); r.Outcome != sms.Accepted || len(r.OtherRefusals) != 1 || r.OtherRefusals[0].Cause() != sms.Quota {
				t.Errorf("%s, passed %v", r.Cause(), r.OtherRefusals)
			}
		}
		for range 2 {
			if r := d.Deliver(context.Background(), messageFrom(2), new(Untracked)); r.Cause() != sms.Quota || r.Refusal.RetryAfter != 10*time.Minute {
				t.Errorf("%s, try again in %v", r.Cause(), r.Refusal.RetryAfter)
			}
		}
		if first.count != 1 || second.count != 3 {
			t.Errorf("%d and %d requests", first.count, second.count)
		}
	})
	for quota, other := range map[string]sms.Cause{"470": sms.Quota, "402": sms.NoCredit, "401": sms.Misconfigured, "429 30": sms.Quota} {
		synctest.Test(t, func(t *testing.T) {
			d := fakeDeliverer(t, "", &fake{script: []string{"429 600"}}, &fake{script: []string{quota, quota, quota, quota}})
			if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Cause() != other {
				t.Errorf("beside %s: %s", quota, r.Cause())
			}
		})
	}
}

// A quota in the middle of a text leaves the rest for later, and one after an unknown reply changes
// nothing about that.
func TestQuotaInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{script: []string{"200", "470"}}
		d := fakeDeliverer(t, "text max 10 characters\n", p)
		log, m, began := new(shelf), message(), time.Now()
		m.Body = sms.Hide("Hello dear old friend")
		for range 2 {
			if r := d.Deliver(context.Background(), m, log); r.Cause() != sms.Unconfirmed || !r.RestNotSent || r.Refusal.Value("sent") != "1" || time.Since(began) != 0 {
				t.Errorf("%s, resumable %t, %v sent after %v", r.Cause(), r.RestNotSent, r.Refusal.Values, time.Since(began))
			}
		}
		if p.count != 2 {
			t.Errorf("%d requests", p.count)
		}
		time.Sleep(firstGap)
		if r := d.Deliver(context.Background(), m, log); r.Outcome != sms.Accepted || p.took != 3 {
			t.Errorf("the rest: %s, %d taken", r.Cause(), p.took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &fake{script: []string{"500", "429 600"}}
		d := fakeDeliverer(t, "header X-Idempotency-Key {message.id}\n", p)
		if r := d.Deliver(context.Background(), messageFrom(0), new(Untracked)); r.Outcome != sms.OutcomeUnknown || r.Attempts != 2 {
			t.Errorf("%s after %d", r.Outcome, r.Attempts)
		}
		if r := d.Deliver(context.Background(), messageFrom(1), new(Untracked)); r.Cause() != sms.Quota || p.count != 2 {
			t.Errorf("afterwards: %s after %d", r.Cause(), p.count)
		}
	})
}

// Of many senders the last thousand are remembered, and a few are shown, with their numbers masked.
func TestManySenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAccount()
		for i := range maxSenders + 10 {
			leave, refusal, _ := a.enter(messageFrom(i), time.Now().Add(time.Minute), nil)
			if refusal != nil {
				t.Fatal(refusal)
			}
			wait := time.Hour - time.Duration(i)*time.Second
			leave(sms.Result{Outcome: sms.Refused, Scope: sms.ForSender, RetryAfter: wait, Refusal: sms.ReachedQuota(wait)})
		}
		if n := len(a.quotas.senders); n != maxSenders {
			t.Errorf("%d senders are remembered", n)
		}
		list := a.Status().Quotas
		if len(list) != maxListed || list[0].Sender != "+155•••1000" || list[0].Until != time.Now().Add(time.Hour) {
			t.Errorf("%+v", list)
		}
		if a.Resume(); a.Status().Quotas != nil {
			t.Error("resumed, but not all")
		}
	})
}

// A quota of the token's endpoint is one of the account, and to resume asks at once.
func TestQuotaOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{script: []string{"429 1800", "429 1800"}}
		d := fakeDeliverer(t, "", p)
		def, err := adapters.Parse("x", "x", 1, "base_url http://localhost\ntoken {\nPOST /t\naccess id\n}\nsend {\nPOST /\nbearer {token}\nform {\nto {sms.to}\ntext {sms.body}\n}\n}\nreply json\naccepted status 200\nid id")
		if err != nil {
			t.Fatal(err)
		}
		if d.Routes[0].Adapter, err = def.Bind("x", "", nil); err != nil {
			t.Fatal(err)
		}
		for i, requests := range []int{1, 1, 2, 2, 4} {
			if i == 2 {
				d.Routes[0].Account.Resume()
			}
			if i == 4 {
				time.Sleep(30 * time.Minute)
			}
			r := d.Deliver(context.Background(), message(), new(Untracked))
			if want := map[bool]sms.Cause{true: sms.NoCause, false: sms.Quota}[i == 4]; r.Cause() != want || p.count != requests || strings.Contains(r.Detail, "rests") {
				t.Errorf("%d: %s (%s) after %d requests", i, r.Cause(), r.Detail, p.count)
			}
		}
	})
}

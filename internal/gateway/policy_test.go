package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/burst"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
)

func rules(t *testing.T, list ...string) []limit.Rule {
	t.Helper()
	parsed := []limit.Rule{}
	for _, text := range list {
		r, err := limit.Parse(strings.Fields(text))
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, r)
	}
	return parsed
}

func TestPause(t *testing.T) {
	f := newFixture(t)
	paused := true
	f.Paused = func() bool { return paused }
	f.Limits = rules(t, "user 1 messages per day")
	r := f.send(t, withID("1"))
	f.check(t, "while paused", r, "refused held", 0)
	if r.Result.Refusal.RetryAfter != time.Minute {
		t.Errorf("try again after %s", r.Result.Refusal.RetryAfter)
	}
	f.check(t, "a notice", f.send(t, func(r *Request) { r.ContentType = "message/imdn+xml" }), "accepted", 0)
	paused = false
	f.check(t, "the same message afterwards, which is not counted twice", f.send(t, withID("1")), "accepted", 1)
	paused = true
	f.check(t, "a repeat of what was sent", f.send(t, withID("1")), "accepted", 1)
}

func TestBlock(t *testing.T) {
	blocking := func(t *testing.T, user, host string) block.Block {
		b, err := block.New(user, host, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	f := newFixture(t)
	f.Paused = func() bool { return true }
	everywhere, here := blocking(t, "ANN", ""), blocking(t, "bob", "sms.example.com:443")
	if err := errors.Join(f.journal.open.Block(everywhere), f.journal.open.Block(here)); err != nil {
		t.Fatal(err)
	}
	f.check(t, "a blocked user hears that rather than of a pause", f.send(t), "refused held.user_blocked", 0)
	f.Paused = func() bool { return false }
	f.check(t, "a blocked user", f.send(t, withID("1")), "refused held.user_blocked", 0)
	f.check(t, "a user blocked on this site", f.send(t, by("bob")), "refused held.user_blocked", 0)
	f.check(t, "on another site", f.send(t, by("bob"), func(r *Request) { r.Host = "other.example.com" }), "accepted", 1)
	f.check(t, "another user", f.send(t, by("eve")), "accepted", 2)
	f.check(t, "upstream", f.send(t, upstream("ann")), "refused held.user_blocked", 2)
	if _, err := f.journal.open.Unblock(everywhere); err != nil {
		t.Fatal(err)
	}
	f.check(t, "the same message when the block has ended", f.send(t, withID("1")), "accepted", 3)
}

// A message over a limit is refused before a provider is asked, with the limit and the time to
// wait.
func TestLimits(t *testing.T) {
	type step struct {
		request changes
		limit   string // empty if it is accepted
	}
	steps := func(limits ...string) (list []step) {
		for _, limit := range limits {
			list = append(list, step{nil, limit})
		}
		return list
	}
	long := saying(strings.Repeat("a", 400)) // 3 segments
	const user, country = "user 2 messages per minute", "country 3 segments per month"
	for name, c := range map[string]struct {
		site, own []string
		steps     []step
	}{
		"without a rule nothing is counted": {steps: steps("", "", "", "")},
		"a user is counted alone":           {site: []string{user}, steps: append(steps("", "", user), step{changes{by("bob")}, ""})},
		"users of a site are counted together": {site: []string{"site 2 messages per day"},
			steps: []step{
				{nil, ""}, {changes{by("bob")}, ""}, {changes{by("eve")}, "site 2 messages per day"}}},
		"each sender is counted": {site: []string{"sender 1 messages per hour"}, steps: []step{
			{nil, ""}, {changes{as("ACME")}, ""}, {changes{as("ACME")}, "sender 1 messages per hour"}, {changes{as("+12125550101")}, "sender 1 messages per hour"}}},
		"each country is counted, in segments": {site: []string{country}, steps: []step{
			{changes{long}, ""}, {changes{by("bob")}, country}, {changes{to("+447400123456")}, ""}}},
		"a user's own rules take the place of the site's": {site: []string{"user 1 messages per minute"}, own: []string{user},
			steps: append(steps("", "", user), step{changes{by("bob")}, ""}, step{changes{by("bob")}, "user 1 messages per minute"})},
		"a user's own rules may be none": {site: []string{"user 1 messages per minute"}, own: []string{}, steps: steps("", "", "")},
		"the longest wait is told":       {site: []string{"user 1 messages per minute", "user 1 segments per hour"}, steps: steps("", "user 1 segments per hour")},
		"what is refused is not counted": {site: []string{"user 3 segments per day"},
			steps: []step{
				{nil, ""}, {changes{long}, "user 3 segments per day"}, {nil, ""}, {nil, ""}, {nil, "user 3 segments per day"}}},
		"notices are not counted": {site: []string{"user 1 messages per day"},
			steps: []step{
				{changes{func(r *Request) { r.ContentType = "message/imdn+xml" }}, ""}, {nil, ""}, {nil, "user 1 messages per day"}}},
		"nor are messages that may not be sent": {site: []string{"user 1 messages per day"},
			steps: append(steps(""), step{nil, "user 1 messages per day"})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.Destinations = policy(t, "GB", "")
				if f.Limits = rules(t, c.site...); c.own != nil {
					f.users.list[0].Limits = rules(t, c.own...)
				}
				f.send(t, to("12"))
				sent := 0
				for i, s := range c.steps {
					r := f.send(t, s.request...)
					if s.limit == "" {
						if r.Kind == sendmessage.Text {
							sent++
						}
						f.check(t, fmt.Sprint("message ", i), r, "accepted", sent)
						continue
					}
					f.check(t, fmt.Sprint("message ", i), r, "refused limited.over_limit", sent)
					refusal := r.Result.Refusal
					if minutes := fmt.Sprint(int((refusal.RetryAfter + time.Minute - 1) / time.Minute)); refusal.Limit != s.limit || refusal.RetryAfter <= 0 || refusal.Value("minutes") != minutes {
						t.Errorf("message %d: limit %q, want %q; after %s, %v", i, refusal.Limit, s.limit, refusal.RetryAfter, refusal.Values)
					}
				}
			})
		})
	}
	t.Run("counters outlive a configuration and belong to who pays", func(t *testing.T) {
		f := newFixture(t)
		f.Limits = rules(t, "user 1 messages per day")
		f.check(t, "first", f.send(t), "accepted", 1)
		after := f.beside(func(g *Gateway) { g.Limits = rules(t, "user 1 messages per day", "country 1 messages per day") })
		after.check(t, "after a reload", after.send(t), "refused limited.over_limit", 1)
		other := f.beside(func(g *Gateway) { g.BillingKey = [32]byte{1} })
		other.check(t, "whose messages others pay for", other.send(t), "accepted", 2)
	})
	t.Run("a text longer than a limit has no time to wait", func(t *testing.T) {
		f := newFixture(t)
		f.Limits = rules(t, "user 2 segments per hour", "user 3 segments per day")
		r := f.send(t, long)
		f.check(t, "the text", r, "refused too_long.text_too_long", 0)
		if refusal := r.Result.Refusal; refusal.RetryAfter != 0 || refusal.Limit != "user 2 segments per hour" || refusal.Fill(refusal.Sentence(), "") != "The message is too long: 3 segments, at most 2" {
			t.Errorf("%+v", refusal)
		}
	})
	t.Run("parts are counted in their own segments", func(t *testing.T) {
		f := newFixtureOf(t, strings.Replace(ownAPI, "send {", "text max 100 characters\nsend {", 1), journal.NewMemory())
		f.Limits = rules(t, "user 7 segments per day")
		r := f.send(t, saying(strings.TrimSuffix(strings.Repeat(strings.Repeat("a", 81)+" ", 8), " ")))
		f.check(t, "the text", r, "refused too_long.text_too_long", 0)
		if got := r.Result.Refusal.Value("length"); got != "8" || r.Message.Segments != 8 {
			t.Errorf("%s segments told, %d of the message", got, r.Message.Segments)
		}
	})
	t.Run("a message sent in part is not charged again", func(t *testing.T) {
		f := newFixtureOf(t, strings.Replace(ownAPI, "send {", "text max 10 characters\nsend {", 1), journal.NewMemory())
		f.Limits, f.transport.statuses = rules(t, "user 1 messages per day"), []int{200, 402}
		text := changes{withID("1"), saying("Hello dear old friend")}
		f.check(t, "first", f.send(t, text...), "unknown unknown.partly", 2)
		f.check(t, "the rest", f.send(t, text...), "accepted", 4)
		f.check(t, "repeat", f.send(t, text...), "accepted", 4)
		f.check(t, "another message", f.send(t, withID("2")), "refused limited.over_limit", 4)
	})
	t.Run("a message that cannot be counted is not sent", func(t *testing.T) {
		f := newFixtureOf(t, ownAPI, uncounting{journal.NewMemory()})
		f.check(t, "without a rule", f.send(t), "accepted", 1)
		f.Limits = rules(t, "user 9 messages per day")
		r := f.send(t)
		f.check(t, "with one", r, "refused internal.journal_away", 1)
		if f.journal.failures != 1 || !strings.Contains(r.Result.Detail, "cannot count") {
			t.Errorf("%d failures noted, detail %q", f.journal.failures, r.Result.Detail)
		}
	})
}

// uncounting is a store whose counters have failed.
type uncounting struct{ journal.Store }

func (uncounting) Count(*limit.Charge) error { return errors.New("cannot count") }

// Messages that look like fraud are held, over reloads, and the provider gets none of them.
func TestBursts(t *testing.T) {
	watched := func(t *testing.T) (f, after *fixture) {
		f = newFixture(t)
		f.Bursts, f.Destinations = burst.NewDetector(), policy(t, "all short_codes", "")
		return f, f.beside(func(*Gateway) {})
	}
	t.Run("numbers in a row", func(t *testing.T) {
		f, after := watched(t)
		f.Limits = rules(t, "user 10 messages per day")
		after.Limits = f.Limits
		for i := range 20 {
			r := []*fixture{f, after}[i%2].send(t, to(fmt.Sprintf("+1555123%04d", i)))
			if i < 9 {
				f.check(t, "near", r, "accepted", i+1)
				continue
			}
			f.check(t, "near", r, "refused held.numbers_in_a_row", 9)
			if wait := r.Result.Refusal.RetryAfter; wait != 10*time.Minute {
				t.Errorf("try again after %s", wait)
			}
		}
		f.check(t, "another user", f.send(t, by("bob"), to("+15551230020")), "accepted", 10)
		f.check(t, "far away, since what is held is not counted", f.send(t, to("+12125550123")), "accepted", 11)
		f.check(t, "over the limit", f.send(t, to("+12125550124")), "refused limited.over_limit", 11)
	})
	t.Run("many new countries", func(t *testing.T) {
		f, _ := watched(t)
		for i, number := range []string{"+12125550123", "+447911123456", "+33612345678", "+4915123456789", "+34612345678", "+393401234567", "+48512345678"} {
			want, sent := "accepted", i+1
			if i >= 5 {
				want, sent = "refused held.many_countries", 5
			}
			f.check(t, number, f.send(t, to(number)), want, sent)
		}
		f.check(t, "a country that is not new", f.send(t, to("+447911123457")), "accepted", 6)
		f.check(t, "a short code has no country", f.send(t, to("72227")), "accepted", 7)
	})
	t.Run("off", func(t *testing.T) {
		f, _ := watched(t)
		f.Bursts = nil
		for i := range 12 {
			f.check(t, "near", f.send(t, to(fmt.Sprintf("+1555124%04d", i))), "accepted", i+1)
		}
	})
}

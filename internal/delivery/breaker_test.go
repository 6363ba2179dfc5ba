package delivery

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// messageTo is a message to a recipient, with a text, of their own.
func messageTo(recipient int) *sms.Message {
	m := message()
	m.To.Value, m.Body = fmt.Sprint("+1555123", 1000+recipient), sms.Hide(fmt.Sprint("text ", recipient))
	return m
}

// The circuit breaker opens for what says something of the account, not for what one recipient
// comes to.
func TestBreakerCounts(t *testing.T) {
	// A step is a recipient, a text and what the provider does, perhaps several times.
	for name, c := range map[string]struct {
		steps string
		opens bool
	}{
		"five recipients":                         {"1a500 2b500 3c500 4d500 5e500", true},
		"four recipients":                         {"1a500 2b500 3c500 4d500", false},
		"five recipients, other faults":           {"1a500 2bhang 3c503 4d599 5ehang", true},
		"one recipient":                           {"1a500 1b500 1c500 1d500 1e500 1f500 1g500 1h500", false},
		"one recipient that hangs":                {"1ahang 1bhang 1chang 1dhang 1ehang 1fhang", false},
		"one text to several":                     {"1a500 2a500 3a500 4a500 5a500", true},
		"two recipients in turn":                  {"1a500 2b500 1c500 2d500 1e500 2f500 1g500 2h500", false},
		"one recipient among others":              {"1a500 1b500 2c500 1d500 3e500 4f500 1g500 5h500", true},
		"a usable reply between":                  {"1a500 2b500 3c500 4d500 6f200 5e500 7g500 8h500 9i500", false},
		"a refusal between":                       {"1a500 2b500 3c500 4d500 6f400 5e500 7g500 8h500 9i500", false},
		"a quota for a recipient between":         {"1a500 2b500 3c500 4d500 6f472 5e500 7g500 8h500 9i500", false},
		"nobody listens, one recipient":           {"1adial 1adial 1adial 1adial 1adial", true},
		"nobody listens, not often enough":        {"1adial 1adial 1adial 1adial", false},
		"nobody listens, and replies":             {"1adial 1a500 1adial 1a500 2bdial 3c500", true},
		"the same recipient after a usable reply": {"1a500 2b500 3c500 4d500 1a200 1a500 2b500 3c500 4d500 5e500", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &fake{}
				d := fakeDeliverer(t, "", p)
				d.Retries = 0
				for _, step := range strings.Fields(c.steps) {
					if d.Routes[0].Account.breakerOpen() {
						t.Fatalf("open before %s", step)
					}
					m := message()
					m.To.Value, m.Body = "+1555123000"+step[:1], sms.Hide(step[1:2])
					p.script = append(p.script, step[2:])
					d.Deliver(context.Background(), m, new(Untracked))
				}
				if open := d.Routes[0].Account.breakerOpen(); open != c.opens {
					t.Errorf("open %t, want %t", open, c.opens)
				}
				if n := len(d.Routes[0].Account.breaker.counted); n > failures {
					t.Errorf("%d recipients are kept", n)
				}
			})
		})
	}
}

// A message that was not sent is no evidence: it neither closes a breaker nor ends a row of
// failures.
func TestNoEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		d := fakeDeliverer(t, "", p)
		for i := range failures {
			p.script = append(p.script, "500")
			d.enterOnly(t, message())
			d.Deliver(context.Background(), messageTo(i), new(Untracked))
		}
		if !d.Routes[0].Account.breakerOpen() {
			t.Fatal("what was not sent ended the row")
		}
		time.Sleep(openFor + time.Second)
		d.enterOnly(t, message())
		if s := d.Routes[0].Account.Status().Breaker; s != "half-open" {
			t.Errorf("what was not sent made the breaker %s", s)
		}
		if r := d.Deliver(context.Background(), messageTo(9), new(Untracked)); r.Outcome != sms.Accepted || d.Routes[0].Account.Status().Breaker != Closed {
			t.Errorf("the test: %s", r.Cause())
		}
	})
}

// enterOnly lets a message through that is then not sent.
func (d *Deliverer) enterOnly(t *testing.T, m *sms.Message) {
	t.Helper()
	leave, refusal, why := d.Routes[0].Account.enter(m, time.Now().Add(time.Minute), nil)
	if refusal != nil {
		t.Fatal(refusal, why)
	}
	leave(unable(d.Routes[0], sms.Refuse(sms.UnsupportedContent)))
}

// After the rest a test to a recipient that failed before decides as any other.
func TestBreakerTests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{script: []string{"500", "500", "500", "500", "500", "500"}}
		d := fakeDeliverer(t, "", p)
		for i := range failures {
			d.Deliver(context.Background(), messageTo(i), new(Untracked))
		}
		time.Sleep(openFor + time.Second)
		d.Deliver(context.Background(), messageTo(0), new(Untracked))
		if !d.Routes[0].Account.breakerOpen() {
			t.Error("a failed test closed the breaker")
		}
		time.Sleep(openFor + time.Second)
		if r := d.Deliver(context.Background(), messageTo(0), new(Untracked)); r.Outcome != sms.Accepted {
			t.Error(r.Cause())
		}
	})
}

package journal

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// beginShared claims a text whose id the app gives to all texts.
func beginShared(t *testing.T, j *Journal, text string) *Claim {
	t.Helper()
	m := textMessage("constant")
	m.Body = sms.Hide(text)
	claim, _, err := j.begin(m)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

// The mark of an id that different texts share outlives the duplicate window of each text sent under it. Each case ends
// with the text "no" sent and accepted, of which the phone may not know.
func TestMarkOutlivesWindow(t *testing.T) {
	const window = 30 * time.Second // that of begin
	type session struct {
		*Journal
		*shelf
		claim func(text string) *Claim // which must be won
	}
	// shared sends two texts under one id and waits until the mark has so much left to live.
	shared := func(s session, left time.Duration) {
		s.claim("ok").End(accepted)
		s.claim("no").End(accepted)
		time.Sleep(Retention - left)
	}
	for name, send := range map[string]func(session) *Claim{
		"marked shortly before the end of retention": func(s session) *Claim {
			s.claim("ok").End(accepted)
			time.Sleep(Retention - time.Second)
			return s.claim("no")
		},
		"stored a day late": func(s session) *Claim {
			first := s.claim("ok")
			s.be(unavailable)
			first.End(accepted)
			time.Sleep(Retention)
			s.be(available)
			return s.claim("no")
		},
		"stored a day late, marked before": func(s session) *Claim {
			first := s.claim("ok")
			s.claim("maybe").End(accepted)
			s.be(unavailable)
			first.End(accepted)
			time.Sleep(Retention)
			s.be(available)
			return s.claim("no")
		},
		"taken back": func(s session) *Claim {
			shared(s, time.Second)
			first := s.claim("ok")
			defer first.Abandon(noCredit)
			return s.claim("no")
		},
		"taken back after retention": func(s session) *Claim {
			shared(s, -time.Second)
			first := s.claim("ok")
			defer first.Abandon(noCredit)
			return s.claim("no")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf()
				j := new(told).open(t, s)
				defer j.Release()
				time.Sleep(time.Second) // so that nothing is due at the moments that matter
				begin := func(text string) *Claim { return beginShared(t, j, text) }
				claim := send(session{j, s, func(text string) *Claim {
					claim := begin(text)
					if !claim.Won() {
						t.Fatalf("%q is taken for a duplicate", text)
					}
					return claim
				}})
				time.Sleep(budget)
				claim.Part("a", "sms-1", sms.Split{Parts: 1})
				claim.End(accepted)
				for range 5 {
					time.Sleep(window/5 - time.Second)
					if begin("no").Won() {
						t.Fatal("sent twice")
					}
				}
				time.Sleep(window)
				if !begin("no").Won() {
					t.Error("a second text after the window is taken for a duplicate")
				}
			})
		})
	}
}

// A text that was sent under an id hours before another text had the same id is not sent again within its duplicate
// window, and of a text that was sent in part only the rest.
func TestMarkKeepsOldMessages(t *testing.T) {
	const old = Retention/2 + time.Hour
	unknown := sms.Result{Refusal: sms.Refuse(sms.Unconfirmed), Adapter: "a"}
	part := sms.Result{Refusal: sms.PartlySent(1, 2), Adapter: "a", RestNotSent: true, Parts: 2}
	for name, c := range map[string]struct {
		result sms.Result
		sent   int // parts before
		won    bool
	}{
		"accepted":     {accepted, 0, false},
		"unknown":      {unknown, 0, false},
		"sent in part": {part, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := new(told).open(t, newShelf())
				defer j.Release()
				begin := func(text string) *Claim { return beginShared(t, j, text) }
				first := begin("ok")
				for range c.sent {
					first.Part("a", "sms-1", sms.Split{Parts: 2})
				}
				first.End(c.result)
				time.Sleep(old)
				begin("no").End(accepted)
				time.Sleep(10 * time.Second)
				again := begin("ok")
				if again.Won() != c.won {
					t.Fatalf("the text is sent again: %t, want %t", again.Won(), c.won)
				}
				if _, _, sent := again.Sent(); again.Won() && sent != c.sent {
					t.Errorf("%d parts are known as sent, want %d", sent, c.sent)
				}
				if again.Won() {
					again.Abandon(noCredit)
				}
			})
		})
	}
}

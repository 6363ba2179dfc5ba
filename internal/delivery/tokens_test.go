package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// bank is a provider that hands out tokens and takes messages with the last of them.
type bank struct {
	mu       sync.Mutex
	issued   int // tokens
	taken    int // messages
	refused  int // messages without a token that counts
	lifetime int // seconds
	deny     func() (int, string, error)
	slow     time.Duration
}

func (b *bank) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.slow > 0 {
		select {
		case <-time.After(b.slow):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	status, body := 200, ""
	switch {
	case r.URL.Path != "/token" && r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", b.issued):
		b.taken++
		body = `{"id":"7"}`
	case r.URL.Path != "/token":
		b.refused++
		status, body = 401, `{"code":"expired"}`
	case b.deny != nil:
		b.issued++
		var err error
		if status, body, err = b.deny(); err != nil {
			return nil, err
		}
	default:
		b.issued++
		body = fmt.Sprintf(`{"access_token":"t%d","expires_in":%d}`, b.issued, b.lifetime)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// deliverer makes a chain of the bank alone, with its tokens.
func (b *bank) deliverer(t *testing.T) *Deliverer {
	t.Helper()
	d, err := adapters.Parse("bank", "bank", 1, "base_url https://bank.example.com\noption id\noption secret secret\ntoken {\nPOST /token\nbasic {option.id} {option.secret}\nform {\ngrant_type client_credentials\n}\n"+
		"access access_token\nexpires expires_in\ncode error\n}\nsend {\nPOST /send\nbearer {token}\nform {\nto {sms.to}\ntext {sms.body}\n}\n}\nreply json\naccepted status 200\nid id\ncode code")
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", map[string]string{"id": "client", "secret": "a-long-secret"})
	if err != nil {
		t.Fatal(err)
	}
	if !a.NeedsToken() {
		t.Fatal("no token is needed")
	}
	return &Deliverer{Timeout: 20 * time.Second, AttemptTimeout: 10 * time.Second, MaxParts: 10, Routes: []Route{{Adapter: a, Transport: b, Account: NewAccount()}}}
}

// However many messages need it, a token is fetched once, and again shortly before it expires.
func TestTokenIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{lifetime: 3600, slow: time.Second}
		d := b.deliverer(t)
		flood := func() {
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted || r.Attempts != 1 {
						t.Errorf("%s %s %q after %d attempts", r.Outcome, r.Cause(), r.Detail, r.Attempts)
					}
				})
			}
			wg.Wait()
		}
		flood()
		time.Sleep(3500 * time.Second)
		flood()
		if b.issued != 1 {
			t.Errorf("%d tokens for messages within its life, want 1", b.issued)
		}
		time.Sleep(80 * time.Second) // still good for 20 seconds
		flood()
		if b.issued != 2 || b.taken != 150 || b.refused != 0 {
			t.Errorf("%d tokens, %d messages taken, %d refused", b.issued, b.taken, b.refused)
		}
	})
}

// A token that the provider takes no longer is fetched anew, and the message sent once more; a new
// one that it does not take either is the end.
func TestTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{lifetime: 3600}
		d := b.deliverer(t)
		d.Deliver(context.Background(), message(), new(Untracked))
		b.issued = 7 // all earlier ones are void
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted || r.Attempts != 2 || b.taken != 2 || b.refused != 1 || b.issued != 8 {
			t.Errorf("%s after %d attempts, %d taken, %d refused, token %d", r.Outcome, r.Attempts, b.taken, b.refused, b.issued)
		}
		d.Routes[0].Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/token" {
				r.Header.Set("Authorization", "Bearer void")
			}
			return b.RoundTrip(r)
		})
		b.refused, b.issued = 0, 8
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Cause() != sms.Misconfigured || r.Attempts != 2 || b.refused != 2 || b.issued != 9 {
			t.Errorf("%s after %d attempts, %d refused, token %d", r.Cause(), r.Attempts, b.refused, b.issued)
		}
		for range 20 {
			if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Cause() != sms.Misconfigured || r.Attempts != 0 {
				t.Errorf("new tokens are void: %s after %d attempts", r.Cause(), r.Attempts)
			}
		}
		if b.refused != 2 || b.issued != 9 {
			t.Errorf("new tokens are void: %d messages refused, token %d", b.refused, b.issued)
		}
		d.Routes[0].Transport = b
		time.Sleep(pauseAfterRefusal)
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted {
			t.Errorf("after the pause: %s", r.Cause())
		}
	})
}

// A token that cannot be renewed serves until it expires.
func TestTokenServesToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{lifetime: 3600}
		d := b.deliverer(t)
		d.Deliver(context.Background(), message(), new(Untracked))
		asked := 0
		d.Routes[0].Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/token" {
				asked++
				return nil, errors.New("down")
			}
			return b.RoundTrip(r)
		})
		time.Sleep(3550 * time.Second)
		for range 20 {
			if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted {
				t.Fatalf("before its end: %s", r.Cause())
			}
		}
		if asked != 1 {
			t.Errorf("a new token was asked for %d times", asked)
		}
		time.Sleep(50 * time.Second)
		if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Cause() != sms.Unavailable || b.taken != 21 {
			t.Errorf("after its end: %s, %d taken", r.Cause(), b.taken)
		}
	})
}

// A message that had little time left does not make the others fail, and is not begun with too
// little of it.
func TestTokenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{lifetime: 3600, slow: 4 * time.Second}
		hurried, patient := b.deliverer(t), b.deliverer(t)
		hurried.Routes[0].Account.tokens = patient.Routes[0].Account.tokens
		hurried.Timeout = 2 * time.Second
		if r := hurried.Deliver(context.Background(), message(), new(Untracked)); r.Cause() != sms.Unavailable {
			t.Errorf("too late for a token: %s", r.Cause())
		}
		if r := patient.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted {
			t.Errorf("the next: %s", r.Cause())
		}
		late := b.deliverer(t)
		late.Timeout = 6 * time.Second
		if r := late.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Refused || r.Cause() != sms.Unavailable || b.taken != 1 {
			t.Errorf("the token took too long: %s %s, %d taken", r.Outcome, r.Cause(), b.taken)
		}
	})
}

// Without a token nothing was sent, and the provider is left alone for a while.
func TestNoToken(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		err    error
		cause  sms.Cause
		pause  time.Duration
	}{
		"wrong secret": {401, `{"error":"invalid_client"}`, nil, sms.Misconfigured, pauseAfterRefusal},
		"no token":     {200, `{}`, nil, sms.Misconfigured, pauseAfterRefusal},
		"a page":       {200, `<html>`, nil, sms.Misconfigured, pauseAfterRefusal},
		"throttled":    {429, ``, nil, sms.Busy, pauseAfterFailure},
		"down":         {503, ``, nil, sms.Unavailable, pauseAfterFailure},
		"broken":       {0, ``, errors.New("reset"), sms.Unavailable, pauseAfterFailure},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bank{deny: func() (int, string, error) { return c.status, c.body, c.err }}
				d := b.deliverer(t)
				second := &bank{lifetime: 3600}
				for range 20 {
					if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Refused || r.Cause() != c.cause || strings.Contains(r.Detail, "secret") {
						t.Fatalf("%s %s %q", r.Outcome, r.Cause(), r.Detail)
					}
				}
				if b.issued != 1 {
					t.Errorf("the provider was asked %d times", b.issued)
				}
				d.Routes = append(d.Routes, second.deliverer(t).Routes...)
				if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted || second.taken != 1 {
					t.Errorf("the next adapter: %s %s", r.Outcome, r.Cause())
				}
				time.Sleep(max(c.pause, openFor+time.Second)) // an account that cannot be reached rests for longer
				b.deny, b.lifetime = nil, 3600
				if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Accepted || b.taken != 1 {
					t.Errorf("after the pause: %s %s", r.Outcome, r.Cause())
				}
			})
		})
	}
}

// A message that waits for a token which does not come was certainly not sent.
func TestTokenThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{lifetime: 3600, slow: time.Hour}
		d := b.deliverer(t)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if r := d.Deliver(context.Background(), message(), new(Untracked)); r.Outcome != sms.Refused || r.Cause() != sms.Unavailable {
					t.Errorf("%s %s", r.Outcome, r.Cause())
				}
			})
		}
		wg.Wait()
	})
}

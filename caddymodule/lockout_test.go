package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

// Wrong passwords lock a network out before the next one is looked at; a reload changes nothing; strangers do not lock a
// user out of their own network.
func TestLockout(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "")
	right, wrong := strings.TrimSuffix(credential, "&"), "from=johndow&password=wrong"
	if w := s.guess(t, "192.0.2.77", right); w.Code != 200 {
		t.Fatalf("at home: %d", w.Code)
	}
	for i := range 11 {
		if w := s.guess(t, "203.0.113.9", wrong); w.Code != 401 {
			t.Fatalf("guess %d: %d", i, w.Code)
		}
		if w := s.guess(t, "203.0.113.9", "to=5551231234"); i < 10 && w.Code != 401 {
			t.Fatalf("without a credential: %d", w.Code)
		}
	}
	after := p.site(t, "") // as after a reload
	for _, query := range []string{wrong, right, "token=a-token-for-johndow"} {
		w := after.guess(t, "203.0.113.9", query)
		if r := read(t, w); w.Code != 429 || w.Header().Get("Retry-After") == "" || r.Message != "Too many wrong passwords. Please try again later." {
			t.Errorf("%s when locked out: %d %v %q", query, w.Code, w.Header(), r.Message)
		}
	}
	for i := range 21 {
		s.guess(t, fmt.Sprintf("198.51.100.%d", i), wrong)
	}
	if w := s.guess(t, "192.0.2.77", right); w.Code != 200 {
		t.Errorf("strangers lock the user out at home: %d", w.Code)
	}
	locked, denied := s.guess(t, "192.0.2.78", right), s.guess(t, "192.0.2.78", "from=nobody&password=wrong")
	if locked.Code != 401 || locked.Body.String() != denied.Body.String() || fmt.Sprint(locked.Header()) != fmt.Sprint(denied.Header()) {
		t.Errorf("a locked user is told something else: %d %s %v, %s %v", locked.Code, locked.Body, locked.Header(), denied.Body, denied.Header())
	}
	if n := p.count.Load(); n != 2 {
		t.Errorf("%d messages", n)
	}
	counted := func(address, query string) (codes []int) {
		for range 12 {
			codes = append(codes, s.guess(t, address, query).Code)
		}
		return codes
	}
	if locked, denied := counted("192.0.2.79", right), counted("192.0.2.80", wrong); !slices.Equal(locked, denied) || denied[11] != 429 {
		t.Errorf("a right password of a locked user is counted in another way: %v, %v", locked, denied)
	}
	off := p.site(t, "lockout off")
	for range 30 {
		off.guess(t, "203.0.113.10", wrong)
	}
	if w := off.guess(t, "203.0.113.10", right); w.Code != 200 {
		t.Errorf("lockout off: %d", w.Code)
	}
	if w := newProvider(t).site(t, "").guess(t, "192.0.2.82", right); w.Code == 401 {
		t.Error("users of one name are locked together whose messages others pay for")
	}
	two := p.site(t, "lockout 2 1h")
	for range 3 {
		two.guess(t, "203.0.113.11", wrong)
	}
	if w := two.guess(t, "203.0.113.11", right); w.Code != 429 || w.Header().Get("Retry-After") != "3600" {
		t.Errorf("lockout 2 1h: %d %v", w.Code, w.Header())
	}
}

// A wrong password counts for those who were asked, though others give no answer: whoever guesses is told nothing, but is
// locked out as always, whether the name exists or not.
func TestLockoutWhileUsersAreUnknown(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	defer service.Close()
	s := newSite(t, demo+"adapter sandbox\nlockout 10 5m1s\nusers http "+service.URL)
	twelve := func(address, query string) {
		t.Helper()
		for i := range 12 {
			want := 500
			if i == 11 {
				want = 429
			}
			if w := s.guess(t, address, query); w.Code != want {
				t.Errorf("guess %d with %s: %d, want %d", i, query, w.Code, want)
			}
		}
	}
	twelve("203.0.113.1", "user=johndow&password=wrong")
	twelve("203.0.113.2", "user=nobody&password=wrong")
	if w := s.guess(t, "203.0.113.3", credential); w.Code != 200 {
		t.Errorf("a right password: %d", w.Code)
	}
	for i := range 10 {
		s.guess(t, fmt.Sprintf("198.51.100.%d", i), "user=johndow&password=wrong")
	}
	twelve("203.0.113.4", credential) // of a locked user, and right
}

// Of guesses that come at once few are looked at before the network is locked out, and others need not wait for them.
func TestGuessesAtOnce(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nlockout 10 5m2s")
	synctest.Test(t, func(t *testing.T) {
		var looked atomic.Int32
		s.gateway.Users = stubUsers(func() (*users.User, error) {
			time.Sleep(time.Second)
			looked.Add(1)
			return nil, users.ErrDenied
		})
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if w := s.guess(t, "203.0.113.4", "user=johndow&password=guess"); w.Code != 401 && w.Code != 429 {
					t.Errorf("a guess: %d", w.Code)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if w := s.guess(t, "203.0.113.5", "user=johndow&password=guess"); w.Code != 401 || time.Since(began) != time.Second {
			t.Errorf("from elsewhere: %d after %s", w.Code, time.Since(began))
		}
		wg.Wait()
		if n := looked.Load() - 1; n < 11 || n > 14 {
			t.Errorf("%d guesses were looked at", n)
		}
	})
}

// Every 401 leaves at a multiple of 250 ms after the request was whole, however long the check took; nothing else waits.
func TestTimeOfRefusals(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nlockout off")
	s.denialDelay = denialDelay
	right := s.gateway.Users
	synctest.Test(t, func(t *testing.T) {
		for _, took := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 249 * time.Millisecond, 251 * time.Millisecond, 700 * time.Millisecond} {
			for name, err := range map[string]error{"unknown": users.ErrDenied, "known": &users.DeniedError{Name: "johndow"}} {
				s.gateway.Users = stubUsers(func() (*users.User, error) { time.Sleep(took); return nil, err })
				began := time.Now()
				w := s.send(t, get(credential+"to=5551231234&body=hi"))
				if after := time.Since(began); w.Code != 401 || after%denialDelay != 0 || after < took || after > took+denialDelay {
					t.Errorf("%s after %s: %d after %s", name, took, w.Code, after)
				}
			}
		}
		for took := range 300 { // a slow sender does not learn when the check ended
			s.gateway.Users = stubUsers(func() (*users.User, error) { time.Sleep(60 * time.Millisecond); return nil, users.ErrDenied })
			late := time.Duration(took) * time.Millisecond
			r := post("application/x-www-form-urlencoded", "")
			r.Body = io.NopCloser(&slowly{strings.NewReader(credential + "to=5551231234&body=hi"), sync.OnceFunc(func() { time.Sleep(late) })})
			began := time.Now()
			if w := s.send(t, r); w.Code != 401 || time.Since(began) != late+denialDelay {
				t.Fatalf("after %s of sending: %d after %s", late, w.Code, time.Since(began))
			}
		}
		s.gateway.Users = stubUsers(func() (*users.User, error) { return nil, users.ErrDenied })
		began, all := time.Now(), sync.WaitGroup{}
		for range 64 { // of one network, where whoever waits keeps nobody else waiting
			all.Go(func() {
				if w := s.send(t, get(credential+"to=5551231234&body=hi")); w.Code != 401 || time.Since(began) != denialDelay {
					t.Errorf("one of many: %d after %s", w.Code, time.Since(began))
				}
			})
		}
		all.Wait()
		s.gateway.Users = right
		for query, want := range map[string]int{"to=5551231234&body=hi": 401, credential + "to=5551231234&body=hi": 200, credential + "to=12": 400} {
			began := time.Now()
			if w := s.send(t, get(query)); w.Code != want || (time.Since(began) == denialDelay) != (want == 401) {
				t.Errorf("%s: %d after %s", query, w.Code, time.Since(began))
			}
		}
	})
}

// Strangers are not told what the server is.
func TestServerIsNotNamed(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	for query, named := range map[string]bool{
		"": false, "from=johndow&password=wrong&to=5551231234&body=hi": false, "from=nobody&password=x": false, credential + "to=5551231234&body=hi": true,
	} {
		w := httptest.NewRecorder()
		w.Header().Set("Server", "Caddy")
		if err := s.ServeHTTP(w, caddyhttp.PrepareRequest(get(query), caddy.NewReplacer(), w, &caddyhttp.Server{}), nil); err != nil {
			t.Error(err)
		}
		if got := w.Header().Get("Server") != ""; got != named {
			t.Errorf("%s: %d %v", query, w.Code, w.Header())
		}
	}
}

// In stealth, a request without a valid credential gets the reply of an unknown address.
func TestStealth(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox\nstealth\nlockout 2 1m")
	for _, query := range []string{"", "from=johndow&password=wrong&to=5551231234&body=hi", "from=johndow&password=***", "to=%25sms_to%25", "from=nobody&password=x", "from=johndow&password=wrong", "from=johndow&password=wrong"} {
		if w := s.send(t, get(query)); w.Code != 404 || w.Body.Len() != 0 || len(w.Header()) != 0 {
			t.Errorf("%s: %d %q %v", query, w.Code, w.Body, w.Header())
		}
	}
	s = newSite(t, demo+"adapter sandbox\nstealth\nlockout off")
	s.denialDelay = time.Minute
	if w := s.send(t, get("")); w.Code != 404 {
		t.Errorf("without a credential: %d", w.Code)
	}
	if w := s.send(t, get(credential+"to=12&body=hi")); w.Code != 406 {
		t.Errorf("a user: %d", w.Code)
	}
}

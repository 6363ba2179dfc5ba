package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// counting is a provider without a network that counts what it took.
type counting struct {
	mu     sync.Mutex
	status int           // of its answers, 0: 200
	slow   time.Duration // before it answers
	took   int
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	c.mu.Lock()
	status, slow := max(c.status, 200), c.slow
	if status != 402 {
		c.took++
	}
	body := fmt.Sprintf(`{"id":"sms-%d"}`, c.took)
	c.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

const ownAPI = "define own {\nbase_url http://provider\nsend {\nPOST /\nform {\nto {sms.to}\ntext {sms.body}\n}\n}\nreply json\naccepted status 200\nid id\n}\nadapter own\n"

// tapping is a site with a provider that counts, in a bubble with a clock of its own.
func tapping(t *testing.T, more string, f func(s *site, p *counting)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, p := newSite(t, demo+ownAPI+more), new(counting)
		s.gateway.Deliverer.Routes[0].Transport = p
		f(s, p)
	})
}

const (
	ok        = credential + "to=5551231234&body=ok"
	named     = ok + "&disposition_notification=1:display"
	otherName = ok + "&disposition_notification=2:display"
)

// tap sends a text and says in one line what the app is told.
func (s *site) tap(t *testing.T, query string) string {
	t.Helper()
	w := s.send(t, get(query))
	r := read(t, w)
	return fmt.Sprint(w.Code, " ", r.ID+r.Message)
}

// tapAndHangUp sends a text and hangs up before the answer.
func (s *site) tapAndHangUp(t *testing.T, query string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.send(t, get(query).WithContext(ctx))
}

func checkTap(t *testing.T, what, got, want string, p *counting, took int) {
	t.Helper()
	if got != want || p.took != took {
		t.Errorf("%s: told %q, want %q; %d texts, want %d", what, got, want, p.took, took)
	}
}

// One tap is one text, however often it comes; two taps are two.
func TestDuplicates(t *testing.T) {
	unknown := "504 " + sms.Unconfirmed.Sentence()
	check := checkTap
	t.Run("with an id", func(t *testing.T) {
		tapping(t, "", func(s *site, p *counting) {
			check(t, "first", s.tap(t, named), "200 sms-1", p, 1)
			check(t, "repeat", s.tap(t, named), "200 sms-1", p, 1)
			if e := s.events(); e[0]["repeat"] != nil || e[1]["repeat"] != true || e[0]["reference"] != e[1]["reference"] {
				t.Errorf("the log says %v", e)
			}
			check(t, "the same words, another tap", s.tap(t, otherName), "200 sms-2", p, 2)
			check(t, "another recipient of the same tap", s.tap(t, strings.Replace(named, "1234&", "1235&", 1)), "200 sms-3", p, 3)
			time.Sleep(23 * time.Hour)
			check(t, "hours later", s.tap(t, named), "200 sms-1", p, 3)
			time.Sleep(2 * time.Hour)
			check(t, "after a day", s.tap(t, named), "200 sms-4", p, 4)
		})
	})
	t.Run("of users of one name at different sites", func(t *testing.T) {
		tapping(t, "", func(s *site, p *counting) {
			gone, hangUp := context.WithCancel(context.Background())
			hangUp()
			at := func(host, path string) string {
				r := get(ok).WithContext(gone)
				r.Host, r.URL.Path = host, path
				return fmt.Sprint(s.send(t, r).Code)
			}
			check(t, "first", at("a.example", "/send_message/"), "200", p, 1)
			check(t, "another host", at("b.example", "/send_message/"), "200", p, 2)
			check(t, "another path", at("a.example", "/b/send_message/"), "200", p, 3)
			check(t, "another Caddy of the site", at("a.example:8443", "/send_message/"), "200", p, 3)
			check(t, "the same host in another writing", at("A.Example.", "/send_message/"), "200", p, 3)
		})
	})
	t.Run("refused", func(t *testing.T) {
		tapping(t, "", func(s *site, p *counting) {
			p.status = 402
			check(t, "first", s.tap(t, named), "402 Not enough credit", p, 0)
			p.status = 0
			check(t, "tried anew", s.tap(t, named), "200 sms-1", p, 1)
			if e := s.events(); e[0]["reference"] != e[1]["reference"] {
				t.Errorf("the references are %v and %v", e[0]["reference"], e[1]["reference"])
			}
		})
	})
	t.Run("unknown", func(t *testing.T) {
		for _, query := range []string{ok, named} {
			tapping(t, "", func(s *site, p *counting) {
				p.status = 500
				check(t, "first", s.tap(t, query), unknown, p, 1)
				p.status = 0
				time.Sleep(29 * time.Second)
				check(t, "within the window", s.tap(t, query), unknown, p, 1)
				time.Sleep(2 * time.Second)
				if query == ok {
					check(t, "after it", s.tap(t, query), "200 sms-2", p, 2)
				} else {
					check(t, "after it, with an id", s.tap(t, query), unknown, p, 1)
				}
			})
		}
	})
	t.Run("without an id", func(t *testing.T) {
		tapping(t, "", func(s *site, p *counting) {
			check(t, "first", s.tap(t, ok), "200 sms-1", p, 1)
			check(t, "a second ok", s.tap(t, ok), "200 sms-2", p, 2)
			s.tapAndHangUp(t, ok)
			check(t, "after no tick", s.tap(t, ok), "200 sms-3", p, 3)
			check(t, "after the tick", s.tap(t, ok), "200 sms-4", p, 4)
			s.tapAndHangUp(t, ok)
			time.Sleep(31 * time.Second)
			check(t, "long after no tick", s.tap(t, ok), "200 sms-6", p, 6)
		})
	})
	t.Run("slow", func(t *testing.T) {
		tapping(t, "timeout 28s\nattempt_timeout 28s", func(s *site, p *counting) {
			p.slow = 21 * time.Second
			check(t, "first", s.tap(t, ok), "200 sms-1", p, 1)
			p.slow = 0
			check(t, "the app may have given up", s.tap(t, ok), "200 sms-1", p, 1)
		})
	})
	t.Run("no window", func(t *testing.T) {
		tapping(t, "duplicate_window 0", func(s *site, p *counting) {
			s.tapAndHangUp(t, ok)
			check(t, "after no tick", s.tap(t, ok), "200 sms-2", p, 2)
			s.tapAndHangUp(t, named)
			check(t, "with an id", s.tap(t, named), "200 sms-3", p, 3)
		})
	})
	t.Run("not counted", func(t *testing.T) {
		tapping(t, "limit user 1 messages per hour", func(s *site, p *counting) {
			check(t, "first", s.tap(t, named), "200 sms-1", p, 1)
			check(t, "repeat", s.tap(t, named), "200 sms-1", p, 1)
			if got := s.tap(t, otherName); !strings.HasPrefix(got, "429 ") || p.took != 1 {
				t.Errorf("another: %s", got)
			}
			time.Sleep(time.Hour)
			check(t, "what was over the limit", s.tap(t, otherName), "200 sms-2", p, 2)
			paused.Store(true)
			defer paused.Store(false)
			check(t, "repeat while paused", s.tap(t, otherName), "200 sms-2", p, 2)
		})
	})
	t.Run("a panic", func(t *testing.T) {
		tapping(t, "", func(s *site, p *counting) {
			s.gateway.Deliverer.Routes[0].Transport = panicking{"x"}
			check(t, "first", s.tap(t, ok), unknown, p, 0)
			s.gateway.Deliverer.Routes[0].Transport = p
			check(t, "repeat", s.tap(t, ok), unknown, p, 0)
		})
	})
	t.Run("over a reload", func(t *testing.T) {
		tapping(t, "", func(before *site, p *counting) {
			check(t, "first", before.tap(t, named), "200 sms-1", p, 1)
			p.status = 500
			before.tap(t, ok)
			p.status = 0
			after := newSite(t, demo+ownAPI)
			after.gateway.Deliverer.Routes[0].Transport = p
			_ = before.Cleanup()
			check(t, "repeat", after.tap(t, named), "200 sms-1", p, 2)
			check(t, "unknown", after.tap(t, ok), unknown, p, 2)
		})
	})
}

// Of the same text at the same time one is sent, and all are told what became of it. Whose phone hangs up waits no longer.
func TestParallelDuplicates(t *testing.T) {
	for _, query := range []string{ok, named} {
		tapping(t, "limit off", func(s *site, p *counting) {
			p.slow = 5 * time.Second
			var wg sync.WaitGroup
			told := make(chan string, 64)
			for range 64 {
				wg.Go(func() { told <- s.tap(t, query) })
			}
			synctest.Wait()
			began := time.Now()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			w := s.send(t, get(query).WithContext(ctx))
			if w.Code != 504 || time.Since(began) != 0 {
				t.Errorf("who hung up waits for %v and gets %d", time.Since(began), w.Code)
			}
			wg.Wait()
			for range 64 {
				if got := <-told; got != "200 sms-1" {
					t.Errorf("told %q", got)
				}
			}
			if p.took != 1 {
				t.Errorf("%d texts", p.took)
			}
		})
	}
}

// When nothing can be written down nothing is sent, and the app is told so.
func TestJournalAway(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	s.gateway.Journal = &pooledJournal{closed: true}
	w := s.send(t, get(ok))
	if r := read(t, w); w.Code != 500 || r.Message != sms.RefuseAs(sms.Internal, sms.JournalUnavailable).Sentence() {
		t.Errorf("%d %q", w.Code, r.Message)
	}
	if e := s.events(); e[0]["cause"] != "internal.journal_away" || e[0]["detail"] != errClosed.Error() {
		t.Errorf("the log says %v", e)
	}
}

// A reply that could not be written leaves the message open to a repeat.
func TestBrokenReply(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(get(ok), caddy.NewReplacer(), w, &caddyhttp.Server{})
		_ = s.ServeHTTP(gone{w}, r, nil)
		if got := s.tap(t, ok); got != "200 sms-1" || p.took != 1 {
			t.Errorf("told %q, %d texts", got, p.took)
		}
	})
}

// gone is the connection of a phone that is no more there.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// An id that comes with two texts is none, and the operator is told so once.
func TestSharedID(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		with := func(text string) string {
			return credential + "to=5551231234&body=" + text + "&disposition_notification=mobile-7"
		}
		checkTap(t, "first", s.tap(t, with("ok")), "200 sms-1", p, 1)
		checkTap(t, "repeat", s.tap(t, with("ok")), "200 sms-1", p, 1)
		checkTap(t, "another text", s.tap(t, with("no")), "200 sms-2", p, 2)
		checkTap(t, "the first text once more", s.tap(t, with("ok")), "200 sms-3", p, 3)
		s.tapAndHangUp(t, with("ok"))
		checkTap(t, "after no tick", s.tap(t, with("ok")), "200 sms-4", p, 4)
		hints := 0
		for _, e := range s.log.All() {
			if e.ContextMap()["hint"] == "shared_id" {
				hints++
			}
		}
		if hints != 1 {
			t.Errorf("%d hints", hints)
		}
	})
}

// One tap that arrives by two addresses of a server is one text if it has an id.
func TestAddresses(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		for _, address := range []string{"a.example.com/send", "b.example.com/send", "a.example.com/send/", "A.example.com:8443/other"} {
			r := get(named)
			host, path, _ := strings.Cut(address, "/")
			r.Host, r.URL.Path = host, "/"+path
			if got := read(t, s.send(t, r)); got.ID != "sms-1" || p.took != 1 {
				t.Errorf("%s: %s, %d texts", address, got.ID, p.took)
			}
		}
	})
}

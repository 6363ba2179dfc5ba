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
)

// An account that rests does so over a reload and for all sites that use it, and who comes meanwhile is told so at once.
func TestRestOutlivesReload(t *testing.T) {
	tapping(t, "limit off", func(before *site, p *counting) {
		p.status = 500
		for range 5 {
			before.tap(t, otherRecipient())
		}
		after := newSite(t, demo+ownAPI+"limit off\nmax_parts 3")
		after.gateway.Deliverer.Routes[0].Transport, after.gateway.Deliverer.Retries = p, 3
		_ = before.Cleanup()
		p.status = 0
		began, took := time.Now(), p.took
		if got := after.tap(t, otherRecipient()); !strings.HasPrefix(got, "502 ") || p.took != took || time.Since(began) != 0 {
			t.Errorf("told %q after %v, %d requests", got, time.Since(began), p.took-took)
		}
		if _, status := admin(t, "GET", "/acrobits_sms/status"); !strings.Contains(status, `"name":"own","transport":"module","breaker":"open"`) {
			t.Error(status)
		}
		if text := scrape(t, after); !strings.Contains(text, `caddy_acrobits_sms_breaker_open{adapter="own"} 1`) {
			t.Error(text)
		}
		time.Sleep(31 * time.Second)
		if got := after.tap(t, otherRecipient()); !strings.HasPrefix(got, "200 ") {
			t.Errorf("after its rest: %q", got)
		}
	})
}

var recipients int

// otherRecipient is a text to somebody new.
func otherRecipient() string {
	recipients++
	return credential + "body=ok&to=" + fmt.Sprintf("555123%04d", 7*recipients%10_000)
}

// The concurrency and the rate of an account apply to all sites that use it; the strictest values count. Other messages wait, and
// are refused as busy if that takes too long.
func TestAccountsAreBounded(t *testing.T) {
	for bound, want := range map[string]struct {
		gone    string        // the bound of a configuration that is gone
		last    time.Duration // when the third of three is answered
		refused int           // of eight
	}{"concurrency 1": {"rate 0.1", 6 * time.Second, 5}, "rate 0.5": {"rate 0.1", 6 * time.Second, 5}} {
		synctest.Test(t, func(t *testing.T) {
			with := func(bound string) string {
				return demo + strings.Replace(ownAPI, "adapter own\n", "adapter own {\n"+bound+"\n}\n", 1) + "limit off\nbursts off\n"
			}
			p := &counting{slow: 2 * time.Second}
			word, _, _ := strings.Cut(bound, " ")
			sites := []*site{newSite(t, with(bound)), newSite(t, with(word+" 1000")+"max_parts 3"), newSite(t, with("")+"max_parts 4")}
			newSite(t, with(want.gone)).stop()
			for _, s := range sites {
				s.gateway.Deliverer.Routes[0].Transport = p
			}
			began, told := time.Now(), make(chan string, 8)
			var mu sync.Mutex
			var last time.Duration
			var wg sync.WaitGroup
			for i := range 8 {
				query := otherRecipient()
				wg.Go(func() {
					got := sites[i%3].tap(t, query)
					mu.Lock()
					defer mu.Unlock()
					if strings.HasPrefix(got, "200 ") {
						last = max(last, time.Since(began))
					}
					told <- got
				})
			}
			synctest.Wait()
			if _, status := admin(t, "GET", "/acrobits_sms/status"); !strings.Contains(status, `"running":1,"waiting":7`) {
				t.Error(status)
			}
			wg.Wait()
			refused := 0
			for range 8 {
				if got := <-told; strings.HasPrefix(got, "503 ") {
					refused++
				} else if !strings.HasPrefix(got, "200 ") {
					t.Error(got)
				}
			}
			if last != want.last || refused != want.refused || p.took != 8-want.refused {
				t.Errorf("%s: the last was sent after %v, %d refused, %d sent", bound, last, refused, p.took)
			}
		})
	}
}

// recorded is a provider that keeps what it was asked, and says the same each time.
type recorded struct {
	status int
	got    []string
}

func (p *recorded) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	p.got = append(p.got, string(body))
	return &http.Response{StatusCode: p.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"1"}`))}, nil
}

// The next adapter writes numbers, sender and text in its own way.
func TestFailoverForms(t *testing.T) {
	form := func(name, numbers string) string {
		return "define " + name + " {\nbase_url http://" + name + "\nnumber " + numbers + "\nsend {\nPOST /\nform {\nfrom {sms.from}\nto {sms.to}\ntext {sms.body}\n}\n}\n" +
			"reply json\naccepted status 200\nid id\n}\nadapter " + name + "\n"
	}
	s := newSite(t, demo+form("one", "00")+form("two", "nanp10"))
	one, two := &recorded{status: 429}, &recorded{status: 200}
	s.gateway.Deliverer.Routes[0].Transport, s.gateway.Deliverer.Routes[1].Transport = one, two
	if got := s.tap(t, ok); got != "200 1" {
		t.Error(got)
	}
	if got, want := strings.Join(append(one.got, two.got...), " "), "from=0015550001111&to=0015551231234&text=ok from=5550001111&to=5551231234&text=ok"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

// sequence is the connection of a phone, and a subscriber, that note what comes first.
type sequence struct{ *httptest.ResponseRecorder }

var order []string

func (s sequence) Flush() {
	order = append(order, "reply")
	s.ResponseRecorder.Flush()
}

type lateHandler struct{}

func (lateHandler) Handle(context.Context, caddy.Event) error {
	order = append(order, "event")
	return nil
}

// A phone has its answer before those who want to know of events are told.
func TestEventsComeAfterReply(t *testing.T) {
	tapping(t, "", func(s *site, p *counting) {
		order = nil
		if err := s.emitter.app.On(acceptedEvent, lateHandler{}); err != nil {
			t.Fatal(err)
		}
		s.emitter.app.Emit(s.emitter.ctx, startedEvent, nil)
		w := sequence{httptest.NewRecorder()}
		r := caddyhttp.PrepareRequest(get(ok), caddy.NewReplacer(), w, &caddyhttp.Server{})
		if err := s.ServeHTTP(w, r, nil); err != nil {
			t.Error(err)
		}
		if got := strings.Join(order, " "); got != "reply event" {
			t.Errorf("first came %s", got)
		}
	})
}

package delivery

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// narrow is a provider whose longest text has 10 characters.
const narrow = "text max 10 characters\nsend {\nPOST /\nform {\nto {sms.to}\ntext {sms.body}\nref {message.id}\n}\n}\n" +
	"reply json\naccepted status 200\nid id\ncause invalid_recipient when status 406"

// scripted answers one request after the other and keeps what it was sent.
type scripted struct {
	mu      sync.Mutex
	answers []func() (int, string)
	got     []url.Values
	delay   time.Duration
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	s.mu.Lock()
	s.got = append(s.got, form)
	status, reply := 200, `{"id":"`+string(rune('a'+len(s.got)-1))+`"}`
	if n := len(s.got); n <= len(s.answers) && s.answers[n-1] != nil {
		status, reply = s.answers[n-1]()
	}
	delay := s.delay
	s.mu.Unlock()
	if delay > 0 {
		<-time.After(delay)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, reply)
}

func narrowRoute(t *testing.T, url string) Route {
	t.Helper()
	d, err := adapters.Parse("narrow", "narrow", 1, narrow)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return Route{Adapter: a, Transport: transport, Account: NewAccount()}
}

// A long text goes out in parts, each once and in order; the app is told the first one's id, or
// truly how far it came.
func TestParts(t *testing.T) {
	says := func(status int, body string) func() (int, string) {
		return func() (int, string) { return status, body }
	}
	for name, c := range map[string]struct {
		text     string
		answers  []func() (int, string)
		max      int
		outcome  sms.Outcome
		cause    string
		id       string
		sent     []string
		sentence string
	}{
		"one":             {"Hello", nil, 10, sms.Accepted, "", "a", []string{"Hello"}, ""},
		"three":           {"Hello dear old friend", nil, 10, sms.Accepted, "", "a", []string{"Hello dear", " old ", "friend"}, ""},
		"too many":        {strings.Repeat("word ", 30), nil, 3, sms.Refused, "too_long.text_too_long", "", nil, "The message is too long: 150 characters, at most 30"},
		"splitting off":   {"Hello dear old friend", nil, 1, sms.Refused, "too_long.text_too_long", "", nil, "The message is too long: 21 characters, at most 10"},
		"the first is no": {"Hello dear old friend", []func() (int, string){says(406, `{}`)}, 10, sms.Refused, "invalid_recipient", "", []string{"Hello dear"}, "Invalid recipient"},
		"the second is no": {"Hello dear old friend", []func() (int, string){nil, says(406, `{}`)}, 10, sms.OutcomeUnknown, "unknown.partly", "",
			[]string{"Hello dear", " old "}, "Only 1 of 3 parts are certain to have been sent"},
		"the last is unclear": {"Hello dear old friend", []func() (int, string){nil, nil, says(500, ``)}, 10, sms.OutcomeUnknown, "unknown.partly", "",
			[]string{"Hello dear", " old ", "friend"}, "Only 2 of 3 parts are certain to have been sent"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{answers: c.answers}
			p := serve(t, s.ServeHTTP)
			other := serve(t, say(200, `{"id":"other"}`))
			d := &Deliverer{Timeout: time.Second, AttemptTimeout: 100 * time.Millisecond, MaxParts: c.max, Routes: []Route{narrowRoute(t, p.URL)}}
			if c.outcome == sms.OutcomeUnknown { // what went out by halves goes nowhere else
				d.Routes = append(d.Routes, route(t, "other", other.URL, http.DefaultTransport))
			}
			m := message()
			m.Body = sms.Hide(c.text)
			r := d.Deliver(t.Context(), m, new(Untracked))
			cause := ""
			if r.Refusal != nil {
				cause = r.Refusal.Error()
				if got := r.Refusal.Fill(r.Refusal.Sentence(), ""); got != c.sentence {
					t.Errorf("told %q, want %q", got, c.sentence)
				}
			}
			if r.Outcome != c.outcome || cause != c.cause || r.ID != c.id || r.Attempts != len(c.sent) || other.count.Load() != 0 {
				t.Errorf("got %s %s %q after %d attempts", r.Outcome, cause, r.ID, r.Attempts)
			}
			var sent []string
			refs := map[string]bool{}
			for _, form := range s.got {
				sent = append(sent, form.Get("text"))
				refs[form.Get("ref")] = true
			}
			if strings.Join(sent, "|") != strings.Join(c.sent, "|") || len(refs) != len(sent) {
				t.Errorf("sent %q with %d ids, want %q", sent, len(refs), c.sent)
			}
			// The ids of the parts are the same when it is tried again, which is what providers
			// tell repeats by.
			plan, refusal := d.Routes[0].Adapter.Plan(m, 10)
			for i, form := range s.got {
				if refusal != nil || form.Get("ref") != plan.Part(i).ID {
					t.Errorf("part %d has another id the second time", i)
				}
			}
		})
	}
}

// A part that would have too little time is not begun.
func TestPartsInTime(t *testing.T) {
	s := &scripted{delay: 170 * time.Millisecond}
	p := serve(t, s.ServeHTTP)
	d := &Deliverer{Timeout: 300 * time.Millisecond, AttemptTimeout: 250 * time.Millisecond, MaxParts: 10, Routes: []Route{narrowRoute(t, p.URL)}}
	m := message()
	m.Body = sms.Hide("Hello dear old friend")
	if r := d.Deliver(t.Context(), m, new(Untracked)); r.Refusal == nil || r.Refusal.Error() != "unknown.partly" || r.Attempts != 1 || p.count.Load() != 1 {
		t.Errorf("%s %v after %d attempts, the provider has %d", r.Outcome, r.Refusal, r.Attempts, p.count.Load())
	}
}

// A refusal is not turned into an unknown outcome by a next attempt that cannot end in time.
func TestNoAttemptTooLate(t *testing.T) {
	first := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(170 * time.Millisecond)
		w.WriteHeader(429)
	})
	second := serve(t, say(200, `{"id":"7"}`))
	d := deliverer(t, first.URL, second.URL)
	d.Timeout, d.AttemptTimeout = 300*time.Millisecond, 250*time.Millisecond
	if r := d.Deliver(t.Context(), message(), new(Untracked)); r.Cause() != sms.Busy || second.count.Load() != 0 {
		t.Errorf("%s %s, the second has %d", r.Outcome, r.Cause(), second.count.Load())
	}
}

// The budget begins when the app sent the message: one that waited too long for its turn is not
// begun.
func TestTooLateToBegin(t *testing.T) {
	p := serve(t, say(200, `{"id":"7"}`))
	d := deliverer(t, p.URL)
	d.Timeout, d.AttemptTimeout = 20*time.Second, 10*time.Second
	for ago, want := range map[time.Duration]sms.Outcome{0: sms.Accepted, 10 * time.Second: sms.Accepted, 18 * time.Second: sms.Refused, time.Hour: sms.Refused} {
		before := p.count.Load()
		m := message()
		m.Received = time.Now().Add(-ago)
		if r := d.Deliver(t.Context(), m, new(Untracked)); r.Outcome != want || (p.count.Load() > before) != (want == sms.Accepted) {
			t.Errorf("%s ago: %s %s", ago, r.Outcome, r.Cause())
		}
	}
}

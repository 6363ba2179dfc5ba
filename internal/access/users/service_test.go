package users

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// oracle is an operator's service.
type oracle struct {
	asked  atomic.Int32
	answer func(question) (int, string)
	takes  time.Duration
	err    error
	drips  bool // the answer never ends
}

func (o *oracle) RoundTrip(r *http.Request) (*http.Response, error) {
	o.asked.Add(1)
	select {
	case <-time.After(o.takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if o.err != nil {
		return nil, o.err
	}
	var q question
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return nil, err
	}
	status, text := o.answer(q)
	body := io.Reader(strings.NewReader(text))
	if o.drips {
		body = io.MultiReader(body, dripping{r.Context()})
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body)}, nil
}

// dripping gives a blank a second until nobody listens any more.
type dripping struct{ ctx context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (o *oracle) service(t testing.TB) (*Service, *bytes.Buffer) {
	t.Helper()
	var reports bytes.Buffer
	s := &Service{
		Transport: o, URL: "https://users.example.com/?key=canary-key", Header: http.Header{"Authorization": {"Bearer canary-header"}},
		Timeout: 5 * time.Second, Keep: 5 * time.Minute, Stale: time.Hour,
		Read:    func(a Answer) (*User, error) { return &User{Name: a.User}, nil },
		Report:  func(err error) { reports.WriteString(err.Error() + "\n") },
		Answers: NewAnswerCache(),
	}
	s.Start()
	return s, &reports
}

func TestServiceAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		oracle       *oracle
		user, secret string
		want, report string
	}{
		"no name":              {&oracle{answer: says(200, `{"allowed":true}`)}, "ann", "x", "unavailable", `names no "user"`},
		"misspelled":           {&oracle{answer: says(200, `{"allowed":true,"user":"ann","form":[]}`)}, "ann", "x", "unavailable", "no JSON object with"},
		"status 403":           {&oracle{answer: says(403, ``)}, "ann", "x", "denied", ""},
		"panics":               {&oracle{answer: func(question) (int, string) { panic("canary") }}, "ann", "x", "unavailable", "panic: string"},
		"allowed as":           {&oracle{answer: says(200, `{"allowed":true,"user":"ann"}`)}, "ANN@example.com", "x", "ann", ""},
		"a token":              {&oracle{answer: says(200, `{"allowed":true,"user":"ann"}`)}, "", "token", "ann", ""},
		"a token of nobody":    {&oracle{answer: says(200, `{"allowed":true}`)}, "", "token", "unavailable", `names no "user"`},
		"denied":               {&oracle{answer: says(200, `{"allowed":false}`)}, "ann", "x", "denied", ""},
		"denied, but known":    {&oracle{answer: says(200, `{"allowed":false,"user":"ann"}`)}, "ann", "x", "denied ann", ""},
		"nothing said":         {&oracle{answer: says(200, `{"user":"ann"}`)}, "ann", "x", "unavailable", "no JSON object with"},
		"allowed as a text":    {&oracle{answer: says(200, `{"allowed":"true"}`)}, "ann", "x", "unavailable", "no JSON object with"},
		"garbage":              {&oracle{answer: says(200, `<html>canary-body`)}, "ann", "x", "unavailable", "no JSON object with"},
		"empty":                {&oracle{answer: says(200, ``)}, "ann", "x", "unavailable", "no JSON object with"},
		"a list":               {&oracle{answer: says(200, `[{"allowed":true}]`)}, "ann", "x", "unavailable", "no JSON object with"},
		"half":                 {&oracle{answer: says(200, `{"allowed":true`)}, "ann", "x", "unavailable", "no JSON object with"},
		"something behind":     {&oracle{answer: says(200, `{"allowed":true}{"allowed":false}`)}, "ann", "x", "unavailable", "no JSON object with"},
		"an error, but true":   {&oracle{answer: says(500, `{"allowed":true}`)}, "ann", "x", "unavailable", "status 500"},
		"a redirect":           {&oracle{answer: says(302, `{"allowed":true}`)}, "ann", "x", "unavailable", "status 302"},
		"created":              {&oracle{answer: says(201, `{"allowed":true}`)}, "ann", "x", "unavailable", "status 201"},
		"endless":              {&oracle{answer: says(200, `{"allowed":true,"x":"`+strings.Repeat("x", maxAnswerSize)+`"}`)}, "ann", "x", "unavailable", "too long"},
		"down":                 {&oracle{err: errors.New("refused")}, "ann", "x", "unavailable", "refused"},
		"hangs":                {&oracle{takes: time.Hour, answer: says(200, `{"allowed":true}`)}, "ann", "x", "unavailable", "deadline"},
		"drips":                {&oracle{drips: true, answer: says(200, `{"allowed":true}`)}, "ann", "x", "unavailable", "broke off"},
		"no secret, not asked": {&oracle{answer: says(200, `{"allowed":true}`)}, "ann", "", "denied", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, reports := c.oracle.service(t)
				began := time.Now()
				if got := told(s, c.user, c.secret); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				if took := time.Since(began); took > s.Timeout {
					t.Errorf("it took %s", took)
				}
				if said := reports.String(); !strings.Contains(said, c.report) || (said == "") != (c.report == "") || strings.Contains(said, "canary") {
					t.Errorf("%q is reported, want %q", said, c.report)
				}
			})
		})
	}
}

func says(status int, text string) func(question) (int, string) {
	return func(question) (int, string) { return status, text }
}

// The service gets the credential and nothing else, and a password is not sent as a token.
func TestServiceQuestion(t *testing.T) {
	var got []question
	o := &oracle{answer: func(q question) (int, string) { got = append(got, q); return 200, `{"allowed":false}` }}
	s, _ := o.service(t)
	told(s, "ann", "12345678")
	told(s, "", "12345678")
	if len(got) != 2 || got[0] != (question{User: "ann", Password: "12345678"}) || got[1] != (question{Token: "12345678"}) {
		t.Errorf("asked %+v", got)
	}
}

// Answers are remembered, good ones longer than bad ones, and good ones longer still while there
// are no new ones.
func TestServiceRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := `{"allowed":true,"user":"ann"}`
		o := &oracle{answer: func(q question) (int, string) {
			if q.Password != "right" {
				return 200, `{"allowed":false}`
			}
			return 200, answer
		}}
		s, _ := o.service(t)
		expect := func(what, secret, want string, asked int32) {
			t.Helper()
			for range 3 {
				if got := told(s, "ann", secret); got != want {
					t.Errorf("%s: %s, want %s", what, got, want)
				}
			}
			if n := o.asked.Swap(0); n != asked {
				t.Errorf("%s: asked %d times, want %d", what, n, asked)
			}
		}
		expect("first", "right", "ann", 1)
		expect("wrong", "wrong", "denied", 1)
		time.Sleep(keepDenied)
		expect("wrong again", "wrong", "denied", 1)
		expect("remembered", "right", "ann", 0)
		time.Sleep(s.Keep)
		expect("asked anew", "right", "ann", 1)
		o.err = errors.New("down")
		time.Sleep(s.Keep)
		expect("stale", "right", "ann", 1) // and then it is left alone
		expect("never known", "x", "unavailable", 0)
		time.Sleep(pause)
		expect("never known", "x", "unavailable", 1)
		time.Sleep(s.Stale)
		expect("too old", "right", "unavailable", 1)
		o.err = nil
		time.Sleep(pause)
		expect("back", "right", "ann", 1)
		answer = `{"allowed":false}`
		time.Sleep(s.Keep)
		expect("no longer a user", "right", "denied", 1)
		o.err = errors.New("down")
		time.Sleep(keepDenied)
		expect("and not even stale", "right", "unavailable", 1)
		o.err, answer = nil, `{"allowed":true,"user":"ann"}`
		time.Sleep(pause)
		expect("a user again", "right", "ann", 1)
		answer = "garbage"
		time.Sleep(s.Keep)
		expect("garbage is no reason to believe what was", "right", "unavailable", 3)
	})
}

// A failure is told once a minute, however many ask; another one at once.
func TestServiceFailuresAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{answer: says(404, "")}
		s, reports := o.service(t)
		for i := range 100 {
			told(s, fmt.Sprint("user", i), "x")
		}
		o.answer = says(200, "<html>")
		told(s, "ann", "x")
		time.Sleep(time.Minute)
		told(s, "bob", "x")
		if lines := strings.Split(strings.TrimSpace(reports.String()), "\n"); len(lines) != 3 || !strings.Contains(lines[0], "404") || lines[1] != lines[2] {
			t.Errorf("%d lines: %q", len(lines), lines)
		}
	})
}

// Equal questions at the same time are one request, which the end of one caller's context does not end.
func TestServiceFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{takes: time.Second, answer: says(200, `{"allowed":true,"user":"ann"}`)}
		s, _ := o.service(t)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got := told(s, "ann", "x"); got != "ann" {
					t.Error(got)
				}
			})
		}
		wg.Wait()
		gone, hangUp := context.WithCancel(context.Background())
		hangUp()
		o.answer = says(200, `{"allowed":false}`)
		if _, err := s.Authenticate(gone, Credential{User: "ann", Secret: sms.Hide("wrong")}); !errors.Is(err, ErrDenied) {
			t.Errorf("who hung up: %v", err)
		}
		if n := o.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// Secrets are read as in a List.
func TestServiceReadsAsList(t *testing.T) {
	o := &oracle{answer: func(q question) (int, string) {
		if q == (question{User: "ann", Password: "a+b"}) || q == (question{Token: "t"}) {
			return 200, `{"allowed":true,"user":"ann"}`
		}
		return 200, `{"allowed":false}`
	}}
	s, _ := o.service(t)
	for _, c := range [][3]string{{"ann", "a b", "ann"}, {"+15550001111", "t", "ann"}, {"", "t", "ann"}, {"ann", "t", "denied"}, {"ann", "x", "denied"}} {
		if got := told(s, c[0], c[1]); got != c[2] {
			t.Errorf("%s %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

func BenchmarkServiceKnown(b *testing.B) {
	o := &oracle{answer: says(200, `{"allowed":true,"user":"ann"}`)}
	s, _ := o.service(b)
	b.ReportAllocs()
	for b.Loop() {
		if got := told(s, "ann", "x"); got != "ann" {
			b.Fatal(got)
		}
	}
}

package delivery

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// talkative is a provider with a bare socket. It accepts texts that begin with "yes" under an id,
// refuses others, and sends each reply of success another time after a pause.
type talkative struct {
	pause    func(n int) time.Duration // before the nth reply too many; negative for none
	id       func(n int) string
	accepted atomic.Int32
	opened   atomic.Int32
}

func (p *talkative) start(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.opened.Add(1)
			go p.serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return "http://" + l.Addr().String()
}

func (p *talkative) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if r.ParseForm() != nil {
			return
		}
		if !strings.HasPrefix(r.Form.Get("body"), "yes") {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 12\r\n\r\n{\"code\":\"1\"}")
			continue
		}
		n := int(p.accepted.Add(1))
		body := `{"id":"` + p.id(n) + `"}`
		reply := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		_, _ = io.WriteString(c, reply)
		if pause := p.pause(n); pause >= 0 {
			time.Sleep(pause) // the next request may arrive meanwhile
			_, _ = io.WriteString(c, reply)
		}
	}
}

func textMessage(body string) *sms.Message {
	m := message()
	m.ID, m.Body = uuid.NewString(), sms.Hide(body)
	return m
}

// A reply too many is never the tick of a text that the provider refused, and no failure of the
// account, on both transports.
func TestRepliesTooMany(t *testing.T) {
	for _, direct := range []bool{true, false} {
		p := &talkative{
			pause: func(n int) time.Duration { return time.Duration(n%21) * 100 * time.Microsecond },
			id:    func(n int) string { return fmt.Sprint("id-", n) },
		}
		url := p.start(t)
		d := deliverer(t, url)
		if direct {
			useDirect(t, d, url)
		}
		for n := range 300 {
			if r := d.Deliver(t.Context(), textMessage("yes "+fmt.Sprint(n)), new(Untracked)); r.Outcome == sms.Refused {
				t.Fatalf("direct %t: text %d is refused: %s", direct, n, r.Detail)
			}
			if r := d.Deliver(t.Context(), textMessage("no "+fmt.Sprint(n)), new(Untracked)); r.Outcome == sms.Accepted {
				t.Fatalf("direct %t: text %d was refused and gets the tick of %s", direct, n, r.ID)
			}
		}
		if s := d.Routes[0].Account.Status(); s.Breaker != Closed {
			t.Errorf("direct %t: the circuit breaker is %s", direct, s.Breaker)
		}
	}
}

// An API may answer all messages with one id if its definition says so. One that does not is not
// believed.
func TestOneIDForAll(t *testing.T) {
	for i, shared := range []bool{false, true, false, true, false, true} {
		id := "queued"
		if i == 2 || i == 3 {
			id += "-15551231234" // the recipient's number, so that only the phone gets it
		}
		p := &talkative{pause: func(int) time.Duration { return -1 }, id: func(int) string { return id }}
		url := p.start(t)
		d := deliverer(t, url)
		if i >= 4 {
			useDirect(t, d, url)
		}
		if shared {
			def, err := adapters.Parse("p", "p", 1, strings.Replace(definition, "id id", "id id shared", 1))
			if err != nil {
				t.Fatal(err)
			}
			if d.Routes[0].Adapter, err = def.Bind("", url, nil); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 4 {
			r := d.Deliver(t.Context(), textMessage("yes "+fmt.Sprint(n)), new(Untracked))
			if believed := shared || n%2 == 0; believed != (r.Outcome == sms.Accepted) || !believed && r.Detail != repeatedID {
				t.Errorf("shared %t: message %d is %s, %q", shared, n, r.Outcome, r.Detail)
			}
		}
		want := int32(1)
		if !shared { // each connection that repeats an id is closed
			want = 2
		}
		if got := p.opened.Load(); got != want {
			t.Errorf("shared %t: %d connections, want %d", shared, got, want)
		}
	}
}

// A connection that was closed for a reply too many says nothing of one that is at the same place
// in memory later.
func TestSpoiledForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, conn := newConnections(), new(net.TCPConn)
		read := func(message, id string, early bool) sms.Outcome {
			r := sms.Result{Outcome: sms.Accepted, ID: id}
			c.check(conn, message, &r, early, false)
			return r.Outcome
		}
		for _, step := range []struct {
			after time.Duration
			early bool
			want  sms.Outcome
		}{
			{0, false, sms.Accepted}, {0, true, sms.OutcomeUnknown}, {time.Second, false, sms.OutcomeUnknown}, {30 * time.Second, false, sms.OutcomeUnknown},
			{2 * time.Minute, false, sms.Accepted}, {0, false, sms.Accepted}, {time.Hour, true, sms.OutcomeUnknown},
		} {
			time.Sleep(step.after)
			at := time.Now().String()
			if got := read("message "+at, uuid.NewString(), step.early); got != step.want {
				t.Errorf("after %s it is %s, want %s", step.after, got, step.want)
			}
		}
	})
}

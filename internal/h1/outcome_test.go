package h1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A kept connection on which anything has happened carries no request: the next request goes to a
// new connection, and is never unknown.
func TestDeadConnection(t *testing.T) {
	faults := map[string]func(c net.Conn){
		"closed":      func(c net.Conn) { c.Close() },
		"half closed": func(c net.Conn) { _ = raw(c).CloseWrite() },
		"reset": func(c net.Conn) {
			_ = raw(c).SetLinger(0)
			raw(c).Close()
		},
		"unasked bytes": func(c net.Conn) { _, _ = io.WriteString(c, good) },
		"close_notify": func(c net.Conn) {
			if s, is := c.(*tls.Conn); is {
				_ = s.CloseWrite()
			} else {
				c.Close()
			}
		},
		"unasked bytes below TLS": func(c net.Conn) { _, _ = io.WriteString(raw(c), "\x17\x03\x03\x00\x01x") },
	}
	both(t, func(t *testing.T, secure bool) {
		for name, fault := range faults {
			t.Run(name, func(t *testing.T) {
				conns := make(chan net.Conn, 9)
				s := newServer(t, secure, func(_ int, c net.Conn, _ *http.Request) bool {
					_, err := io.WriteString(c, good)
					conns <- c
					return err == nil
				})
				c := s.client(t)
				for i := range 3 {
					if status, _, err := do(c, fmt.Sprint("/", i)); status != 200 || err != nil {
						t.Fatalf("request %d: %d, %v", i, status, err)
					}
					if c.idleCount() != 1 {
						t.Fatal("the connection is not kept")
					}
					fault(<-conns)
					await(t, "the fault has arrived", func() bool { return !c.idle[0].quiet() })
				}
				if s.opened != 3 || len(s.arrived) != 3 {
					t.Errorf("%d connections, %d requests", s.opened, len(s.arrived))
				}
			})
		}
	})
}

// Wherever a connection breaks, a request arrives at most once, arrives exactly once if it has a
// reply, and does not arrive if it was certainly not sent.
func TestNeverTwice(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		for _, ending := range []string{"closed", "reset"} {
			for cut := range len(good) + 1 {
				s := newServer(t, secure, func(n int, c net.Conn, r *http.Request) bool {
					if r.URL.Path == "/before" || n > 1 {
						return say(good)(n, c, r)
					}
					_, _ = io.WriteString(c, good[:cut])
					if ending == "reset" {
						_ = raw(c).SetLinger(0)
					}
					raw(c).Close()
					return false
				})
				c := s.client(t)
				if _, _, err := do(c, "/before"); err != nil {
					t.Fatal(err)
				}
				status, _, err := do(c, "/text")
				s.end()
				checkOutcome(t, fmt.Sprintf("%s after %d bytes", ending, cut), s.arrived["/text"], status, err)
				// A reset may overtake the bytes before it.
				if (cut < len(good)-2 || ending == "closed") && (err == nil) != (cut == len(good)) {
					t.Errorf("%s after %d bytes: %d, %v", ending, cut, status, err)
				}
			}
		}
	})
}

// checkOutcome compares what the caller is told with the number of requests that arrived.
func checkOutcome(t *testing.T, what string, arrived, status int, err error) {
	t.Helper()
	var notSent *NotSentError
	switch {
	case arrived > 1:
		t.Errorf("%s: it arrived %d times", what, arrived)
	case arrived == 0 && status == 200:
		t.Errorf("%s: a reply without a request", what)
	case arrived == 1 && errors.As(err, &notSent):
		t.Errorf("%s: it arrived, but: %v", what, err)
	}
}

// The connection breaks between the check and the write.
func TestBreaksAfterCheck(t *testing.T) {
	defer func(old func(*conn)) { hookChecked = old }(hookChecked)
	both(t, func(t *testing.T, secure bool) {
		for _, ending := range []string{"closed", "reset", "closed here"} {
			conns := make(chan net.Conn, 9)
			s := newServer(t, secure, func(_ int, c net.Conn, _ *http.Request) bool {
				conns <- c
				_, err := io.WriteString(c, good)
				return err == nil
			})
			c := s.client(t)
			if _, _, err := do(c, "/before"); err != nil {
				t.Fatal(err)
			}
			hookChecked = func(conn *conn) {
				if !conn.used {
					return
				}
				other := raw(<-conns)
				switch ending {
				case "reset":
					_ = other.SetLinger(0)
				case "closed here":
					_ = conn.Conn.(*net.TCPConn).CloseWrite()
					return
				}
				other.Close()
				await(t, "the end has arrived", func() bool {
					return !conn.quiet()
				})
			}
			status, _, err := do(c, "/text")
			hookChecked = func(*conn) {}
			s.end()
			checkOutcome(t, ending, s.arrived["/text"], status, err)
			var notSent *NotSentError
			if sent := err != nil && !errors.As(err, &notSent); (ending == "closed") != sent {
				t.Errorf("%s: %d, %v", ending, status, err) // a FIN does not keep the kernel from accepting bytes; the others do
			}
		}
	})
}

// A server that stops reading in the middle of a long request may have read it.
func TestBreaksInRequest(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 8<<20)
	long := append(fmt.Appendf(nil, "POST /text HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
	both(t, func(t *testing.T, secure bool) {
		for name, breaks := range map[string]func(c net.Conn){
			"closed": func(c net.Conn) { raw(c).Close() },
			"reset": func(c net.Conn) {
				_ = raw(c).SetLinger(0)
				raw(c).Close()
			},
			"early reply": func(c net.Conn) {
				_, _ = io.WriteString(c, good)
				_, _ = io.Copy(io.Discard, c)
			},
		} {
			s := newServer(t, secure, func(n int, c net.Conn, r *http.Request) bool {
				_, err := io.WriteString(c, good)
				if r.URL.Path == "/before" {
					_, _ = io.ReadFull(c, make([]byte, 1<<10)) // of the next request
					breaks(c)
					return false
				}
				return err == nil
			})
			c := s.client(t)
			if _, _, err := do(c, "/before"); err != nil {
				t.Fatal(err)
			}
			r, err := c.Do(time.Now().Add(20*time.Second), long, nil, 64<<10)
			var notSent *NotSentError
			if err == nil || errors.As(err, &notSent) || (name == "early reply") != errors.Is(err, ErrEarly) {
				t.Errorf("%s: %d, %v", name, r.Status, err)
			}
			if s.end(); s.arrived["/text"] > 0 {
				t.Errorf("%s: it was sent again", name)
			}
		}
		s := newServer(t, secure, say(good))
		c := s.client(t)
		if r, err := c.Do(time.Now().Add(20*time.Second), long, nil, 64<<10); err != nil {
			t.Errorf("a long request: %v", err)
		} else {
			r.Done(true)
		}
	})
}

// Deadlines are exact in each phase, and a connection whose deadline has passed is not kept.
func TestDeadline(t *testing.T) {
	slowly := func(text string) func(int, net.Conn, *http.Request) bool {
		return func(_ int, c net.Conn, _ *http.Request) bool {
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for i := range text {
				if _, err := io.WriteString(c, text[i:i+1]); err != nil {
					return false
				}
				<-tick.C
			}
			return true
		}
	}
	wait := func(_ int, c net.Conn, _ *http.Request) bool {
		_, _ = io.Copy(io.Discard, c)
		return false
	}
	padded := strings.Replace(good, "{}", "{}"+strings.Repeat(" ", 100), 1)
	padded = strings.Replace(padded, "Length: 2", "Length: 102", 1)
	both(t, func(t *testing.T, secure bool) {
		for name, phase := range map[string]struct {
			answer  func(int, net.Conn, *http.Request) bool
			request []byte
			change  func(c *Client, s *server)
			notSent bool
			cut     bool // there is a reply, which is not whole
		}{
			"past":  {notSent: true},
			"dial":  {notSent: true},
			"write": {request: make([]byte, 32<<20)},
			"wait":  {answer: wait},
			"head":  {answer: slowly(padded)},
			"body": {answer: func(n int, c net.Conn, r *http.Request) bool {
				return say(padded[:80])(n, c, r) && slowly(padded[80:])(n, c, r)
			}, cut: true},
			"chunked": {answer: slowly("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")},
		} {
			t.Run(name, func(t *testing.T) {
				s := newServer(t, secure, phase.answer, func(s *server) {
					if name == "write" { // it speaks no TLS and reads nothing
						s.config, s.answer = nil, wait
						s.accepted = func(c net.Conn) { _ = c.(*net.TCPConn).SetReadBuffer(4096) }
					}
				})
				c := s.client(t)
				switch name {
				case "dial":
					c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					}
				case "write":
					c.TLS = nil
				}
				ask := phase.request
				if ask == nil {
					ask = request("/text")
				}
				// The machine may have something else to do, but not five times.
				for try := 1; ; try++ {
					until := time.Now().Add(200 * time.Millisecond)
					if name == "past" {
						until = time.Now()
					}
					r, err := c.Do(until, ask, nil, 64<<10)
					late := time.Since(until)
					if err == nil {
						err = r.Err
						r.Done(true)
					}
					var notSent *NotSentError
					slow := errors.As(err, &notSent) && !phase.notSent // it took so long to connect
					if phase.notSent && notSent == nil || !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("%d, %v", r.Status, err)
					}
					if c.idleCount() > 0 {
						t.Fatal("the connection is kept")
					}
					if late >= 0 && late < 50*time.Millisecond && !slow {
						break
					}
					if try == 5 {
						t.Fatalf("%s after the deadline, %v", late, err)
					}
				}
				if name == "past" && s.opened > 0 {
					t.Error("it connected")
				}
			})
		}
	})
}

// The handshake has the deadline of the request, and a limit of its own.
func TestHandshakeDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts the connections
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, roots := certificate()
	for _, limit := range []time.Duration{0, 100 * time.Millisecond} {
		c := &Client{Address: l.Addr().String(), Dial: new(net.Dialer).DialContext, TLS: roots, HandshakeTimeout: limit}
		began, allowed := time.Now(), 20*time.Second
		if limit == 0 {
			allowed = 100 * time.Millisecond
		}
		_, err := c.Do(began.Add(allowed), request("/"), nil, 64<<10)
		var notSent *NotSentError
		if took := time.Since(began); !errors.As(err, &notSent) || !errors.Is(err, os.ErrDeadlineExceeded) || took > 5*time.Second || took < 100*time.Millisecond {
			t.Errorf("after %s: %v", took, err)
		}
	}
}

package h1

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func squeezed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

func withLength(header, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

// Each kind of reply has its result, and its connection is kept or closed.
func TestReplies(t *testing.T) {
	huge := strings.Repeat("x", 64<<10)
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
	type row struct {
		reply  string
		status int
		body   string
		fails  bool // no reply, or not the whole
		kept   bool
	}
	both(t, func(t *testing.T, secure bool) {
		for name, row := range map[string]row{
			"ordinary":             {good, 200, "{}", false, true},
			"without a body":       {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", false, true},
			"refusal":              {strings.Replace(good, "200 OK", "400 Bad Request", 1), 400, "{}", false, true},
			"chunked":              {chunked, 200, "{}", false, true},
			"gzip":                 {withLength("Content-Encoding: gzip\r\n", squeezed("{}")), 200, "{}", false, true},
			"long":                 {withLength("", huge), 200, huge, false, true},
			"long head":            {withLength("X: "+huge+"\r\n", "{}"), 200, "{}", false, true},
			"informational":        {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 16) + good, 200, "{}", false, true},
			"too informational":    {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17) + good, 0, "", true, false},
			"surplus":              {good + good, 200, "{}", false, false},
			"a surplus byte":       {good + "\n", 200, "{}", false, false},
			"surplus, chunked":     {chunked + good, 200, "{}", false, false},
			"surplus and no body":  {"HTTP/1.1 204 No Content\r\n\r\n" + good, 204, "", false, false},
			"surplus and long":     {withLength("", huge) + good, 200, huge, false, false},
			"Connection: close":    {withLength("Connection: close\r\n", "{}"), 200, "{}", false, false},
			"HTTP/1.0":             {strings.Replace(good, "1.1", "1.0", 1), 200, "{}", false, false},
			"too long":             {withLength("", huge+"x"), 200, huge, true, false},
			"gzip bomb":            {withLength("Content-Encoding: gzip\r\n", squeezed(huge+"x")), 200, huge, true, false},
			"switching protocols":  {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 101, "", true, false},
			"another protocol":     {"220 mail.example.com ESMTP\r\n", 0, "", true, false},
			"too long a head":      {withLength(strings.Repeat("X: "+huge+"\r\n", 5), "{}"), 0, "", true, false},
			"a length given twice": {withLength("Content-Length: 3\r\n", "{}"), 0, "", true, false},
		} {
			t.Run(name, func(t *testing.T) {
				s := newServer(t, secure, say(row.reply))
				c := s.client(t)
				r, err := c.Do(long(), request("/"), nil, 64<<10)
				if row.status == 0 {
					if err == nil {
						t.Fatalf("%d %s", r.Status, r.Body)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if r.Status != row.status || string(r.Body) != row.body || (r.Err != nil) != row.fails {
					t.Errorf("%d %.100q, %v", r.Status, r.Body, r.Err)
				}
				if r.Done(true); c.idleCount() == 1 && !row.kept { // the surplus may still be on its way
					await(t, "the surplus has arrived", func() bool { return !c.idle[0].quiet() })
				}
				if _, _, err := do(c, "/"); err != nil && !row.fails {
					t.Error(err)
				}
				if (s.opened == 1) != row.kept {
					t.Errorf("%d connections for 2 requests", s.opened)
				}
			})
		}
		s := newServer(t, secure, func(n int, c net.Conn, r *http.Request) bool {
			say(good[:len(good)-1])(n, c, r)
			return false
		})
		c := s.client(t)
		r, err := c.Do(long(), request("/"), nil, 64<<10)
		if err != nil || r.Err == nil || r.Status != 200 || string(r.Body) != "{" {
			t.Errorf("cut: %d %q, %v, %v", r.Status, r.Body, err, r.Err)
		}
		if r.Done(true); c.idleCount() > 0 {
			t.Error("the connection is kept after a reply that was cut")
		}
	})
}

// A reply that was sent in two pieces, with a second reply in the second piece, and one record.
func TestSurplusInBuffers(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		for at := 1; at < 2*len(good); at += 7 {
			s := newServer(t, secure, func(n int, c net.Conn, r *http.Request) bool {
				return say((good + good)[:at])(n, c, r) && say((good + good)[at:])(n, c, r)
			})
			c := s.client(t)
			for range 3 {
				if _, body, err := do(c, "/"); body != "{}" || err != nil {
					t.Fatalf("at %d: %q, %v", at, body, err)
				}
				// A surplus that arrives later is found by the check before the next request.
				await(t, "the surplus has arrived", func() bool { return c.idleCount() == 0 || !c.idle[0].quiet() })
			}
			if s.opened != 3 {
				t.Errorf("at %d: %d connections for 3 requests", at, s.opened)
			}
		}
	})
}

// The caller may say that the connection is not to be used again, and what it remembers of one stays.
func TestDone(t *testing.T) {
	s := newServer(t, false, say(good))
	c := s.client(t)
	for i, keep := range []bool{true, true, false, true} {
		r, err := c.Do(long(), request("/"), nil, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		if memo := r.Memo(); i == 1 && *memo != 0 || i == 3 && *memo != nil {
			t.Errorf("reply %d finds %v", i, *memo)
		} else {
			*memo = i
		}
		r.Done(keep)
	}
	if s.opened != 2 {
		t.Errorf("%d connections", s.opened)
	}
}

// Connections are used last in, first out, at most MaxIdle are kept, and none for longer than
// IdleTimeout. No connection has a goroutine.
func TestPool(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, func(n int, c net.Conn, r *http.Request) bool {
			return say(withLength("", fmt.Sprint(n)))(n, c, r)
		})
		c := s.client(t)
		c.MaxIdle, c.IdleTimeout = 20, 200*time.Millisecond
		atOnce := func(n int) (replies []Reply) {
			for range n {
				r, err := c.Do(long(), request("/"), nil, 64<<10)
				if err != nil {
					t.Fatal(err)
				}
				replies = append(replies, r)
			}
			return replies
		}
		before := runtime.NumGoroutine()
		replies := atOnce(30)
		if now := runtime.NumGoroutine(); now > before+30 { // those of the server
			t.Errorf("%d goroutines of the client", now-before-30)
		}
		for _, r := range replies {
			r.Done(true)
		}
		if c.idleCount() != 20 {
			t.Errorf("%d connections are kept", c.idleCount())
		}
		for range 3 {
			if _, body, err := do(c, "/"); err != nil || body != "20" {
				t.Errorf("connection %s is used, %v", body, err)
			}
		}
		await(t, "idle connections are closed", func() bool { return c.idleCount() == 0 })
		if c.idleCount() != 0 {
			t.Errorf("%d idle connections", c.idleCount())
		}
		if _, body, err := do(c, "/"); err != nil || body != "31" {
			t.Errorf("connection %s is used, %v", body, err)
		}
	})
}

// The sweeper closes connections that the server has closed.
func TestSweep(t *testing.T) {
	s := newServer(t, false, say(good))
	c := s.client(t)
	for _, r := range []string{"/1", "/2"} {
		if _, _, err := do(c, r); err != nil {
			t.Fatal(err)
		}
	}
	c.sweep()
	if c.idleCount() != 1 {
		t.Fatal("a live connection was closed")
	}
	s.end()
	await(t, "the end has arrived", func() bool { return !c.idle[0].quiet() })
	kept := c.idle[0]
	c.sweep()
	if c.idleCount() != 0 || kept.SetDeadline(time.Time{}) == nil {
		t.Error("the connection is still open")
	}
}

// After Close, connections are closed when their requests end.
func TestClose(t *testing.T) {
	s := newServer(t, true, say(good))
	c := s.client(t)
	r, err := c.Do(long(), request("/"), nil, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _ = do(c, "/")
	if err := c.Close(); err != nil || c.idleCount() != 0 {
		t.Error(err)
	}
	r.Done(true)
	if _, _, err := do(c, "/"); err != nil || c.idleCount() != 0 {
		t.Errorf("%d connections are kept, %v", c.idleCount(), err)
	}
	s.listener.Close()
	s.tasks.Wait() // the server's side ends with each connection
}

// 256 goroutines get the replies to their own requests.
func TestAtOnce(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, func(n int, c net.Conn, r *http.Request) bool {
			keep := say(withLength("", r.URL.Path))(n, c, r)
			return keep && r.URL.Path[len(r.URL.Path)-1] != '3' // some connections end without a word
		})
		c := s.client(t)
		c.MaxIdle = 100
		var wg sync.WaitGroup
		for i := range 256 {
			wg.Go(func() {
				for n := range 5 {
					path := fmt.Sprintf("/%d/%d", i, n)
					status, body, err := do(c, path)
					if err == nil && body != path {
						t.Errorf("%s got the reply to %s", path, body)
					}
					s.mu.Lock()
					arrived := s.arrived[path]
					s.mu.Unlock()
					checkOutcome(t, path, arrived, status, err)
				}
			})
		}
		wg.Wait()
	})
}

package h1

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The harness: a server on a bare socket counts the requests that arrived as a whole, by their path,
// and answers each as the test says. Tests run with and without TLS.

type server struct {
	address string
	roots   *tls.Config
	config  *tls.Config
	answer  func(n int, c net.Conn, r *http.Request) bool // n counts connections; false ends the connection

	tasks    sync.WaitGroup
	mu       sync.Mutex
	opened   int
	arrived  map[string]int
	open     map[net.Conn]bool
	listener net.Listener
	accepted func(net.Conn) // may be nil
}

// certificate is made once, since it takes time.
var certificate = sync.OnceValues(func() (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"http/1.1"}},
		&tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", NextProtos: []string{"http/1.1"}}
})

// newServer starts a server. change is called before it accepts connections.
func newServer(t testing.TB, secure bool, answer func(n int, c net.Conn, r *http.Request) bool, change ...func(*server)) *server {
	t.Helper()
	s := &server{answer: answer, arrived: make(map[string]int), open: make(map[net.Conn]bool)}
	if secure {
		s.config, s.roots = certificate()
	}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.address = s.listener.Addr().String()
	for _, f := range change {
		f(s)
	}
	s.tasks.Go(s.accept)
	t.Cleanup(s.end)
	return s
}

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		if s.accepted != nil {
			s.accepted(c)
		}
		s.mu.Lock()
		s.opened++
		n := s.opened
		s.open[c] = true
		s.mu.Unlock()
		s.tasks.Go(func() { s.serve(n, c) })
	}
}

func (s *server) serve(n int, c net.Conn) {
	defer c.Close()
	if s.config != nil {
		c = tls.Server(c, s.config)
	}
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		s.mu.Lock()
		s.arrived[r.URL.Path]++
		s.mu.Unlock()
		if !s.answer(n, c, r) {
			return
		}
	}
}

// end closes everything, and waits until all requests are counted.
func (s *server) end() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
}

// client returns a client of the server.
func (s *server) client(t testing.TB) *Client {
	c := &Client{Address: s.address, Dial: new(net.Dialer).DialContext, TLS: s.roots, MaxIdle: 512, IdleTimeout: time.Minute}
	t.Cleanup(func() { c.Close() })
	return c
}

func request(path string) []byte { return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path) }

// long is the time of requests that are not to end by their deadline.
func long() time.Time { return time.Now().Add(20 * time.Second) }

// do makes a request and returns the status and a copy of the body.
func do(c *Client, path string) (status int, body string, err error) {
	r, err := c.Do(long(), request(path), nil, 64<<10)
	if err != nil {
		return 0, "", err
	}
	defer r.Done(true)
	return r.Status, string(r.Body), r.Err
}

const good = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

func say(text string) func(int, net.Conn, *http.Request) bool {
	return func(_ int, c net.Conn, _ *http.Request) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

// await waits until a condition holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func (c *Client) idleCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.idle)
}

// both runs a test with and without TLS.
func both(t *testing.T, test func(t *testing.T, secure bool)) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { test(t, secure) })
	}
}

// raw is the TCP connection below TLS.
func raw(c net.Conn) *net.TCPConn {
	if t, is := c.(*tls.Conn); is {
		c = t.NetConn()
	}
	return c.(*net.TCPConn)
}

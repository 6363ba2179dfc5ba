package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Over HTTP/2 a body is given once: what net/http takes for an early error may come late.
func TestNoRepeatOverHTTP2(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(say(200, `{"id":"7"}`))
		s.EnableHTTP2 = http2
		s.StartTLS()
		var again error
		asks := roundTripper(func(r *http.Request) (*http.Response, error) {
			reply, err := s.Client().Transport.RoundTrip(r)
			_, again = r.GetBody()
			return reply, err
		})
		d := &Deliverer{Timeout: time.Second, AttemptTimeout: time.Second, Routes: []Route{route(t, "x", s.URL, asks)}}
		if r := d.Deliver(t.Context(), message(), new(Untracked)); r.Outcome != sms.Accepted || (again != nil) != http2 {
			t.Errorf("HTTP/2 %t: %s, asked for the body again: %v", http2, r.Outcome, again)
		}
		s.Close()
	}
}

// leaver is an HTTP/2 server that reads a request and then claims not to have seen it.
type leaver struct {
	net.Listener
	requests atomic.Int32
	reset    bool // the stream only, or else the connection
	gone     bool // nobody listens any more by then
}

func (l *leaver) serve(end <-chan struct{}) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			<-end
			conn.Close()
		}()
		go func() {
			if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
				return
			}
			f := http2.NewFramer(conn, conn)
			_ = f.WriteSettings()
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if headers, ok := frame.(*http2.HeadersFrame); ok {
					l.requests.Add(1)
					if l.gone {
						l.Close()
					}
					if l.reset {
						_ = f.WriteRSTStream(headers.StreamID, http2.ErrCodeRefusedStream)
					} else {
						_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
					}
				}
			}
		}()
	}
}

// net/http repeats a request that an HTTP/2 server disowns. A message has left by then, and whether
// nobody took it is the server's word alone, so it is not sent again.
func TestNoRepeatAfterHTTP2Error(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	for name, reset := range map[string]bool{"the stream": true, "the connection": false} {
		for _, send := range []string{
			"POST /send\nquery {\n to {sms.to}\n text {sms.body}\n}",
			"GET /send\nquery {\n to {sms.to}\n text {sms.body}\n}",
			"POST /send\nform {\n to {sms.to}\n text {sms.body}\n}",
		} {
			inner, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			l := &leaver{Listener: inner, reset: reset}
			end := make(chan struct{})
			go l.serve(end)
			def, err := adapters.Parse("x", "x", 1, "send {\n"+send+"\n}\nreply json\naccepted status 200\nid id")
			if err != nil {
				t.Fatal(err)
			}
			a, err := def.Bind("", "https://"+l.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
			d := &Deliverer{Timeout: 3 * time.Second, AttemptTimeout: 3 * time.Second, Routes: []Route{{Adapter: a, Transport: transport, Account: NewAccount()}}}
			r := d.Deliver(context.Background(), message(), new(Untracked))
			if r.Outcome != sms.OutcomeUnknown || l.requests.Load() != 1 {
				t.Errorf("%s disowns %q: %s, %d requests for one message", name, send, r.Outcome, l.requests.Load())
			}
			transport.CloseIdleConnections()
			l.Close()
			close(end)
		}
	}
}

// A message that was written is not known to be unsent because the connection on which net/http
// would repeat it fails.
func TestNoRepeatElsewhereAfterHTTP2Error(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	second := serve(t, say(200, `{"id":"7"}`))
	inner, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	l, end := &leaver{Listener: inner, gone: true}, make(chan struct{})
	defer close(end)
	go l.serve(end)
	def, err := adapters.Parse("x", "x", 1, "send {\nPOST /send\nquery {\n to {sms.to}\n text {sms.body}\n}\n}\nreply json\naccepted status 200\nid id")
	if err != nil {
		t.Fatal(err)
	}
	a, err := def.Bind("", "https://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	d := &Deliverer{
		Timeout: 3 * time.Second, AttemptTimeout: 3 * time.Second,
		Routes: []Route{{Adapter: a, Transport: transport, Account: NewAccount()}, route(t, "second", second.URL, http.DefaultTransport)},
		NotSent: func(err error) bool {
			var op *net.OpError
			return errors.As(err, &op) && op.Op == "dial"
		},
	}
	if r := d.Deliver(t.Context(), message(), new(Untracked)); r.Outcome != sms.OutcomeUnknown || l.requests.Load() != 1 || second.count.Load() != 0 {
		t.Errorf("%s, %d requests, %d to the second", r.Outcome, l.requests.Load(), second.count.Load())
	}
}

package providertest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Provider is a mock provider that counts the texts that it accepts.
type Provider struct {
	URL         string
	nextFault   func(first bool) *Fault
	fault       *Fault // the only one that draw returns, or nil
	certificate *tls.Config
	socket      *os.File
	healed      atomic.Bool // Heal was called

	mu       sync.Mutex
	texts    map[string]Text
	requests int // requests of which the beginning was read
	given    int // ids
	open     map[io.Closer]bool
	ended    bool
	tasks    sync.WaitGroup
}

// Text is what became of one text.
type Text struct {
	Accepted int
	// MaybeAccepted is set once a request was read that the provider accepted or answered with
	// nothing usable.
	MaybeAccepted bool
	// Resent counts the requests that came after a doubtful one. Each of them breaks the promise
	// "one tap, at most one text", whether the provider accepted it or not.
	Resent int
}

// New starts a provider with one fault, or without any if f is nil. The faults HandshakeFails and
// HandshakeHangs need a certificate. The port of a provider with PortClosed stays bound, so that no
// other process listens there.
func New(t testing.TB, f *Fault, certificate *tls.Config) *Provider {
	t.Helper()
	return start(t, f, certificate, func(first bool) *Fault {
		if f == nil || first && f.Second() {
			return nil
		}
		return f
	})
}

// NewWithFaults starts a provider that asks draw for the fault of each request. A nil fault is a
// good reply. The argument first is set for the first request of a connection; draw must not return
// a fault that needs a second one then, or one that does not connect.
func NewWithFaults(t testing.TB, draw func(first bool) *Fault) *Provider {
	t.Helper()
	return start(t, nil, nil, draw)
}

func start(t testing.TB, f *Fault, certificate *tls.Config, draw func(first bool) *Fault) *Provider {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{
		nextFault: draw, fault: f, certificate: certificate, socket: os.NewFile(uintptr(fd), "provider"),
		texts: make(map[string]Text), open: make(map[io.Closer]bool),
	}
	t.Cleanup(p.End)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprint("127.0.0.1:", name.(*syscall.SockaddrInet4).Port)
	p.URL = "http://" + address
	switch {
	case f == nil || f.At != PortClosed && f.At != AcceptQueueFull:
		err = p.listen()
	case f.At == AcceptQueueFull:
		if err = syscall.Listen(fd, 0); err == nil { // room for one connection
			var c net.Conn
			if c, err = net.Dial("tcp", address); err == nil {
				p.keep(c)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if certificate != nil {
		p.URL = "https://" + address
	}
	return p
}

func (p *Provider) listen() error {
	if err := syscall.Listen(int(p.socket.Fd()), 128); err != nil {
		return err
	}
	l, err := net.FileListener(p.socket)
	if err != nil {
		return err
	}
	p.keep(l)
	p.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if p.keep(c) {
				p.tasks.Go(func() {
					defer p.drop(c)
					p.serve(c)
				})
			}
		}
	})
	return nil
}

// keep registers a connection or listener to be closed by End. It closes it and reports false after
// End.
func (p *Provider) keep(c io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		c.Close()
		return false
	}
	p.open[c] = true
	return true
}

func (p *Provider) drop(c io.Closer) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// Heal ends the fault of a provider that New has started.
func (p *Provider) Heal() error {
	p.healed.Store(true)
	if p.fault != nil && (p.fault.At == PortClosed || p.fault.At == AcceptQueueFull) {
		return p.listen()
	}
	return nil
}

// End closes all connections and waits until every request that was read is counted.
func (p *Provider) End() {
	p.mu.Lock()
	p.ended = true
	for c := range p.open {
		c.Close()
	}
	p.socket.Close()
	p.mu.Unlock()
	p.tasks.Wait()
}

var errFault = errors.New("no handshake")

func (p *Provider) serve(c net.Conn) {
	if p.certificate != nil {
		broken := func() bool { return p.fault != nil && !p.fault.Connects() && !p.healed.Load() }
		if broken() && p.fault.At == HandshakeHangs {
			hang(c)
			return
		}
		config := p.certificate.Clone()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if broken() {
				return nil, errFault
			}
			return nil, nil
		}
		c = tls.Server(c, config)
	}
	in := bufio.NewReaderSize(c, 16)
	for first := true; p.answer(c, in, first); first = false {
	}
}

// answer reads one request and replies. It reports whether the connection is kept.
func (p *Provider) answer(c net.Conn, in *bufio.Reader, first bool) bool {
	if _, err := in.Peek(1); err != nil {
		return false
	}
	var f *Fault
	if !p.healed.Load() {
		f = p.nextFault(first)
	}
	p.mu.Lock()
	p.requests++
	p.mu.Unlock()
	if f != nil && f.Unread() {
		f.Serve(c)
		return false
	}
	r, err := http.ReadRequest(in)
	if err != nil || r.ParseForm() != nil {
		return false
	}
	if !r.Form.Has("text") {
		// A client of another program on this machine that expects its own server at this port.
		p.mu.Lock()
		p.requests--
		p.mu.Unlock()
		return false
	}
	reply := p.count(r.Form.Get("text"), f)
	if f != nil {
		if reply = f.Reply; reply == "" {
			f.Serve(c)
			return false
		}
	}
	_, err = io.WriteString(c, reply)
	return err == nil
}

// count counts a request that meets a fault, and returns what a provider without one replies.
func (p *Provider) count(text string, f *Fault) (reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.texts[text]
	if state.MaybeAccepted {
		state.Resent++
	}
	if f == nil || f.Accepts {
		state.Accepted++
	}
	state.MaybeAccepted = state.MaybeAccepted || f == nil || f.Accepts || f.Reply == ""
	p.texts[text] = state
	p.given++
	id := fmt.Sprintf(`{"id":"%s/%d"}`, p.URL, p.given)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
}

// Text returns what became of a text.
func (p *Provider) Text(text string) Text {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.texts[text]
}

// Requests is the number of requests of which the provider read at least the first byte.
func (p *Provider) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

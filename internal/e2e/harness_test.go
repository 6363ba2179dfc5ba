//go:build e2e

// Package e2e runs the built binary, ./caddy, against mock providers on the loopback interface.
package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binary is the Caddy under test.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("CADDY")
	if path == "" {
		path = "../../caddy"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("there is no %s, run ./xcaddy.sh", path)
	}
	return path
}

// server is a running Caddy.
type server struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// environment contains only the variables that Caddy needs and those that the test adds.
func environment(t testing.TB, more ...string) []string {
	dir := t.TempDir()
	return append([]string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, more...)
}

// start runs Caddy with a configuration file and waits until it replies at the address.
func start(t testing.TB, file, address string, env ...string) *server {
	t.Helper()
	return startBinary(t, binary(t), file, address, env...)
}

func startBinary(t testing.TB, binary, file, address string, env ...string) *server {
	t.Helper()
	cmd := exec.Command(binary, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Dir, cmd.Env = filepath.Dir(file), environment(t, env...)
	return startCommand(t, cmd, address)
}

func startCommand(t testing.TB, cmd *exec.Cmd, address string) *server {
	t.Helper()
	s := &server{t: t, cmd: cmd, out: new(output), done: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(s.stop)
	if !eventually(func() bool {
		select {
		case <-s.done: // somebody else may answer there
			return false
		default:
		}
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}) {
		t.Fatalf("Caddy does not answer on %s:\n%s", address, s.out)
	}
	return s
}

// stop ends Caddy with the signal of a service manager and waits for its end.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		s.t.Error("Caddy did not stop")
	}
}

// command runs a command of the binary and returns what it printed.
func command(t testing.TB, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Env = environment(t, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually polls a condition for ten seconds.
func eventually(condition func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if condition() {
			return true
		}
		<-tick.C
	}
	return false
}

// write makes a configuration file.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddress is a loopback address on which no process listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// provider is a mock provider that records the requests.
type provider struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
	answer   http.HandlerFunc
	opened   int // connections
}

type received struct {
	*http.Request
	body string
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.requests = append(p.requests, received{r, string(body)})
		answer := p.answer
		p.mu.Unlock()
		answer(w, r)
	}))
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.mu.Lock()
			p.opened++
			p.mu.Unlock()
		}
	}
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.say(201, `{"sid":"afe3259dc234"}`)
	t.Cleanup(func() { p.Close() })
	return p
}

// plain starts the provider without TLS.
func (p *provider) plain() *provider { p.Start(); return p }

// say sets the reply of the provider. Its sid is the id of the first message; later messages get
// other ids.
func (p *provider) say(status int, body string) {
	var messages atomic.Int32
	p.do(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		text := body
		if n := messages.Add(1); n > 1 {
			text = sid.ReplaceAllString(body, fmt.Sprintf("${1}-%d", n))
		}
		_, _ = io.WriteString(w, text)
	})
}

var sid = regexp.MustCompile(`("sid":"[^"]*)`)

func (p *provider) do(answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// take returns the requests since the last call.
func (p *provider) take() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.requests
	p.requests = nil
	return list
}

// raw sends the bytes of a request over a connection and reads the reply.
func raw(t testing.TB, conn net.Conn, request string) (*http.Response, string) {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// certificate writes a certificate for the loopback interface as PEM files. It returns the pool
// that trusts it.
func certificate(t testing.TB) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile = write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	keyFile = write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return certFile, keyFile, pool
}

// client speaks TLS with one version of HTTP.
func client(t testing.TB, pool *x509.CertPool, http2 bool) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// taps is the number of the last message.
var taps atomic.Int64

// send sends a message by POST, with an id of its own, and returns status and body.
func send(t testing.TB, c *http.Client, url, to, body string) (int, string) {
	t.Helper()
	return tap(t, c, url, to, body, fmt.Sprint(taps.Add(1)))
}

// tap sends the message with the given app id.
func tap(t testing.TB, c *http.Client, url, to, body, id string) (int, string) {
	t.Helper()
	resp, err := c.Post(url, "application/json", strings.NewReader(fmt.Sprintf(
		`{"username":"johndow","password":"12345678","sms_to":%q,"sms_body":%q,"content_type":"text/plain","disposition_notification":%q}`, to, body, id+":display")))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// options are the global options of most tests.
const options = "{\n\tadmin off\n\tauto_https off\n}\n"

// site is an address for any host on a loopback port.
func site(scheme, address string) string {
	_, port, _ := strings.Cut(address, ":")
	return scheme + "://:" + port
}

// twilio is a site with one adapter that speaks to a mock.
func twilio(site, url, before, more string) string {
	return fmt.Sprintf(`%s {
	bind 127.0.0.1
%s
	acrobits_sms /send_message* {
		user johndow {
			password 12345678
			from +15550001111
		}
		default_region US
		limit off
		bursts off
		adapter twilio {
			account_sid AC1
			auth_token {env.TOKEN}
			base_url %s
		}
%s
	}
}
`, site, before, url, more)
}

package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// selfSigned makes a certificate for 127.0.0.1 and example.com, and files of it and of its key.
func selfSigned(t *testing.T) (certificate tls.Certificate, file, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.com"}, IPAddresses: []net.IP{{127, 0, 0, 1}},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, keyFile = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{file: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file, keyFile
}

// testdata/transports.txt lists transports and whether the direct client takes their place. What it cannot do is left to the
// module; the debug log and the admin endpoint say which sends.
func TestChoiceOfTransport(t *testing.T) {
	table, err := os.ReadFile("testdata/transports.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " | ", 3)
		why, base, options := fields[0], fields[1], strings.ReplaceAll(fields[2], "; ", "\n")
		s := newSite(t, demo+"adapter twilio {\nbase_url "+base+"\naccount_sid AC1\nauth_token t\n}\ntransport http {\n"+options+"\n}")
		route := s.gateway.Deliverer.Routes[0]
		if got := whyNotDirect(guestOf(route.Transport), route.Adapter.BaseURL()); got != strings.TrimSuffix(why, "direct") {
			t.Errorf("%q: %q", line, got)
		}
		if want := map[bool]string{true: "direct", false: "module"}[why == "direct"]; transportName(route.Transport) != want {
			t.Errorf("%q: %s", line, transportName(route.Transport))
		}
		if _, status := admin(t, "GET", "/acrobits_sms/status"); !strings.Contains(status, `"transport":"`+transportName(route.Transport)+`"`) {
			t.Error(status)
		}
		s.stop()
	}
	s := newSite(t, demo+"adapter sandbox")
	if got := transportName(s.gateway.Deliverer.Routes[0].Transport); got != "module" {
		t.Errorf("sandbox: %s", got)
	}
}

// The direct client takes over the options of the module.
func TestOptionsOfDirectClient(t *testing.T) {
	s := newSite(t, demo+"adapter twilio {\nbase_url https://example.com/x\naccount_sid AC1\nauth_token t\n}\n"+
		"transport http {\nkeepalive 7s\nkeepalive_idle_conns_per_host 9\nmax_response_header 5KiB\ntls_timeout 3s\n}")
	c := s.gateway.Deliverer.Routes[0].Transport.(directTransport).Client
	if c.Address != "example.com:443" || c.MaxIdle != 9 || c.IdleTimeout != 7*time.Second || c.MaxHead != 5000 && c.MaxHead != 5<<10 || c.HandshakeTimeout != 3*time.Second ||
		c.TLS.ServerName != "example.com" || !slices.Equal(c.TLS.NextProtos, []string{"http/1.1"}) || c.TLS.ClientSessionCache == nil {
		t.Errorf("%+v", c)
	}
}

// Trust pool, client certificate and server name of the module hold on the direct way.
func TestDirectTLS(t *testing.T) {
	certificate, file, key := selfSigned(t)
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	names := make(chan string, 9)
	p := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names <- r.TLS.ServerName + " " + r.Proto
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"sid":"SM1","status":"queued"}`))
	}))
	p.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	p.EnableHTTP2 = true
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	defer p.Close()
	for options, want := range map[string]int{
		"tls_trust_pool file " + file + "\ntls_client_auth " + file + " " + key + "\ntls_server_name example.com": 200,
		"tls_trust_pool file " + file + "\ntls_client_auth " + file + " " + key + "\ntls_server_name example.org": 502,
		"tls_client_auth " + file + " " + key: 502,
	} {
		s := newSite(t, demo+"adapter twilio {\nbase_url "+p.URL+"\naccount_sid AC1\nauth_token t\n}\ntransport http {\n"+options+"\n}")
		if transportName(s.gateway.Deliverer.Routes[0].Transport) != "direct" {
			t.Fatal("not direct")
		}
		if w := s.send(t, get(credential+"to=5551231234&body=Hello")); w.Code != want {
			t.Errorf("%s: %d %s", options, w.Code, w.Body)
		}
		if want == 200 {
			if name := <-names; name != "example.com HTTP/1.1" {
				t.Error(name)
			}
		}
	}
}

// A reload closes the connections of the direct client.
func TestReloadClosesDirect(t *testing.T) {
	closed := make(chan bool, 9)
	p := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"sid":"SM1","status":"queued"}`))
	}))
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- true
		}
	}
	p.Start()
	defer p.Close()
	s := newSite(t, demo+"adapter twilio {\nbase_url "+p.URL+"\naccount_sid AC1\nauth_token t\n}")
	if w := s.send(t, get(credential+"to=5551231234&body=Hello")); w.Code != 200 {
		t.Fatal(w.Body)
	}
	select {
	case <-closed:
		t.Error("the connection is not kept")
	default:
	}
	s.stop()
	<-closed
}

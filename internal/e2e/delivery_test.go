//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// definitions with which net/http would send again by itself.
const resending = `
		define getter {
			base_url http://%[1]s
			send {
				GET /send
				query {
					to {sms.to}
					text {sms.body}
				}
			}
			reply json
			accepted status 200
			id id
		}
		define keyed {
			base_url http://%[1]s
			send {
				POST /send
				header Idempotency-Key {message.id}
				form {
					to {sms.to}
					text {sms.body}
				}
			}
			reply json
			accepted status 200
			id id
		}
`

// A kept connection breaks when the second message is sent. That message is sent once, and the app
// is told that the outcome is unknown.
func TestKeptConnectionDies(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var count atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reader := bufio.NewReader(conn)
			for i := range 2 {
				r, err := http.ReadRequest(reader)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, r.Body)
				count.Add(1)
				if i == 0 {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\":\"7\"}")
				}
			}
			conn.Close()
		}
	}()
	get, keyed := freeAddress(t), freeAddress(t)
	config := options
	for name, address := range map[string]string{"getter": get, "keyed": keyed} {
		config += site("http", address) + " {\n\tbind 127.0.0.1\n\tacrobits_sms * {\n\t\tuser johndow {\n\t\t\tpassword 12345678\n\t\t}\n\t\tdefault_region US\n\t\tadapter " + name +
			"\n" + fmt.Sprintf(resending, l.Addr()) + "\t}\n}\n"
	}
	start(t, write(t, "Caddyfile", config), get)
	for _, want := range []struct {
		address string
		second  int
		count   int32
	}{{get, 504, 2}, {keyed, 200, 3}} { // once more where the provider tells messages apart by our id
		address := want.address
		count.Store(0)
		first, _ := send(t, http.DefaultClient, "http://"+address+"/", "+15551231234", "one")
		second, body := send(t, http.DefaultClient, "http://"+address+"/", "+15551231234", "two")
		if first != 200 || second != want.second || count.Load() != want.count {
			t.Errorf("%d, %d %s, %d requests for two messages", first, second, body, count.Load())
		}
	}
}

// 256 messages wait for a provider that takes 50 ms, over TLS and HTTP/1.1: once there are enough
// connections there are no new ones.
func TestConnectionsAreKept(t *testing.T) {
	p := newProvider(t)
	p.StartTLS()
	p.do(func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(50 * time.Millisecond)
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"sid":"%d"}`, taps.Add(1))
	})
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})))
	address := freeAddress(t)
	start(t, write(t, "Caddyfile", options+twilio(site("http", address), p.URL, "",
		"\t\ttransport http {\n\t\t\ttls_trust_pool file "+ca+"\n\t\t}")), address, "TOKEN=x")
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer c.CloseIdleConnections()
	round := func() {
		var wg sync.WaitGroup
		for i := range 256 {
			wg.Go(func() {
				if status, body := send(t, c, "http://"+address+"/send_message/", fmt.Sprintf("+1555123%04d", i), "Hi"); status != 200 {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		wg.Wait()
	}
	opened := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.opened
	}
	for range 3 {
		round() // until every message has a connection of its own
	}
	before := opened()
	for range 3 {
		round()
	}
	if after := opened(); after > before+8 || before > 300 {
		t.Errorf("%d connections at first, %d afterwards", before, after)
	}
}

// In stealth mode, a stranger gets the same bytes as Caddy's reply for a page that does not exist.
func TestStealth(t *testing.T) {
	address := freeAddress(t)
	config := options + strings.Replace(twilio(site("http", address), "http://127.0.0.1:1", "\trespond /nothing 404", ""), "limit off", "limit off\n\t\tstealth", 1)
	start(t, write(t, "Caddyfile", config), address, "TOKEN=x")
	request := func(head string) string {
		conn := dial(t, address)
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		text, err := bufio.NewReader(conn).ReadString(0) // until it is closed, or no more comes
		if err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		return regexp.MustCompile("Date: [^\r]*").ReplaceAllString(string(text), "Date: now")
	}
	answer := func(path string) string {
		return request("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}
	want := answer("/nothing")
	for _, path := range []string{"/send_message/", "/send_message/?username=johndow&password=wrong&to=5551231234&body=hi"} {
		if got := answer(path); got != want || !strings.HasPrefix(got, "HTTP/1.1 404") {
			t.Errorf("%s is answered\n%s, and what is not there\n%s", path, got, want)
		}
	}
	expect := func(path string) string {
		return request("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nto=5&body")
	}
	if got, want := expect("/send_message/"), expect("/nothing"); got != want || !strings.HasPrefix(got, "HTTP/1.1 404") {
		t.Errorf("a request that waits for 100 Continue is answered\n%s, and what is not there\n%s", got, want)
	}
}

// Nothing of the phone reaches the provider, nothing of the provider the phone.
func TestNothingCrosses(t *testing.T) {
	p := newProvider(t).plain()
	address := freeAddress(t)
	start(t, write(t, "Caddyfile", options+twilio(site("http", address), p.URL, "", "")), address, "TOKEN=x")
	p.do(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "provider=1")
		w.Header().Set("X-Provider", "secret")
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"sid":"%d"}`, taps.Add(1))
	})
	resp, body := raw(t, dial(t, address), strings.Replace(specGET, "Cache-Control: max-age=0\r\n",
		"Cookie: phone=1\r\nReferer: http://phone/\r\nX-Forwarded-For: 192.0.2.1\r\nVia: phone\r\nAccept-Language: de\r\nX-Phone: 1\r\n", 1))
	if resp.StatusCode != 200 || resp.Header.Get("Set-Cookie")+resp.Header.Get("X-Provider") != "" || strings.Contains(body, "provider") {
		t.Errorf("the phone sees %v %s", resp.Header, body)
	}
	got := p.take()
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	allowed := map[string]bool{"Accept": true, "Accept-Encoding": true, "Authorization": true, "Content-Length": true, "Content-Type": true, "User-Agent": true}
	for name, value := range got[0].Header {
		if !allowed[name] || strings.Contains(fmt.Sprint(value), "CloudSoftphone") {
			t.Errorf("the provider sees %s: %s", name, value)
		}
	}
	if got[0].Host != strings.TrimPrefix(p.URL, "http://") {
		t.Errorf("Host %s", got[0].Host)
	}

	other := newProvider(t).plain()
	for _, status := range []int{301, 302, 303, 307, 308} {
		p.do(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		if status, body := send(t, http.DefaultClient, "http://"+address+"/send_message", "5551231234", "Hi"); status != 502 {
			t.Errorf("a redirect is answered %d %s", status, body)
		}
	}
	if n := len(other.take()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}

	// Compressed replies are understood, and one that never ends hurts nobody.
	for size, want := range map[int]int{0: 200, 100 << 20: 504} {
		p.do(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(201)
			z := gzip.NewWriter(w)
			fmt.Fprintf(z, `{"sid":"%d","x":"`, taps.Add(1))
			for chunk := bytes.Repeat([]byte{'x'}, 1<<20); size > 0; size -= len(chunk) {
				if _, err := z.Write(chunk); err != nil {
					return
				}
			}
			_, _ = io.WriteString(z, `"}`)
			_ = z.Close()
		})
		if status, body := send(t, http.DefaultClient, "http://"+address+"/send_message", "5551231234", "Hi"); status != want {
			t.Errorf("gzip: %d %s, want %d", status, body, want)
		}
	}
}

// If the phone closes its connection, the message is still sent once, and the log has its line.
func TestPhoneHangsUp(t *testing.T) {
	p := newProvider(t).plain()
	address := freeAddress(t)
	s := start(t, write(t, "Caddyfile", options+twilio(site("http", address), p.URL, "", "")), address, "TOKEN=x")
	gone, arrived := make(chan struct{}), make(chan struct{})
	p.do(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-gone
		w.WriteHeader(201)
		_, _ = io.WriteString(w, `{"sid":"SMgone"}`)
	})
	conn := dial(t, address)
	if _, err := io.WriteString(conn, specGET); err != nil {
		t.Fatal(err)
	}
	<-arrived
	conn.Close()
	close(gone)
	if !eventually(func() bool { return strings.Contains(s.out.String(), `"sms_id":"SMgone"`) }) {
		t.Errorf("no event line:\n%s", s.out)
	}
	if n := len(p.take()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Reloading and stopping let a message in flight finish.
func TestReloadAndStop(t *testing.T) {
	p := newProvider(t).plain()
	address, admin := freeAddress(t), freeAddress(t)
	global := "{\n\tadmin " + admin + "\n\tauto_https off\n\tgrace_period 10s\n}\n"
	config := global + twilio(site("http", address), p.URL, "", "")
	s := start(t, write(t, "Caddyfile", config), address, "TOKEN=x")
	for _, how := range []string{"reload", "stop"} {
		arrived, answer := make(chan struct{}), make(chan struct{})
		p.do(func(w http.ResponseWriter, _ *http.Request) {
			close(arrived)
			<-answer
			w.WriteHeader(201)
			_, _ = io.WriteString(w, `{"sid":"SM`+how+`"}`)
		})
		result := make(chan string, 1)
		go func() {
			status, body := send(t, http.DefaultClient, "http://"+address+"/send_message", "5551231234", "Hi")
			result <- fmt.Sprint(status, body)
		}()
		<-arrived
		if how == "reload" {
			r, err := http.NewRequest("POST", "http://"+admin+"/load", strings.NewReader(strings.Replace(config, "default_region US", "default_region CA", 1)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "text/caddyfile")
			resp, err := http.DefaultClient.Do(r)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("reload: %v %v\n%s", resp, err, s.out)
			}
			resp.Body.Close()
			close(answer)
		} else {
			stopped := make(chan struct{})
			go func() { s.stop(); close(stopped) }()
			if !eventually(func() bool { return strings.Contains(s.out.String(), "shutting down") }) {
				t.Error("Caddy does not stop")
			}
			close(answer)
			defer func() { <-stopped }()
		}
		if got := <-result; !strings.HasPrefix(got, "200") || !strings.Contains(got, "SM"+how) {
			t.Errorf("%s: %s", how, got)
		}
		if n := len(p.take()); n != 1 {
			t.Errorf("%s: %d requests", how, n)
		}
	}
}

// The second provider gets exactly the messages that the first certainly did not accept.
func TestFailover(t *testing.T) {
	first, second := newProvider(t).plain(), newProvider(t).plain()
	dead, address, silent := freeAddress(t), freeAddress(t), freeAddress(t)
	backup := "\t\tattempt_timeout 200ms\n\t\tadapter twilio as backup {\n\t\t\taccount_sid AC2\n\t\t\tauth_token {env.TOKEN}\n\t\t\tbase_url " + second.URL + "\n\t\t}"
	start(t, write(t, "Caddyfile", options+
		twilio(site("http", address), "http://"+dead, "", backup)+
		twilio(site("http", silent), first.URL, "", backup)), address, "TOKEN=x")
	if status, body := send(t, http.DefaultClient, "http://"+address+"/send_message", "5551231234", "Hi"); status != 200 || len(second.take()) != 1 {
		t.Errorf("nobody listens: %d %s", status, body)
	}
	first.do(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if status, body := send(t, http.DefaultClient, "http://"+silent+"/send_message", "5551231234", "Hi"); status != 504 || len(first.take()) != 1 || len(second.take()) != 0 {
		t.Errorf("silence: %d %s", status, body)
	}
}

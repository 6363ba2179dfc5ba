//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rawProvider serves each connection by a function, which returns when it is done with it.
func rawProvider(t *testing.T, serve func(c net.Conn, in *bufio.Reader)) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// body is the text of a request to the provider.
func body(in *bufio.Reader) (string, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return "", err
	}
	err = r.ParseForm()
	return r.Form.Get("Body"), err
}

// A provider that switches protocols and then sends nothing delays no app, and does not occupy the
// account's requests in flight.
func TestSilentUpgrade(t *testing.T) {
	base := rawProvider(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := body(in); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	address := freeAddress(t)
	config := strings.Replace(options+twilio(site("http", address), base, "", ""), "adapter twilio {", "adapter twilio {\n\t\t\tconcurrency 1", 1)
	start(t, write(t, "Caddyfile", config), address, "TOKEN=x")
	c := client(t, nil, false)
	for n := range 4 {
		began := time.Now()
		status, answer := send(t, c, "http://"+address+"/send_message/", fmt.Sprintf("+1555123000%d", n), "hi")
		if took := time.Since(began); status != http.StatusGatewayTimeout || took > 2*time.Second {
			t.Errorf("message %d: %d %s after %s", n, status, answer, took)
		}
	}
}

// A second reply to one request is never read as the reply to the next message.
func TestRepliesTooMany(t *testing.T) {
	var accepted atomic.Int32
	base := rawProvider(t, func(c net.Conn, in *bufio.Reader) {
		for {
			text, err := body(in)
			if err != nil {
				return
			}
			if strings.HasPrefix(text, "no") {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"+fmt.Sprintf("%-40s", `{"code":21211,"message":"no","more":""}`))
				continue
			}
			n := accepted.Add(1)
			reply := fmt.Sprintf(`{"sid":"SM%032d","status":"queued"}`, n)
			reply = fmt.Sprintf("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(reply), reply)
			_, _ = io.WriteString(c, reply)
			time.Sleep(time.Duration(n%21) * 100 * time.Microsecond)
			_, _ = io.WriteString(c, reply)
		}
	})
	address := freeAddress(t)
	start(t, write(t, "Caddyfile", options+twilio(site("http", address), base, "", "")), address, "TOKEN=x")
	c := client(t, nil, false)
	ticks, unknown := 0, 0
	const texts = 900
	for n := range texts {
		send(t, c, "http://"+address+"/send_message/", "+15551231234", fmt.Sprint("yes ", n))
		switch status, _ := send(t, c, "http://"+address+"/send_message/", "+15551231234", fmt.Sprint("no ", n)); status {
		case http.StatusOK:
			ticks++
		case http.StatusGatewayTimeout:
			unknown++
		}
	}
	t.Logf("of %d refused texts %d got a tick, %d are unknown", texts, ticks, unknown)
	if ticks > 0 {
		t.Errorf("%d ticks", ticks)
	}
}

// dialFrom connects from a loopback address of its own, which is a network of its own.
func dialFrom(from net.IP, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 5 * time.Second}
	return d.Dial("tcp", address)
}

// Slow bodies occupy little memory, for a bounded time, and delay no other request.
func TestSlowBodies(t *testing.T) {
	p := newProvider(t).plain()
	var ids atomic.Int32
	p.do(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"sid":"SM%d"}`, ids.Add(1))
	})
	address := freeAddress(t)
	s := start(t, write(t, "Caddyfile", options+twilio(site("http", address), p.URL, "", "")), address, "TOKEN=x")
	honest := func(n int) (time.Duration, int) {
		began := time.Now()
		conn, err := dialFrom(net.IPv4(127, 9, 0, byte(n)), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		form := url.Values{"username": {"johndow"}, "password": {"12345678"}, "to": {"+15551231234"}, "body": {fmt.Sprint("hi ", n)}}.Encode()
		fmt.Fprintf(conn, "POST /send_message/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(form), form)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		return time.Since(began), reply.StatusCode
	}
	honest(1)
	before := resident(t, s)

	// 5,000 bodies of 256 KB from 100 networks, each with 16 KB at once and then a byte a second.
	const bodies, networks = 5000, 100
	head := "POST /send_message/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 262000\r\n\r\n{\"body\":\"" + strings.Repeat("x", 16<<10)
	var open []net.Conn
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for worker := range 50 {
		wg.Go(func() {
			for n := worker; n < bodies; n += 50 {
				conn, err := dialFrom(net.IPv4(127, 8, byte(n%networks), 1), address)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				open = append(open, conn)
				mu.Unlock()
				_, _ = io.WriteString(conn, head)
			}
		})
	}
	wg.Wait()
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	most, times := 0, []time.Duration(nil)
	for n := range 30 {
		took, status := honest(n + 2)
		if times = append(times, took); status != http.StatusOK {
			t.Errorf("an honest message is answered %d", status)
		}
		most = max(most, resident(t, s))
		mu.Lock()
		for _, conn := range open {
			_, _ = conn.Write([]byte("x"))
		}
		mu.Unlock()
	}
	slices.Sort(times)
	t.Logf("%d slow bodies in %s: %d KB more; honest messages took %s in the median, %s at most", bodies, time.Since(began), (most-before)>>10, times[len(times)/2], times[len(times)-1])
	if more := most - before; more > 150<<20 {
		t.Errorf("%d slow bodies take %d KB", bodies, more>>10)
	}
	if median := times[len(times)/2]; median > 100*time.Millisecond {
		t.Errorf("honest messages take %s in the median", median)
	}
	// All are ended: by a refusal, or by their deadline of 10 s and one more for 16 KB.
	for _, conn := range open {
		_ = conn.SetReadDeadline(began.Add(40 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("a slow body is open after %s", time.Since(began))
		}
	}
}

// stalled is the rest of a body that does not come before the request has ended.
type stalled struct{ ended <-chan struct{} }

func (s stalled) Read([]byte) (int, error) {
	<-s.ended
	return 0, io.ErrUnexpectedEOF
}

// A body that stalls ends after 10 seconds, over HTTP/1.1 and HTTP/2, also where Caddy itself would
// wait longer. The deadline is taken back: a message whose provider takes longer than that is
// accepted.
func TestStalledBodies(t *testing.T) {
	p := newProvider(t).plain()
	p.do(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(12 * time.Second)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"sid":"SM%d"}`, taps.Add(1))
	})
	cert, key, pool := certificate(t)
	address := freeAddress(t)
	config := strings.Replace(options, "auto_https off", "auto_https off\n\tservers {\n\t\ttimeouts {\n\t\t\tread_body_idle 1m\n\t\t}\n\t}", 1) +
		twilio(site("https", address), p.URL, "\ttls "+cert+" "+key, "\t\tattempt_timeout 20s")
	start(t, write(t, "Caddyfile", config), address, "TOKEN=x")
	var wg sync.WaitGroup
	for _, http2 := range []bool{false, true} {
		wg.Go(func() {
			began, ended := time.Now(), make(chan struct{})
			defer close(ended)
			body := io.MultiReader(strings.NewReader(`{"username":"johndow"`), stalled{ended})
			r, err := http.NewRequest(http.MethodPost, "https://"+address+"/send_message/", body)
			if err != nil {
				t.Error(err)
				return
			}
			r.ContentLength = 1000
			resp, err := client(t, pool, http2).Do(r)
			if err != nil {
				t.Errorf("HTTP/2 %t: %v after %s", http2, err, time.Since(began))
				return
			}
			defer resp.Body.Close()
			if took := time.Since(began); resp.StatusCode != http.StatusTooManyRequests || took < 9*time.Second || took > 20*time.Second || (resp.ProtoMajor == 2) != http2 {
				t.Errorf("HTTP/2 %t: %d over %s after %s", http2, resp.StatusCode, resp.Proto, took)
			}
		})
		wg.Go(func() {
			if status, answer := send(t, client(t, pool, http2), "https://"+address+"/send_message/", "+15551231234", fmt.Sprint("hi ", http2)); status != http.StatusOK {
				t.Errorf("HTTP/2 %t: a slow provider: %d %s", http2, status, answer)
			}
		})
	}
	wg.Wait()
}

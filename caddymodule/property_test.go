package caddymodule

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
)

// whim is what a provider does with one request.
type whim struct {
	takes     bool // it takes the message, whatever it says then
	status    int
	body      string
	cut, gzip bool
	broken    bool // the gzip is
	chunked   bool
	hang      bool
	reset     bool
}

// moody is a provider that does anything and remembers which messages it took.
type moody struct {
	mu   sync.Mutex
	next []whim
	took int
	got  int
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	m.mu.Lock()
	do := m.next[0]
	m.next = m.next[1:]
	m.got++
	if do.takes {
		m.took++
	}
	m.mu.Unlock()
	if do.hang {
		<-r.Context().Done()
		return
	}
	body := []byte(do.body)
	header := "Content-Type: application/json\r\n"
	if do.gzip {
		var z bytes.Buffer
		g := gzip.NewWriter(&z)
		_, _ = g.Write(body)
		_ = g.Close()
		body, header = z.Bytes(), header+"Content-Encoding: gzip\r\n"
		if do.broken {
			body[len(body)/2] ^= 0xff
		}
	}
	length := len(body)
	if do.cut {
		body = body[:length/2]
	}
	size := fmt.Sprintf("Content-Length: %d\r\n", length)
	if do.chunked {
		size = "Transfer-Encoding: chunked\r\n"
		body = fmt.Appendf(nil, "%x\r\n%s\r\n", max(length, 1), body)
		if !do.cut && length > 0 {
			body = append(body, "0\r\n\r\n"...)
		}
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	if do.reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 %d x\r\n%s%sConnection: close\r\n\r\n%s", do.status, header, size, body)
}

// secrets are what no app may be told: credentials, other people's numbers, the provider's words.
var secrets = []string{"12345678", "the-auth-token", "AC1", "15559998888", "provider words", "15550002222", "15550007777"}

// Whatever providers do: 2xx to the app means that a provider took the message and said so, a message is taken at most
// once, and every other answer has a sentence of ours.
func TestTruth(t *testing.T) {
	p := newProvider(t)
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	m := &moody{}
	p.answer = m.ServeHTTP
	adapter := "adapter twilio%s {\nbase_url " + p.URL + "\naccount_sid AC1\nauth_token the-auth-token\n}\n"
	two := strings.Replace(demo, "password other-password", "password other-password\nfrom +15550007777", 1)
	s := newSite(t, two+fmt.Sprintf(adapter, "")+fmt.Sprintf(adapter, " as second")+"attempt_timeout 25ms\nlimit off")
	said, messages := map[int]int{}, 0
	rapid.Check(t, func(t *rapid.T) {
		messages++ // each is a new one, by accounts that do not rest
		for i := range s.gateway.Deliverer.Routes {
			s.gateway.Deliverer.Routes[i].Account = delivery.NewAccount()
		}
		m.next = []whim{drawWhim(t, "first"), drawWhim(t, "second")}
		if rapid.IntRange(0, 4).Draw(t, "both") == 0 { // no credit anywhere, which is told in the end
			m.next = []whim{{status: 402}, {status: 402, body: "{}"}}
		}
		m.took, m.got = 0, 0
		first := m.next[0]
		sender := rapid.SampledFrom([]string{"", "&sender=%2B15550001111", "&sender=%2B15550007777"}).Draw(t, "sender") // the last is another's
		r := get(credential + "to=5551231234&body=Hello+" + strconv.Itoa(messages) + sender)
		if rapid.Bool().Draw(t, "json") {
			r = post("application/json", `{"from":"johndow","password":"12345678","to":"5551231234","body":"Hello `+strconv.Itoa(messages)+`"}`)
		}
		w := s.send(t, r)
		answer := read(t, w)
		said[w.Code]++
		m.mu.Lock()
		defer m.mu.Unlock()
		if w.Code/100 == 2 && m.took == 0 {
			t.Fatalf("told %d, but nobody took the message", w.Code)
		}
		if m.took > 1 {
			t.Fatalf("taken %d times", m.took)
		}
		if m.took == 1 && w.Code != 504 && w.Code/100 != 2 {
			t.Fatalf("told %d %q, but the message was taken", w.Code, answer.Message)
		}
		if (first.hang || first.reset || first.status >= 500) && m.got > 1 {
			t.Fatal("sent again after an unknown outcome")
		}
		for _, secret := range secrets {
			if strings.Contains(w.Body.String(), secret) || strings.Contains(fmt.Sprint(w.Header()), secret) {
				t.Fatalf("the app is told %q: %s", secret, w.Body)
			}
		}
	})
	for _, code := range []int{200, 402, 403, 502, 504} {
		if said[code] == 0 && !testing.Short() { // a short run has 20 cases, too few to reach all
			t.Errorf("%d was never said, the test does not reach it: %v", code, said)
		}
	}
}

// drawWhim draws what a provider does. One that takes a message says so truthfully, or says nothing that can be
// understood: no bridge can see through a refusal of a provider that sends all the same.
func drawWhim(t *rapid.T, label string) (w whim) {
	w.takes = rapid.Bool().Draw(t, label+" takes")
	defer func() { // how it is carried changes nothing, unless that is broken
		w.gzip, w.chunked = rapid.Bool().Draw(t, label+" gzip"), rapid.Bool().Draw(t, label+" chunked")
		w.broken = w.gzip && !(w.takes && w.status == 201 && !w.cut) && rapid.Bool().Draw(t, label+" broken")
	}()
	words := rapid.SampledFrom([]string{"provider words", "to +15559998888", "the-auth-token for AC1", "from +15550002222 pass 12345678"}).Draw(t, label+" words")
	if w.takes {
		switch rapid.IntRange(0, 5).Draw(t, label+" how") {
		case 0:
			w.hang = true
		case 1:
			w.reset = true
		case 2:
			w.status, w.body, w.cut = 201, `{"sid":"SM1","body":"`+words+`"}`, true
		case 3:
			w.status = rapid.SampledFrom([]int{200, 202, 204, 500, 502, 503, 504, 599}).Draw(t, label+" status")
			w.body = rapid.SampledFrom([]string{"", "<html>" + words + "</html>", `{"sid":"SM1"`, "\x00\xff", words}).Draw(t, label+" garbage")
		default:
			w.status, w.body = 201, `{"sid":"SM1","error_code":null,"message":"`+words+`"}`
		}
		return w
	}
	if rapid.IntRange(0, 9).Draw(t, label+" hang") == 0 {
		w.hang = true
		return w
	}
	w.status = rapid.SampledFrom([]int{200, 201, 301, 307, 400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 500, 503}).Draw(t, label+" status")
	code := rapid.SampledFrom([]string{"21211", "21610", "30002", "20003", "20429", "99999", `"x"`}).Draw(t, label+" code")
	w.body = `{"code":` + code + `,"status":"failed","message":"` + words + `"}`
	if w.status >= 300 {
		bodies := []string{"", "<html>" + words, `{"code":` + code, w.body}
		if w.status >= 500 { // a known code inside says that it was refused; here nobody says anything
			bodies = bodies[:3]
		}
		w.body = rapid.SampledFrom(bodies).Draw(t, label+" body")
		w.cut = rapid.Bool().Draw(t, label+" cut")
	}
	return w
}

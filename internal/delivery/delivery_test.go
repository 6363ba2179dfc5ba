package delivery

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const definition = `
send {
	POST /send
	form {
		to   {sms.to}
		body {sms.body}
	}
}
reply json
accepted status 200
id id
code code
message message
cause invalid_recipient 1
cause no_credit 2
cause busy 3
`

// provider is a mock that counts the requests that it got.
type provider struct {
	*httptest.Server
	count atomic.Int32
}

func serve(t *testing.T, answer http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count.Add(1)
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, r)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(p.Close)
	return p
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hang answers when the request is given up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// cut closes the connection after what it is given.
func cut(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text)
		conn.Close()
	}
}

func route(t *testing.T, name, url string, transport http.RoundTripper) Route {
	t.Helper()
	d, err := adapters.Parse(name, name, 1, definition)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Route{Adapter: a, Transport: transport, Account: NewAccount()}
}

func deliverer(t *testing.T, urls ...string) *Deliverer {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{}, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	d := &Deliverer{Timeout: time.Second, AttemptTimeout: 100 * time.Millisecond}
	for i, url := range urls {
		d.Routes = append(d.Routes, route(t, "p"+string(rune('1'+i)), url, transport))
	}
	return d
}

func message() *sms.Message {
	return &sms.Message{
		ID: "8d0c6b0e-0d8e-4a42-a3a3-6a1f3c2f1d10", To: sms.Number{Value: "+15551231234", Kind: sms.Phone}, Body: sms.Hide("Hello World"),
	}
}

// refusing is an address where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// zipped answers as a provider that calls gzip so.
func zipped(coding string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", coding)
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, `{"id":"7"}`)
		_ = z.Close()
	}
}

func TestAttempt(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		outcome sms.Outcome
		cause   sms.Cause
	}{
		"accepted":         {say(200, `{"id":"7"}`), sms.Accepted, sms.NoCause},
		"accepted, no id":  {say(200, `{}`), sms.Accepted, sms.NoCause},
		"refused":          {say(400, `{"code":1}`), sms.Refused, sms.InvalidRecipient},
		"refused by 401":   {say(401, `no`), sms.Refused, sms.Misconfigured},
		"redirect":         {say(307, ``), sms.Refused, sms.Misconfigured},
		"busy":             {say(429, ``), sms.Refused, sms.Busy},
		"500":              {say(500, `{"id":"7"}`), sms.OutcomeUnknown, sms.Unconfirmed},
		"503":              {say(503, ``), sms.OutcomeUnknown, sms.Unconfirmed},
		"html":             {say(200, `<html>ok</html>`), sms.OutcomeUnknown, sms.Unconfirmed},
		"empty":            {say(200, ``), sms.OutcomeUnknown, sms.Unconfirmed},
		"another 2xx":      {say(204, ``), sms.OutcomeUnknown, sms.Unconfirmed},
		"hang":             {hang, sms.OutcomeUnknown, sms.Unconfirmed},
		"reset":            {cut(""), sms.OutcomeUnknown, sms.Unconfirmed},
		"garbage":          {cut("no HTTP at all\r\n\r\n"), sms.OutcomeUnknown, sms.Unconfirmed},
		"cut":              {cut(head + "Content-Length: 40\r\n\r\n" + `{"id":"7"}`), sms.OutcomeUnknown, sms.Unconfirmed},
		"cut chunk":        {cut(head + "Transfer-Encoding: chunked\r\n\r\na\r\n" + `{"id":"7"}`), sms.OutcomeUnknown, sms.Unconfirmed},
		"no gzip":          {cut(head + "Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n" + `{"id":"7"}`), sms.OutcomeUnknown, sms.Unconfirmed},
		"gzip":             {zipped("gzip"), sms.Accepted, sms.NoCause},
		"GZIP":             {zipped("GZIP"), sms.Accepted, sms.NoCause},
		"x-gzip":           {zipped("x-gzip"), sms.Accepted, sms.NoCause},
		"too long":         {say(200, `{"id":"7","x":"`+strings.Repeat("x", adapters.MaxReply)+`"}`), sms.OutcomeUnknown, sms.Unconfirmed},
		"cut refusal":      {cut("HTTP/1.1 402 No\r\nContent-Length: 40\r\n\r\n{"), sms.Refused, sms.NoCredit},
		"switch protocols": {cut("HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), sms.OutcomeUnknown, sms.Unconfirmed},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, c.answer)
			log := new(Untracked)
			r := deliverer(t, p.URL).Deliver(t.Context(), message(), log)
			if r.Outcome != c.outcome || r.Cause() != c.cause {
				t.Errorf("got %s %s (%s), want %s %s", r.Outcome, r.Cause(), r.Detail, c.outcome, c.cause)
			}
			if n := p.count.Load(); n != 1 || r.Attempts != 1 || !log.Attempted() {
				t.Errorf("%d requests, %d attempts, want 1 and 1", n, r.Attempts)
			}
			if (r.Refusal == nil) != (c.outcome == sms.Accepted) || strings.Contains(r.Detail, "no HTTP") {
				t.Errorf("refusal %v, detail %q", r.Refusal, r.Detail)
			}
		})
	}
}

func TestChain(t *testing.T) {
	ok := say(200, `{"id":"7"}`)
	for name, c := range map[string]struct {
		first   http.HandlerFunc // nil: nobody listens
		second  http.HandlerFunc
		outcome sms.Outcome
		cause   sms.Cause
		counts  [2]int32
	}{
		"first takes it":             {ok, ok, sms.Accepted, sms.NoCause, [2]int32{1, 0}},
		"nobody listens":             {nil, ok, sms.Accepted, sms.NoCause, [2]int32{0, 1}},
		"credentials":                {say(401, ``), ok, sms.Accepted, sms.NoCause, [2]int32{1, 1}},
		"no credit":                  {say(402, ``), ok, sms.Accepted, sms.NoCause, [2]int32{1, 1}},
		"busy":                       {say(429, ``), ok, sms.Accepted, sms.NoCause, [2]int32{1, 1}},
		"invalid recipient":          {say(400, `{"code":"1"}`), ok, sms.Refused, sms.InvalidRecipient, [2]int32{1, 0}},
		"rejected":                   {say(400, ``), ok, sms.Refused, sms.Rejected, [2]int32{1, 0}},
		"unknown ends it":            {hang, ok, sms.OutcomeUnknown, sms.Unconfirmed, [2]int32{1, 0}},
		"500 ends it":                {say(500, ``), ok, sms.OutcomeUnknown, sms.Unconfirmed, [2]int32{1, 0}},
		"cut ends it":                {cut(""), ok, sms.OutcomeUnknown, sms.Unconfirmed, [2]int32{1, 0}},
		"the weightier is told":      {say(402, ``), say(401, ``), sms.Refused, sms.NoCredit, [2]int32{1, 1}},
		"the weightier is told last": {say(429, ``), say(402, ``), sms.Refused, sms.NoCredit, [2]int32{1, 1}},
		"unknown last":               {say(402, ``), hang, sms.OutcomeUnknown, sms.Unconfirmed, [2]int32{1, 1}},
		"nobody anywhere":            {nil, nil, sms.Refused, sms.Unavailable, [2]int32{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			providers := [2]*provider{{}, {}}
			urls := [2]string{refusing(t), refusing(t)}
			for i, answer := range []http.HandlerFunc{c.first, c.second} {
				if answer != nil {
					providers[i] = serve(t, answer)
					urls[i] = providers[i].URL
				}
			}
			r := deliverer(t, urls[:]...).Deliver(t.Context(), message(), new(Untracked))
			if r.Outcome != c.outcome || r.Cause() != c.cause {
				t.Errorf("got %s %s, want %s %s", r.Outcome, r.Cause(), c.outcome, c.cause)
			}
			if both := c.first == nil || c.counts[1] > 0; both != (len(r.OtherRefusals) == 1) || both && (r.OtherRefusals[0].Adapter == r.Adapter || r.OtherRefusals[0].Refusal == nil) {
				t.Errorf("passed over %+v", r.OtherRefusals)
			}
			if got := [2]int32{providers[0].count.Load(), providers[1].count.Load()}; got != c.counts {
				t.Errorf("requests %v, want %v", got, c.counts)
			}
		})
	}
}

// A failed TLS handshake sent nothing, whoever failed it.
func TestTLSHandshake(t *testing.T) {
	untrusted := httptest.NewUnstartedServer(say(200, `{"id":"7"}`))
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // speaks no TLS, or nothing at all
		for i := 0; ; i++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if i == 0 {
				_, _ = io.WriteString(conn, "SSH-2.0-x\r\n")
				conn.Close()
			} else {
				defer conn.Close()
			}
		}
	}()
	for _, url := range []string{untrusted.URL, "https://" + l.Addr().String(), "https://" + l.Addr().String()} {
		p := serve(t, say(200, `{"id":"7"}`))
		r := deliverer(t, url, p.URL).Deliver(t.Context(), message(), new(Untracked))
		if r.Outcome != sms.Accepted || p.count.Load() != 1 || r.Attempts != 2 {
			t.Errorf("%s: %s %s %q after %d attempts", url, r.Outcome, r.Cause(), r.Detail, r.Attempts)
		}
	}
}

// A transport that tells nothing about its connections is not believed to have sent nothing.
func TestForeignTransport(t *testing.T) {
	fails := roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	d := &Deliverer{Timeout: time.Second, AttemptTimeout: time.Second, Routes: []Route{route(t, "x", "http://localhost", fails)}}
	if r := d.Deliver(t.Context(), message(), new(Untracked)); r.Outcome != sms.OutcomeUnknown {
		t.Errorf("got %s %s", r.Outcome, r.Cause())
	}
	d.NotSent = func(err error) bool { return err == io.ErrUnexpectedEOF }
	if r := d.Deliver(t.Context(), message(), new(Untracked)); r.Cause() != sms.Unavailable {
		t.Errorf("got %s %s", r.Outcome, r.Cause())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The phone hanging up changes nothing.
func TestPhoneGone(t *testing.T) {
	p := serve(t, say(200, `{"id":"7"}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := deliverer(t, p.URL).Deliver(ctx, message(), new(Untracked)); r.Outcome != sms.Accepted {
		t.Errorf("got %s %s", r.Outcome, r.Cause())
	}
}

// The whole budget holds over all attempts.
func TestBudget(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, never speaks TLS
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	url := "https://" + silent.Addr().String()
	d := deliverer(t, url, url, url, url, url)
	d.Timeout, d.AttemptTimeout = 120*time.Millisecond, 50*time.Millisecond
	began := time.Now()
	r := d.Deliver(t.Context(), message(), new(Untracked))
	if took := time.Since(began); took > time.Second || r.Attempts > 3 || r.Cause() != sms.Unavailable {
		t.Errorf("%s after %v and %d attempts", r.Cause(), took, r.Attempts)
	}
}

// net/http sends a GET again when a kept connection dies, and a POST with an Idempotency-Key. Ours
// are sent once, or once more by us where the provider tells them apart.
func TestNoHiddenResend(t *testing.T) {
	for send, want := range map[string]struct {
		second sms.Outcome
		count  int32
	}{
		"GET /send\nquery {\n to {sms.to}\n text {sms.body}\n}":                                        {sms.OutcomeUnknown, 2},
		"POST /send\nheader Idempotency-Key {attempt.uuid}\nform {\n to {sms.to}\n text {sms.body}\n}": {sms.OutcomeUnknown, 2},
		"POST /send\nheader Idempotency-Key {message.id}\nform {\n to {sms.to}\n text {sms.body}\n}":   {sms.Accepted, 3},
	} {
		t.Run(send[:4], func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var count atomic.Int32
			go func() { // answers the first request of a connection and dies at the second
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
			def, err := adapters.Parse("x", "x", 1, "send {\n"+send+"\n}\nreply json\naccepted status 200\nid id")
			if err != nil {
				t.Fatal(err)
			}
			a, err := def.Bind("", "http://"+l.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			d := &Deliverer{Timeout: time.Second, AttemptTimeout: time.Second, Routes: []Route{{Adapter: a, Transport: transport, Account: NewAccount()}}}
			first, second := d.Deliver(t.Context(), message(), new(Untracked)), d.Deliver(t.Context(), message(), new(Untracked))
			if first.Outcome != sms.Accepted || second.Outcome != want.second || count.Load() != want.count {
				t.Errorf("%s, %s, %d requests for 2 messages", first.Outcome, second.Outcome, count.Load())
			}
		})
	}
}

func TestSandbox(t *testing.T) {
	d, err := adapters.Builtin("sandbox")
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	del := &Deliverer{Timeout: time.Second, AttemptTimeout: 20 * time.Millisecond, Routes: []Route{{Adapter: a, Transport: Sandbox{}, Account: NewAccount()}}}
	for to, want := range map[string]sms.Cause{
		"+15551231234": sms.NoCause, "+15551230402": sms.NoCredit, "+4915112340406": sms.InvalidRecipient,
		"+15551230410": sms.OptedOut, "+447911120413": sms.TooLong, "+15551230429": sms.Busy, "+15551230503": sms.Busy,
		"+15551230504": sms.Unconfirmed, "123": sms.NoCause,
	} {
		m := message()
		m.To = sms.Number{Value: to, Kind: sms.Phone}
		r := del.Deliver(t.Context(), m, new(Untracked))
		if r.Cause() != want {
			t.Errorf("%s: got %s, want %s", to, r.Cause(), want)
		}
		if want == sms.NoCause && r.ID != m.ID {
			t.Errorf("%s: id %q", to, r.ID)
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	d, _ := adapters.Builtin("sandbox")
	a, err := d.Bind("", "", nil)
	if err != nil {
		b.Fatal(err)
	}
	del := &Deliverer{Timeout: time.Second, AttemptTimeout: time.Second, Routes: []Route{{Adapter: a, Transport: Sandbox{}, Account: NewAccount()}}}
	b.ReportAllocs()
	for b.Loop() {
		if r := del.Deliver(b.Context(), message(), new(Untracked)); r.Outcome != sms.Accepted {
			b.Fatal(r.Cause())
		}
	}
}

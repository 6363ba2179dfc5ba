package caddymodule

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// fault is one way in which a provider breaks.
type fault struct {
	name string // what the provider does
	at   stage  // where it strikes
	// takes is set if the text is accepted before that.
	takes bool
	// reply is a whole one, after which the connection is kept. Without it, does is done to the connection, which then ends.
	reply string
	does  func(net.Conn)
	// attempt, dial and handshake are the timeouts that matter, the others are so long that they never end.
	attempt, dial, handshake time.Duration
}

// timed reports whether a slow machine may change what is measured. One that is too slow keeps no connections either.
func (f *fault) timed() bool {
	return f.attempt+f.dial+f.handshake > 0 || f.at == secondBeforeRead || f.at == secondAfterRead
}

// stage is how far a request comes before the fault strikes.
type stage uint8

const (
	afterRead        stage = iota // it was read
	beforeRead                    // nothing but its beginning was read
	secondAfterRead               // it was read, and is the second of a kept connection
	secondBeforeRead              // nothing but its beginning was read, and it is the second of a kept connection
	deaf                          // nobody listens
	queueing                      // the connection waits in a queue that is full
	greeting                      // the handshake of TLS fails
	silent                        // the handshake of TLS never begins
)

// short is a timeout that is to strike.
const short = 150 * time.Millisecond

// faults are the rows of the matrix. elsewhere is where redirects lead.
func faults(elsewhere string) []*fault {
	whole := func(status, header, body string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), header, body)
	}
	say := func(raw string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, raw) } }
	const yes = `{"id":"sms-1"}`
	accepted := whole("200 OK", "", yes)
	long := whole("200 OK", "", yes+strings.Repeat(" ", 1000))
	head, body, _ := strings.Cut(long, yes)
	all := []*fault{
		{name: "refuses the connection", at: deaf},
		{name: "lets the connection wait, beyond `dial_timeout`", at: queueing, dial: short},
		{name: "lets the connection wait, beyond `attempt_timeout`", at: queueing, attempt: short, dial: 4 * short},
		{name: "fails the TLS handshake", at: greeting},
		{name: "never begins the TLS handshake", at: silent, handshake: short},
		{name: "resets the connection before it has read the request", at: beforeRead, does: reset},
		{name: "resets the connection after it has read the request", takes: true, does: reset},
		{name: "closes the connection after it has read the request", takes: true, does: func(net.Conn) {}},
		{name: "hangs before it accepts", attempt: short, does: hang},
		{name: "accepts and hangs", takes: true, attempt: short, does: hang},
		{name: "accepts, replies byte by byte, too slowly", takes: true, attempt: short, does: drip("", long, short)},
		{name: "accepts, replies the body byte by byte, too slowly", takes: true, attempt: short, does: drip(head, yes+body, short)},
		{name: "accepts, replies byte by byte, just in time", takes: true, attempt: 4 * short, does: drip("", accepted, short/50)},
		{name: "accepts, the reply is cut", takes: true, does: say(strings.Replace(accepted, "Length: 14", "Length: 140", 1))},
		{name: "accepts, the reply is cut between chunks", takes: true,
			does: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n" + yes + "\r\n")},
		{name: "accepts, replies garbage", takes: true, reply: whole("200 OK", "", "\x00\xff{]")},
		{name: "accepts, replies what is not HTTP", takes: true, does: say("220 mail.example.com ESMTP\r\n")},
		{name: "accepts, replies a page with 200", takes: true, reply: whole("200 OK", "", "<html><body>Welcome</body></html>")},
		{name: "accepts, replies an empty 200", takes: true, reply: whole("200 OK", "", "")},
		{name: "accepts, replies a gzip bomb", takes: true, reply: whole("200 OK", "Content-Encoding: gzip\r\n", bomb())},
		{name: "accepts, replies headers without an end", takes: true, does: func(c net.Conn) {
			say("HTTP/1.1 200 OK\r\n")(c)
			line := "X-Padding: " + strings.Repeat("x", 32<<10) + "\r\n"
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, line)
			}
		}},
		{name: "replies 429", reply: whole("429 Too Many Requests", "", "")},
		{name: "replies 429 with `Retry-After: 60`", reply: whole("429 Too Many Requests", "Retry-After: 60\r\n", "")},
		{name: "accepts, replies 500", takes: true, reply: whole("500 Internal Server Error", "", "")},
		{name: "accepts, replies 503", takes: true, reply: whole("503 Service Unavailable", "", "")},
	}
	for _, status := range []string{"301 Moved Permanently", "302 Found", "307 Temporary Redirect"} {
		reply := whole(status, "Location: "+elsewhere+"/\r\n", "")
		all = append(all, &fault{name: "replies " + status[:3] + " to another server", reply: reply})
	}
	return append(all,
		&fault{name: "resets a kept connection before it has read the second request", at: secondBeforeRead, does: reset},
		&fault{name: "resets a kept connection after it has read the second request", at: secondAfterRead, takes: true, does: reset},
		&fault{name: "closes a kept connection after it has read the second request", at: secondAfterRead, takes: true, does: func(net.Conn) {}},
	)
}

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

// hang waits until the other side hangs up.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// drip writes something at once, and the rest byte by byte.
func drip(atOnce, rest string, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, atOnce)
		for i := 0; err == nil && i < len(rest); i++ {
			time.Sleep(pause)
			_, err = io.WriteString(c, rest[i:i+1])
		}
	}
}

// bomb is 64 MiB of a reply that says yes.
func bomb() string {
	var b bytes.Buffer
	z, blank := gzip.NewWriter(&b), bytes.Repeat([]byte(" "), 1<<20)
	_, _ = io.WriteString(z, `{"id":"sms-1"`)
	for range 64 {
		_, _ = z.Write(blank)
	}
	_, _ = io.WriteString(z, "}")
	_ = z.Close()
	return b.String()
}

// mock is a provider that counts the texts it accepts. It has a bare socket, because servers of net/http do not misbehave.
type mock struct {
	*fault      // nil for one that is well
	URL         string
	certificate *tls.Config
	socket      *os.File
	well        atomic.Bool // it breaks no more

	mu    sync.Mutex
	took  map[string]int // the texts
	asked int            // requests of which the beginning was read
	open  map[io.Closer]bool
	ended bool
	tasks sync.WaitGroup
}

// newMock starts a provider. A port that nobody listens at is kept all the same, so that nobody else does.
func newMock(t *testing.T, f *fault, certificate *tls.Config) *mock {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := &mock{
		fault: f, certificate: certificate, socket: os.NewFile(uintptr(fd), "provider"),
		took: make(map[string]int), open: make(map[io.Closer]bool),
	}
	t.Cleanup(m.end)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprint("127.0.0.1:", name.(*syscall.SockaddrInet4).Port)
	m.URL = "http://" + address
	switch {
	case f == nil || f.at != deaf && f.at != queueing:
		err = m.listen()
	case f.at == queueing:
		if err = syscall.Listen(fd, 0); err == nil { // one fits
			var c net.Conn
			if c, err = net.Dial("tcp", address); err == nil {
				m.keep(c)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if f != nil && (f.at == greeting || f.at == silent) {
		m.URL = "https://" + address
	}
	return m
}

func (m *mock) listen() error {
	if err := syscall.Listen(int(m.socket.Fd()), 128); err != nil {
		return err
	}
	l, err := net.FileListener(m.socket)
	if err != nil {
		return err
	}
	m.keep(l)
	m.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if m.keep(c) {
				m.tasks.Go(func() {
					defer m.drop(c)
					m.serve(c)
				})
			}
		}
	})
	return nil
}

// keep lets something be closed at the end, if that is still to come.
func (m *mock) keep(c io.Closer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		c.Close()
		return false
	}
	m.open[c] = true
	return true
}

func (m *mock) drop(c io.Closer) {
	c.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, c)
}

// heal ends the fault.
func (m *mock) heal() error {
	m.well.Store(true)
	if m.at == deaf || m.at == queueing {
		return m.listen()
	}
	return nil
}

// end hangs up; after it nothing is counted any more.
func (m *mock) end() {
	m.mu.Lock()
	m.ended = true
	for c := range m.open {
		c.Close()
	}
	m.socket.Close()
	m.mu.Unlock()
	m.tasks.Wait()
}

var errFault = errors.New("no handshake")

func (m *mock) serve(c net.Conn) {
	broken := func() bool { return m.fault != nil && !m.well.Load() }
	if m.certificate != nil {
		if broken() && m.at == silent {
			hang(c)
			return
		}
		config := m.certificate.Clone()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if broken() {
				return nil, errFault
			}
			return nil, nil
		}
		c = tls.Server(c, config)
	}
	in := bufio.NewReaderSize(c, 16)
	for first := true; ; first = false {
		if _, err := in.Peek(1); err != nil {
			return
		}
		strikes := broken() && (!first || m.at != secondAfterRead && m.at != secondBeforeRead)
		m.mu.Lock()
		m.asked++
		m.mu.Unlock()
		if strikes && (m.at == beforeRead || m.at == secondBeforeRead) {
			m.does(c)
			return
		}
		r, err := http.ReadRequest(in)
		if err != nil || r.ParseForm() != nil {
			return
		}
		reply := ""
		if !strikes || m.takes {
			reply = m.take(r.Form.Get("text"))
		}
		if strikes {
			if reply = m.reply; reply == "" {
				m.does(c)
				return
			}
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

// take counts a text, and says so.
func (m *mock) take(text string) (reply string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took[text]++
	id := fmt.Sprintf(`{"id":"%s/%d"}`, m.URL, len(m.took))
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
}

// count is how often a text was accepted, and how many requests came for whatever text.
func (m *mock) count(text string) (took, asked int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.took[text], m.asked
}

// matrix is what the cells have in common.
type matrix struct {
	certificate *tls.Config
	roots       string
	second      *mock // a provider that is well
	elsewhere   *mock // one that nobody is to ask
	texts       int
}

// way is how a text comes and goes.
type way struct {
	method string // of the provider's API
	named  bool   // the app gives the text an id
}

var ways = []way{{"GET", false}, {"GET", true}, {"POST", false}, {"POST", true}}

// cell is one text that meets a fault.
type cell struct {
	*matrix
	way
	fault    *fault
	adapters int
	atOnce   bool
	text     string
	first    *mock
	site     *site
	told     []string // at the first try and the repeat, or at once
}

func (x *matrix) newCell(t *testing.T, c cell, slow time.Duration) *cell {
	t.Helper()
	x.texts++
	c.matrix, c.text = x, fmt.Sprint("text-", x.texts)
	var certificate *tls.Config
	transport := ""
	if c.fault.at == greeting || c.fault.at == silent {
		certificate, transport = x.certificate, "tls_trust_pool file "+x.roots+"\n"
	}
	c.first = newMock(t, c.fault, certificate)
	body := map[string]string{"GET": "query", "POST": "form"}[c.method]
	block := demo + "define own {\nsend {\n" + c.method + " /\n" + body + " {\nto {sms.to}\ntext {sms.body}\n}\n}\nreply json\naccepted status 200\nid id\n}\n" +
		"adapter own as first {\nbase_url " + c.first.URL + "\n}\n"
	if c.adapters == 2 {
		block += "adapter own as second {\nbase_url " + x.second.URL + "\n}\n"
	}
	for line, timeout := range map[string]time.Duration{"dial_timeout": c.fault.dial, "tls_timeout": c.fault.handshake} {
		transport += fmt.Sprintf("%s %s\n", line, cmp.Or(timeout*slow, time.Minute))
	}
	block += fmt.Sprintf("timeout 1m\nattempt_timeout %s\nduplicate_window 1h\nlimit off\nbursts off\ntransport http {\n%s}\n",
		cmp.Or(c.fault.attempt*slow, 30*time.Second), transport)
	c.site = newSite(t, block)
	c.site.deliverer.Retries = 1 // three take their time
	return &c
}

// unheard is the connection of a phone that gets no answer, though the test does.
type unheard struct{ *httptest.ResponseRecorder }

func (u unheard) Write(p []byte) (int, error) {
	_, _ = u.ResponseRecorder.Write(p)
	return 0, io.ErrClosedPipe
}

// told is what the app is told.
type told struct {
	status    int
	cause, id string
}

// tap sends a text. A phone that gives it no id does not hear the answer: why else would it repeat the text?
func (c *cell) tap(t *testing.T, text string) told {
	recorder := httptest.NewRecorder()
	query, w := credential+"to=5551231234&body="+text, http.ResponseWriter(unheard{recorder})
	if c.named {
		query, w = query+"&disposition_notification="+text+":display", recorder
	}
	r := caddyhttp.PrepareRequest(get(query), caddy.NewReplacer(), w, &caddyhttp.Server{})
	if err := c.site.ServeHTTP(w, r, nil); err != nil {
		t.Error(err)
	}
	answer := read(t, recorder)
	if recorder.Code/100 == 2 {
		return told{recorder.Code, "accepted", answer.ID}
	}
	for _, cause := range sms.Causes() {
		if sentence, _, _ := strings.Cut(cause.Sentence(), " (reference"); cause.Status() == recorder.Code && strings.HasPrefix(answer.Message, sentence) {
			return told{status: recorder.Code, cause: cause.String()}
		}
	}
	return told{status: recorder.Code, cause: answer.Message}
}

// measure lets the app send the text, and checks what has to hold whatever the fault.
func (c *cell) measure(t *testing.T) {
	defer c.first.end()
	before := 0
	if c.fault.at == secondAfterRead || c.fault.at == secondBeforeRead {
		if a := c.tap(t, c.text+"-before"); a.status != 200 {
			t.Errorf("%s: before, the app is told %+v", c, a)
		}
		before = 1
	}
	var answers []told
	if c.atOnce {
		answers = make([]told, 8)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = c.tap(t, c.text) })
		}
		wg.Wait()
		c.note(t, answers...)
	} else {
		answers = append(answers, c.tap(t, c.text))
		c.note(t, answers[0])
		if err := c.first.heal(); err != nil {
			t.Error(err)
		}
		answers = append(answers, c.tap(t, c.text))
		c.note(t, answers[1])
	}
	c.first.end() // what was late is counted now
	_, asked := c.first.count(c.text)
	bySecond, _ := c.second.count(c.text)
	if took := c.count(); took > 1 {
		t.Errorf("%s: %d texts", c, took)
	}
	if asked -= before; answers[0].cause == "unknown" && asked+bySecond > 1 {
		t.Errorf("%s: what may have been accepted was sent again: %d requests, and %d to the second", c, asked, bySecond)
	}
	if _, asked := c.elsewhere.count(c.text); asked > 0 {
		t.Errorf("%s: a redirect was followed", c)
	}
}

// note checks that answers are true, and writes them down.
func (c *cell) note(t *testing.T, answers ...told) {
	took := c.count()
	var list []string
	for i, a := range answers {
		list = append(list, fmt.Sprintf("%d %s", a.status, a.cause))
		if slices.Contains(answers[:i], a) {
			continue
		}
		switch {
		case a.status/100 == 2 && (took != 1 || a.id == ""):
			t.Errorf("%s: told that it was accepted as %q, with %d texts", c, a.id, took)
		case a.status/100 != 2 && a.cause != "unknown" && took != 0:
			t.Errorf("%s: told %d %s, with %d texts", c, a.status, a.cause, took)
		}
		if a.id != answers[0].id {
			t.Errorf("%s: told the ids %q and %q", c, answers[0].id, a.id)
		}
	}
	slices.Sort(list)
	c.told = append(c.told, fmt.Sprintf("%s, %d", strings.Join(slices.Compact(list), " or "), took))
}

// count is how often the text was accepted, by whomever.
func (c *cell) count() (n int) {
	for _, m := range []*mock{c.first, c.second, c.elsewhere} {
		took, _ := m.count(c.text)
		n += took
	}
	return n
}

func (c *cell) String() string {
	return fmt.Sprintf("the provider %s, %d adapters, %s, with an id %t, at once %t", c.fault.name, c.adapters, c.method, c.named, c.atOnce)
}

// rows measures faults. slow is how much longer timeouts are than they need be.
func (x *matrix) rows(t *testing.T, list []*fault, slow time.Duration) (rows []string) {
	var cells []*cell
	for _, f := range list {
		for _, adapters := range []int{1, 2} {
			for _, atOnce := range []bool{false, true} {
				for _, w := range ways {
					cells = append(cells, x.newCell(t, cell{fault: f, way: w, adapters: adapters, atOnce: atOnce}, slow))
				}
			}
		}
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, 32)
	for _, c := range cells {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			c.measure(t)
		})
	}
	wg.Wait()
	for group := range slices.Chunk(cells, 4*len(ways)) {
		row := "| " + group[0].fault.name
		for some := range slices.Chunk(group, len(ways)) {
			for i := range some[0].told {
				row += " | " + fold(some, i)
			}
		}
		rows = append(rows, row+" |\n")
	}
	return rows
}

// fold is what the ways of a text come to, one by one only where they differ.
func fold(cells []*cell, i int) string {
	get, post := cells[:len(cells)/2], cells[len(cells)/2:]
	same := func(list []*cell) bool {
		return !slices.ContainsFunc(list, func(c *cell) bool { return c.told[i] != list[0].told[i] })
	}
	switch {
	case same(cells):
		return get[0].told[i]
	case same(get) && same(post):
		return "GET " + get[0].told[i] + "; POST " + post[0].told[i]
	}
	var all []string
	for _, c := range cells {
		all = append(all, c.method+map[bool]string{true: " with an id"}[c.named]+" "+c.told[i])
	}
	return strings.Join(all, "; ")
}

const faultsFile = "../testdata/faults.md"

const faultsHead = `# One tap at a provider that breaks

What the app is told, by status and [case](../README.md#what-the-app-shows), and how many texts were accepted by then: when it
sends a text for the first time, when it sends it again with the provider well in the meantime, and when it sends it eight times
at once. With two adapters the second is well. The same holds for providers that are asked by GET and by POST, and for texts
with and without ` + "`disposition_notification`" + `, unless it is said.

504 *unknown* is "No confirmation. The message may have been sent."; of what the app is told 502 and 503 for, nothing was sent.

| The first provider | One adapter: first | again | at once | Two adapters: first | again | at once |
|---|---|---|---|---|---|---|
`

// Whatever a provider breaks in, one tap is one text at most, and the app is told the truth. The table says what in each case; run
// it with -update to write it.
func TestFaults(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	x := &matrix{
		certificate: &tls.Config{Certificates: server.TLS.Certificates}, roots: filepath.Join(t.TempDir(), "roots.pem"),
		second: newMock(t, nil, nil), elsewhere: newMock(t, nil, nil),
	}
	if err := os.WriteFile(x.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(faultsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	list := faults(x.elsewhere.URL)
	slow := time.Duration(1)
	if *update {
		slow = 8
	}
	rows := x.rows(t, list, slow)
	for i, f := range list { // the machine may have been too slow
		for slow := 4 * slow; slow <= 16 && f.timed() && !strings.Contains(string(old), rows[i]); slow *= 2 {
			rows[i] = x.rows(t, list[i:i+1], slow)[0]
		}
	}
	table := faultsHead + strings.Join(rows, "")
	if *update {
		if err := os.WriteFile(faultsFile, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != string(old) {
		t.Errorf("%s is stale, run: go test ./caddymodule -run Faults -update\n%s", faultsFile, cmpLines(string(old), table))
	}
}

// cmpLines are the lines that are new.
func cmpLines(old, table string) string {
	var lines strings.Builder
	for line := range strings.Lines(table) {
		if !strings.Contains(old, line) {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

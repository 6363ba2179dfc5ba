package caddymodule

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/providertest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// matrix is what the cells have in common.
type matrix struct {
	module      bool // the transport module sends the requests, instead of the direct client
	secure      bool // the first provider has TLS
	certificate *tls.Config
	roots       string
	second      *providertest.Provider // a provider that is well
	elsewhere   *providertest.Provider // one that nobody is to ask
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
	fault    *providertest.Fault
	adapters int
	atOnce   bool
	text     string
	first    *providertest.Provider
	site     *site
	told     []string // at the first try and the repeat, or at once
}

func (x *matrix) newCell(t *testing.T, c cell, slow time.Duration) *cell {
	t.Helper()
	x.texts++
	c.matrix, c.text = x, fmt.Sprint("text-", x.texts)
	var certificate *tls.Config
	transport := ""
	if x.secure || c.fault.At == providertest.HandshakeFails || c.fault.At == providertest.HandshakeHangs {
		certificate, transport = x.certificate, "tls_trust_pool file "+x.roots+"\n"
	}
	c.first = providertest.New(t, c.fault, certificate)
	body := map[string]string{"GET": "query", "POST": "form"}[c.method]
	block := demo + "define own {\nsend {\n" + c.method + " /\n" + body + " {\nto {sms.to}\ntext {sms.body}\n}\n}\nreply json\naccepted status 200\nid id\n}\n" +
		"adapter own as first {\nbase_url " + c.first.URL + "\n}\n"
	if c.adapters == 2 {
		block += "adapter own as second {\nbase_url " + x.second.URL + "\n}\n"
	}
	for line, timeout := range map[string]time.Duration{"dial_timeout": c.fault.Dial, "tls_timeout": c.fault.Handshake} {
		transport += fmt.Sprintf("%s %s\n", line, cmp.Or(timeout*slow, time.Minute))
	}
	block += fmt.Sprintf("timeout 1m\nattempt_timeout %s\nduplicate_window 1h\nlimit off\nbursts off\ntransport http {\n%s}\n",
		cmp.Or(c.fault.Attempt*slow, 30*time.Second), transport)
	c.site = newSite(t, block)
	c.site.gateway.Deliverer.Retries = 1             // three take their time
	for i := range c.site.gateway.Deliverer.Routes { // where a machine is too slow for one cell, the circuit breaker opens for no other
		route := &c.site.gateway.Deliverer.Routes[i]
		route.Account = delivery.NewAccount()
		if x.module {
			route.Transport = route.Transport.(directTransport).RoundTripper
		}
	}
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
	for name, sentence := range sms.Sentences() {
		name, _, _ = strings.Cut(name, ".")
		sentence, _, _ = strings.Cut(strings.ReplaceAll(sentence, " (reference", "{"), "{")
		if cause, _ := sms.ParseCause(name); cause.Status() == recorder.Code && strings.HasPrefix(answer.Message, sentence) {
			return told{status: recorder.Code, cause: name}
		}
	}
	return told{status: recorder.Code, cause: answer.Message}
}

// measure lets the app send the text, and checks what has to hold whatever the fault.
func (c *cell) measure(t *testing.T) {
	defer c.first.End()
	before := 0
	if c.fault.At == providertest.SecondAfterRead || c.fault.At == providertest.SecondBeforeRead {
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
		if err := c.first.Heal(); err != nil {
			t.Error(err)
		}
		answers = append(answers, c.tap(t, c.text))
		c.note(t, answers[1])
	}
	c.first.End() // what was late is counted now
	asked, bySecond := c.first.Requests(), c.second.Text(c.text).Accepted
	if took := c.count(); took > 1 {
		t.Errorf("%s: %d texts", c, took)
	}
	if asked -= before; answers[0].cause == "unknown" && asked+bySecond > 1 {
		t.Errorf("%s: what may have been accepted was sent again: %d requests, and %d to the second", c, asked, bySecond)
	}
	if c.elsewhere.Requests() > 0 {
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
	for _, m := range []*providertest.Provider{c.first, c.second, c.elsewhere} {
		n += m.Text(c.text).Accepted
	}
	return n
}

func (c *cell) String() string {
	return fmt.Sprintf("the provider %s, %d adapters, %s, with an id %t, at once %t", c.fault.Name, c.adapters, c.method, c.named, c.atOnce)
}

// rows measures faults. slow is how much longer timeouts are than they need be.
func (x *matrix) rows(t *testing.T, list []*providertest.Fault, slow time.Duration) (rows []string) {
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
		row := "| " + group[0].fault.Name
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

Each cell has the status and the [case](../docs/causes.md) that the app gets, and how many texts a provider accepted by then:
*first*, when the app sends a text; *again*, when it sends the text again after the provider has recovered; *at once*, when it
sends it 8 times at once. With two adapters, the second provider works. Unless a cell says otherwise, the result is the same for
GET and POST, and for texts with and without ` + "`disposition_notification`" + `.

With 504 *unknown* the app shows "No confirmation. The message may have been sent."; with 429, 502 and 503, nothing was sent.

| The first provider | One adapter: first | again | at once | Two adapters: first | again | at once |
|---|---|---|---|---|---|---|
`

// Whatever a provider breaks in, one tap is one text at most, and the app is told the truth. The table says what in each case, for
// both transports, with and without TLS; run it with -update to write it.
func TestFaults(t *testing.T) {
	certificate, roots, _ := selfSigned(t)
	for _, x := range []*matrix{{}, {module: true}, {secure: true}, {module: true, secure: true}} {
		x.certificate, x.roots = &tls.Config{Certificates: []tls.Certificate{certificate}}, roots
		t.Run(fmt.Sprintf("module %t TLS %t", x.module, x.secure), x.test)
	}
}

func (x *matrix) test(t *testing.T) {
	x.second, x.elsewhere = providertest.New(t, nil, nil), providertest.New(t, nil, nil)
	old, err := os.ReadFile(faultsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	list := providertest.Faults(x.elsewhere.URL)
	slow := time.Duration(1)
	if *update {
		slow = 8
	}
	rows := x.rows(t, list, slow)
	for i, f := range list { // the machine may have been too slow
		for slow := 4 * slow; slow <= 16 && f.Timed() && !strings.Contains(string(old), rows[i]); slow *= 2 {
			rows[i] = x.rows(t, list[i:i+1], slow)[0]
		}
	}
	table := faultsHead + strings.Join(rows, "")
	if *update && !x.module && !x.secure {
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

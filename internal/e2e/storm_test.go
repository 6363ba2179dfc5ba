//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/providertest"
)

// weather draws all faults of a storm from one seed.
type weather struct {
	faults []*providertest.Fault
	calm   atomic.Bool

	mu    sync.Mutex
	rand  *rand.Rand
	deck  []*providertest.Fault // shuffled, so that each fault strikes before one strikes again
	times map[string]int        // how often each fault struck
}

// draw draws the fault of one request. Half of the requests have no fault.
func (w *weather) draw(first bool) *providertest.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm.Load() || w.rand.IntN(2) == 0 {
		return nil
	}
	if len(w.deck) == 0 {
		w.deck = slices.Clone(w.faults)
		w.rand.Shuffle(len(w.deck), func(i, j int) { w.deck[i], w.deck[j] = w.deck[j], w.deck[i] })
	}
	for i, f := range w.deck {
		if !first || !f.Second() {
			w.deck = slices.Delete(w.deck, i, i+1)
			w.times[f.Name]++
			return f
		}
	}
	return nil
}

// struck counts the faults that occurred before the request was read. The provider does not know
// the texts of these requests.
func (w *weather) struckUnread() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.faults {
		if f.Unread() {
			n += w.times[f.Name]
		}
	}
	return n
}

// storm is two processes with one journal, and the faulty providers to which they send.
type storm struct {
	t         *testing.T
	weather   *weather
	provider  *providertest.Provider   // draws the fault of each request
	others    []*providertest.Provider // those that let no connection be established
	elsewhere *providertest.Provider   // where redirects lead
	roots     string
	journal   string
	epochs    int // configurations so far
	processes [2]*stormProcess
	client    *http.Client

	mu    sync.Mutex
	texts map[string]*stormText
}

type stormProcess struct {
	server         *server
	address, admin string
}

// stormText is a text and the replies that the app got for it, one for each tap.
type stormText struct {
	named   bool // the app gave it an id
	answers []stormAnswer
}

// stormAnswer is the reply to a tap. Its status is 0 if there was no reply.
type stormAnswer struct {
	status      int
	id, message string
}

func (a stormAnswer) accepted() bool { return a.status/100 == 2 }

// refused reports whether the app was told that nothing was sent.
func (a stormAnswer) refused() bool {
	return a.status != 0 && !a.accepted() && a.status != http.StatusGatewayTimeout
}

func newStorm(t *testing.T, seed uint64, journal string) *storm {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	s := &storm{
		t: t, journal: journal, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}, texts: make(map[string]*stormText),
		weather:   &weather{rand: rand.New(rand.NewPCG(seed, 1)), times: make(map[string]int)},
		elsewhere: providertest.New(t, nil, nil),
	}
	certFile, keyFile, _ := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s.roots = certFile
	for _, f := range providertest.Faults(s.elsewhere.URL) {
		if f.Connects() {
			s.weather.faults = append(s.weather.faults, f)
			continue
		}
		var certificate *tls.Config
		if f.At == providertest.HandshakeFails || f.At == providertest.HandshakeHangs {
			certificate = &tls.Config{Certificates: []tls.Certificate{pair}}
		}
		s.others = append(s.others, providertest.New(t, f, certificate))
	}
	s.provider = providertest.NewWithFaults(t, s.weather.draw)
	for i := range s.processes {
		s.processes[i] = &stormProcess{address: freeAddress(t), admin: freeAddress(t)}
	}
	return s
}

// config is a new configuration of a process. Its accounts are new too, because those of the one
// before rest after so many faults.
func (s *storm) config(p *stormProcess) string {
	s.epochs++
	var adapters strings.Builder
	for i, p := range append([]*providertest.Provider{s.provider, s.provider, s.provider, s.provider}, s.others...) {
		fmt.Fprintf(&adapters, "\t\tadapter %s as a%d {\n\t\t\tbase_url %s/%d/%d\n\t\t\tweight 1\n\t\t}\n", []string{"get", "post"}[i%2], i, p.URL, s.epochs, i)
	}
	var definitions strings.Builder
	for _, d := range [][3]string{{"get", "GET", "query"}, {"post", "POST", "form"}} {
		fmt.Fprintf(&definitions, "\t\tdefine %s {\n\t\t\tsend {\n\t\t\t\t%s /\n\t\t\t\t%s {\n\t\t\t\t\tto {sms.to}\n\t\t\t\t\ttext {sms.body}\n\t\t\t\t}\n\t\t\t}\n"+
			"\t\t\treply json\n\t\t\taccepted status 200\n\t\t\tid id\n\t\t}\n", d[0], d[1], d[2])
	}
	return fmt.Sprintf(`{
	admin %s
	auto_https off
	grace_period 10s
	acrobits_sms {
		journal %s
	}
	log {
		level ERROR
	}
}
%s {
	bind 127.0.0.1
	acrobits_sms /send_message* {
		user johndow {
			password 12345678
			from +15550001111
		}
		default_region US
		limit off
		bursts off
		timeout 4s
		attempt_timeout 1500ms
		duplicate_window 1h
%s%s
		transport http {
			dial_timeout 300ms
			tls_timeout 300ms
			tls_trust_pool file %s
		}
	}
}
`, p.admin, s.journal, site("http", p.address), definitions.String(), adapters.String(), s.roots)
}

func (s *storm) start(p *stormProcess) {
	s.t.Helper()
	p.server = start(s.t, write(s.t, "Caddyfile", s.config(p)), p.address)
}

// kill ends a process at once.
func (s *storm) kill(p *stormProcess) {
	_ = p.server.cmd.Process.Kill()
	<-p.server.done
}

// tap sends a text to one of the processes, and checks and records the reply.
func (s *storm) tap(text string, process int) stormAnswer {
	s.mu.Lock()
	state := s.texts[text]
	s.mu.Unlock()
	message := map[string]string{"username": "johndow", "password": "12345678", "sms_to": "5551231234", "sms_body": text, "content_type": "text/plain"}
	if state.named {
		message["disposition_notification"] = text + ":display"
	}
	body, err := json.Marshal(message)
	if err != nil {
		s.t.Error(err)
	}
	var a stormAnswer
	resp, err := s.client.Post("http://"+s.processes[process].address+"/send_message", "application/json", strings.NewReader(string(body)))
	if err == nil {
		reply, failed := io.ReadAll(resp.Body)
		resp.Body.Close()
		var said struct {
			ID      string `json:"sms_id"`
			Message string `json:"message"`
		}
		if failed == nil { // else it was cut by a kill
			if err := json.Unmarshal(reply, &said); err != nil {
				s.t.Errorf("%s: told %d %q", text, resp.StatusCode, reply)
			}
			a = stormAnswer{resp.StatusCode, said.ID, said.Message}
		}
	}
	if a.accepted() && s.provider.Text(text).Accepted == 0 {
		s.t.Errorf("%s: told %+v before any provider accepted it", text, a)
	}
	if a.status == 0 { // the process is being started
		time.Sleep(20 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state.answers = append(state.answers, a)
	return a
}

// phone taps new texts until the context ends: some once, some until an answer is final, some at
// both processes at once.
func (s *storm) phone(ctx context.Context, name string, draw *rand.Rand) {
	for i := 0; ctx.Err() == nil; i++ {
		text := fmt.Sprintf("%s-%d", name, i)
		s.mu.Lock()
		s.texts[text] = &stormText{named: draw.IntN(4) > 0}
		named := s.texts[text].named
		s.mu.Unlock()
		process, habit := draw.IntN(2), draw.IntN(3)
		switch {
		case !named || habit == 0: // without an id, a tap after an answer is another message
			s.tap(text, process)
		case habit == 1:
			for range 4 {
				if a := s.tap(text, process); a.accepted() {
					break
				}
				process = draw.IntN(2)
			}
		default:
			var both sync.WaitGroup
			both.Go(func() { s.tap(text, 0) })
			both.Go(func() { s.tap(text, 1) })
			both.Wait()
		}
	}
}

// rage causes faults for a while: most of the time it reloads a process, sometimes it kills one or
// both.
func (s *storm) rage(ctx context.Context, draw *rand.Rand) (reloads, kills int) {
	for ctx.Err() == nil {
		wait, process, what := time.Duration(200+draw.IntN(800))*time.Millisecond, draw.IntN(2), draw.IntN(10)
		select {
		case <-ctx.Done():
			return reloads, kills
		case <-time.After(wait):
		}
		p := s.processes[process]
		switch {
		case what < 7:
			reload(s.t, p.admin, s.config(p))
			reloads++
		case what < 9:
			s.kill(p)
			s.start(p)
			kills++
		default:
			for _, p := range s.processes {
				s.kill(p)
			}
			for _, p := range s.processes {
				s.start(p)
			}
			kills += 2
		}
	}
	return reloads, kills
}

// again taps each text with an app id once more, at either process, until there is a reply.
func (s *storm) again() {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for text, state := range s.texts {
		if state.named {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				// Caddy drops a connection now and then when it reloads.
				for i := range 5 {
					if a := s.tap(text, (len(text)+i)%2); a.status != 0 {
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// tally counts the results of the texts.
type tally struct {
	texts, accepted, unknown, unexplained, silent int
}

func (n *tally) add(m tally) {
	n.texts += m.texts
	n.accepted += m.accepted
	n.unknown += m.unknown
	n.unexplained += m.unexplained
	n.silent += m.silent
}

// judge checks all texts and forgets them. The weather is calm, and texts with an id were tapped
// once more.
func (s *storm) judge() (n tally) {
	broken := 0
	for text, state := range s.texts {
		at, silent := s.provider.Text(text), state.told(func(a stormAnswer) bool { return a.status == 0 })
		if what := state.broken(at); what != "" {
			if broken++; broken <= 20 {
				s.t.Errorf("%s: %s; at the provider %+v; told %+v", text, what, at, state.answers)
			}
		}
		n.texts++
		if silent {
			n.silent++
		}
		switch last := state.last(); {
		case last.accepted():
			n.accepted++
		case last.status == http.StatusGatewayTimeout:
			n.unknown++
			if !at.MaybeAccepted && !silent {
				n.unexplained++
			}
		}
	}
	if broken > 0 {
		s.t.Errorf("%d texts break a promise", broken)
	}
	if asked := s.elsewhere.Requests(); asked > 0 {
		s.t.Errorf("%d redirects were followed", asked)
	}
	clear(s.texts)
	return n
}

func (x *stormText) told(is func(stormAnswer) bool) bool { return slices.ContainsFunc(x.answers, is) }

func (x *stormText) last() stormAnswer { return x.answers[len(x.answers)-1] }

// broken returns the promise that was broken for a text, or an empty string.
func (x *stormText) broken(at providertest.Text) string {
	accepted := x.told(stormAnswer.accepted)
	ids := make(map[string]bool)
	for _, a := range x.answers {
		if a.accepted() {
			ids[a.id] = true
		}
	}
	switch {
	case at.Accepted > 1:
		return "more than one text"
	case at.Resent > 0:
		return "sent again though it may have been sent"
	case accepted && at.Accepted != 1:
		return "told that it was accepted, which it was not"
	case at.Accepted == 1 && !x.told(func(a stormAnswer) bool { return !a.refused() }):
		return "accepted, but told that nothing was sent"
	case x.named && x.last().refused():
		return "refused, with all well"
	case x.named && x.last().status == 0:
		return "no answer, with all well"
	case x.named && accepted && !x.last().accepted():
		return "another answer than before"
	case len(ids) > 1 || ids[""]:
		return "several ids, or none"
	case x.told(func(a stormAnswer) bool { return a.status != 0 && !a.accepted() && a.message == "" }):
		return "refused without a sentence"
	}
	return ""
}

// stormRound is the duration of the faults before the texts are judged.
const stormRound = time.Minute

// All faults of testdata/faults.md at once, two processes with one journal, reloads and kills: each
// tap is at most one text, 2xx means that a provider accepted it, and nothing is lost without a
// word. The environment's STORM is for how long, for both journals together, and SEED repeats what
// an earlier run drew.
func TestStorm(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("STORM"), "20s"))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("SEED"); given != "" {
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	for name, journal := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite " + filepath.Join(t.TempDir(), "sms.db") },
		"postgres": func(t *testing.T) string { _, address := postgres(t); ready(t, address); return "postgres " + address },
	} {
		t.Run(name, func(t *testing.T) { newStorm(t, seed, journal(t)).run(seed, length/2) })
	}
}

// run runs the storm in rounds. At the end of each round there are no faults, all texts are tapped
// again, and judge checks them.
func (s *storm) run(seed uint64, length time.Duration) {
	draw := rand.New(rand.NewPCG(seed, 2))
	for _, p := range s.processes {
		s.start(p)
	}
	var all tally
	reloads, kills := 0, 0
	began := time.Now()
	for round := 0; time.Since(began) < length && !s.t.Failed(); round++ {
		ctx, cancel := context.WithTimeout(s.t.Context(), min(length, stormRound))
		s.weather.calm.Store(false)
		var phones sync.WaitGroup
		for phone := range 24 {
			phones.Go(func() {
				s.phone(ctx, fmt.Sprintf("round-%d-phone-%d", round, phone), rand.New(rand.NewPCG(seed, uint64(round)<<8|uint64(phone)<<1|1)))
			})
		}
		r, k := s.rage(ctx, draw)
		cancel()
		phones.Wait()
		reloads, kills = reloads+r, kills+k
		s.weather.calm.Store(true)
		for _, p := range s.processes {
			reload(s.t, p.admin, s.config(p))
		}
		s.again()
		all.add(s.judge())
	}
	s.t.Logf("%+v, %d reloads, %d kills; faults: %v", all, reloads, kills, s.weather.times)
	// Requests that the provider did not read explain one text each, and a busy machine some.
	if unread := s.weather.struckUnread(); all.unexplained > unread+2+all.texts/100 {
		s.t.Errorf("unknown without a reason: %d texts, with %d requests that no provider read", all.unexplained, unread)
	}
	if all.accepted < all.texts/5 || all.unknown == 0 || kills == 0 || reloads == 0 {
		s.t.Errorf("no storm: %+v, %d reloads, %d kills", all, reloads, kills)
	}
	for _, f := range s.weather.faults {
		if s.weather.times[f.Name] == 0 {
			s.t.Errorf("this never struck: the provider %s", f.Name)
		}
	}
}

package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// shelf is a store as a database is one: several processes share it, it has leases, and it can be away, also after it has
// kept a change.
type shelf struct {
	secret  keyed.Key
	mu      sync.Mutex
	entries map[Key]Entry
	leases  map[string]time.Time
	away    awayness
	back    time.Time // since when it is not away
}

type awayness uint8

const (
	here awayness = iota
	gone
	mute // keeps changes, and does not say so
)

var errMute = errors.New("no answer")

func newShelf() *shelf {
	return &shelf{secret: keyed.NewKey(), entries: make(map[Key]Entry), leases: make(map[string]time.Time)}
}

func (s *shelf) be(a awayness) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != here && a == here {
		s.back = time.Now()
	}
	s.away = a
}

// knows reports whether it was there for long enough that all who live have written down what they could not before.
func (s *shelf) knows() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away == here && time.Since(s.back) > Renewal
}

func (s *shelf) is(a awayness) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away == a
}

func (s *shelf) Secret() *keyed.Key { return &s.secret }

func (s *shelf) Update(key Key, _ bool, change Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away == gone {
		return errMute
	}
	e := s.entries[key]
	if e.State == Pending && !s.leases[e.Owner].After(time.Now()) {
		e.Owner = ""
	}
	if change.Apply(&e, time.Now()) {
		s.entries[key] = e
	}
	if s.away == mute {
		return errMute
	}
	return nil
}

func (s *shelf) Tend(owner string) (lost []Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != here {
		return nil, errMute
	}
	now := time.Now()
	s.leases[owner] = now.Add(Lease)
	for k, e := range s.entries {
		switch {
		case e.State == Pending && !s.leases[e.Owner].After(now):
			e.Lose(now)
			s.entries[k] = e
			lost = append(lost, e)
		case e.State != Pending && !now.Before(e.Begun.Add(Retention)) && !now.Before(e.Until):
			delete(s.entries, k)
		}
	}
	return lost, nil
}

func (s *shelf) Leave(owner string) error { delete(s.leases, owner); return nil }

func (s *shelf) Find(reference string) (found []Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.Reference == reference {
			found = append(found, e)
		}
	}
	return found, nil
}

func (s *shelf) Count(*limit.Claim) error { return nil }

func (s *shelf) Size() (int, error) { return len(s.entries), nil }
func (s *shelf) Close() error       { return nil }

// world is some processes with one store, one provider, and people who tap again. All that the provider may have taken is
// known here, so that every claim and every answer can be judged.
type world struct {
	*shelf
	judging   sync.Mutex
	window    time.Duration
	wrong     string
	processes []*process
	texts     []*text
	count     int
}

type process struct {
	*Journal
	dead atomic.Bool
}

// text is one message, however often it is tapped.
type text struct {
	name  string
	named bool
	parts int
	sent  [][]*sending // of each part
}

// sending is one request to the provider.
type sending struct {
	*process
	turn    *Turn
	fate    fate
	began   time.Time
	ended   time.Time // zero while it is on its way
	reached bool      // the phone has a tick
}

type fate uint8

const (
	untold fate = iota // nobody will know
	took
	tookNot
)

// budget is for how long a message is on its way at most.
const budget = 20 * time.Second

func (w *world) message(x *text) *sms.Message {
	w.judging.Lock()
	defer w.judging.Unlock()
	w.count++
	id := fmt.Sprintf("id-%d", w.count)
	m := &sms.Message{
		ID: id, Reference: fmt.Sprintf("ref-%d", w.count), User: "johndow", Body: sms.Hide(x.name),
		To: sms.Number{Value: "+15551231234", Kind: sms.Phone},
	}
	if x.named {
		m.Disposition.ID = x.name
	}
	return m
}

func (w *world) start() *process {
	j, err := Open(w.shelf, func(Entry) {}, func(error) {})
	if err != nil {
		panic(err)
	}
	p := &process{Journal: j}
	w.processes = append(w.processes, p)
	return p
}

func (p *process) kill() {
	if !p.dead.Swap(true) {
		close(p.end)
		synctest.Wait()
	}
}

// tap sends a text by a process. The claim may have to wait for another, so it goes on by itself.
func (w *world) tap(x *text, p *process) {
	m := w.message(x)
	go func() {
		turn, r, err := p.Begin(context.Background(), time.Now().Add(budget), m, Terms{Window: w.window})
		w.judging.Lock()
		defer w.judging.Unlock()
		switch {
		case p.dead.Load() || err != nil: // nobody is told, or that nothing was sent
		case turn.Mine():
			w.judgeClaim(x, p, turn)
		default:
			w.judgeAnswer(x, r)
			if r.Outcome == sms.Accepted && w.count%2 == 0 {
				turn.Reached()
				for _, s := range x.last() {
					s.reached = true
				}
			}
		}
	}()
	synctest.Wait()
}

// last are the sendings of the whole message that was accepted last.
func (x *text) last() (whole []*sending) {
	for _, part := range x.sent {
		for i := len(part) - 1; i >= 0; i-- {
			if part[i].fate == took {
				whole = append(whole, part[i])
				break
			}
		}
	}
	return whole
}

// newest is the last sending of whatever part, nil if there is none.
func (x *text) newest() (newest *sending) {
	for _, part := range x.sent {
		for _, s := range part {
			if newest == nil || !s.began.Before(newest.began) {
				newest = s
			}
		}
	}
	return newest
}

// judgeClaim says whether what is about to be sent may have gone out before.
func (w *world) judgeClaim(x *text, p *process, turn *Turn) {
	_, _, sent := turn.Sent()
	now := time.Now()
	for part := sent; part < x.parts; part++ {
		for _, s := range x.sent[part] {
			switch {
			case s.fate == tookNot:
			case s.ended.IsZero():
				w.judge("%s is sent twice at the same time", x.name)
			case s.reached && !x.named:
			case x.named && now.Before(s.began.Add(Retention)), !x.named && now.Before(s.ended.Add(w.window)):
				w.judge("part %d of %s is sent again %v after it may have gone out", part, x.name, now.Sub(s.ended))
			}
		}
	}
	x.sent[sent] = append(x.sent[sent], &sending{process: p, turn: turn, began: now})
}

// judgeAnswer says whether a repeat was told the truth.
func (w *world) judgeAnswer(x *text, r sms.Receipt) {
	if !r.Repeat {
		w.judge("%s: a repeat is not told to be one", x.name)
	}
	switch r.Outcome {
	case sms.Accepted:
		if len(x.last()) != x.parts {
			w.judge("%s is told to be accepted", x.name)
		}
	case sms.Refused:
		switch newest := x.newest(); {
		case r.Refusal == nil:
			w.judge("%s is refused without a reason", x.name)
		case r.Cause() != sms.Internal && (newest == nil || newest.fate != tookNot || newest.ended.IsZero()): // the store is away
			w.judge("%s is told to be refused", x.name)
		}
	default:
		if newest := x.newest(); newest != nil && newest.fate == took && !newest.ended.IsZero() && !newest.dead.Load() && len(x.last()) == x.parts && w.knows() {
			w.judge("nobody knows of %s, which was accepted", x.name)
		}
	}
}

// running are the sendings on their way, those of one process or of all.
func (w *world) running(of *process) (all []*sending) {
	w.judging.Lock()
	defer w.judging.Unlock()
	for _, x := range w.texts {
		for _, part := range x.sent {
			for _, s := range part {
				if s.ended.IsZero() && (of == nil || of == s.process) {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// answer lets the provider answer a request, and the process go on with the next part or end.
func (w *world) answer(s *sending, x *text, told fate, reached bool) {
	w.judging.Lock()
	defer synctest.Wait()
	defer w.judging.Unlock()
	s.fate, s.ended = told, time.Now()
	_, _, before := s.turn.Sent()
	switch told {
	case took:
		s.turn.Part("provider", fmt.Sprintf("sms-%d", w.count), sms.Split{Parts: x.parts})
		if before+1 < x.parts {
			x.sent[before+1] = append(x.sent[before+1], &sending{process: s.process, turn: s.turn, began: time.Now()})
			return
		}
		s.turn.End(sms.Receipt{Outcome: sms.Accepted, Adapter: "provider", ID: s.turn.ID(), Parts: x.parts})
		if reached {
			s.turn.Reached()
			for _, s := range x.last() {
				s.reached = true
			}
		}
	case tookNot:
		r := sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Adapter: "provider"}
		if before > 0 {
			r = sms.Receipt{Refusal: sms.PartlySent(before, x.parts), Adapter: "provider", Parts: x.parts, Resumable: true}
		}
		s.turn.End(r)
	default:
		s.turn.End(sms.Receipt{Refusal: sms.Refuse(sms.Unknown), Adapter: "provider"})
	}
}

func (w *world) textOf(s *sending) *text {
	w.judging.Lock()
	defer w.judging.Unlock()
	for _, x := range w.texts {
		for _, part := range x.sent {
			for _, other := range part {
				if other == s {
					return x
				}
			}
		}
	}
	return nil
}

// errWrong ends a world in which something is wrong.
var errWrong = errors.New("wrong")

// check ends the world if something is wrong.
func (w *world) check(*rapid.T) {
	w.judging.Lock()
	defer w.judging.Unlock()
	if w.wrong != "" {
		panic(errWrong)
	}
}

func (w *world) judge(format string, args ...any) {
	w.wrong = cmp.Or(w.wrong, fmt.Sprintf(format, args...))
}

// bubble runs f with a clock of its own. What rapid panics with has to leave the bubble.
func bubble(t *testing.T, f func()) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer func() { failure = recover() }()
		f()
	})
	if failure != nil && failure != any(errWrong) {
		panic(failure)
	}
}

// Whatever happens in whatever order, over months, with processes that are killed and a store that goes away: nothing is sent
// twice, repeats are told the truth, and all can be sent in the end.
func TestWorld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { live(t, rt, 0) })
}

// The same world goes on for a year.
func TestYear(t *testing.T) {
	lived := false
	rapid.Check(t, func(rt *rapid.T) {
		if !lived {
			live(t, rt, 365*24*time.Hour)
			lived = true
		}
	})
}

// live lets a world be for some time at least.
func live(t *testing.T, rt *rapid.T, span time.Duration) {
	w := &world{shelf: newShelf(), window: rapid.SampledFrom([]time.Duration{5 * time.Second, 30 * time.Second}).Draw(rt, "window")}
	bubble(t, func() {
		for i := range 4 {
			parts := 1 + i/2
			w.texts = append(w.texts, &text{name: strings.Repeat("x", i+1), named: i%2 == 0, parts: parts, sent: make([][]*sending, parts)})
		}
		w.start()
		defer func() {
			for _, p := range w.processes {
				p.kill()
			}
			time.Sleep(time.Minute) // those who wait give up
		}()
		alive := func() *process {
			for _, p := range rapid.Permutation(w.processes).Draw(rt, "process") {
				if !p.dead.Load() {
					return p
				}
			}
			w.be(here) // nothing starts without the store
			return w.start()
		}
		draw := func(max int) int { return rapid.IntRange(0, max-1).Draw(rt, "n") }
		began := time.Now()
		actions := map[string]func(*rapid.T){
			"tap": func(*rapid.T) { w.tap(w.texts[draw(len(w.texts))], alive()) },
			"answer": func(rt *rapid.T) {
				if running := w.running(nil); len(running) > 0 {
					s := running[draw(len(running))]
					w.answer(s, w.textOf(s), fate(draw(3)), rapid.Bool().Draw(rt, "reached"))
				}
			},
			"wait": func(*rapid.T) {
				d := []time.Duration{time.Second, 10 * time.Second, 29 * time.Second, 31 * time.Second, 2 * time.Minute, 23 * time.Hour}[draw(6)]
				time.Sleep(min(d, budget))
				synctest.Wait()
				for _, s := range w.running(nil) {
					if time.Since(s.began) >= budget {
						w.answer(s, w.textOf(s), untold, false)
					}
				}
				time.Sleep(d - min(d, budget))
				synctest.Wait()
			},
			"start": func(rt *rapid.T) {
				if !w.is(here) || len(w.processes) > 5 {
					rt.Skip()
				}
				w.start()
			},
			"kill": func(*rapid.T) {
				p := alive()
				p.kill()
				for _, s := range w.running(p) {
					told := []fate{untold, took}[draw(2)]
					w.judging.Lock()
					s.fate, s.ended = told, time.Now()
					w.judging.Unlock()
				}
			},
			"away": func(*rapid.T) { w.be(awayness(draw(3))) },
			"":     w.check,
		}
		for rt.Repeat(actions); time.Since(began) < span; {
			rt.Repeat(actions)
		}
		w.check(nil)
		w.be(here)
		alive()                                     // to find what is lost
		for range len(w.processes) * len(w.texts) { // those who wait may have a turn too
			for _, s := range w.running(nil) {
				w.answer(s, w.textOf(s), tookNot, false)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(Retention + time.Minute)
		for _, x := range w.texts {
			turn, r, err := alive().Begin(context.Background(), time.Now().Add(time.Second), w.message(x), Terms{Window: w.window})
			if err != nil || !turn.Mine() {
				w.judging.Lock()
				w.judge("%s cannot be sent any more: %s, %v", x.name, r.Outcome, err)
				w.judging.Unlock()
			}
		}
	})
	if w.wrong != "" {
		rt.Fatal(w.wrong)
	}
}

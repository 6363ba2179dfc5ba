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

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

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
	id    string // the app's
	named bool   // no other text has the id
	parts int
	sent  [][]*sending // of each part
}

// sending is one request to the provider.
type sending struct {
	*process
	claim   *Claim
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
	m.Disposition.ID = x.id
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
		close(p.closing)
		synctest.Wait()
	}
}

// tap sends a text by a process. The claim may have to wait for another, so it goes on by itself.
func (w *world) tap(x *text, p *process) {
	m := w.message(x)
	go func() {
		claim, r, err := p.Begin(context.Background(), time.Now().Add(budget), m, Options{Window: w.window})
		w.judging.Lock()
		defer w.judging.Unlock()
		switch {
		case p.dead.Load() || err != nil: // nobody is told, or that nothing was sent
		case claim.Won():
			w.judgeClaim(x, p, claim)
		default:
			w.judgeAnswer(x, r)
			if r.Outcome == sms.Accepted && w.count%2 == 0 {
				claim.ReplyAcknowledged()
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
func (w *world) judgeClaim(x *text, p *process, claim *Claim) {
	_, _, sent := claim.Sent()
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
	x.sent[sent] = append(x.sent[sent], &sending{process: p, claim: claim, began: now})
}

// judgeAnswer says whether a repeat was told the truth.
func (w *world) judgeAnswer(x *text, r sms.Result) {
	if !r.Duplicate {
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
	_, _, before := s.claim.Sent()
	switch told {
	case took:
		s.claim.Part("provider", fmt.Sprintf("sms-%d", w.count), sms.Split{Parts: x.parts})
		if before+1 < x.parts {
			x.sent[before+1] = append(x.sent[before+1], &sending{process: s.process, claim: s.claim, began: time.Now()})
			return
		}
		s.claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "provider", ID: s.claim.ProviderID(), Parts: x.parts})
		if reached {
			s.claim.ReplyAcknowledged()
			for _, s := range x.last() {
				s.reached = true
			}
		}
	case tookNot:
		r := sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Adapter: "provider"}
		if before > 0 {
			r = sms.Result{Refusal: sms.PartlySent(before, x.parts), Adapter: "provider", Parts: x.parts, RestNotSent: true}
		}
		s.claim.End(r)
	default:
		s.claim.End(sms.Result{Refusal: sms.Refuse(sms.Unconfirmed), Adapter: "provider"})
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

// Over months of random actions, with processes that are killed and a store that is unavailable at times, nothing is sent twice,
// duplicates are told the truth, and all can be sent in the end.
func TestWorld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { live(t, rt, 0) })
}

// The same world goes on for a year, or with -short, as for the race detector, for two weeks.
func TestYear(t *testing.T) {
	lived, span := false, 365*24*time.Hour
	if testing.Short() {
		span = 14 * 24 * time.Hour
	}
	rapid.Check(t, func(rt *rapid.T) {
		if !lived {
			live(t, rt, span)
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
		for i, x := range w.texts {
			if x.named {
				x.id = x.name
			} else { // an id that is none, or nothing
				x = &text{name: x.name + "!", id: "same", parts: x.parts, sent: make([][]*sending, x.parts)}
				w.texts = append(w.texts, x)
			}
			if i == 3 {
				break
			}
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
			w.be(available) // nothing starts without the store
			return w.start()
		}
		draw := func(max int) int { return rapid.IntRange(0, max-1).Draw(rt, "n") }
		wait := func(d time.Duration) {
			time.Sleep(min(d, budget))
			synctest.Wait()
			for _, s := range w.running(nil) {
				if time.Since(s.began) >= budget {
					w.answer(s, w.textOf(s), untold, false)
				}
			}
			time.Sleep(d - min(d, budget))
			synctest.Wait()
		}
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
				wait([]time.Duration{time.Second, 10 * time.Second, 29 * time.Second, 31 * time.Second, 2 * time.Minute, 23 * time.Hour}[draw(6)])
			},
			"expire": func(rt *rapid.T) { // seconds before or after a day has passed since a message was sent
				x := w.texts[draw(len(w.texts))]
				var begun time.Time
				w.judging.Lock()
				if s := x.newest(); s != nil {
					begun = s.began
				}
				w.judging.Unlock()
				d := time.Until(begun.Add(Retention + time.Duration(draw(40)-20)*time.Second))
				if d <= 0 {
					rt.Skip()
				}
				wait(d)
			},
			"start": func(rt *rapid.T) {
				if !w.is(available) || len(w.processes) > 5 {
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
			"away": func(*rapid.T) { w.be(availability(draw(3))) },
			"":     w.check,
		}
		for rt.Repeat(actions); time.Since(began) < span; {
			rt.Repeat(actions)
		}
		w.check(nil)
		w.be(available)
		alive()                                     // to find what is lost
		for range len(w.processes) * len(w.texts) { // those who wait may have a claim too
			for _, s := range w.running(nil) {
				w.answer(s, w.textOf(s), tookNot, false)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(Retention + time.Minute)
		for _, x := range w.texts {
			claim, r, err := alive().Begin(context.Background(), time.Now().Add(time.Second), w.message(x), Options{Window: w.window})
			if err != nil || !claim.Won() {
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

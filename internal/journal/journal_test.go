package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told collects what a journal says behind the back of messages.
type told struct {
	mu     sync.Mutex
	lost   []Entry
	failed []error
}

func (l *told) open(t *testing.T, s Store) *Journal {
	t.Helper()
	j, err := Open(s, func(e Entry) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lost = append(l.lost, e)
	}, func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed = append(l.failed, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

var numbered atomic.Int64

// textMessage is a message with the app's own id, a new one each time.
func textMessage(app string) *sms.Message {
	n := numbered.Add(1)
	return &sms.Message{
		ID: fmt.Sprint("id-", n), Reference: fmt.Sprint("ref-", n), User: "johndow", Body: sms.Hide("Hello"),
		To: sms.Number{Value: "+15551231234", Kind: sms.Phone}, Disposition: sms.Disposition{ID: app},
	}
}

func (j *Journal) begin(m *sms.Message) (*Turn, sms.Receipt, error) {
	return j.Begin(context.Background(), time.Now().Add(20*time.Second), m, Terms{Window: 30 * time.Second})
}

var (
	accepted = sms.Receipt{Outcome: sms.Accepted, Adapter: "a", ID: "sms-1"}
	noCredit = sms.Receipt{Outcome: sms.Refused, Adapter: "a", Refusal: sms.Refuse(sms.NoCredit)}
)

// What could not be written down is written down when the store is back. Until then nothing is sent for the same message.
func TestStoreAway(t *testing.T) {
	for _, how := range []awayness{gone, mute} {
		synctest.Test(t, func(t *testing.T) {
			s, l := newShelf(), new(told)
			j := l.open(t, s)
			defer j.Release()
			s.be(how)
			if _, _, err := j.begin(textMessage("1")); !errors.Is(err, ErrAway) || !errors.Is(err, errMute) {
				t.Errorf("begun: %v", err)
			}
			s.be(here)
			turn, _, err := j.begin(textMessage("1"))
			if err != nil || !turn.Mine() {
				t.Fatalf("not begun: %v", err)
			}
			s.be(how)
			turn.Part("a", "sms-1", sms.Split{Parts: 1})
			turn.End(accepted)
			if len(l.failed) == 0 {
				t.Error("nobody is told that the end could not be written down")
			}
			if repeat, r, err := j.begin(textMessage("1")); err != nil || repeat.Mine() || r.ID != "sms-1" || !r.Repeat {
				t.Errorf("repeated: %v %v", r.Outcome, err)
			}
			if _, _, err := j.begin(textMessage("2")); !errors.Is(err, ErrAway) {
				t.Errorf("another: %v", err)
			}
			s.be(here)
			if how == mute { // a repeat writes it down
				if turn, r, err := j.begin(textMessage("1")); err != nil || turn.Mine() || r.ID != "sms-1" {
					t.Errorf("repeated later: %v %v", r.Outcome, err)
				}
			} else { // or time
				time.Sleep(Renewal + time.Second)
				synctest.Wait()
				if n := len(j.flight); n != 0 {
					t.Errorf("%d are still to be written down", n)
				}
			}
			if e := s.entries[turn.key]; e.State != Accepted || e.IDs[0] != "sms-1" {
				t.Errorf("written down: %v", e.State)
			}
		})
	}
}

// If it cannot be written down that the phone has the answer, a second text of the same words is not taken for a repeat: it is
// refused until that is written down, and sent then.
func TestReachedWhileStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		j := l.open(t, s)
		defer j.Release()
		turn, _, _ := j.begin(textMessage(""))
		turn.Part("a", "sms-1", sms.Split{Parts: 1})
		turn.End(accepted)
		s.be(gone)
		turn.Reached()
		if len(l.failed) != 1 {
			t.Errorf("failed: %v", l.failed)
		}
		for range 2 {
			if _, _, err := j.begin(textMessage("")); !errors.Is(err, ErrAway) {
				t.Errorf("a second text: %v", err)
			}
		}
		s.be(here)
		second, _, err := j.begin(textMessage(""))
		if err != nil || !second.Mine() {
			t.Fatalf("a second text, when the store is back: %v", err)
		}
		second.End(accepted)
		s.be(gone)
		second.Reached()
		s.be(here)
		time.Sleep(2 * Renewal)
		synctest.Wait()
		if _, n, _ := j.Size(); n != 0 {
			t.Errorf("%d are still to be written down", n)
		}
	})
}

// interrupted is a store during whose next update something happens.
type interrupted struct {
	Store
	by atomic.Pointer[func()]
}

func (i *interrupted) Update(key Key, lazy bool, change Change) error {
	err := i.Store.Update(key, lazy, change)
	if by := i.by.Swap(nil); by != nil {
		(*by)()
	}
	return err
}

// The phone may get its answer just while the end is written down at last.
func TestReachedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		i := &interrupted{Store: s}
		j := l.open(t, i)
		defer j.Release()
		turn, _, _ := j.begin(textMessage(""))
		turn.Part("a", "sms-1", sms.Split{Parts: 1})
		s.be(gone)
		turn.End(accepted)
		s.be(here)
		reached := turn.Reached
		i.by.Store(&reached)
		time.Sleep(2 * Renewal)
		synctest.Wait()
		if second, r, err := j.begin(textMessage("")); err != nil || !second.Mine() {
			t.Errorf("a second text is taken for a repeat: %v %v", r.Outcome, err)
		}
		if _, n, _ := j.Size(); n != 1 {
			t.Errorf("%d are on their way", n)
		}
	})
}

// After a failure in the middle the rest is to be sent, and the phone is told how much went out.
func TestPartial(t *testing.T) {
	s, l := newShelf(), new(told)
	j := l.open(t, s)
	defer j.Release()
	first, _, _ := j.begin(textMessage("1"))
	first.Part("a", "sms-1", sms.Split{Parts: 3})
	if e := s.entries[first.key]; e.State != Pending || len(e.IDs) != 1 {
		t.Errorf("after a part: %v with %v", e.State, e.IDs)
	}
	first.End(sms.Receipt{Refusal: sms.PartlySent(1, 3), Resumable: true})
	m := textMessage("1")
	second, _, err := j.begin(m)
	if err != nil || !second.Mine() || m.ID != first.entry.ID || m.Reference != first.entry.Reference {
		t.Fatalf("not resumed: %v, message %s", err, m.ID)
	}
	if adapter, split, sent := second.Sent(); adapter != "a" || split.Parts != 3 || sent != 1 {
		t.Errorf("%d of %d sent by %s", sent, split.Parts, adapter)
	}
	second.Part("a", "sms-2", sms.Split{Parts: 3})
	second.End(sms.Receipt{Refusal: sms.PartlySent(2, 3)}) // what became of the third is not known
	third, r, err := j.begin(textMessage("1"))
	if err != nil || third.Mine() || r.Outcome != sms.OutcomeUnknown || r.Refusal.Value("sent") != "2" {
		t.Errorf("%v %v, %v", r.Outcome, r.Refusal, err)
	}
}

// Who joins a message gets its end, whatever that is, and its reference.
func TestJoin(t *testing.T) {
	for _, end := range []sms.Receipt{accepted, noCredit, {Refusal: sms.Refuse(sms.Unknown)}} {
		synctest.Test(t, func(t *testing.T) {
			s, l := newShelf(), new(told)
			j := l.open(t, s)
			defer j.Release()
			m := textMessage("1")
			leader, _, _ := j.begin(m)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					own := textMessage("1")
					turn, r, err := j.begin(own)
					if err != nil || turn.Mine() || r.Outcome != end.Outcome || r.Cause() != end.Cause() || !r.Repeat || own.Reference != m.Reference {
						t.Errorf("%v %v %v, reference %s", r.Outcome, r.Cause(), err, own.Reference)
					}
				})
			}
			synctest.Wait()
			leader.End(end)
			wg.Wait()
		})
	}
}

// A message of another process is waited for, until that ends or its lease does.
func TestOtherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		one, two := l.open(t, s), l.open(t, s)
		defer two.Release()
		turn, _, _ := one.begin(textMessage("1"))
		go func() {
			time.Sleep(3 * time.Second)
			turn.Part("a", "sms-1", sms.Split{Parts: 1})
			turn.End(accepted)
		}()
		began := time.Now()
		if repeat, r, err := two.begin(textMessage("1")); err != nil || repeat.Mine() || r.ID != "sms-1" || time.Since(began) > 4*time.Second {
			t.Errorf("%v %v after %v", r.Outcome, err, time.Since(began))
		}
		left, _, _ := one.begin(textMessage("2"))
		if _, r, _ := two.begin(textMessage("2")); r.Cause() != sms.Unknown {
			t.Errorf("while it is on its way: %v", r.Cause())
		}
		close(one.end) // as if it were killed
		time.Sleep(Lease + Renewal)
		synctest.Wait()
		if len(l.lost) != 1 || l.lost[0].Reference != left.entry.Reference {
			t.Errorf("lost: %v", l.lost)
		}
		began = time.Now()
		if repeat, r, _ := two.begin(textMessage("2")); repeat.Mine() || r.Cause() != sms.Unknown || time.Since(began) != 0 {
			t.Errorf("after it is lost: %v after %v", r.Cause(), time.Since(began))
		}
	})
}

// Of those who wait for another process, one asks it. When his phone hangs up, another does.
func TestOtherProcessIsAskedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		one, two := l.open(t, s), l.open(t, s)
		defer one.Release()
		defer two.Release()
		turn, _, _ := one.begin(textMessage("1"))
		var wg sync.WaitGroup
		for i := range 3 { // they hang up in the order in which they came, but for the last
			wg.Go(func() {
				ctx, hangUp := context.WithTimeout(t.Context(), time.Duration(i+1)*2*time.Second)
				defer hangUp()
				time.Sleep(time.Duration(i) * time.Millisecond)
				m := textMessage("1")
				repeat, r, err := two.Begin(ctx, time.Now().Add(20*time.Second), m, Terms{Window: time.Minute})
				want := sms.OutcomeUnknown
				if i == 2 {
					want = sms.Accepted
				}
				if err != nil || repeat.Mine() || r.Outcome != want || m.Reference != turn.message.Reference {
					t.Errorf("%d: %v %v, reference %s", i, r.Outcome, err, m.Reference)
				}
			})
		}
		time.Sleep(5 * time.Second)
		turn.Part("a", "sms-1", sms.Split{Parts: 1})
		turn.End(accepted)
		wg.Wait()
	})
}

// What a claim finds to be lost is told, even if the store keeps that and cannot say so.
func TestLostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		one, two := l.open(t, s), l.open(t, s)
		_, _, _ = one.begin(textMessage("1"))
		close(one.end) // as if it were killed
		s.leases[one.owner] = time.Now()
		s.be(mute)
		if _, _, err := two.begin(textMessage("1")); !errors.Is(err, ErrAway) {
			t.Error(err)
		}
		s.be(here)
		time.Sleep(2 * Lease)
		if repeat, r, err := two.begin(textMessage("1")); err != nil || repeat.Mine() || r.Cause() != sms.Unknown {
			t.Errorf("%v, %v", r.Cause(), err)
		}
		if len(l.lost) != 1 {
			t.Errorf("lost: %v", l.lost)
		}
		two.Release()
	})
}

// Messages that are refused while the store is away take no memory, once it is known to be away.
func TestAwayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		j := l.open(t, s)
		s.be(gone)
		time.Sleep(3 * Renewal)
		for i := range 100 {
			if _, _, err := j.begin(textMessage(fmt.Sprint(i))); !errors.Is(err, ErrAway) {
				t.Error(err)
			}
		}
		if _, onTheirWay, _ := j.Size(); onTheirWay != 0 {
			t.Errorf("%d are on their way", onTheirWay)
		}
		s.be(here)
		j.Release()
	})
}

// The last who holds a journal closes it.
func TestRelease(t *testing.T) {
	s, l := newShelf(), new(told)
	j := l.open(t, s)
	if !j.Hold() {
		t.Fatal("not held")
	}
	turn, _, _ := j.begin(textMessage("1"))
	j.Release()
	if len(s.leases) != 1 {
		t.Error("left while a message is on its way")
	}
	turn.End(accepted)
	j.Release()
	if len(s.leases) != 0 || j.Hold() {
		t.Error("not closed")
	}
}

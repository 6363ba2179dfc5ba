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

func (j *Journal) begin(m *sms.Message) (*Claim, sms.Result, error) {
	return j.Begin(context.Background(), time.Now().Add(20*time.Second), m, Options{Window: 30 * time.Second})
}

var (
	accepted = sms.Result{Outcome: sms.Accepted, Adapter: "a", ID: "sms-1"}
	noCredit = sms.Result{Outcome: sms.Refused, Adapter: "a", Refusal: sms.Refuse(sms.NoCredit)}
)

// Changes that the store does not accept are stored when it is back. Until then the same message is not sent again.
func TestStoreAway(t *testing.T) {
	for _, how := range []availability{unavailable, mute} {
		synctest.Test(t, func(t *testing.T) {
			s, l := newShelf(), new(told)
			j := l.open(t, s)
			defer j.Release()
			s.be(how)
			if _, _, err := j.begin(textMessage("1")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errMute) {
				t.Errorf("begun: %v", err)
			}
			s.be(available)
			claim, _, err := j.begin(textMessage("1"))
			if err != nil || !claim.Won() {
				t.Fatalf("not begun: %v", err)
			}
			s.be(how)
			claim.Part("a", "sms-1", sms.Split{Parts: 1})
			claim.End(accepted)
			if len(l.failed) == 0 {
				t.Error("nobody is told that the end could not be written down")
			}
			if repeat, r, err := j.begin(textMessage("1")); err != nil || repeat.Won() || r.ID != "sms-1" || !r.Duplicate {
				t.Errorf("repeated: %v %v", r.Outcome, err)
			}
			if _, _, err := j.begin(textMessage("2")); !errors.Is(err, ErrUnavailable) {
				t.Errorf("another: %v", err)
			}
			s.be(available)
			if how == mute { // a repeat writes it down
				if claim, r, err := j.begin(textMessage("1")); err != nil || claim.Won() || r.ID != "sms-1" {
					t.Errorf("repeated later: %v %v", r.Outcome, err)
				}
			} else { // or time
				time.Sleep(RenewInterval + time.Second)
				synctest.Wait()
				if n := len(j.inFlight); n != 0 {
					t.Errorf("%d are still to be written down", n)
				}
			}
			if e := s.entries[claim.key]; e.State != Accepted || e.IDs[0] != "sms-1" {
				t.Errorf("written down: %v", e.State)
			}
		})
	}
}

// If the store does not accept an acknowledged reply, a second text of the same words is not taken for a duplicate: it is refused
// until the store does, and sent then.
func TestAcknowledgedWhileStoreUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		j := l.open(t, s)
		defer j.Release()
		claim, _, _ := j.begin(textMessage(""))
		claim.Part("a", "sms-1", sms.Split{Parts: 1})
		claim.End(accepted)
		s.be(unavailable)
		claim.ReplyAcknowledged()
		if len(l.failed) != 1 {
			t.Errorf("failed: %v", l.failed)
		}
		for range 2 {
			if _, _, err := j.begin(textMessage("")); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a second text: %v", err)
			}
		}
		s.be(available)
		second, _, err := j.begin(textMessage(""))
		if err != nil || !second.Won() {
			t.Fatalf("a second text, when the store is back: %v", err)
		}
		second.End(accepted)
		s.be(unavailable)
		second.ReplyAcknowledged()
		s.be(available)
		time.Sleep(2 * RenewInterval)
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

// A reply may be acknowledged while the late result is stored.
func TestAcknowledgedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		i := &interrupted{Store: s}
		j := l.open(t, i)
		defer j.Release()
		claim, _, _ := j.begin(textMessage(""))
		claim.Part("a", "sms-1", sms.Split{Parts: 1})
		s.be(unavailable)
		claim.End(accepted)
		s.be(available)
		acknowledged := claim.ReplyAcknowledged
		i.by.Store(&acknowledged)
		time.Sleep(2 * RenewInterval)
		synctest.Wait()
		if second, r, err := j.begin(textMessage("")); err != nil || !second.Won() {
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
	first.End(sms.Result{Refusal: sms.PartlySent(1, 3), RestNotSent: true})
	m := textMessage("1")
	own := *m
	second, _, err := j.begin(m)
	if err != nil || !second.Won() || second.ID() != first.ID() || second.Reference() != first.Reference() {
		t.Fatalf("not resumed: %v, message %s", err, second.ID())
	}
	if m.ID != own.ID || m.Reference != own.Reference {
		t.Error("the journal has written into the message")
	}
	if adapter, split, sent := second.Sent(); adapter != "a" || split.Parts != 3 || sent != 1 {
		t.Errorf("%d of %d sent by %s", sent, split.Parts, adapter)
	}
	second.Part("a", "sms-2", sms.Split{Parts: 3})
	second.End(sms.Result{Refusal: sms.PartlySent(2, 3)}) // what became of the third is not known
	third, r, err := j.begin(textMessage("1"))
	if err != nil || third.Won() || r.Outcome != sms.OutcomeUnknown || r.Refusal.Value("sent") != "2" {
		t.Errorf("%v %v, %v", r.Outcome, r.Refusal, err)
	}
}

// Duplicates that wait for a message get its result, whatever that is, and its reference.
func TestJoin(t *testing.T) {
	for _, end := range []sms.Result{accepted, noCredit, {Refusal: sms.Refuse(sms.Unconfirmed)}} {
		synctest.Test(t, func(t *testing.T) {
			s, l := newShelf(), new(told)
			j := l.open(t, s)
			defer j.Release()
			m := textMessage("1")
			leader, _, _ := j.begin(m)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					claim, r, err := j.begin(textMessage("1"))
					if err != nil || claim.Won() || r.Outcome != end.Outcome || r.Cause() != end.Cause() || !r.Duplicate || claim.Reference() != m.Reference {
						t.Errorf("%v %v %v, reference %s", r.Outcome, r.Cause(), err, claim.Reference())
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
		claim, _, _ := one.begin(textMessage("1"))
		go func() {
			time.Sleep(3 * time.Second)
			claim.Part("a", "sms-1", sms.Split{Parts: 1})
			claim.End(accepted)
		}()
		began := time.Now()
		if repeat, r, err := two.begin(textMessage("1")); err != nil || repeat.Won() || r.ID != "sms-1" || time.Since(began) > 4*time.Second {
			t.Errorf("%v %v after %v", r.Outcome, err, time.Since(began))
		}
		left, _, _ := one.begin(textMessage("2"))
		if _, r, _ := two.begin(textMessage("2")); r.Cause() != sms.Unconfirmed {
			t.Errorf("while it is on its way: %v", r.Cause())
		}
		close(one.closing) // as if it were killed
		time.Sleep(Lease + RenewInterval)
		synctest.Wait()
		if len(l.lost) != 1 || l.lost[0].Reference != left.entry.Reference {
			t.Errorf("lost: %v", l.lost)
		}
		began = time.Now()
		if repeat, r, _ := two.begin(textMessage("2")); repeat.Won() || r.Cause() != sms.Unconfirmed || time.Since(began) != 0 {
			t.Errorf("after it is lost: %v after %v", r.Cause(), time.Since(began))
		}
	})
}

// One of the duplicates that wait for another process polls the store. When its app closes the connection, another one does.
func TestOtherProcessIsAskedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		one, two := l.open(t, s), l.open(t, s)
		defer one.Release()
		defer two.Release()
		claim, _, _ := one.begin(textMessage("1"))
		var wg sync.WaitGroup
		for i := range 3 { // they hang up in the order in which they came, but for the last
			wg.Go(func() {
				ctx, hangUp := context.WithTimeout(t.Context(), time.Duration(i+1)*2*time.Second)
				defer hangUp()
				time.Sleep(time.Duration(i) * time.Millisecond)
				repeat, r, err := two.Begin(ctx, time.Now().Add(20*time.Second), textMessage("1"), Options{Window: time.Minute})
				want := sms.OutcomeUnknown
				if i == 2 {
					want = sms.Accepted
				}
				if err != nil || repeat.Won() || r.Outcome != want || repeat.Reference() != claim.Reference() {
					t.Errorf("%d: %v %v, reference %s", i, r.Outcome, err, repeat.Reference())
				}
			})
		}
		time.Sleep(5 * time.Second)
		claim.Part("a", "sms-1", sms.Split{Parts: 1})
		claim.End(accepted)
		wg.Wait()
	})
}

// A message that a claim finds lost is reported once, even if the store accepts that and its answer is lost.
func TestLostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		one, two := l.open(t, s), l.open(t, s)
		_, _, _ = one.begin(textMessage("1"))
		close(one.closing) // as if it were killed
		s.leases[one.owner] = time.Now()
		s.be(mute)
		if _, _, err := two.begin(textMessage("1")); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		s.be(available)
		time.Sleep(2 * Lease)
		if repeat, r, err := two.begin(textMessage("1")); err != nil || repeat.Won() || r.Cause() != sms.Unconfirmed {
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
		s.be(unavailable)
		time.Sleep(3 * RenewInterval)
		for i := range 100 {
			if _, _, err := j.begin(textMessage(fmt.Sprint(i))); !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		}
		if _, onTheirWay, _ := j.Size(); onTheirWay != 0 {
			t.Errorf("%d are on their way", onTheirWay)
		}
		s.be(available)
		j.Release()
	})
}

// The last release closes a journal.
func TestRelease(t *testing.T) {
	s, l := newShelf(), new(told)
	j := l.open(t, s)
	if !j.Acquire() {
		t.Fatal("not acquired")
	}
	claim, _, _ := j.begin(textMessage("1"))
	j.Release()
	if len(s.leases) != 1 {
		t.Error("left while a message is on its way")
	}
	claim.End(accepted)
	j.Release()
	if len(s.leases) != 0 || j.Acquire() {
		t.Error("not closed")
	}
}

// A message whose files a process was collecting is sent by another process after the first has
// ended. The first one cannot begin to send it any more.
func TestCollecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		one, two := l.open(t, s), l.open(t, s)
		defer two.Release()
		picture := func() *sms.Message {
			m := textMessage("1")
			m.FilesDigest = "digest"
			return m
		}
		first, _, _ := one.begin(picture())
		close(one.closing) // as if it were killed
		one.loops.Wait()
		time.Sleep(Lease)
		second, r, err := two.begin(picture())
		if err != nil || !second.Won() || second.Reference() != first.Reference() || len(l.lost) != 0 {
			t.Errorf("%v %v, lost %v", r.Cause(), err, l.lost)
		}
		if err := first.StartSending(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("both send it: %v", err)
		}
		s.be(unavailable)
		if err := second.StartSending(); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		s.be(available)
		if err := second.StartSending(); err != nil {
			t.Error(err)
		}
		if err := second.StartSending(); err != nil {
			t.Error(err)
		}
		second.End(accepted)
	})
}

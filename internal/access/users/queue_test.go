package users

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// slow is a hash of one password that takes the time of a fake clock.
type slow struct {
	password string
	takes    time.Duration
	computed *atomic.Int64
}

func (s slow) matches(secret string) bool {
	s.computed.Add(1)
	time.Sleep(s.takes)
	return secret == s.password
}

func (s slow) work() float64 { return float64(s.takes) }

// slowList is a list with a queue of its own, where the names given have slow passwords.
func slowList(t *testing.T, computed *atomic.Int64, takes time.Duration, names ...string) *List {
	t.Helper()
	var accounts []Account
	for _, name := range names {
		accounts = append(accounts, Account{User: User{Name: name}, Passwords: []string{hashed(t, "x")}})
	}
	l, err := NewList(append(accounts, Account{User: User{Name: "plain"}, Passwords: []string{"right"}}))
	if err != nil {
		t.Fatal(err)
	}
	l.queue = newHashQueue(1)
	for _, name := range names {
		l.accounts[name].hashed = []hash{slow{"right", takes, computed}}
	}
	l.decoy.Store(&[]hash{slow{"decoy", takes, computed}})
	return l
}

func network(a, b, c, d int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(a), byte(b), byte(c), byte(d)}), 32)
}

// names are numbered names.
func names(prefix string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(prefix, i))
	}
	return list
}

// 36 wrong passwords a second from 400 networks keep out nobody who comes from a network where the
// user logged in before, and nobody who comes from a prefix without failures of late, with 80 ms a
// hash, one at a time.
func TestQueueUnderFlood(t *testing.T) {
	for name, c := range map[string]struct {
		of      func(i int) netip.Prefix // the network of a wrong password
		from    func(i int) netip.Prefix // of a user
		known   bool
		arrives time.Duration
		within  time.Duration
	}{
		"two prefixes":                             {func(i int) netip.Prefix { return network(10, 0, i%2, i%400/2) }, func(i int) netip.Prefix { return network(192, 0, i, 1) }, false, 5 * time.Second, time.Second},
		"400 prefixes":                             {func(i int) netip.Prefix { return network(10, i%400>>8, i%400, 1) }, func(i int) netip.Prefix { return network(192, 0, i, 1) }, false, 15 * time.Second, maxWait},
		"400 prefixes, of which users know some":   {func(i int) netip.Prefix { return network(10, i%400>>8, i%400, 1) }, func(i int) netip.Prefix { return network(10, 0, i, 1) }, true, 5 * time.Second, time.Second},
		"new prefixes all the time, users at home": {func(i int) netip.Prefix { return network(10, i>>8, i, 1) }, func(i int) netip.Prefix { return network(192, 0, 2, i) }, true, 5 * time.Second, 2 * time.Second},
		"from one network of IPv6": {
			func(i int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:%x::/64", i)) },
			func(i int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i+1)) }, false, 5 * time.Second, time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var computed atomic.Int64
				honest, guessed := names("honest", 12), names("victim", 100)
				l := slowList(t, &computed, 80*time.Millisecond, slices.Concat(honest, guessed)...)
				ctx, end := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range 36 * 20 {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * time.Second / 36)
						user := fmt.Sprint([]string{"victim", "nobody"}[i%2], i%100)
						_, err := l.Authenticate(ctx, Credential{User: user, Secret: sms.Hide(fmt.Sprint("wrong", i)), From: c.of(i)})
						if !errors.Is(err, ErrDenied) && !errors.Is(err, ErrBusy) {
							t.Errorf("%s: %v", user, err)
						}
					})
				}
				var all sync.WaitGroup
				for i, name := range honest {
					all.Go(func() {
						time.Sleep(c.arrives + time.Duration(i)*300*time.Millisecond)
						began := time.Now()
						_, err := l.Authenticate(t.Context(), Credential{
							User: name + "@example.com", Secret: sms.Hide("right"), From: c.from(i), KnownNetwork: func(user string) bool { return c.known && user == name },
						})
						if took := time.Since(began); err != nil || took > c.within {
							t.Errorf("%s: %v after %s", name, err, took)
						}
					})
				}
				all.Wait()
				end()
				wg.Wait()
				if n := len(l.queue.waiting); n > 0 || l.queue.backlog != 0 || l.queue.running != 0 {
					t.Errorf("%d are left in the queue, %s, %d running", n, l.queue.backlog, l.queue.running)
				}
			})
		})
	}
}

// Whatever name a wrong password is sent for, it takes the same place and the same time, with a
// long queue and without; but where the result is known, nothing is computed while the queue is
// long, except now and then to know how long that takes.
func TestQueueIsTheSameForAllNames(t *testing.T) {
	for name, doubted := range map[string]bool{"nobody": false, "plain": false, "ann": true, "cheap": false, "bob": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var computed, cheaply atomic.Int64
				const takes, waiting = 80 * time.Millisecond, 50
				l := slowList(t, &computed, takes, "ann", "bob", "cheap")
				l.accounts["cheap"].hashed = []hash{slow{"right", takes / 4, &cheaply}}
				if _, err := l.Authenticate(t.Context(), Credential{User: "bob", Secret: sms.Hide("wrong")}); !errors.Is(err, ErrDenied) {
					t.Fatal(err)
				}
				computed.Store(0)
				began := time.Now()
				var wg sync.WaitGroup
				for i := range waiting {
					wg.Go(func() {
						_, err := l.Authenticate(t.Context(), Credential{
							User: name, Secret: sms.Hide(fmt.Sprint("wrong", i)), From: network(192, 0, i, 1), LockedOut: func(string) bool { return doubted },
						})
						// The last ones, behind whom the queue is short, compute; an account with a
						// cheaper hash takes longer there.
						want, more := takes*time.Duration(i+1), time.Duration(0)
						if name == "cheap" {
							more = 4 * takes
						}
						if took := time.Since(began); !errors.Is(err, ErrDenied) || took < want || took > want+more {
							t.Errorf("the %dth: %v after %s, want %s", i, err, took, want)
						}
					})
					synctest.Wait()
				}
				wg.Wait()
				if n := computed.Load(); (n > 6) != (name == "bob") {
					t.Errorf("%d hashes were computed for %d wrong passwords", n, waiting)
				}
				if n := cheaply.Load(); name == "cheap" && n != waiting {
					t.Errorf("%d of %d compared with the hash of the account", n, waiting)
				}
			})
		})
	}
}

// Imitated computations vary in time as real ones do, and a real one is measured again when the last
// is too old.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k times
		if _, ok := k.sample(); ok || k.mean() != 0 {
			t.Error("like nothing")
		}
		for i := range 3 * maxTimes {
			k.record(time.Duration(i) * time.Millisecond)
		}
		seen := make(map[time.Duration]bool)
		for range 1000 {
			took, ok := k.sample()
			seen[took] = ok
		}
		if len(seen) != maxTimes || seen[31*time.Millisecond] || k.mean() != 39500*time.Microsecond {
			t.Errorf("like %v, %s in the mean", seen, k.mean())
		}
		time.Sleep(freshTime + 1)
		if _, ok := k.sample(); ok {
			t.Error("like what is long ago")
		}
	})
}

// The turns go by prefix, and in a prefix by arrival; who logged in there before is first. What was
// right costs a prefix nothing, and what it used is forgotten.
func TestQueueOrder(t *testing.T) {
	type one struct {
		name  string
		from  netip.Prefix
		known bool
	}
	a, b, c := network(10, 0, 0, 1), network(10, 0, 1, 1), network(10, 0, 2, 1)
	same := network(10, 0, 0, 200)
	for name, test := range map[string]struct {
		before func(q *hashQueue)
		come   []one
		want   []string
	}{
		"by arrival":              {nil, []one{{"1", a, false}, {"2", b, false}, {"3", c, false}}, []string{"1", "2", "3"}},
		"by prefix":               {nil, []one{{"a1", a, false}, {"a2", same, false}, {"a3", a, false}, {"b1", b, false}, {"c1", c, false}, {"b2", b, false}}, []string{"a1", "b1", "c1", "a2", "b2", "a3"}},
		"known ones first":        {nil, []one{{"a1", a, false}, {"b1", b, false}, {"a2", a, true}, {"c1", c, true}}, []string{"c1", "a2", "a1", "b1"}},
		"nobody knows where from": {nil, []one{{"1", netip.Prefix{}, false}, {"2", netip.Prefix{}, false}, {"a1", a, false}}, []string{"1", "a1", "2"}},
		"what was used":           {func(q *hashQueue) { q.use(prefixOf(a), 3) }, []one{{"a1", a, false}, {"b1", b, false}}, []string{"b1", "a1"}},
		"what was right":          {func(q *hashQueue) { q.use(prefixOf(a), 1); q.refund(same) }, []one{{"a1", a, false}, {"b1", b, false}}, []string{"a1", "b1"}},
		"long ago":                {func(q *hashQueue) { q.use(prefixOf(a), 3); time.Sleep(3 * usageHalfLife) }, []one{{"a1", a, false}, {"b1", b, false}}, []string{"a1", "b1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newHashQueue(1)
				if err := q.acquire(t.Context(), network(172, 16, 0, 1), false, 0); err != nil {
					t.Fatal(err)
				}
				if test.before != nil {
					test.before(q)
				}
				var order []string
				for _, o := range test.come {
					go func() {
						if err := q.acquire(t.Context(), o.from, o.known, time.Second); err != nil {
							t.Error(err)
						}
						order = append(order, o.name)
					}()
					synctest.Wait()
				}
				for range test.come {
					q.release()
					synctest.Wait()
				}
				q.release()
				if !slices.Equal(order, test.want) || q.running != 0 || q.backlog != 0 {
					t.Errorf("%v, want %v; %d running, %s to do", order, test.want, q.running, q.backlog)
				}
			})
		})
	}
}

// However many come, hang up or wait for too long, the queue and what it remembers are bounded,
// each of them gets a turn or is told that there is none, and who is better placed takes the place
// of the last.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newHashQueue(2)
		var wg sync.WaitGroup
		var entered, busy atomic.Int64
		come := func(ctx context.Context, from netip.Prefix, known bool) {
			wg.Go(func() {
				if err := q.acquire(ctx, from, known, time.Second); err != nil {
					busy.Add(1)
					return
				}
				entered.Add(1)
				time.Sleep(time.Second)
				q.release()
			})
		}
		gone, hangUp := context.WithCancel(t.Context())
		for i := range maxWaiting + 2 {
			ctx := t.Context()
			if i%3 == 2 {
				ctx = gone
			}
			come(ctx, network(10, 0, 0, i%256), false)
		}
		synctest.Wait()
		if q.length() != maxWaiting || busy.Load() != 0 || !q.isLong() {
			t.Errorf("%d wait, %d were turned away", q.length(), busy.Load())
		}
		come(t.Context(), network(10, 0, 0, 1), false)
		synctest.Wait()
		if q.length() != maxWaiting || busy.Load() != 1 {
			t.Errorf("one too many: %d wait, %d were turned away", q.length(), busy.Load())
		}
		come(t.Context(), network(10, 0, 1, 1), false)
		come(t.Context(), network(10, 0, 0, 1), true)
		synctest.Wait()
		if q.length() != maxWaiting || busy.Load() != 3 || !q.knownFirst() {
			t.Errorf("two that are better: %d wait, %d were turned away", q.length(), busy.Load())
		}
		hangUp()
		synctest.Wait()
		if n := q.length(); n < maxWaiting/2 || n > maxWaiting*2/3+3 {
			t.Errorf("after a third hung up %d wait", n)
		}
		wg.Wait()
		if q.running != 0 || q.length() != 0 || q.backlog != 0 || q.isLong() || entered.Load()+busy.Load() != maxWaiting+5 || entered.Load() < 20 {
			t.Errorf("%d running, %d wait, %s to do, %d had a turn, %d had none", q.running, q.length(), q.backlog, entered.Load(), busy.Load())
		}
	})
}

// Whatever comes and goes at once, no more than the slots are taken, and none is lost.
func TestQueueSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newHashQueue(3)
		var wg sync.WaitGroup
		var inside, most atomic.Int64
		for range 2000 {
			comes, stays, patience := rand.N(20*time.Second), rand.N(100*time.Millisecond), rand.N(12*time.Second)
			from, known := network(10, 0, rand.IntN(20), 1), rand.IntN(4) == 0
			wg.Go(func() {
				time.Sleep(comes)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if q.acquire(ctx, from, known, stays) != nil {
					return
				}
				n := inside.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				time.Sleep(stays)
				inside.Add(-1)
				q.release()
			})
		}
		wg.Wait()
		if most.Load() != 3 || q.running != 0 || len(q.waiting) != 0 || q.backlog != 0 {
			t.Errorf("%d at once; %d running, %d wait, %s to do", most.Load(), q.running, len(q.waiting), q.backlog)
		}
	})
}

func (q *hashQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

func (q *hashQueue) knownFirst() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[0].known && !q.waiting.last().known
}

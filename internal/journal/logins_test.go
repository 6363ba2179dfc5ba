package journal

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
)

// Where a user logged in is known to other processes within a minute, while the store is away, and after a restart, for 30 days. With
// the memory of a process it ends with the process.
func TestLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newShelf(), new(told)
		first, second := l.open(t, s), l.open(t, s)
		defer first.Release()
		defer second.Release()
		network := netip.MustParsePrefix("203.0.113.1/32")
		seen := time.Now()
		if err := first.SaveLogin("ann", network, seen); err != nil || !first.LastLogin("ann", network).Equal(seen) {
			t.Error("not known at once", err)
		}
		time.Sleep(LoginsInterval + time.Second)
		synctest.Wait()
		if !second.LastLogin("ann", network).Equal(seen) || !second.LastLogin("bob", network).IsZero() {
			t.Error("not known to another process after a minute")
		}
		s.be(unavailable)
		if err := first.SaveLogin("bob", network, seen); err == nil || !first.LastLogin("bob", network).IsZero() {
			t.Error("known although it is not saved")
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !second.LastLogin("ann", network).Equal(seen) {
			t.Error("forgotten while the store is away")
		}
		s.be(available)
		if err := first.SaveLogin("bob", network, time.Now()); err != nil {
			t.Error(err)
		}
		time.Sleep(LoginsInterval + time.Second)
		synctest.Wait()
		third := l.open(t, s)
		if second.LastLogin("bob", network).IsZero() || third.LastLogin("bob", network).IsZero() || third.LastLogin("ann", network).IsZero() {
			t.Error("not known when the store is back")
		}
		third.Release()
		time.Sleep(lockout.TrustPeriod)
		fourth := l.open(t, s)
		defer fourth.Release()
		if !fourth.LastLogin("ann", network).IsZero() {
			t.Error("read after 30 days")
		}
		memory, err := Open(NewMemory(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Release()
		if err := memory.SaveLogin("ann", network, seen); err != nil || !memory.LastLogin("ann", network).Equal(seen) {
			t.Error("not known in memory", err)
		}
	})
}

// However many networks and users there are, what is known of them is bounded, and the last ones are.
func TestLoginsAreBounded(t *testing.T) {
	l, began := newLogins(), time.Now()
	for i := range 3 * maxUsers {
		l.put(Login{User: Key{byte(i), byte(i >> 8), byte(i >> 16), 1}, Seen: began})
	}
	for i := range 10 * lockout.MaxKnownNetworks {
		l.put(Login{Network: Key{byte(i)}, Seen: began.Add(time.Duration(i))})
	}
	l.put(Login{Network: Key{255}, Seen: began.Add(-1)}) // older than all
	list, _ := l.users.Get(Key{})
	if len(list) != lockout.MaxKnownNetworks || !l.get(Key{}, Key{255}).IsZero() || !l.get(Key{}, Key{0}).IsZero() {
		t.Errorf("%d networks of a user, or an old one", len(list))
	}
	known := 0
	for i := range 3 * maxUsers {
		if !l.get(Key{byte(i), byte(i >> 8), byte(i >> 16), 1}, Key{}).IsZero() {
			known++
		}
	}
	if known < maxUsers-1 || known > 2*maxUsers {
		t.Error(known, "users are known")
	}
}

package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

func loginOf(user, network int, seen time.Time) journal.Login {
	return journal.Login{User: journal.Key{byte(user), 1}, Network: journal.Key{byte(network), byte(network >> 8), 2}, Seen: seen}
}

// Logins are stored for lockout.TrustPeriod, the latest ones of each user. All stores of a place
// return them.
func logins(t *testing.T, s *suite) {
	both, began := s.both(), now()
	const more = lockout.MaxKnownNetworks + 4
	save := func(l journal.Login) {
		t.Helper()
		if err := both[l.Network[0]%2].SaveLogin(l); err != nil {
			t.Error(err)
		}
	}
	old := loginOf(3, 1, began.Add(-lockout.TrustPeriod-time.Hour))
	save(old)
	for i := range more {
		save(loginOf(1, i, began.Add(time.Duration(i)*time.Second)))
	}
	save(loginOf(2, 1, began))
	save(loginOf(1, more-1, began)) // earlier than what is known
	save(loginOf(1, 6, began.Add(time.Hour)))
	var want []journal.Login
	for i := 4; i < more; i++ {
		if i != 6 {
			want = append(want, loginOf(1, i, began.Add(time.Duration(i)*time.Second)))
		}
	}
	want = append(want, loginOf(1, 6, began.Add(time.Hour)))
	read := func(store journal.Store, since time.Time, want ...journal.Login) {
		t.Helper()
		list, err := store.Logins(since)
		if err != nil {
			t.Error(err)
		}
		slices.Reverse(list)
		s.same(list, want)
	}
	read(both[0], began, want...)
	read(both[1], began.Add(time.Minute), want[len(want)-1])
	read(s.store(), began.Add(-time.Minute), append([]journal.Login{loginOf(2, 1, began)}, want...)...)
	if _, err := both[0].Maintain("owner"); err != nil {
		t.Error(err)
	}
	read(both[1], time.Time{}, append([]journal.Login{loginOf(2, 1, began)}, want...)...) // the old one is forgotten
}

// A user's networks are known after a restart, and soon in other processes. The tables contain
// neither the user's name nor the network.
func loginsAreKnown(t *testing.T, s *suite) {
	first, _ := s.process(func(journal.Entry) {})
	network, other := netip.MustParsePrefix("203.0.113.77/32"), netip.MustParsePrefix("2001:db8:77:1::/64")
	seen := now()
	for _, user := range []string{"johndow", "ünä'; DROP TABLE x --"} {
		if got := first.LastLogin(user, network); !got.IsZero() {
			t.Errorf("%s logged in at %s", user, got)
		}
		if err := first.SaveLogin(user, network, seen); err != nil {
			t.Error(err)
		}
	}
	second, _ := s.process(func(journal.Entry) {})
	for _, j := range []*journal.Journal{first, second} {
		for _, c := range []struct {
			user    string
			network netip.Prefix
			want    time.Time
		}{
			{"johndow", network, seen}, {"ünä'; DROP TABLE x --", network, seen}, {"johndow", other, time.Time{}}, {"JohnDow", network, time.Time{}},
			{"johndow", netip.MustParsePrefix("203.0.113.78/32"), time.Time{}}, {"", network, time.Time{}},
		} {
			if got := j.LastLogin(c.user, c.network); !got.Equal(c.want) {
				t.Errorf("%s from %s: %s, want %s", c.user, c.network, got, c.want)
			}
		}
	}
	for _, row := range s.rows("SELECT * FROM acrobits_sms_logins") {
		for _, secret := range []string{"johndow", "203.0.113", string(network.Addr().AsSlice()), fmt.Sprintf("%x", network.Addr().AsSlice())} {
			if strings.Contains(row, secret) {
				t.Errorf("%q has %q", row, secret)
			}
		}
	}
	if rows := s.rows("SELECT network FROM acrobits_sms_logins"); len(rows) != 2 || rows[0] == rows[1] {
		t.Errorf("%d rows, or one network looks the same for two users", len(rows))
	}
}

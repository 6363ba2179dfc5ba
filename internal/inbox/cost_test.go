package inbox_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const number, other = "+15550001111", "+15551231234"

func phone(number string) sms.Number { return sms.Number{Value: number, Kind: sms.Phone} }

// fill stores n messages of the user's number, and some of others.
func fill(t *testing.T, path string, n int) (last inbox.ID) {
	t.Helper()
	last = inbox.ID(time.Now().Add(-time.Hour).UnixMicro())
	db, err := database.OpenToWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %[1]d) INSERT INTO " +
			"acrobits_sms_messages " +
			"(id, reference, username, installid, sender, recipient, body, content_type, disposition, smart, begun, " +
			"until, state, adapter, parts, ids, direction, gateway, number, item) " +
			"SELECT 'm' || (1000000 + i), '', '', '', '" + other + "', '" + number + "', 'a text of some length, as " +
			"people write them', 'text/plain', '', 0, 0, 9000000000000 + i, 0, '', 1, '[]', " +
			"i %% 2, 'g', CASE i %% 50 WHEN 0 THEN '+15559999999' ELSE '" + number + "' END, %[2]d - 20000000 * (%[1]d - " +
			"i) FROM c", // 20 s apart
		"UPDATE acrobits_sms_sequence SET last = %[2]d - 0 * %[1]d",
	} {
		if _, err := db.Exec(fmt.Sprintf(statement, n, last)); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// cost is the least time of some calls.
func cost(t *testing.T, f func() error) time.Duration {
	t.Helper()
	least := time.Hour
	for range 20 {
		began := time.Now()
		if err := f(); err != nil {
			t.Fatal(err)
		}
		least = min(least, time.Since(began))
	}
	return least
}

// With 100,000 stored messages of a number, requests take as long as with 100.
func TestCost(t *testing.T) {
	times := map[string][2]time.Duration{}
	for i, n := range []int{100, 100_000} {
		path := filepath.Join(t.TempDir(), "journal.db")
		s := open(t, path)
		b := inbox.New(s, inbox.Options{Gateway: "g", Keep: time.Hour})
		if err := b.Authenticated("johndow", []string{number}); err != nil {
			t.Fatal(err)
		}
		last := fill(t, path, n)
		numbers := []string{number}
		poll := func(p inbox.Poll, want int) func() error {
			return func() error {
				p.User, p.Numbers = "johndow", numbers
				page, err := b.Fetch(&p)
				if err == nil && len(page.Received) != want {
					err = fmt.Errorf("%d items, want %d", len(page.Received), want)
				}
				return err
			}
		}
		received := 0
		for name, f := range map[string]func() error{
			"nothing new": poll(inbox.Poll{Received: last.String(), Sent: last.String()}, 0),
			"40 new": poll(inbox.Poll{Received: (last - 80*20_000_000).String(),
				Sent: (last - 80*20_000_000).String()}, 40),
			"reply number": func() error { _, err := b.ReplyNumber("johndow", numbers, phone(other)); return err },
			"overdue":      func() error { _, err := b.ShowOverdue(); return err },
			"expired":      b.DeleteExpired,
			"receive": func() error {
				received++
				_, err := b.Receive(&inbox.Incoming{ID: fmt.Sprint(received), From: phone(other), To: phone("+15550009999")})
				return err
			},
		} {
			both := times[name]
			both[i] = cost(t, f)
			times[name] = both
		}
	}
	for name, both := range times {
		t.Logf("%s: %v with 100 messages, %v with 100,000", name, both[0], both[1])
		if both[1] > 5*both[0]+5*time.Millisecond {
			t.Errorf("%s takes %v with 100 messages, %v with 100,000", name, both[0], both[1])
		}
	}
}

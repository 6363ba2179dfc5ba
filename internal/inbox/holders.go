package inbox

import (
	"bytes"
	"database/sql"
	"slices"
	"time"
)

// holder is a number of a user. Its items with an id greater than since may be fetched.
type holder struct {
	number string
	since  ID
	seen   time.Time
}

// Authenticated notes that a user was authenticated and has these numbers. From then on the user may
// fetch what becomes visible. The first user of a number may also fetch the items of the 24 hours
// before. If the numbers are the same as before, it only reads.
func (b *Inbox) Authenticated(user string, numbers []string) error {
	changed := false
	if err := b.read(func(t *tx) error {
		list, err := t.holders(user)
		changed = !t.holds(list, numbers)
		return err
	}); err != nil || !changed {
		return err
	}
	return b.transact(false, func(t *tx) error { return t.hold(user, numbers) })
}

// holders returns the numbers of a user.
func (t *tx) holders(user string) (list []holder, err error) {
	err = t.each(func(rows *sql.Rows) error {
		var h holder
		var seen int64
		err := rows.Scan(&h.number, &h.since, &seen)
		h.seen = time.UnixMilli(seen)
		list = append(list, h)
		return err
	}, "SELECT number, since, seen FROM acrobits_sms_holders WHERE gateway = ? AND username = ?", t.Gateway, plain(user))
	return list, err
}

// holds reports whether the stored numbers are those that the user has now, and were seen lately.
func (t *tx) holds(list []holder, numbers []string) bool {
	for _, n := range numbers {
		i := slices.IndexFunc(list, func(h holder) bool { return h.number == n })
		if i < 0 || t.now.Sub(list[i].seen) >= seenInterval {
			return false
		}
	}
	for _, h := range list {
		if !slices.Contains(numbers, h.number) {
			return false
		}
	}
	return true
}

// hold stores the numbers of a user.
func (t *tx) hold(user string, numbers []string) error {
	list, err := t.holders(user)
	if err != nil {
		return err
	}
	for _, h := range list {
		switch {
		case !slices.Contains(numbers, h.number):
			_, err = t.exec("DELETE FROM acrobits_sms_holders WHERE gateway = ? AND username = ? AND number = ?",
				t.Gateway, plain(user), h.number)
		case t.now.Sub(h.seen) >= seenInterval:
			_, err = t.exec("UPDATE acrobits_sms_holders SET seen = ? WHERE gateway = ? AND username = ? AND number = ?",
				ms(t.now), t.Gateway, plain(user), h.number)
		}
		if err != nil {
			return err
		}
	}
	for i, n := range numbers {
		if slices.Contains(numbers[:i], n) || slices.ContainsFunc(list, func(h holder) bool { return h.number == n }) {
			continue
		}
		since, err := t.since(user, n)
		if err != nil {
			return err
		}
		if _, err := t.exec("INSERT INTO acrobits_sms_holders (gateway, username, number, since, seen) VALUES (?, ?, "+
			"?, ?, ?)",
			t.Gateway, plain(user), n, int64(since), ms(t.now)); err != nil {
			return err
		}
	}
	return nil
}

// several is stored instead of the only user of a number once there was another one.
var several = []byte{0}

// since returns the id after which a new user of a number may fetch, and notes that the number had
// this user. It is an id and not a time, because ids may run ahead of the clock.
func (t *tx) since(user, number string) (ID, error) {
	last, err := t.last()
	if err != nil {
		return 0, err
	}
	var first []byte
	only := t.key("holder", user)
	switch err := t.one([]any{&first}, "SELECT holder FROM acrobits_sms_first_holders WHERE gateway = ? AND number "+
		"= ?", t.Gateway, number); {
	case err == errNone:
		_, err := t.exec("INSERT INTO acrobits_sms_first_holders (gateway, number, holder) VALUES (?, ?, ?)",
			t.Gateway, number, only)
		return min(last, idAt(t.now.Add(-formerPeriod))), err
	case err != nil:
		return 0, err
	case bytes.Equal(first, only):
		return min(last, idAt(t.now.Add(-formerPeriod))), nil
	}
	_, err = t.exec("UPDATE acrobits_sms_first_holders SET holder = ? WHERE gateway = ? AND number = ?", several,
		t.Gateway, number)
	return last, err
}

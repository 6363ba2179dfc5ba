package tables

import (
	"context"
	"strconv"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// logins are the SQL statements for logins.
type logins struct{ save, trim, list, outdated string }

func (t *Tables) writeLogins() {
	t.logins = logins{
		save: t.write("INSERT INTO acrobits_sms_logins (who, network, seen) VALUES (?, ?, ?) " +
			"ON CONFLICT (who, network) DO UPDATE SET seen = excluded.seen WHERE excluded.seen > acrobits_sms_logins.seen"),
		trim: t.write("DELETE FROM acrobits_sms_logins WHERE who = ? AND network NOT IN (SELECT network FROM acrobits_sms_logins " +
			"WHERE who = ? ORDER BY seen DESC, network LIMIT " + strconv.Itoa(lockout.MaxKnownNetworks) + ")"),
		list: t.write("SELECT who, network, seen FROM acrobits_sms_logins WHERE seen > ? ORDER BY seen DESC LIMIT " +
			strconv.Itoa(journal.MaxLogins)),
		outdated: t.write("DELETE FROM acrobits_sms_logins WHERE seen <= ?"),
	}
}

// SaveLogin stores the time when a user last logged in from a network.
func (t *Tables) SaveLogin(ctx context.Context, q Querier, l journal.Login) error {
	if _, err := q.ExecContext(ctx, t.logins.save, l.User[:], l.Network[:], milliseconds(l.Seen)); err != nil {
		return err
	}
	_, err := q.ExecContext(ctx, t.logins.trim, l.User[:], l.User[:])
	return err
}

// Logins returns the logins since a time, the latest first.
func (t *Tables) Logins(ctx context.Context, q Querier, since time.Time) (list []journal.Login, err error) {
	rows, err := q.QueryContext(ctx, t.logins.list, milliseconds(since))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var user, network []byte
		var seen int64
		if err := rows.Scan(&user, &network, &seen); err != nil {
			return nil, err
		}
		if len(user) != len(journal.Key{}) || len(network) != len(journal.Key{}) {
			continue // not written by this program
		}
		list = append(list, journal.Login{User: journal.Key(user), Network: journal.Key(network), Seen: moment(seen)})
	}
	return list, rows.Err()
}

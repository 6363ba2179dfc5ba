package inbox

import (
	"strconv"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

const deleteMessage = tables.DeletesMessages + "WHERE id = ?"

// Hide hides an item from all devices of a user. It reports false if the user may not fetch it.
func (b *Inbox) Hide(user string, item ID) (hidden bool, err error) {
	err = b.transact(false, func(t *tx) error {
		hidden = false
		var until int64
		switch err := t.one([]any{&until}, "SELECT m.until FROM acrobits_sms_messages m JOIN acrobits_sms_holders h "+
			"ON h.gateway = m.gateway AND h.number = m.number AND h.since < m.item AND h.username = ? WHERE m.item = ? "+
			"AND m.gateway = ?",
			plain(user), int64(item), t.Gateway); {
		case err == errNone:
			return nil
		case err != nil:
			return err
		}
		_, err := t.exec("INSERT INTO acrobits_sms_hidden (gateway, username, item, until) VALUES (?, ?, ?, ?) ON "+
			"CONFLICT DO NOTHING",
			t.Gateway, plain(user), int64(item), until)
		hidden = err == nil
		return err
	})
	return hidden, err
}

// DeleteExpired deletes what is too old, of all gateways.
func (b *Inbox) DeleteExpired() error {
	for {
		more := false
		if err := b.transact(true, func(t *tx) (err error) {
			more, err = t.deleteExpired()
			return err
		}); err != nil || !more {
			return err
		}
	}
}

// deleteExpired deletes a batch of each table. more is set if there may be more.
func (t *tx) deleteExpired() (more bool, err error) {
	batch := func(table, key, old string) string {
		return "DELETE FROM acrobits_sms_" + table + " WHERE " + key + " IN (SELECT " + key + " FROM " +
			"acrobits_sms_" + table + " WHERE " + old +
			" LIMIT " + strconv.Itoa(tables.Batch) + ")"
	}
	now := ms(t.now)
	for _, d := range []struct {
		statement string
		before    int64
	}{
		{batch("messages", "id", "until <= ?"), now},
		{batch("media", "message", "until <= ?"), now},
		{batch("deliveries", "key", "until <= ?"), now},
		{batch("receipts", "key", "until <= ?"), now},
		{"DELETE FROM acrobits_sms_hidden WHERE until <= ?", now},
		{"DELETE FROM acrobits_sms_pushes WHERE made <= ?", ms(t.now.Add(-PushAge))},
		{"DELETE FROM acrobits_sms_holders WHERE seen <= ?", ms(t.now.Add(-HolderAge))},
	} {
		n, err := t.exec(d.statement, d.before)
		if err != nil {
			return false, err
		}
		more = more || n == tables.Batch
	}
	return more, nil
}

// EraseUser deletes the devices of a user, the texts that they sent, and what else names them. It
// returns the number of deleted messages. Messages to their numbers stay: others may read them.
func (b *Inbox) EraseUser(user string) (messages int, err error) {
	return b.erase("username = ? AND direction = 0 AND gateway IN (?, '')", []any{plain(user), b.Gateway},
		func(t *tx) error {
			return t.execAll([]any{t.Gateway, plain(user)},
				tables.DeletesDevices+"WHERE gateway = ? AND username = ?",
				"DELETE FROM acrobits_sms_pushes WHERE gateway = ? AND username = ?",
				"DELETE FROM acrobits_sms_hidden WHERE gateway = ? AND username = ?",
				"DELETE FROM acrobits_sms_holders WHERE gateway = ? AND username = ?")
		})
}

// EraseNumber deletes the messages of a number in both directions. It returns their number. Users of
// the number may fetch what becomes visible after they are authenticated again.
func (b *Inbox) EraseNumber(number string) (messages int, err error) {
	return b.erase("((gateway = ? AND number = ?) OR (gateway = '' AND sender = ?))", []any{b.Gateway,
		plain(number), plain(number)}, func(t *tx) error {
		if _, err := t.exec("UPDATE acrobits_sms_first_holders SET holder = ? WHERE gateway = ? AND number = ?",
			several, t.Gateway, plain(number)); err != nil {
			return err
		}
		return t.execAll([]any{t.Gateway, plain(number)}, "DELETE FROM acrobits_sms_holders WHERE gateway = ? AND "+
			"number = ?")
	})
}

// erase deletes messages in batches, with what belongs to them. The digests of deliveries stay: an
// erased message that is delivered again must not come back.
func (b *Inbox) erase(which string, args []any, others func(*tx) error) (messages int, err error) {
	if err := b.transact(false, others); err != nil {
		return 0, err
	}
	for {
		var ids []string
		if err := b.transact(false, func(t *tx) (err error) {
			if ids, err = t.texts("SELECT id FROM acrobits_sms_messages "+
				"WHERE "+which+" LIMIT "+strconv.Itoa(tables.Batch), args...); err != nil {
				return err
			}
			for _, id := range ids {
				if err := t.execAll([]any{id}, tables.DeletesMedia+"WHERE message = ?",
					"DELETE FROM acrobits_sms_receipts WHERE message = ?",
					"DELETE FROM acrobits_sms_hidden WHERE item = (SELECT item FROM acrobits_sms_messages WHERE id = ?)",
					"DELETE FROM acrobits_sms_pushes WHERE item = (SELECT item FROM acrobits_sms_messages WHERE id = "+
						"?)", deleteMessage); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return messages, err
		}
		if messages += len(ids); len(ids) < tables.Batch {
			return messages, nil
		}
	}
}

package inbox

import (
	"database/sql"
	"strconv"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// Device is where the pushes of a user go.
type Device struct {
	User string
	// Selector identifies the account in the app, and so the device.
	Selector string
	// InstallID is the installation of the app, empty if the app does not name it.
	InstallID string
	AppID     string
	Token     sms.Hidden
	// Seen is the day when the device was last reported.
	Seen time.Time
}

// AddDevice adds a device, or replaces the one of the same user with the same selector. What is
// visible by now counts as fetched by a new device.
func (b *Inbox) AddDevice(d *Device) error {
	args := []any{plain(d.InstallID), plain(d.Token.Reveal()), plain(d.AppID), b.Gateway, plain(d.User),
		plain(d.Selector)}
	const same = "installid = ? AND token = ? AND appid = ? AND gateway = ? AND username = ? AND selector = ?"
	known := false
	if err := b.read(func(t *tx) error { // the app reports at each start
		return t.one([]any{&known}, "SELECT EXISTS (SELECT 1 FROM acrobits_sms_devices WHERE "+same+" AND seen > ?)",
			append(args, ms(t.now.Add(-seenInterval)))...)
	}); err != nil || known {
		return err
	}
	return b.transact(false, func(t *tx) error {
		last, err := t.last()
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO acrobits_sms_devices (installid, token, appid, gateway, username, selector, "+
			"fetched, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "+
			"ON CONFLICT (gateway, username, selector) DO UPDATE SET installid = excluded.installid, token = "+
			"excluded.token, appid = excluded.appid, seen = excluded.seen",
			append(args, int64(last), ms(t.now))...)
		return err
	})
}

// RemoveDevice removes a device of a user.
func (b *Inbox) RemoveDevice(user, selector string) error {
	return b.transact(false, func(t *tx) error { return t.removeDevice(user, selector) })
}

func (t *tx) removeDevice(user, selector string) error {
	return t.execAll([]any{t.Gateway, plain(user), plain(selector)},
		tables.DeletesDevices+"WHERE gateway = ? AND username = ? AND selector = ?",
		"DELETE FROM acrobits_sms_pushes WHERE gateway = ? AND username = ? AND selector = ?")
}

// Devices returns the devices of a user.
func (b *Inbox) Devices(user string) (list []Device, err error) {
	err = b.read(func(t *tx) error {
		return t.each(func(rows *sql.Rows) error {
			d, token, seen := Device{User: user}, "", int64(0)
			err := rows.Scan(&d.Selector, &d.InstallID, &d.AppID, &token, &seen)
			d.Token, d.Seen = sms.Hide(token), time.UnixMilli(seen)
			list = append(list, d)
			return err
		}, "SELECT selector, installid, appid, token, seen FROM acrobits_sms_devices WHERE gateway = ? AND username = "+
			"? ORDER BY selector", t.Gateway, plain(user))
	})
	return list, err
}

// Push is a push to one device.
type Push struct {
	Device
	// Item is the new item, or with Failed the text that was not delivered. Its ID is the same in
	// each attempt.
	Item   Item
	Failed bool
	// Badge is the number of received items that the device has not fetched, from 1 to MaxBadge.
	Badge int
	// LastLogin is the day when the user was last authenticated with the number of the item.
	LastLogin time.Time
	// Try counts the attempts, from 1.
	Try int
}

// MaxBadge bounds Push.Badge.
const MaxBadge = 99

// TakePushes takes pushes to send, the oldest first. For the time of the lease no other worker takes
// them. After that, and until PushAge, they are taken again, unless PushDone or PushLater was called.
func (b *Inbox) TakePushes(most int, lease time.Duration) (list []Push, err error) {
	if any, err := b.isDue("acrobits_sms_pushes"); !any || err != nil {
		return nil, err
	}
	err = b.transact(false, func(t *tx) error {
		list = nil
		if err := t.pushes(&list, most); err != nil {
			return err
		}
		for i := range list {
			p := &list[i]
			if err := t.badge(p); err != nil {
				return err
			}
			if _, err := t.exec("UPDATE acrobits_sms_pushes SET due = ?, tries = ? "+whichPush,
				append([]any{ms(t.now.Add(lease)), p.Try}, t.push(p)...)...); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// whichPush selects a push, with the values of push.
const whichPush = "WHERE item = ? AND failed = ? AND gateway = ? AND username = ? AND selector = ?"

func (t *tx) push(p *Push) []any {
	failed := 0
	if p.Failed {
		failed = 1
	}
	return []any{int64(p.Item.ID), failed, t.Gateway, plain(p.User), plain(p.Selector)}
}

// pushes reads the pushes that are due. A push for a user who has lost the number is left out.
func (t *tx) pushes(list *[]Push, most int) error {
	return t.each(func(rows *sql.Rows) error {
		var p Push
		var token, text string
		var fetched, seen, login int64
		err := rows.Scan(&p.Failed, &p.User, &p.Selector, &p.Try, &p.InstallID, &p.AppID, &token, &fetched, &seen, &login,
			&p.Item.ID, &p.Item.Number, &p.Item.Sender, &p.Item.Recipient, &text, &p.Item.ContentType, &p.Item.Disposition)
		p.Token, p.Item.Text, p.Item.Sent = sms.Hide(token), sms.Hide(text), p.Failed
		p.Seen, p.LastLogin, p.Badge = time.UnixMilli(seen), time.UnixMilli(login), int(fetched)
		*list = append(*list, p)
		return err
	}, "SELECT p.failed, p.username, p.selector, p.tries + 1, d.installid, d.appid, d.token, d.fetched, d.seen, "+
		"COALESCE(h.seen, 0), "+
		"m.item, m.number, m.sender, m.recipient, m.body, m.content_type, m.disposition FROM acrobits_sms_pushes p "+
		"JOIN acrobits_sms_devices d ON d.gateway = p.gateway AND d.username = p.username AND d.selector = p.selector "+
		"JOIN acrobits_sms_messages m ON m.item = p.item "+
		"LEFT JOIN acrobits_sms_holders h ON h.gateway = p.gateway AND h.username = p.username AND h.number = "+
		"m.number AND h.since < m.item "+
		"WHERE p.gateway = ? AND p.due <= ? AND p.made > ? AND (p.failed = 1 OR h.number IS NOT NULL) ORDER BY p.due, "+
		"p.item LIMIT "+strconv.Itoa(most),
		t.Gateway, ms(t.now), ms(t.now.Add(-PushAge)))
}

// badge replaces Badge, which is the last fetched id, by the number of items after it.
func (t *tx) badge(p *Push) error {
	fetched := int64(p.Badge)
	err := t.one([]any{&p.Badge}, "SELECT count(*) FROM (SELECT 1 FROM acrobits_sms_holders h JOIN "+
		"acrobits_sms_messages m "+
		"ON m.gateway = h.gateway AND m.number = h.number AND m.direction = 1 AND m.item > CASE WHEN h.since > ? THEN "+
		"h.since ELSE ? END "+
		"WHERE h.gateway = ? AND h.username = ? LIMIT "+strconv.Itoa(MaxBadge)+") AS "+
		"unfetched", fetched, fetched, t.Gateway, plain(p.User))
	p.Badge = max(p.Badge, 1)
	return err
}

// PushDone ends a push.
func (b *Inbox) PushDone(p *Push) error {
	return b.transact(true, func(t *tx) error {
		_, err := t.exec("DELETE FROM acrobits_sms_pushes "+whichPush, t.push(p)...)
		return err
	})
}

// PushLater puts a push off.
func (b *Inbox) PushLater(p *Push, after time.Duration) error {
	return b.transact(true, func(t *tx) error {
		_, err := t.exec("UPDATE acrobits_sms_pushes SET due = ? "+whichPush, append([]any{ms(t.now.Add(after))},
			t.push(p)...)...)
		return err
	})
}

// PushGone removes the device of a push whose token is no longer valid, unless the app has reported
// another token since.
func (b *Inbox) PushGone(p *Push) error {
	return b.transact(false, func(t *tx) error {
		n, err := t.exec(tables.DeletesDevices+"WHERE gateway = ? AND username = ? AND selector = ? AND token = ?",
			t.Gateway, plain(p.User), plain(p.Selector), plain(p.Token.Reveal()))
		if err == nil && n > 0 {
			err = t.removeDevice(p.User, p.Selector)
		}
		return err
	})
}

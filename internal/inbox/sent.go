package inbox

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Outgoing is a message that was sent to a provider.
type Outgoing struct {
	*sms.Message
	Source
	// Number is the number of ours, by default the message's sender.
	Number sms.Number
	// Adapter is the adapter that sent the message, IDs are the provider's ids of its parts.
	Adapter string
	IDs     []string
	// Unknown is set if the message may have been sent.
	Unknown bool
}

// Sent stores a message that a provider has accepted, and returns its id for the app. If it is
// called again, it returns the same id. A message with an unknown outcome gets no id, and becomes
// no item until a receipt says that it was sent.
func (b *Inbox) Sent(m *Outgoing) (item ID, err error) {
	err = b.transact(false, func(t *tx) (err error) {
		item, err = t.sent(m)
		return err
	})
	return item, err
}

func (t *tx) sent(m *Outgoing) (ID, error) {
	item, err := t.item(m.ID)
	if err != nil && err != errNone || item > 0 {
		return item, err
	}
	if err := t.insertSent(m); err != nil {
		return 0, err
	}
	until := ms(t.now.Add(t.Keep))
	for _, id := range m.IDs {
		// A modem that starts its ids again uses the key of an older message. A receipt that came
		// first has no message.
		if _, err := t.exec("INSERT INTO acrobits_sms_receipts (key, message, status, code, until) VALUES (?, ?, 0, "+
			"'', ?) "+
			"ON CONFLICT (key) DO UPDATE SET message = excluded.message, until = excluded.until, "+
			"status = CASE WHEN acrobits_sms_receipts.message = '' AND acrobits_sms_receipts.until > ? THEN "+
			"acrobits_sms_receipts.status ELSE 0 END",
			t.receiptKey(&m.Source, id), m.ID, until, ms(t.now)); err != nil {
			return 0, err
		}
	}
	if !m.Unknown {
		if item, err = t.show(m.ID); err != nil {
			return 0, err
		}
	}
	change, err := t.settle(m.ID)
	return max(item, change.Item), err
}

// insertSent writes the row of a message. The journal may have written it before.
func (t *tx) insertSent(m *Outgoing) error {
	number, state := m.Number.Value, journal.Accepted
	if number == "" {
		number = m.From.Value
	}
	if m.Unknown {
		state = journal.MaybeSent
	}
	ids, err := json.Marshal(m.IDs)
	if err != nil {
		return err
	}
	disposition := m.Disposition.ID
	if len(m.Disposition.Wishes) > 0 {
		disposition += ":" + strings.Join(m.Disposition.Wishes, ",")
	}
	sender := m.From.Value
	if sender == "" {
		sender = number
	}
	smart := 0
	if m.Smart {
		smart = 1
	}
	begun := t.now
	if !m.Received.IsZero() {
		begun = m.Received
	}
	_, err = t.exec(insertMessage+" ON CONFLICT (id) DO UPDATE SET state = excluded.state, adapter = "+
		"excluded.adapter, ids = excluded.ids, "+
		"sender = excluded.sender, gateway = excluded.gateway, number = excluded.number, "+
		"until = CASE WHEN excluded.until > acrobits_sms_messages.until THEN excluded.until ELSE "+
		"acrobits_sms_messages.until END",
		m.ID, plain(m.Reference), plain(m.User), plain(m.InstallID), plain(sender), plain(m.To.Value), plain(m.Body.Reveal()),
		plain(m.ContentType), plain(disposition), smart, ms(begun), ms(t.now.Add(t.Keep)), m.Segments, int(state), plain(m.Adapter),
		max(len(m.IDs), 1), plain(string(ids)), sent, t.Gateway, plain(number), nil, nil, 0)
	return err
}

// item returns the id of a message, 0 if it is not visible.
func (t *tx) item(message string) (item ID, err error) {
	err = t.one([]any{&item}, "SELECT COALESCE(item, 0) FROM acrobits_sms_messages WHERE id = ?", message)
	return item, err
}

// SentID returns the id of a message that was sent before, 0 if it has none: for a duplicate, the
// app gets the id of the first one.
func (b *Inbox) SentID(message string) (item ID, err error) {
	err = b.read(func(t *tx) (err error) {
		if item, err = t.item(message); err == errNone {
			err = nil
		}
		return err
	})
	return item, err
}

// ReplyNumber returns the number of a user that a recipient last texted, empty if there is none. A
// user who writes back uses that number.
func (b *Inbox) ReplyNumber(user string, numbers []string, recipient sms.Number) (number string, err error) {
	err = b.read(func(t *tx) error {
		var newest ID
		for _, n := range numbers {
			var item ID
			err := t.one([]any{&item}, "SELECT m.item FROM acrobits_sms_messages m WHERE m.gateway = ? AND m.number = ? "+
				"AND m.sender = ? "+
				"AND m.item > (SELECT since FROM acrobits_sms_holders WHERE gateway = ? AND username = ? AND number = ?) "+
				"AND m.direction = "+strconv.Itoa(received)+" ORDER BY m.item DESC LIMIT 1",
				t.Gateway, n, plain(recipient.Value), t.Gateway, plain(user), n)
			if err != nil && err != errNone {
				return err
			}
			if item > newest {
				number, newest = n, item
			}
		}
		return nil
	})
	return number, err
}

package inbox

import (
	"database/sql"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// Delivery is what is known about the delivery of a message.
type Delivery int

// The deliveries. A message of several parts has failed if one part has, and is delivered if all
// are.
const (
	DeliveryUnknown Delivery = iota
	Pending
	Failed
	Delivered
)

var deliveryNames = [...]string{"unknown", "pending", "failed", "delivered"}

// String returns the name of a delivery.
func (d Delivery) String() string { return deliveryNames[d] }

// Receipt is what a provider says about the delivery of a message.
type Receipt struct {
	Source
	// ID is the provider's id of the message or part. Message is our own id, if the receipt came to
	// an address that has it. One of them may be empty.
	ID, Message string
	Status      Delivery
	// Code is the provider's code, for the operator.
	Code string
}

// Change is what a receipt has changed.
type Change struct {
	// Message is the id of the message, empty if the receipt came before its message or belongs to
	// none. Then it waits for EarlyReceipt.
	Message string
	// Reference, User, Number and Recipient are those of the message.
	Reference, User, Number, Recipient string
	// Status is the delivery of the whole message. Changed is set if it is new.
	Status  Delivery
	Changed bool
	// Settled is set if the message may or may not have been sent until now. Item is its id if it was
	// sent.
	Settled bool
	Item    ID
}

// Receipt stores a receipt. A message keeps its last status: a receipt that was overtaken changes
// nothing.
func (b *Inbox) Receipt(r *Receipt) (change Change, err error) {
	err = b.transact(false, func(t *tx) (err error) {
		change, err = t.receipt(r)
		return err
	})
	return change, err
}

func (t *tx) receiptKey(s *Source, id string) []byte {
	return t.key("receipt", s.Definition, s.Account, id)
}

func (t *tx) receipt(r *Receipt) (Change, error) {
	until, key := t.now.Add(EarlyReceipt), t.receiptKey(&r.Source, r.ID)
	if r.ID == "" {
		key = t.key("own receipt", r.Message)
	}
	if r.Message != "" {
		until = t.now.Add(t.Keep)
	}
	// Without the provider's id, the receipt is about all parts.
	statement, args := "UPDATE acrobits_sms_receipts SET status = ?, code = ? WHERE message = ? AND status < "+
		"?", []any{int(r.Status), plain(r.Code), r.Message, int(r.Status)}
	if r.ID != "" {
		statement, args[2] = "UPDATE acrobits_sms_receipts SET status = ?, code = ? WHERE key = ? AND status < ?", key
	}
	if r.ID != "" || r.Message != "" {
		if _, err := t.exec(statement, args...); err != nil {
			return Change{}, err
		}
		if _, err := t.exec("INSERT INTO acrobits_sms_receipts (key, message, status, code, until) VALUES (?, ?, ?, "+
			"?, ?) ON CONFLICT (key) "+
			"DO UPDATE SET message = excluded.message WHERE acrobits_sms_receipts.message = ''",
			key, plain(r.Message), int(r.Status), plain(r.Code), ms(until)); err != nil {
			return Change{}, err
		}
	}
	var message string
	if err := t.one([]any{&message}, "SELECT message FROM acrobits_sms_receipts WHERE key = ?",
		key); err != nil || message == "" {
		if err == errNone {
			err = nil
		}
		return Change{}, err
	}
	return t.settle(message)
}

// settle computes the delivery of a message from its receipts. It makes an item of a message with an
// unknown outcome that was sent.
func (t *tx) settle(message string) (c Change, err error) {
	var before, state, parts int
	switch err := t.one([]any{&c.Message, &c.Reference, &c.User, &c.Number, &c.Recipient, &before, &state, &c.Item,
		&parts},
		"SELECT id, reference, username, CASE WHEN number = '' THEN sender ELSE number END, recipient, delivery, "+
			"state, COALESCE(item, 0), parts "+
			"FROM acrobits_sms_messages WHERE id = ? AND direction = 0", message); {
	case err == errNone: // it is still in flight, or was erased
		return Change{}, nil
	case err != nil:
		return Change{}, err
	}
	if c.Status, err = t.delivery(message, parts); err != nil {
		return Change{}, err
	}
	if c.Changed = int(c.Status) != before; !c.Changed {
		return c, nil
	}
	if _, err := t.exec("UPDATE acrobits_sms_messages SET delivery = ? WHERE id = ?", int(c.Status),
		message); err != nil {
		return Change{}, err
	}
	if c.Item == 0 && journal.State(state) == journal.MaybeSent {
		if err := t.settleUnknown(&c); err != nil {
			return Change{}, err
		}
	}
	if c.Status == Failed && c.Item > 0 && t.PushFailures {
		err = t.pushFailure(&c)
	}
	return c, err
}

// settleUnknown makes an item of a message that a receipt shows to be sent. A message that the
// network did not deliver becomes none: the app has told its user that it may not have been sent.
func (t *tx) settleUnknown(c *Change) (err error) {
	if c.Settled = c.Status != DeliveryUnknown; !c.Settled || c.Status == Failed {
		return nil
	}
	// The journal alone has stored the message if its process ended.
	if _, err := t.exec("UPDATE acrobits_sms_messages SET state = ?, gateway = ?, number = ? WHERE id = ?",
		int(journal.Accepted), t.Gateway, c.Number, c.Message); err != nil {
		return err
	}
	c.Item, err = t.show(c.Message)
	return err
}

// delivery is the delivery of a message of some parts.
func (t *tx) delivery(message string, parts int) (Delivery, error) {
	own := string(t.key("own receipt", message))
	var count [len(deliveryNames)]int
	all := DeliveryUnknown
	if err := t.each(func(rows *sql.Rows) error {
		var key []byte
		var d Delivery
		if err := rows.Scan(&key, &d); err != nil {
			return err
		}
		if string(key) == own {
			all = d
			return nil
		}
		count[d]++
		return nil
	}, "SELECT key, status FROM acrobits_sms_receipts WHERE message = ?", message); err != nil {
		return 0, err
	}
	switch {
	case all == Delivered || count[Delivered] >= max(parts, 1) && count[Failed] == 0:
		return Delivered, nil
	case count[Failed] > 0 || all == Failed:
		return Failed, nil
	case count[Pending]+count[Delivered] > 0 || all == Pending:
		return Pending, nil
	}
	return DeliveryUnknown, nil
}

// pushFailure makes pushes to the devices of the user of a message that was not delivered.
func (t *tx) pushFailure(c *Change) error {
	made, err := t.exec("INSERT INTO acrobits_sms_pushes (item, failed, gateway, username, selector, made, due, tries) "+
		"SELECT CAST(? AS BIGINT), 1, gateway, username, selector, CAST(? AS BIGINT), CAST(? AS BIGINT), 0 FROM "+
		"acrobits_sms_devices "+
		"WHERE gateway = ? AND username = ? ON CONFLICT DO NOTHING", int64(c.Item), ms(t.now), ms(t.now), t.Gateway, c.User)
	t.wakes = t.wakes || made > 0
	return err
}

package inbox

import (
	"database/sql"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// textPlain is the content type of texts.
const textPlain = "text/plain"

// Source identifies an account at a provider. Two adapters with one account are the same Source.
type Source struct{ Definition, Account string }

// Incoming is a message that a provider has delivered.
type Incoming struct {
	Source
	// Adapter is the adapter whose webhook or poll brought the message. Its credentials fetch the
	// pictures.
	Adapter string
	// ID is the provider's id, empty if it has none.
	ID string
	// From is the sender, To the number of ours.
	From, To sms.Number
	Text     sms.Hidden
	// Media are the addresses of pictures and files, as the adapter understands them.
	Media []sms.Hidden
	// Part is set if the text is a part of a longer one. It is ignored for a message with Media.
	Part Part
}

// Part is the place of a text in a concatenated message.
type Part struct {
	// Reference is the same for all parts of a message. Handsets use it again after 256 messages.
	Reference  string
	Number, Of int
}

func (p *Part) isPart() bool { return p.Of > 1 && p.Number >= 1 && p.Number <= p.Of }

// Received is the result of Receive.
type Received struct {
	// Duplicate is set if the message was received before. Then the other fields are empty.
	Duplicate bool
	// Message is the id under which the message is stored.
	Message string
	// Item is the id of the visible item, 0 while the message waits for pictures or parts.
	Item ID
	// Unclaimed is set if no user has the number.
	Unclaimed bool
}

// Receive stores a message. It has returned without an error only if the message is durable; then
// the provider may be told that it was received.
func (b *Inbox) Receive(m *Incoming) (r Received, err error) {
	err = b.transact(false, func(t *tx) (err error) {
		r, err = t.receive(m)
		return err
	})
	return r, err
}

func (t *tx) receive(m *Incoming) (r Received, err error) {
	if r.Duplicate, err = t.isDuplicate(m); err != nil || r.Duplicate {
		return r, err
	}
	r.Message = uuid.NewString()
	var holders int
	if err := t.one([]any{&holders}, "SELECT count(*) FROM acrobits_sms_holders WHERE gateway = ? AND number = ?",
		t.Gateway, m.To.Value); err != nil {
		return r, err
	}
	r.Unclaimed = holders == 0
	switch {
	case len(m.Media) > 0:
		if err = t.insertReceived(r.Message, m, ms(t.now.Add(Patience)), nil); err == nil {
			err = t.insertMedia(r.Message, m)
		}
	case m.Part.isPart():
		r.Message, r.Item, err = t.receivePart(r.Message, m)
	default:
		if err = t.insertReceived(r.Message, m, nil, nil); err == nil {
			r.Item, err = t.show(r.Message)
		}
	}
	return r, err
}

// isDuplicate reports whether the same message was received before, and else remembers it. The
// sender and the content count too, because modems start their ids again. Only without a provider's
// id do equal texts count as two after a while.
func (t *tx) isDuplicate(m *Incoming) (bool, error) {
	until := t.now.Add(t.Keep)
	if m.ID == "" {
		until = t.now.Add(RepeatWindow)
	}
	texts := []string{"delivery", m.Definition, m.Account, m.ID, m.From.Value, m.To.Value, m.Text.Reveal()}
	if m.Part.isPart() {
		texts = append(texts, m.Part.Reference, strconv.Itoa(m.Part.Number), strconv.Itoa(m.Part.Of))
	}
	if m.ID == "" { // with an id, the addresses may be signed anew for each delivery
		for _, address := range m.Media {
			texts = append(texts, address.Reveal())
		}
	}
	changed, err := t.exec("INSERT INTO acrobits_sms_deliveries (key, until) VALUES (?, ?) "+
		"ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE acrobits_sms_deliveries.until <= ?",
		t.key(texts...), ms(until), ms(t.now))
	return changed == 0, err
}

const insertMessage = "INSERT INTO acrobits_sms_messages (id, reference, username, installid, sender, " +
	"recipient, body, content_type, " +
	"disposition, smart, begun, until, segments, state, adapter, parts, ids, direction, gateway, number, due, " +
	"assembly, part) " +
	"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

// The directions in the tables.
const (
	sent     = 0
	received = 1
)

// insertReceived stores a message that is not yet visible. due is the time when it becomes visible
// at the latest, in milliseconds, or nil.
func (t *tx) insertReceived(id string, m *Incoming, due, assembly any) error {
	part := 0
	if assembly != nil {
		part = m.Part.Number
	}
	_, err := t.exec(insertMessage, id, "", "", "", plain(m.From.Value), plain(m.To.Value), body(m.Text.Reveal()),
		textPlain,
		"", 0, ms(t.now), ms(t.now.Add(t.Keep)), 0, 0, plain(m.Adapter), 1, "[]", received, t.Gateway, plain(m.To.Value), due, assembly, part)
	return err
}

// receivePart stores a part. With the last one, the message becomes visible. id is that of the
// stored part, or of the message once it is visible.
func (t *tx) receivePart(id string, m *Incoming) (message string, item ID, err error) {
	p := &m.Part
	assembly := t.key("assembly", t.Gateway, m.Definition, m.Account, m.From.Value, m.To.Value, p.Reference,
		strconv.Itoa(p.Of))
	var parts, same int
	due := ms(t.now.Add(Patience))
	err = t.one([]any{&parts, &same, &due}, "SELECT count(*), COALESCE(sum(CASE WHEN part = ? THEN 1 ELSE 0 END), "+
		"0), COALESCE(min(due), ?) "+
		"FROM acrobits_sms_messages WHERE assembly = ?", p.Number, due, assembly)
	if err != nil {
		return "", 0, err
	}
	if same > 0 { // the handset uses the reference for another message
		if _, _, err := t.assemble(assembly); err != nil {
			return "", 0, err
		}
		parts, due = 0, ms(t.now.Add(Patience))
	}
	if err := t.insertReceived(id, m, due, assembly); err != nil || parts+1 < p.Of {
		return id, 0, err
	}
	return t.assemble(assembly)
}

// assemble joins the parts that have arrived and makes the message visible.
func (t *tx) assemble(assembly []byte) (message string, item ID, err error) {
	var text strings.Builder
	var others []string
	if err := t.each(func(rows *sql.Rows) error {
		var id, part string
		if err := rows.Scan(&id, &part); err != nil {
			return err
		}
		text.WriteString(part)
		if message == "" {
			message = id
		} else {
			others = append(others, id)
		}
		return nil
	}, "SELECT id, body FROM acrobits_sms_messages WHERE assembly = ? ORDER BY part", assembly); err != nil {
		return "", 0, err
	}
	for _, id := range others {
		if _, err := t.exec(deleteMessage, id); err != nil {
			return "", 0, err
		}
	}
	if _, err := t.exec("UPDATE acrobits_sms_messages SET body = ?, parts = ? WHERE id = ?", body(text.String()),
		1+len(others), message); err != nil {
		return "", 0, err
	}
	item, err = t.show(message)
	return message, item, err
}

// show gives a message its id and makes it visible. It makes the pushes of a received message for
// the devices of all users who may fetch it.
func (t *tx) show(message string) (ID, error) {
	id, err := t.nextID()
	if err != nil {
		return 0, err
	}
	if _, err := t.exec("UPDATE acrobits_sms_messages SET item = ?, due = NULL, assembly = NULL WHERE id = ?",
		int64(id), message); err != nil {
		return 0, err
	}
	made, err := t.exec("INSERT INTO acrobits_sms_pushes (item, failed, gateway, username, selector, made, due, tries) "+
		"SELECT m.item, 0, d.gateway, d.username, d.selector, CAST(? AS BIGINT), CAST(? AS BIGINT), 0 FROM "+
		"acrobits_sms_messages m "+
		"JOIN acrobits_sms_holders h ON h.gateway = m.gateway AND h.number = m.number "+
		"JOIN acrobits_sms_devices d ON d.gateway = h.gateway AND d.username = h.username WHERE m.id = ? AND "+
		"m.direction = 1",
		ms(t.now), ms(t.now), message)
	t.wakes = t.wakes || made > 0
	return id, err
}

// atOnce bounds the messages that one transaction shows.
const atOnce = 100

// ShowOverdue makes the messages visible that have waited too long for pictures or parts, those of
// all gateways. A message without a text goes on waiting for its pictures. It returns the number of
// new items.
func (b *Inbox) ShowOverdue() (shown int, err error) {
	for {
		found, showed := 0, 0
		any := false
		if err := b.read(func(t *tx) error {
			return t.overdue(func(string, []byte,
				bool) error {
				any = true
				return nil
			})
		}); err != nil || !any {
			return shown, err
		}
		if err := b.transact(false, func(t *tx) error {
			found, showed = 0, 0
			return t.showOverdue(&found, &showed)
		}); err != nil {
			return shown, err
		}
		if shown += showed; found < atOnce {
			return shown, nil
		}
	}
}

// overdue calls f for messages whose time has come.
func (t *tx) overdue(f func(id string, assembly []byte, empty bool) error) error {
	return t.each(func(rows *sql.Rows) error {
		var id string
		var assembly []byte
		var empty bool
		if err := rows.Scan(&id, &assembly, &empty); err != nil {
			return err
		}
		return f(id, assembly, empty)
	}, "SELECT id, assembly, body = '' FROM acrobits_sms_messages WHERE due <= ? ORDER BY due, begun, id "+
		"LIMIT "+strconv.Itoa(atOnce), ms(t.now))
}

func (t *tx) showOverdue(found, shown *int) error {
	type late struct {
		id       string
		assembly []byte
		empty    bool
	}
	var list []late
	if err := t.overdue(func(id string, assembly []byte, empty bool) error {
		list = append(list, late{id, assembly, empty})
		return nil
	}); err != nil {
		return err
	}
	*found = len(list)
	done := make(map[string]bool)
	for _, l := range list {
		var err error
		switch {
		case l.assembly != nil && done[string(l.assembly)]:
			continue
		case l.assembly != nil:
			done[string(l.assembly)] = true
			_, _, err = t.assemble(l.assembly)
		case l.empty:
			_, err = t.exec("UPDATE acrobits_sms_messages SET due = NULL WHERE id = ?", l.id)
			*shown--
		default:
			_, err = t.show(l.id)
		}
		if err != nil {
			return err
		}
		*shown++
	}
	return nil
}

package inbox

import (
	"database/sql"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// insertMedia stores that the pictures of a message are to be fetched.
func (t *tx) insertMedia(message string, m *Incoming) error {
	var sources []string
	for _, s := range m.Media {
		sources = append(sources, s.Reveal())
	}
	list, err := json.Marshal(sources)
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO acrobits_sms_media (message, gateway, adapter, sources, due, tries, until) VALUES "+
		"(?, ?, ?, ?, ?, 0, ?)",
		message, t.Gateway, plain(m.Adapter), plain(string(list)), ms(t.now), ms(t.now.Add(t.Keep)))
	return err
}

// Media are the pictures of a message, which are to be fetched.
type Media struct {
	Message, Adapter string
	Sources          []sms.Hidden
	// Try counts the attempts, from 1.
	Try int
}

// TakeMedia takes pictures to fetch. For the time of the lease no other worker takes them. After
// that they are taken again, unless MediaDone or MediaLater was called.
func (b *Inbox) TakeMedia(most int, lease time.Duration) (list []Media, err error) {
	if any, err := b.isDue("acrobits_sms_media"); !any || err != nil {
		return nil, err
	}
	err = b.transact(false, func(t *tx) error {
		list = nil
		if err := t.each(func(rows *sql.Rows) error {
			var m Media
			var text string
			if err := rows.Scan(&m.Message, &m.Adapter, &text, &m.Try); err != nil {
				return err
			}
			var sources []string
			if err := json.Unmarshal([]byte(text), &sources); err != nil {
				return err
			}
			for _, s := range sources {
				m.Sources = append(m.Sources, sms.Hide(s))
			}
			list = append(list, m)
			return nil
		}, "SELECT message, adapter, sources, tries + 1 FROM acrobits_sms_media WHERE gateway = ? AND due <= ? ORDER "+
			"BY due LIMIT "+strconv.Itoa(most),
			t.Gateway, ms(t.now)); err != nil {
			return err
		}
		for _, m := range list {
			if _, err := t.exec("UPDATE acrobits_sms_media SET due = ?, tries = ? WHERE message = ?",
				ms(t.now.Add(lease)), m.Try, m.Message); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// isDue reports whether a table has work. Workers ask often, and a transaction would make others
// wait.
func (b *Inbox) isDue(table string) (due bool, err error) {
	err = b.read(func(t *tx) error {
		return t.one([]any{&due}, "SELECT EXISTS (SELECT 1 FROM "+table+" WHERE gateway = ? AND due <= ?)", t.Gateway,
			ms(t.now))
	})
	return due, err
}

// MediaLater puts pictures off.
func (b *Inbox) MediaLater(message string, after time.Duration) error {
	return b.transact(true, func(t *tx) error {
		_, err := t.exec("UPDATE acrobits_sms_media SET due = ? WHERE message = ?", ms(t.now.Add(after)), message)
		return err
	})
}

// Content is the content of an item.
type Content struct {
	Type string
	Text sms.Hidden
}

// MediaDone ends the wait for pictures. compose makes the content of the item from the text of the
// message; the text is empty if it was shown without the pictures, and then the pictures become an
// item of their own. With ok false there is nothing to show but the text. compose must be pure. If
// the pictures were done before, MediaDone changes nothing and returns 0.
func (b *Inbox) MediaDone(message string, compose func(text sms.Hidden) (c Content, ok bool)) (item ID, err error) {
	err = b.transact(false, func(t *tx) (err error) {
		item = 0
		done, err := t.exec(tables.DeletesMedia+"WHERE message = ?", message)
		if err != nil || done == 0 {
			return err
		}
		item, err = t.mediaDone(message, compose)
		return err
	})
	return item, err
}

func (t *tx) mediaDone(message string, compose func(sms.Hidden) (Content, bool)) (ID, error) {
	var text string
	var shown sql.NullInt64
	switch err := t.one([]any{&text, &shown}, "SELECT body, item FROM acrobits_sms_messages WHERE id = ?", message); {
	case err == errNone: // erased
		return 0, nil
	case err != nil:
		return 0, err
	}
	if shown.Valid {
		text = ""
	}
	c, ok := compose(sms.Hide(text))
	switch {
	case !ok && (shown.Valid || text == ""):
		return 0, nil
	case !ok:
	case shown.Valid:
		id := uuid.NewString()
		if _, err := t.exec("INSERT INTO acrobits_sms_messages (id, reference, username, installid, sender, "+
			"recipient, body, content_type, "+
			"disposition, smart, begun, until, segments, state, adapter, parts, ids, direction, gateway, number) "+
			"SELECT CAST(? AS TEXT), '', '', '', sender, recipient, CAST(? AS TEXT), CAST(? AS TEXT), '', 0, begun, "+
			"until, 0, 0, adapter, 1, '[]', direction, gateway, number "+
			"FROM acrobits_sms_messages WHERE id = ?", id, plain(c.Text.Reveal()), plain(c.Type), message); err != nil {
			return 0, err
		}
		message = id
	default:
		if _, err := t.exec("UPDATE acrobits_sms_messages SET body = ?, content_type = ? WHERE id = ?",
			plain(c.Text.Reveal()), plain(c.Type), message); err != nil {
			return 0, err
		}
	}
	return t.show(message)
}

// Package inbox stores the messages of numbers in both directions until every device of their users
// has fetched them. It also stores what belongs to them: who has a number, delivery receipts,
// pictures that are still to be fetched, devices and pushes.
//
// A message that Receive or Sent has returned without an error must survive a loss of power. A
// visible item must never change, and no item may appear with a smaller id than one that was
// visible before. An Inbox makes no request to a network, starts no goroutine and reads no clock but
// the store's. The gateway calls it for each request; workers call TakePushes, TakeMedia,
// ShowOverdue and DeleteExpired. An Inbox is safe for concurrent use, also by several processes that
// share a database.
package inbox

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// Store is a database with the tables of package store.
type Store interface {
	// Secret is the secret of all keys.
	Secret() *mac.Key
	// Write replaces the placeholders of a statement.
	Write(statement string) string
	// Transact runs work in a transaction, one after the other, also against other processes. It
	// returns when the changes are durable, with lazy at the commit.
	Transact(lazy bool, work tables.Work) error
	// Read runs work that changes nothing.
	Read(work tables.Work) error
}

// Options are the settings of an Inbox.
type Options struct {
	// Gateway identifies the handler that the messages and users belong to. It must stay the same
	// when Caddy restarts.
	Gateway string
	// Keep is the time for which messages are stored.
	Keep time.Duration
	// PushFailures makes pushes for texts that were not delivered.
	PushFailures bool
	// Woken, if not nil, is called after a commit that has made pushes.
	Woken func()
	// Clock, if not nil, replaces the store's time. Only tests set it.
	Clock func(time.Time) time.Time
}

// Inbox has the messages of one gateway.
type Inbox struct {
	store Store
	Options
}

// New makes an Inbox.
func New(store Store, o Options) *Inbox { return &Inbox{store, o} }

// Times of the inbox.
const (
	// Patience is how long a message waits for its pictures and parts until its text appears alone.
	Patience = 60 * time.Second
	// RepeatWindow is the time within which equal texts without a provider's id are duplicates.
	RepeatWindow = 30 * time.Second
	// EarlyReceipt is how long a receipt waits for its message.
	EarlyReceipt = time.Minute
	// PushAge is the age from which a push is no longer sent.
	PushAge = 10 * time.Minute
	// HolderAge is the time after which a user who was not seen loses a number.
	HolderAge = 90 * 24 * time.Hour
	// History is the age of the oldest item that an app without a valid cursor gets.
	History = 30 * 24 * time.Hour
	// SentRepeat is the time before the cursor of sent items from which they are repeated.
	SentRepeat = 10 * time.Minute

	formerPeriod = 24 * time.Hour // what the first user of a number may read from before
	seenInterval = 24 * time.Hour // between two updates of the time when a user was seen
)

// ID is the id of a visible item. Ids grow in the order in which items become visible, in both
// directions and for all numbers of the store. An id is the time in microseconds since 1970, or
// greater if an item before had that id.
type ID int64

// idDigits is the length of an id as text. 16 digits last until the year 2286.
const idDigits = 16

// String returns the id with 16 digits, as apps and pushes get it.
func (id ID) String() string {
	b := []byte("0000000000000000")
	for i := len(b) - 1; id > 0 && i >= 0; i, id = i-1, id/10 {
		b[i] = byte('0' + id%10)
	}
	return string(b)
}

// ParseID reads an id as String writes it.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != idDigits {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		id = id*10 + ID(s[i]-'0')
	}
	return id, true
}

// Time is the time when the item became visible.
func (id ID) Time() time.Time { return time.UnixMicro(int64(id)) }

func idAt(t time.Time) ID { return ID(max(t.UnixMicro(), 0)) }

// Item is a visible message.
type Item struct {
	ID ID
	// Sent is set if the message went from the number to somebody else.
	Sent bool
	// Number is the number of ours. Sender and Recipient are the two numbers; one of them is Number.
	Number, Sender, Recipient string
	// Text is the text, or the app's JSON document of a file transfer.
	Text                     sms.Hidden
	ContentType, Disposition string
}

// Stream is the number on the other side, which identifies the conversation.
func (i *Item) Stream() string {
	if i.Sent {
		return i.Recipient
	}
	return i.Sender
}

// errNone means that a query returned no row.
var errNone = errors.New("no row")

// tx is a transaction.
type tx struct {
	*Inbox
	ctx   context.Context
	q     tables.Querier
	now   time.Time
	wakes bool // it has made pushes
}

// transact runs work in a transaction that excludes all others. work may run more than once.
func (b *Inbox) transact(lazy bool, work func(*tx) error) error {
	wakes := false
	err := b.store.Transact(lazy, func(ctx context.Context, q tables.Querier, now time.Time) error {
		t := b.tx(ctx, q, now)
		err := work(t)
		wakes = t.wakes
		return err
	})
	if err == nil && wakes && b.Woken != nil {
		b.Woken()
	}
	return err
}

// read runs work that changes nothing.
func (b *Inbox) read(work func(*tx) error) error {
	return b.store.Read(func(ctx context.Context, q tables.Querier, now time.Time) error {
		return work(b.tx(ctx, q,
			now))
	})
}

func (b *Inbox) tx(ctx context.Context, q tables.Querier, now time.Time) *tx {
	if b.Clock != nil {
		now = b.Clock(now)
	}
	return &tx{Inbox: b, ctx: ctx, q: q, now: now}
}

// exec executes a statement and returns the number of changed rows.
func (t *tx) exec(statement string, args ...any) (int64, error) {
	result, err := t.q.ExecContext(t.ctx, t.store.Write(statement), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// execAll executes statements with the same arguments.
func (t *tx) execAll(args []any, statements ...string) error {
	for _, s := range statements {
		if _, err := t.exec(s, args...); err != nil {
			return err
		}
	}
	return nil
}

// each calls scan for each row of a query.
func (t *tx) each(scan func(*sql.Rows) error, statement string, args ...any) error {
	rows, err := t.q.QueryContext(t.ctx, t.store.Write(statement), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one scans the only row of a query into pointers.
func (t *tx) one(into []any, statement string, args ...any) error {
	found := false
	err := t.each(func(rows *sql.Rows) error {
		found = true
		return rows.Scan(into...)
	}, statement, args...)
	if err == nil && !found {
		err = errNone
	}
	return err
}

// texts returns the first column of a query.
func (t *tx) texts(statement string, args ...any) (list []string, err error) {
	err = t.each(func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		list = append(list, s)
		return err
	}, statement, args...)
	return list, err
}

// key is a keyed digest: the tables do not tell the ids of providers.
func (t *tx) key(texts ...string) []byte {
	digest := t.store.Secret().Digest(texts...)
	return digest[:16]
}

// last is the greatest id that was given.
func (t *tx) last() (last ID, err error) {
	err = t.one([]any{&last}, "SELECT last FROM acrobits_sms_sequence WHERE one = 1")
	return last, err
}

// nextID gives an id. The row of the sequence stays locked until the commit, so that ids become
// visible in their order.
func (t *tx) nextID() (id ID, err error) {
	if id, err = t.last(); err != nil {
		return 0, err
	}
	id = max(id+1, idAt(t.now))
	_, err = t.exec("UPDATE acrobits_sms_sequence SET last = ? WHERE one = 1", int64(id))
	return id, err
}

// plain replaces what PostgreSQL cannot store as text.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// MaxText bounds a received text in bytes. JSON may need 6 bytes for one, and each item has to fit
// into a page.
const MaxText = 100_000

// body is a received text as it is stored.
func body(text string) string {
	text = plain(text)
	if len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "")
	}
	return text
}

func ms(t time.Time) int64 { return t.UnixMilli() }

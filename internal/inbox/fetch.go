package inbox

import (
	"cmp"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Bounds of each array of a page.
const (
	MaxItems = 500
	MaxBytes = 1_000_000
	// maxRepeats bounds the sent items that are repeated, so that new ones always have a place.
	maxRepeats = 250
	// itemBytes is what an item needs in addition to its texts, as JSON or XML.
	itemBytes = 400
)

// Poll is a request for new items.
type Poll struct {
	User string
	// Numbers are the numbers that the user has now.
	Numbers []string
	// Device is the installation of the app, if the request names it.
	Device string
	// Received and Sent are the ids of the newest items that the app knows. They may be empty or
	// anything else.
	Received, Sent string
}

// Page has new items in ascending order of their ids.
type Page struct {
	Date           time.Time
	Received, Sent []Item
}

// Fetch returns the oldest items after the cursors, at most MaxItems and MaxBytes of each direction.
// For an empty or malformed cursor, or one that was never given, it returns the newest items of the
// time History. Sent items of the time SentRepeat before the cursor are repeated, because an app may
// move its cursor when it sends. Fetch deletes nothing, and notes what Authenticated notes.
func (b *Inbox) Fetch(p *Poll) (page Page, err error) {
	poll := *p
	for range maxReads {
		switch err = b.fetch(&poll, &page); err {
		case errNoID:
			poll.Received, poll.Sent, err = b.givenCursors(&poll)
		case errNotNoted:
			err = b.transact(false, func(t *tx) error { return t.hold(p.User, p.Numbers) })
		default:
			return page, err
		}
		if err != nil {
			return Page{}, err
		}
	}
	return page, nil // another process notes other numbers all the time
}

// maxReads bounds the repetitions of a Fetch: one for its cursors, one for new numbers, and one if
// another process notes other numbers meanwhile.
const maxReads = 4

// givenCursors empties the cursors that were never given.
func (b *Inbox) givenCursors(p *Poll) (received, sent string, err error) {
	var last ID
	err = b.read(func(t *tx) (err error) {
		last, err = t.last()
		return err
	})
	received, sent = p.Received, p.Sent
	if id, _ := ParseID(received); id > last {
		received = ""
	}
	if id, _ := ParseID(sent); id > last {
		sent = ""
	}
	return received, sent, err
}

// These make Fetch read again.
var (
	errNotNoted = errors.New("the user has other numbers than the tables say")
	errNoID     = errors.New("a cursor is no id that was given")
)

// numbersAtOnce bounds the numbers in one statement. SQLite allows 500 SELECTs.
// https://www.sqlite.org/limits.html
const numbersAtOnce = 60

// fetch reads a page. All statements after the first are bounded by the last id that the first one
// saw: an app whose cursor is beyond an item never gets that item.
func (b *Inbox) fetch(p *Poll, page *Page) error {
	f := fetching{Poll: p, received: newArray(p.Received), sent: newArray(p.Sent), fetched: -1, last: math.MaxInt64}
	err := b.read(func(t *tx) error {
		f.tx = t
		*page = Page{Date: t.now}
		rest := p.Numbers
		for first := true; !f.noID && (first || len(rest) > 0); first = false {
			n := min(len(rest), numbersAtOnce)
			if err := f.query(rest[:n], first); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if f.noID {
		return errNoID
	}
	page.Received, page.Sent = f.received.page(), f.sent.page()
	if f.fetched >= 0 && f.received.known && f.received.after > f.fetched {
		if err := b.noteFetched(p, f.received.after); err != nil {
			return err
		}
	}
	if !f.tx.holds(f.holders, p.Numbers) {
		return errNotNoted
	}
	return nil
}

// fetching is the state of a Fetch.
type fetching struct {
	*Poll
	tx             *tx
	last, fetched  ID // fetched is -1 if the device is not known
	holders        []holder
	received, sent array
	noID           bool // a cursor is greater than every id that was given
}

// array collects the items of one direction.
type array struct {
	after   ID
	known   bool // the app has the items up to after; otherwise the newest ones are read
	items   []Item
	repeats []Item
	bytes   map[string]int // that were collected, by number and kind
}

func newArray(cursor string) array {
	after, known := ParseID(cursor)
	return array{after: after, known: known, bytes: make(map[string]int)}
}

// kinds of rows
const (
	rowLast = iota
	rowDevice
	rowHolder
	rowReceived
	rowSent
	rowRepeat
)

// head reads the last id, the device and the numbers of the user.
const head = "SELECT 0, last, '', '', '', '', '', '' FROM acrobits_sms_sequence WHERE one = 1 UNION ALL " +
	"SELECT * FROM (SELECT 1, fetched, '', '', '', '', '', '' FROM acrobits_sms_devices WHERE gateway = ? AND " +
	"username = ? AND installid = ? ORDER BY fetched LIMIT 1) d UNION ALL " +
	"SELECT 2, since, number, CAST(seen AS TEXT), '', '', '', '' FROM acrobits_sms_holders WHERE gateway = ? AND " +
	"username = ?"

// branch reads the items of one number in one direction, between two ids. The lower bound is one
// expression, so that both databases begin there in the index.
func branch(kind int, newest bool, limit int) string {
	direction, order := received, "ASC"
	if kind != rowReceived {
		direction = sent
	}
	if newest {
		order = "DESC"
	}
	return "SELECT * FROM (SELECT " + strconv.Itoa(kind) + ", m.item, m.number, m.sender, m.recipient, m.body, " +
		"m.content_type, m.disposition " +
		"FROM acrobits_sms_messages m WHERE m.gateway = ? AND m.number = ? AND m.direction = " + strconv.Itoa(direction) +
		" AND m.item > (SELECT CASE WHEN since > ? THEN since ELSE ? END FROM acrobits_sms_holders WHERE gateway = ? " +
		"AND username = ? AND number = ?) " +
		"AND m.item <= ? AND NOT EXISTS (SELECT 1 FROM acrobits_sms_hidden h WHERE h.gateway = ? AND h.username = ? " +
		"AND h.item = m.item) " +
		"ORDER BY m.item " + order + " LIMIT " + strconv.Itoa(limit) + ") b" + strconv.Itoa(kind)
}

// query reads the items of some numbers. The first query also reads the head.
func (f *fetching) query(numbers []string, first bool) error {
	var statements []string
	var args []any
	user, gateway := plain(f.User), f.tx.Gateway
	if first {
		statements, args = append(statements, head), append(args, gateway, user, plain(f.Device), gateway, user)
	}
	add := func(number string, kind int, newest bool, limit int, after, upTo ID) {
		statements = append(statements, branch(kind, newest, limit))
		args = append(args, gateway, number, int64(after), int64(after), gateway, user, number, int64(upTo), gateway, user)
	}
	for _, n := range numbers {
		add(n, rowReceived, !f.received.known, MaxItems, f.received.begin(f.tx.now), f.last)
		add(n, rowSent, !f.sent.known, MaxItems, f.sent.begin(f.tx.now), f.last)
		if f.sent.known {
			add(n, rowRepeat, true, maxRepeats, max(f.sent.after-ID(SentRepeat.Microseconds()), 0), f.sent.after)
		}
	}
	if err := f.tx.each(f.scan, strings.Join(statements, " UNION ALL "), args...); err != nil {
		return err
	}
	for _, a := range [...]*array{&f.received, &f.sent} {
		f.noID = f.noID || a.known && a.after > f.last
	}
	return nil
}

// begin is the id after which the items are read.
func (a *array) begin(now time.Time) ID {
	if a.known {
		return a.after
	}
	return idAt(now.Add(-History))
}

func (f *fetching) scan(rows *sql.Rows) error {
	var kind int
	var i Item
	var text string
	if err := rows.Scan(&kind, &i.ID, &i.Number, &i.Sender, &i.Recipient, &text, &i.ContentType,
		&i.Disposition); err != nil {
		return err
	}
	switch kind {
	case rowLast:
		f.last = i.ID
	case rowDevice:
		f.fetched = i.ID
	case rowHolder:
		seen, err := strconv.ParseInt(i.Sender, 10, 64)
		f.holders = append(f.holders, holder{i.Number, i.ID, time.UnixMilli(seen)})
		return err
	default:
		i.Text, i.Sent = sms.Hide(text), kind != rowReceived
		f.received.add(kind == rowReceived, kind, i)
		f.sent.add(kind != rowReceived, kind, i)
	}
	return nil
}

// add collects an item. The items of a number come in the order in which they are wanted, and what
// exceeds a page is dropped.
func (a *array) add(is bool, kind int, i Item) {
	key := i.Number + strconv.Itoa(kind)
	if !is || a.bytes[key] > MaxBytes {
		return
	}
	a.bytes[key] += i.size()
	if kind == rowRepeat {
		a.repeats = append(a.repeats, i)
		return
	}
	a.items = append(a.items, i)
}

func (i *Item) size() int {
	return itemBytes + len(i.Text.Reveal()) + len(i.Disposition) + len(i.ContentType)
}

// page returns the items that fit into a page, in ascending order.
func (a *array) page() []Item {
	ascending := func(x, y Item) int { return cmp.Compare(x.ID, y.ID) }
	descending := func(x, y Item) int { return cmp.Compare(y.ID, x.ID) }
	slices.SortFunc(a.repeats, descending)
	list, size := fit(nil, 0, a.repeats, maxRepeats, MaxBytes/4)
	if a.known {
		slices.SortFunc(a.items, ascending)
	} else {
		slices.SortFunc(a.items, descending)
	}
	list, _ = fit(list, size, a.items, MaxItems, MaxBytes)
	slices.SortFunc(list, ascending)
	return list
}

// fit appends items while there are at most most and their size is at most bytes. The first item
// always fits, or else an app would never get beyond it.
func fit(list []Item, size int, items []Item, most, bytes int) ([]Item, int) {
	for n, i := range items {
		if len(list) >= most || n > 0 && size+i.size() > bytes {
			break
		}
		list, size = append(list, i), size+i.size()
	}
	return list, size
}

// noteFetched notes up to which item a device has fetched.
func (b *Inbox) noteFetched(p *Poll, last ID) error {
	return b.transact(true, func(t *tx) error {
		_, err := t.exec("UPDATE acrobits_sms_devices SET fetched = ? WHERE gateway = ? AND username = ? AND "+
			"installid = ? AND fetched < ?",
			int64(last), t.Gateway, plain(p.User), plain(p.Device), int64(last))
		return err
	})
}

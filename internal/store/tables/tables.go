// Package tables contains the SQL that the stores of the journal share: migrations, entries,
// counts, messages, blocks and logins.
//
// It must not open connections, begin transactions or read a clock. The packages sqlite and
// postgres call it within their transactions. Tables are safe for concurrent use.
package tables

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Dialect is the syntax in which one database differs from another.
type Dialect struct {
	// Numbered selects the placeholders $1, $2 instead of question marks.
	Numbered bool
	// Files are migrations/<version>.sql and additions/<table or index>.sql.
	Files fs.FS
	// Known is a query that counts the tables with a name.
	Known string
	// Lock is the end of a query that locks the entries e until the end of the transaction.
	Lock string
}

// write replaces the placeholders of a statement as the dialect needs them. A statement must not
// contain any other question mark.
func (d *Dialect) write(statement string) string {
	if !d.Numbered {
		return statement
	}
	var b strings.Builder
	for i, piece := range strings.Split(statement, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(piece)
	}
	return b.String()
}

// Querier is a connection, or a transaction on one.
type Querier interface {
	QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
}

// Tables are the statements of a dialect. Each method runs in the Querier's transaction, and uses
// the time that the caller passes.
type Tables struct {
	dialect                                                              Dialect
	find, read, keep, remove, size, lost, renew, ended, forget, endLease string
	counted, count, uncount                                              string
	message, changed, gone, outdated                                     string
	known, blocks, block, unblock, unblockAll                            string
	logins                                                               logins
}

// columns are the columns of an entry, without its owner.
const columns = "e.id, e.reference, e.state, e.named, e.span, e.begun, e.until, e.adapter, e.cause, e.code, e.detail, " +
	"e.username, e.segments, e.parts, e.cuts, e.digest, e.ids, e.key"

// These are the beginnings of the statements that delete texts, the addresses of pictures, and push
// tokens. The store must overwrite their bytes afterwards.
const (
	DeletesMessages = "DELETE FROM acrobits_sms_messages "
	DeletesMedia    = "DELETE FROM acrobits_sms_media "
	DeletesDevices  = "DELETE FROM acrobits_sms_devices "
)

// DeletesPrivate reports whether a statement is one of those.
func DeletesPrivate(statement string) bool {
	return strings.HasPrefix(statement, DeletesMessages) || strings.HasPrefix(statement, DeletesMedia) ||
		strings.HasPrefix(statement, DeletesDevices)
}

// New makes the statements of a dialect.
func New(d Dialect) *Tables {
	t := &Tables{dialect: d}
	t.find = t.write("SELECT " + columns + ", e.owner FROM acrobits_sms_entries e WHERE e.reference = ?")
	t.read = t.write("SELECT " + columns + ", COALESCE(l.owner, '') FROM acrobits_sms_entries e " +
		"LEFT JOIN acrobits_sms_leases l ON l.owner = e.owner AND l.until > ? WHERE e.key = ?" + d.Lock)
	t.keep = t.write("INSERT INTO acrobits_sms_entries " +
		"(id, reference, state, named, span, begun, until, adapter, cause, code, detail, username, segments, parts, cuts, digest, ids, key, owner) " +
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (key) DO UPDATE SET id = excluded.id, reference = excluded.reference, " +
		"state = excluded.state, named = excluded.named, span = excluded.span, begun = excluded.begun, until = excluded.until, " +
		"adapter = excluded.adapter, cause = excluded.cause, code = excluded.code, detail = excluded.detail, " +
		"username = excluded.username, segments = excluded.segments, parts = excluded.parts, cuts = excluded.cuts, digest = excluded.digest, ids = excluded.ids, owner = excluded.owner")
	t.remove = t.write("DELETE FROM acrobits_sms_entries WHERE key = ?")
	t.size = "SELECT count(*) FROM acrobits_sms_entries"
	t.lost = t.write("SELECT " + columns + ", '' FROM acrobits_sms_entries e WHERE e.state = 1 AND NOT EXISTS " +
		"(SELECT 1 FROM acrobits_sms_leases l WHERE l.owner = e.owner AND l.until > ?)" + d.Lock)
	t.renew = t.write("INSERT INTO acrobits_sms_leases (owner, until) VALUES (?, ?) " +
		"ON CONFLICT (owner) DO UPDATE SET until = excluded.until")
	t.ended = t.write("DELETE FROM acrobits_sms_leases WHERE until <= ?")
	// The outer query repeats the condition, because another transaction may change an entry after
	// the inner query has found it.
	const old = "state <> 1 AND begun <= ? AND until <= ?"
	t.forget = t.write("DELETE FROM acrobits_sms_entries WHERE key IN (SELECT key FROM acrobits_sms_entries WHERE " + old +
		" ORDER BY begun LIMIT " + strconv.Itoa(Batch) + ") AND " + old)
	t.endLease = t.write("DELETE FROM acrobits_sms_leases WHERE owner = ? AND NOT EXISTS " +
		"(SELECT 1 FROM acrobits_sms_entries WHERE owner = ? AND state = 1)")
	t.counted = t.write("SELECT filled, since, till, amount FROM acrobits_sms_counts WHERE key = ?")
	t.count = t.write("INSERT INTO acrobits_sms_counts (key, filled, since, till, amount) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET " +
		"filled = excluded.filled, since = excluded.since, till = excluded.till, amount = excluded.amount")
	t.message = t.write("INSERT INTO acrobits_sms_messages (id, reference, username, installid, sender, recipient, body, content_type, " +
		"disposition, smart, begun, until, segments, state, adapter, parts, ids) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (id) DO UPDATE SET state = excluded.state, adapter = excluded.adapter, parts = excluded.parts, ids = excluded.ids")
	t.changed = t.write("UPDATE acrobits_sms_messages SET state = ?, adapter = ?, parts = ?, ids = ? WHERE id = ?")
	t.gone = t.write(DeletesMessages + "WHERE id = ?")
	t.outdated = t.write(DeletesMessages + "WHERE id IN (SELECT id FROM acrobits_sms_messages WHERE until <= ? LIMIT " +
		strconv.Itoa(Batch) + ")")
	t.known = t.write(d.Known)
	t.blocks = "SELECT username, host, since FROM acrobits_sms_blocks ORDER BY username, host"
	t.block = t.write("INSERT INTO acrobits_sms_blocks (username, host, since) SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT) " +
		"WHERE (SELECT count(*) FROM acrobits_sms_blocks) < " + strconv.Itoa(block.Max) + " ON CONFLICT (username, host) DO NOTHING")
	t.unblock = t.write("DELETE FROM acrobits_sms_blocks WHERE username = ? AND host = ?")
	t.unblockAll = t.write("DELETE FROM acrobits_sms_blocks WHERE username = ?")
	t.writeLogins()
	t.uncount = t.write("DELETE FROM acrobits_sms_counts WHERE filled <= ? AND till <= ?")
	return t
}

func (t *Tables) write(statement string) string { return t.dialect.write(statement) }

// Write replaces the question marks of a statement, which are its placeholders, as the database
// needs them.
func (t *Tables) Write(statement string) string { return t.write(statement) }

// Work is the work of a transaction. now is the time of the store's clock, which never runs ahead of
// the transaction. Work may be called again if the transaction could not be committed, so it must
// not change anything else that lasts.
type Work func(ctx context.Context, q Querier, now time.Time) error

// Update applies a change to the entry of a key. No other transaction may change the entry before
// this one ends.
func (t *Tables) Update(ctx context.Context, q Querier, key journal.Key, now time.Time, change journal.Change) error {
	entries, _, err := list(ctx, q, t.read, now.UnixMilli(), key[:])
	if err != nil {
		return err
	}
	var e journal.Entry
	if len(entries) > 0 {
		e = entries[0]
	}
	before := e
	if !change.Apply(&e, now) {
		return nil
	}
	if to, is := journal.HistoryKey(&before, &e); is {
		if err := t.put(ctx, q, to, &before); err != nil {
			return err
		}
	}
	if e.State == journal.None {
		if _, err = q.ExecContext(ctx, t.remove, key[:]); err != nil {
			return err
		}
		return t.putMessage(ctx, q, &e, "")
	}
	return t.put(ctx, q, key, &e)
}

// put writes an entry, and its message if that is stored.
func (t *Tables) put(ctx context.Context, q Querier, key journal.Key, e *journal.Entry) error {
	ids, err := json.Marshal(e.IDs)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, t.keep, e.ID, e.Reference, int(e.State), e.Flags(), e.Window.Milliseconds(), milliseconds(e.Begun),
		milliseconds(e.Until), e.Adapter, e.Cause.String(), plain(e.Code), plain(e.Detail), plain(e.User), e.Segments, e.Split.Parts, e.Split.Cuts, e.Text, string(ids), key[:], e.Owner)
	if err != nil {
		return err
	}
	return t.putMessage(ctx, q, e, string(ids))
}

func (t *Tables) putMessage(ctx context.Context, q Querier, e *journal.Entry, ids string) (err error) {
	switch k := e.Kept; {
	case k == nil && (e.State == journal.MaybeSent || e.Split.Parts > 1): // another process may have stored the message
		_, err = q.ExecContext(ctx, t.changed, int(e.State), e.Adapter, e.Split.Parts, ids, e.ID)
	case k == nil && e.Collecting && e.State == journal.Refused: // its process ended
		_, err = q.ExecContext(ctx, t.gone, e.ID)
	case k == nil:
	case k.Obsolete(e):
		_, err = q.ExecContext(ctx, t.gone, k.ID)
	default:
		disposition := k.Disposition.ID
		if len(k.Disposition.Wishes) > 0 {
			disposition += ":" + strings.Join(k.Disposition.Wishes, ",")
		}
		_, err = q.ExecContext(ctx, t.message, k.ID, plain(e.Reference), plain(k.User), plain(k.InstallID), plain(k.From.Value), plain(k.To.Value),
			plain(k.Body.Reveal()), plain(k.ContentType), plain(disposition), number(k.Smart), milliseconds(e.Begun), milliseconds(k.Until),
			k.Segments, int(e.State), e.Adapter, e.Split.Parts, ids)
	}
	return err
}

// plain replaces NUL, which PostgreSQL cannot store.
// https://www.postgresql.org/docs/current/datatype-character.html
func plain(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// Count applies a charge to the counts of its rules. No other transaction may count for the same
// billing key before this one ends.
func (t *Tables) Count(ctx context.Context, q Querier, secret *mac.Key, now time.Time, charge *limit.Charge) error {
	keys, counts := make([][]byte, len(charge.Rules)), make([]*limit.Count, len(charge.Rules))
	for i := range charge.Rules {
		k := charge.Key(i)
		key := secret.Digest("count", string(k.BillingKey[:]), k.Rule.String(), k.Zone, k.Subject)
		keys[i], counts[i] = key[:len(journal.Key{})], new(limit.Count)
		var filled, since, till int64
		switch err := one(ctx, q, t.counted, []any{keys[i]}, &filled, &since, &till, &counts[i].Amount); {
		case errors.Is(err, errNone):
		case err != nil:
			return err
		default:
			counts[i].Full, counts[i].Since, counts[i].End = time.Unix(0, filled), time.Unix(0, since), time.Unix(0, till)
		}
	}
	if !charge.Apply(counts, now) {
		return nil
	}
	for i, c := range counts {
		if _, err := q.ExecContext(ctx, t.count, keys[i], nanoseconds(c.Full), nanoseconds(c.Since), nanoseconds(c.End), c.Amount); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the entries with a reference.
func (t *Tables) Find(ctx context.Context, q Querier, reference string) ([]journal.Entry, error) {
	entries, _, err := list(ctx, q, t.find, reference)
	return entries, err
}

// Older reports whether there are entries with an app id and without a digest of the text. Older
// versions of the program write such entries.
func (t *Tables) Older(ctx context.Context, q Querier) (bool, error) {
	var n int
	err := one(ctx, q, "SELECT count(*) FROM acrobits_sms_entries WHERE named = 1 AND digest = 0", nil, &n)
	return n > 0, err
}

// Size returns the number of entries.
func (t *Tables) Size(ctx context.Context, q Querier) (n int, err error) {
	err = one(ctx, q, t.size, nil, &n)
	return n, err
}

// Maintain renews a lease, ends the leases that were not renewed in time, and ends the pending
// entries of their owners. It returns those that may have been sent. No other transaction may run Maintain before this one ends.
func (t *Tables) Maintain(ctx context.Context, q Querier, owner string, now time.Time) ([]journal.Entry, error) {
	if _, err := q.ExecContext(ctx, t.renew, owner, now.Add(journal.Lease).UnixMilli()); err != nil {
		return nil, err
	}
	if _, err := q.ExecContext(ctx, t.ended, now.UnixMilli()); err != nil {
		return nil, err
	}
	lost, keys, err := list(ctx, q, t.lost, now.UnixMilli())
	if err != nil {
		return nil, err
	}
	var maybeSent []journal.Entry
	for i := range lost {
		if lost[i].MarkLost(now) {
			maybeSent = append(maybeSent, lost[i])
		}
		if err := t.put(ctx, q, keys[i], &lost[i]); err != nil {
			return nil, err
		}
	}
	return maybeSent, nil
}

// Batch bounds the entries, and the messages, that one transaction deletes.
const Batch = 1000

// Forget deletes a batch of entries and messages that are too old. It returns the larger of the two
// numbers of deleted rows.
func (t *Tables) Forget(ctx context.Context, q Querier, now time.Time) (int64, error) {
	begun, until := now.Add(-journal.Retention).UnixMilli(), now.UnixMilli()
	if _, err := q.ExecContext(ctx, t.uncount, now.UnixNano(), now.UnixNano()); err != nil { // counts that have returned to 0
		return 0, err
	}
	if _, err := q.ExecContext(ctx, t.logins.outdated, now.Add(-lockout.TrustPeriod).UnixMilli()); err != nil {
		return 0, err
	}
	result, err := q.ExecContext(ctx, t.outdated, until)
	if err != nil {
		return 0, err
	}
	messages, err := result.RowsAffected()
	if err != nil {
		return 0, err
	}
	result, err = q.ExecContext(ctx, t.forget, begun, until, begun, until)
	if err != nil {
		return 0, err
	}
	entries, err := result.RowsAffected()
	return max(entries, messages), err
}

// EndLease ends the lease of an owner that has no pending entries.
func (t *Tables) EndLease(ctx context.Context, q Querier, owner string) error {
	_, err := q.ExecContext(ctx, t.endLease, owner, owner)
	return err
}

// list reads entries and their keys.
func list(ctx context.Context, q Querier, statement string, args ...any) (entries []journal.Entry, keys []journal.Key, err error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e journal.Entry
		var state, flags, span, begun, until int64
		var cause, ids string
		var key []byte
		if err := rows.Scan(
			&e.ID, &e.Reference, &state, &flags, &span, &begun, &until, &e.Adapter, &cause,
			&e.Code, &e.Detail, &e.User, &e.Segments, &e.Split.Parts, &e.Split.Cuts, &e.Text, &ids, &key, &e.Owner,
		); err != nil {
			return nil, nil, err
		}
		if state < int64(journal.Pending) || state > int64(journal.MaybeSent) || len(key) != len(journal.Key{}) ||
			json.Unmarshal([]byte(ids), &e.IDs) != nil {
			return nil, nil, Fault("has a damaged row in acrobits_sms_entries, of id " + e.ID + ": delete it")
		}
		e.State, e.Window = journal.State(state), time.Duration(span)*time.Millisecond
		e.SetFlags(int(flags))
		e.Begun, e.Until = moment(begun), moment(until)
		var known bool
		if e.Cause, known = sms.ParseCause(cause); !known && cause != sms.NoCause.String() {
			e.Cause = sms.Unconfirmed
		}
		entries, keys = append(entries, e), append(keys, journal.Key(key))
	}
	return entries, keys, rows.Err()
}

// errNone means that the query returned no row.
var errNone = errors.New("no row")

// one scans the first row of a query.
func one(ctx context.Context, q Querier, statement string, args []any, into ...any) error {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return cmp.Or(rows.Err(), errNone)
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	return rows.Close()
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}

// milliseconds encodes a time as Unix time, 0 for the zero Time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// nanoseconds encodes the times of counts: limit windows need this precision.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(milliseconds int64) time.Time {
	if milliseconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds)
}

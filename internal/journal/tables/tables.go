// Package tables is the journal in a database: its tables, and what is done with them, as all databases have them.
package tables

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Dialect is what one database writes otherwise than another.
type Dialect struct {
	// Numbered says that holes are $1, $2; they are question marks if not.
	Numbered bool
	// Blob is the type of bytes.
	Blob string
	// Known counts the tables with the schema's version.
	Known string
	// Lock ends a query for entries e that others must not change before the transaction ends.
	Lock string
}

// write writes a statement as the database wants it. No statement has a question mark that is no hole.
func (d *Dialect) write(statement string) string {
	statement = strings.ReplaceAll(statement, "BLOB", d.Blob)
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

// Tables are the statements of a dialect. What they do is done within the transaction of the Querier, by the clock of whoever
// calls.
type Tables struct {
	dialect                                                           Dialect
	find, read, keep, remove, size, lost, renew, ended, forget, leave string
	counted, count, uncount                                           string
	message, changed, gone, outdated                                  string
}

// columns are those of an entry, but for its owner.
const columns = "e.id, e.reference, e.state, e.named, e.span, e.begun, e.until, e.adapter, e.cause, e.parts, e.cuts, e.ids, e.key"

// New writes the statements.
func New(d Dialect) *Tables {
	t := &Tables{dialect: d}
	t.find = t.write("SELECT " + columns + ", e.owner FROM acrobits_sms_entries e WHERE e.reference = ?")
	t.read = t.write("SELECT " + columns + ", COALESCE(l.owner, '') FROM acrobits_sms_entries e " +
		"LEFT JOIN acrobits_sms_leases l ON l.owner = e.owner AND l.until > ? WHERE e.key = ?" + d.Lock)
	t.keep = t.write("INSERT INTO acrobits_sms_entries " +
		"(id, reference, state, named, span, begun, until, adapter, cause, parts, cuts, ids, key, owner) " +
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (key) DO UPDATE SET id = excluded.id, reference = excluded.reference, " +
		"state = excluded.state, named = excluded.named, span = excluded.span, begun = excluded.begun, until = excluded.until, " +
		"adapter = excluded.adapter, cause = excluded.cause, parts = excluded.parts, cuts = excluded.cuts, ids = excluded.ids, owner = excluded.owner")
	t.remove = t.write("DELETE FROM acrobits_sms_entries WHERE key = ?")
	t.size = "SELECT count(*) FROM acrobits_sms_entries"
	t.lost = t.write("SELECT " + columns + ", '' FROM acrobits_sms_entries e WHERE e.state = 1 AND NOT EXISTS " +
		"(SELECT 1 FROM acrobits_sms_leases l WHERE l.owner = e.owner AND l.until > ?)" + d.Lock)
	t.renew = t.write("INSERT INTO acrobits_sms_leases (owner, until) VALUES (?, ?) " +
		"ON CONFLICT (owner) DO UPDATE SET until = excluded.until")
	t.ended = t.write("DELETE FROM acrobits_sms_leases WHERE until <= ?")
	// The conditions stand twice for the entries that others change after the inner query has found them.
	const old = "state <> 1 AND begun <= ? AND until <= ?"
	t.forget = t.write("DELETE FROM acrobits_sms_entries WHERE key IN (SELECT key FROM acrobits_sms_entries WHERE " + old +
		" ORDER BY begun LIMIT " + strconv.Itoa(Batch) + ") AND " + old)
	t.leave = t.write("DELETE FROM acrobits_sms_leases WHERE owner = ? AND NOT EXISTS " +
		"(SELECT 1 FROM acrobits_sms_entries WHERE owner = ? AND state = 1)")
	t.counted = t.write("SELECT filled, since, till, amount FROM acrobits_sms_counts WHERE key = ?")
	t.count = t.write("INSERT INTO acrobits_sms_counts (key, filled, since, till, amount) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET " +
		"filled = excluded.filled, since = excluded.since, till = excluded.till, amount = excluded.amount")
	t.message = t.write("INSERT INTO acrobits_sms_messages (id, reference, username, installid, sender, recipient, body, content_type, " +
		"disposition, smart, begun, until, state, adapter, parts, ids) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (id) DO UPDATE SET state = excluded.state, adapter = excluded.adapter, parts = excluded.parts, ids = excluded.ids")
	t.changed = t.write("UPDATE acrobits_sms_messages SET state = ?, adapter = ?, parts = ?, ids = ? WHERE id = ?")
	t.gone = t.write("DELETE FROM acrobits_sms_messages WHERE id = ?")
	t.outdated = t.write("DELETE FROM acrobits_sms_messages WHERE id IN (SELECT id FROM acrobits_sms_messages WHERE until <= ? LIMIT " +
		strconv.Itoa(Batch) + ")")
	t.uncount = t.write("DELETE FROM acrobits_sms_counts WHERE filled <= ? AND till <= ?")
	return t
}

func (t *Tables) write(statement string) string { return t.dialect.write(statement) }

// Update changes the entry of a key. Nobody else may change it before the transaction ends.
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
	if to, is := journal.Displaced(&before, &e); is {
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

// put writes an entry, and the message that is kept beside it.
func (t *Tables) put(ctx context.Context, q Querier, key journal.Key, e *journal.Entry) error {
	ids, err := json.Marshal(e.IDs)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, t.keep, e.ID, e.Reference, int(e.State), number(e.Named), e.Window.Milliseconds(), milliseconds(e.Begun),
		milliseconds(e.Until), e.Adapter, e.Cause.String(), e.Split.Parts, e.Split.Cuts, string(ids), key[:], e.Owner)
	if err != nil {
		return err
	}
	return t.putMessage(ctx, q, e, string(ids))
}

func (t *Tables) putMessage(ctx context.Context, q Querier, e *journal.Entry, ids string) (err error) {
	switch k := e.Kept; {
	case k == nil && (e.State == journal.Unknown || e.Split.Parts > 1): // perhaps kept by another process
		_, err = q.ExecContext(ctx, t.changed, int(e.State), e.Adapter, e.Split.Parts, ids, e.ID)
	case k == nil:
	case k.Gone(e):
		_, err = q.ExecContext(ctx, t.gone, k.ID)
	default:
		disposition := k.Disposition.ID
		if len(k.Disposition.Wishes) > 0 {
			disposition += ":" + strings.Join(k.Disposition.Wishes, ",")
		}
		_, err = q.ExecContext(ctx, t.message, k.ID, plain(e.Reference), plain(k.User), plain(k.InstallID), plain(k.From.Value), plain(k.To.Value),
			plain(k.Body.Reveal()), plain(k.ContentType), plain(disposition), number(k.Smart), milliseconds(e.Begun), milliseconds(k.Until),
			int(e.State), e.Adapter, e.Split.Parts, ids)
	}
	return err
}

// plain is a text that every database can keep: PostgreSQL has no NUL.
// https://www.postgresql.org/docs/current/datatype-character.html
func plain(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// Count takes a claim from the counts of its rules. Nobody else may count for the same payer before the transaction ends.
func (t *Tables) Count(ctx context.Context, q Querier, secret *keyed.Key, now time.Time, claim *limit.Claim) error {
	keys, counts := make([][]byte, len(claim.Rules)), make([]*limit.Count, len(claim.Rules))
	for i := range claim.Rules {
		k := claim.Key(i)
		key := secret.Digest("count", string(k.Payer[:]), k.Rule.String(), k.Zone, k.Who)
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
	if !claim.Take(counts, now) {
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

// Size is how many entries there are.
func (t *Tables) Size(ctx context.Context, q Querier) (n int, err error) {
	err = one(ctx, q, t.size, nil, &n)
	return n, err
}

// Tend renews a lease, ends those that were not renewed in time, and loses the entries of their owners. Nobody else may tend
// before the transaction ends.
func (t *Tables) Tend(ctx context.Context, q Querier, owner string, now time.Time) ([]journal.Entry, error) {
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
	for i := range lost {
		lost[i].Lose(now)
		if err := t.put(ctx, q, keys[i], &lost[i]); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// Batch is how many entries are forgotten in one transaction.
const Batch = 1000

// Forget forgets a batch of what is too old, and says how many entries that were.
func (t *Tables) Forget(ctx context.Context, q Querier, now time.Time) (int64, error) {
	begun, until := now.Add(-journal.Retention).UnixMilli(), now.UnixMilli()
	if _, err := q.ExecContext(ctx, t.uncount, now.UnixNano(), now.UnixNano()); err != nil { // what would be 0 again
		return 0, err
	}
	if _, err := q.ExecContext(ctx, t.outdated, until); err != nil {
		return 0, err
	}
	result, err := q.ExecContext(ctx, t.forget, begun, until, begun, until)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Leave ends the lease of an owner without pending entries.
func (t *Tables) Leave(ctx context.Context, q Querier, owner string) error {
	_, err := q.ExecContext(ctx, t.leave, owner, owner)
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
		var state, named, span, begun, until int64
		var cause, ids string
		var key []byte
		if err := rows.Scan(
			&e.ID, &e.Reference, &state, &named, &span, &begun, &until, &e.Adapter, &cause, &e.Split.Parts, &e.Split.Cuts, &ids, &key, &e.Owner,
		); err != nil {
			return nil, nil, err
		}
		if state < int64(journal.Pending) || state > int64(journal.Unknown) || len(key) != len(journal.Key{}) ||
			json.Unmarshal([]byte(ids), &e.IDs) != nil {
			return nil, nil, Fault("has a damaged row in acrobits_sms_entries, of id " + e.ID + ": delete it")
		}
		e.State, e.Named, e.Window = journal.State(state), named != 0, time.Duration(span)*time.Millisecond
		e.Begun, e.Until = moment(begun), moment(until)
		var known bool
		if e.Cause, known = sms.ParseCause(cause); !known && cause != sms.NoCause.String() {
			e.Cause = sms.Unknown
		}
		entries, keys = append(entries, e), append(keys, journal.Key(key))
	}
	return entries, keys, rows.Err()
}

// errNone says that there is no row.
var errNone = errors.New("no row")

// one reads one row.
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

// milliseconds is how times are kept: since 1970, and 0 for none.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// nanoseconds is how the times of counts are kept: windows are as exact.
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

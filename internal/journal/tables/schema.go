package tables

import (
	"context"
	"errors"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
)

// Fault is what is wrong with what stands in a database, said of it.
type Fault string

func (f Fault) Error() string { return string(f) }

// migrations make the tables of a version from those of the one before. What was released is not changed any more.
var migrations = [][]string{
	{
		"CREATE TABLE acrobits_sms_version (version INTEGER NOT NULL)",
		"INSERT INTO acrobits_sms_version (version) VALUES (0)",
		"CREATE TABLE acrobits_sms_secret (one INTEGER PRIMARY KEY, secret BLOB NOT NULL)",
		"CREATE TABLE acrobits_sms_leases (owner TEXT PRIMARY KEY, until BIGINT NOT NULL)",
		`CREATE TABLE acrobits_sms_entries (
			key BLOB PRIMARY KEY, id TEXT NOT NULL, reference TEXT NOT NULL, state INTEGER NOT NULL, owner TEXT NOT NULL,
			named INTEGER NOT NULL, span BIGINT NOT NULL, begun BIGINT NOT NULL, until BIGINT NOT NULL,
			adapter TEXT NOT NULL, cause TEXT NOT NULL, parts INTEGER NOT NULL, ids TEXT NOT NULL
		)`,
		`CREATE TABLE acrobits_sms_counts (
			key BLOB PRIMARY KEY, filled BIGINT NOT NULL, since BIGINT NOT NULL, till BIGINT NOT NULL, amount BIGINT NOT NULL
		)`,
		"CREATE INDEX acrobits_sms_entries_reference ON acrobits_sms_entries (reference)",
		"CREATE INDEX acrobits_sms_entries_begun ON acrobits_sms_entries (begun)",
		"CREATE INDEX acrobits_sms_entries_pending ON acrobits_sms_entries (owner) WHERE state = 1",
	},
	{
		`CREATE TABLE acrobits_sms_messages (
			id TEXT PRIMARY KEY, reference TEXT NOT NULL, username TEXT NOT NULL, installid TEXT NOT NULL, sender TEXT NOT NULL,
			recipient TEXT NOT NULL, body TEXT NOT NULL, content_type TEXT NOT NULL, disposition TEXT NOT NULL, smart INTEGER NOT NULL,
			begun BIGINT NOT NULL, until BIGINT NOT NULL, state INTEGER NOT NULL, adapter TEXT NOT NULL, parts INTEGER NOT NULL, ids TEXT NOT NULL
		)`,
		"CREATE INDEX acrobits_sms_messages_username ON acrobits_sms_messages (username, begun)",
		"CREATE INDEX acrobits_sms_messages_until ON acrobits_sms_messages (until)",
	},
	{"ALTER TABLE acrobits_sms_entries ADD COLUMN cuts BIGINT NOT NULL DEFAULT 0"},
}

// errNewer has no remedy here: what a newer program has written must not be guessed.
const errNewer Fault = "has the tables of a newer version of this program: run that one, or give the journal another database"

// Migrate brings the tables to this version, each step in a transaction, and returns the secret of the journal. step runs
// work in a transaction that nobody else may be in at the same time.
func (t *Tables) Migrate(ctx context.Context, step func(work func(q Querier) error) error) (secret keyed.Key, err error) {
	for current := false; !current && err == nil; {
		err = step(func(q Querier) error {
			version, err := t.version(ctx, q)
			switch {
			case err != nil:
				return err
			case version > len(migrations):
				return errNewer
			case version == len(migrations):
				current = true
				secret, err = t.secret(ctx, q)
				return err
			}
			for _, statement := range migrations[version] {
				if _, err := q.ExecContext(ctx, t.write(statement)); err != nil {
					return err
				}
			}
			_, err = q.ExecContext(ctx, t.write("UPDATE acrobits_sms_version SET version = ?"), version+1)
			return err
		})
	}
	return secret, err
}

func (t *Tables) version(ctx context.Context, q Querier) (version int, err error) {
	var known int
	if err := one(ctx, q, t.dialect.Known, nil, &known); err != nil || known == 0 {
		return 0, err
	}
	err = one(ctx, q, "SELECT version FROM acrobits_sms_version", nil, &version)
	return version, err
}

// secret returns the journal's, which the first who asks makes.
func (t *Tables) secret(ctx context.Context, q Querier) (secret keyed.Key, err error) {
	const read = "SELECT secret FROM acrobits_sms_secret WHERE one = 1"
	var kept []byte
	if err = one(ctx, q, read, nil, &kept); errors.Is(err, errNone) {
		secret = keyed.NewKey()
		_, err = q.ExecContext(ctx, t.write("INSERT INTO acrobits_sms_secret (one, secret) VALUES (1, ?)"), secret[:])
		return secret, err
	}
	if err == nil && len(kept) != len(secret) {
		err = Fault("has lost the secret of the journal: restore it, or give the journal another database")
	}
	copy(secret[:], kept)
	return secret, err
}

package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
)

// Fault is an error about the contents of a database. Its text continues a sentence that begins
// with the name of the database.
type Fault string

func (f Fault) Error() string { return string(f) }

// errNewer means that a newer version has changed the tables. This version cannot know how to read
// them.
const errNewer Fault = "has the tables of a newer version of this program: run that one, or give the journal another database"

// Migrate migrates the tables to the current version, each step in a transaction of its own, and
// returns the journal's secret. step runs work in a transaction that excludes all other migrations.
//
// The statements are in the dialect's files: migrations/1.sql creates the tables of version 1,
// migrations/2.sql changes them to version 2. A released file must not change. Each file in
// additions creates the table or index with the file's name. An addition does not raise the
// version, because older programs ignore it: they can still run, instead of this program or at the
// same time.
func (t *Tables) Migrate(ctx context.Context, step func(work func(q Querier) error) error) (secret mac.Key, err error) {
	migrations, err := fs.ReadDir(t.dialect.Files, "migrations")
	if err != nil {
		return secret, err
	}
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
				if err := t.add(ctx, q); err != nil {
					return err
				}
				secret, err = t.secret(ctx, q)
				return err
			}
			if err := t.execFile(ctx, q, fmt.Sprintf("migrations/%d.sql", version+1)); err != nil {
				return err
			}
			_, err = q.ExecContext(ctx, t.write("UPDATE acrobits_sms_version SET version = ?"), version+1)
			return err
		})
	}
	return secret, err
}

// execFile executes the statements of a file. Each statement ends with a semicolon at the end of a
// line.
func (t *Tables) execFile(ctx context.Context, q Querier, name string) error {
	file, err := fs.ReadFile(t.dialect.Files, name)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(strings.TrimSpace(string(file)), ";\n") {
		if _, err := q.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// add creates the missing additions. It does not use IF NOT EXISTS: for that, PostgreSQL requires
// the right to create tables even if they exist.
func (t *Tables) add(ctx context.Context, q Querier) error {
	files, err := fs.ReadDir(t.dialect.Files, "additions")
	if err != nil {
		return err
	}
	for _, file := range files {
		var known int
		if err := one(ctx, q, t.known, []any{strings.TrimSuffix(file.Name(), ".sql")}, &known); err != nil {
			return err
		}
		if known > 0 {
			continue
		}
		if err := t.execFile(ctx, q, "additions/"+file.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tables) version(ctx context.Context, q Querier) (version int, err error) {
	var known int
	if err := one(ctx, q, t.known, []any{"acrobits_sms_version"}, &known); err != nil || known == 0 {
		return 0, err
	}
	err = one(ctx, q, "SELECT version FROM acrobits_sms_version", nil, &version)
	return version, err
}

// secret returns the journal's secret. The first call creates it.
func (t *Tables) secret(ctx context.Context, q Querier) (secret mac.Key, err error) {
	const read = "SELECT secret FROM acrobits_sms_secret WHERE one = 1"
	var kept []byte
	if err = one(ctx, q, read, nil, &kept); errors.Is(err, errNone) {
		secret = mac.NewKey()
		_, err = q.ExecContext(ctx, t.write("INSERT INTO acrobits_sms_secret (one, secret) VALUES (1, ?)"), secret[:])
		return secret, err
	}
	if err == nil && len(kept) != len(secret) {
		err = Fault("has lost the secret of the journal: restore it, or give the journal another database")
	}
	copy(secret[:], kept)
	return secret, err
}

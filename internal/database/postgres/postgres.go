// Package postgres opens PostgreSQL databases.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Open makes a pool for the database of a URL or a list of key=value.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
func Open(address string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["client_encoding"] = "UTF8" // or else it is the encoding of the database
	return stdlib.OpenDB(*config), nil
}

// Unwritable reports whether a statement failed because the database has no characters for a text that was bound.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func Unwritable(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "22021" || e.Code == "22P05")
}

// OpenToWrite makes a pool for the same, with a server that waits no longer than patience for a lock, a statement or the next
// one of a transaction, so that a machine that vanishes holds up nobody, and that waits for its disk.
func OpenToWrite(address string, patience time.Duration) (*sql.DB, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.ConnectTimeout = patience
	settings := fmt.Sprintf("SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %[1]d; "+
		"SELECT set_config(name, 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'", patience.Milliseconds())
	return stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, settings)
		return err
	})), nil
}

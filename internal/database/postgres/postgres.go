// Package postgres opens PostgreSQL databases.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Open makes a pool for the database of a URL or a list of key=value.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
func Open(address string) (*sql.DB, error) {
	config, err := parse(address)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["client_encoding"] = "UTF8" // or else it is the encoding of the database
	return stdlib.OpenDB(*config), nil
}

// ErrUnescaped says that an address has a password with characters that divide an address. A part
// of it would be taken for the name of a host, which is looked up in the open.
var ErrUnescaped = errors.New("the address of the database has an @, /, ? or # in its password; write them as %40, %2F, %3F and %23")

func parse(address string) (*pgx.ConnConfig, error) {
	if scheme, rest, is := strings.Cut(address, "://"); is && !strings.ContainsAny(scheme, "= ") {
		authority, behind := rest, ""
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			authority, behind = rest[:i], rest[i:]
		}
		if n := strings.Count(authority, "@"); n > 1 || n == 0 && strings.Contains(behind, "@") || strings.Contains(behind, "#") {
			return nil, ErrUnescaped
		}
	}
	config, err := pgx.ParseConfig(address)
	if err == nil && strings.ContainsAny(config.Host, "@:?# ") && net.ParseIP(config.Host) == nil {
		return nil, ErrUnescaped
	}
	return config, err
}

// Parts are the parts of an address that the driver's errors may repeat.
func Parts(address string) []string {
	config, err := parse(address)
	if err != nil {
		return nil
	}
	parts := []string{config.User, config.Password, config.Database, config.Host}
	for _, other := range config.Fallbacks {
		parts = append(parts, other.Host)
	}
	return parts
}

// Unencodable reports whether a statement failed because the database has no characters for a text
// that was bound.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func Unencodable(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "22021" || e.Code == "22P05")
}

// OpenToWrite makes a pool for the same, with a server that waits no longer than patience for a
// lock, a statement or the next one of a transaction, so that a machine that vanishes holds up
// nobody, and that waits for its disk.
func OpenToWrite(address string, patience time.Duration) (*sql.DB, error) {
	config, err := parse(address)
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

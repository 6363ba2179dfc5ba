// Package postgres opens PostgreSQL databases.
package postgres

import (
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Open makes a pool for the database of a URL or a list of key=value.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
func Open(address string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*config), nil
}

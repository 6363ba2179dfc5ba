// Package database opens the databases that operators have.
package database

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/mysql"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
)

// Kind is a kind of database.
type Kind struct {
	Name string
	// Example is how its address is written.
	Example string
	// Hole writes the nth parameter of a statement, counted from 1.
	Hole func(n int) string
	// Unwritable reports whether the database failed because it has no characters for what was bound to a hole.
	Unwritable func(error) bool
	open       func(address string) (*sql.DB, error)
}

// Kinds are those that there are.
var Kinds = []Kind{
	{"postgres", "postgres://user:password@localhost/fusionpbx", func(n int) string { return fmt.Sprintf("$%d", n) }, postgres.Unwritable, postgres.Open},
	{"mysql", "user:password@tcp(localhost:3306)/kamailio", question, mysql.Unwritable, mysql.Open},
	{"sqlite", "/var/lib/freeswitch/db/users.db", question, func(error) bool { return false }, sqlite.Open},
}

func question(int) string { return "?" }

// mostConnections bounds what a flood of requests may open.
const mostConnections = 8

// Open makes a pool for a database and opens no connection. The error holds nothing of the address but the path of a file.
func (k Kind) Open(address string) (*sql.DB, error) {
	db, err := k.open(address)
	var file *fs.PathError // such as sslrootcert
	if errors.As(err, &file) {
		return nil, fmt.Errorf("the address of the database names a file that cannot be read: %w", file)
	}
	if err != nil {
		return nil, fmt.Errorf("the address of the database cannot be read; write one such as %s", k.Example)
	}
	db.SetMaxOpenConns(mostConnections)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute)
	return db, nil
}

// Package database opens the SQL databases of operators: PostgreSQL, MySQL and SQLite.
//
// It never writes to one, and no error contains a password or another part of an address, except
// the path of a certificate. Package caddymodule calls it for users in databases. It is safe for
// concurrent use.
package database

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/mysql"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Kind is a kind of database.
type Kind struct {
	Name string
	// Example is how its address is written.
	Example string
	// Hole returns the placeholder of the nth parameter of a statement, counted from 1.
	Hole func(n int) string
	// Unencodable reports whether a statement failed because the database cannot encode a
	// parameter.
	Unencodable func(error) bool
	open        func(address string) (*sql.DB, error)
	parts       func(address string) []string
}

// Kinds are the supported databases.
var Kinds = []Kind{
	{"postgres", "postgres://user:password@localhost/fusionpbx", func(n int) string { return fmt.Sprintf("$%d", n) }, postgres.Unencodable, postgres.Open, postgres.Parts},
	{"mysql", "user:password@tcp(localhost:3306)/kamailio", question, mysql.Unencodable, mysql.Open, mysql.Parts},
	{"sqlite", "/var/lib/freeswitch/db/users.db", question, func(error) bool { return false }, sqlite.Open, func(address string) []string { return []string{address} }},
}

func question(int) string { return "?" }

// maxConnections bounds what a flood of requests may open.
const maxConnections = 8

// Open makes a pool for a database and opens no connection. The error holds nothing of the address
// but the path of a file.
func (k Kind) Open(address string) (*sql.DB, error) {
	db, err := k.open(address)
	var file *fs.PathError // such as sslrootcert
	switch {
	case errors.As(err, &file):
		return nil, fmt.Errorf("the address of the database names a file%s that cannot be read: %w", suggest.QuotePath(file.Path, ".pem", ".crt", ".key", ".cer"), file.Err)
	case errors.Is(err, postgres.ErrUnescaped):
		return nil, postgres.ErrUnescaped
	case err != nil:
		return nil, fmt.Errorf("the address of the database cannot be read; write one such as %s", k.Example)
	}
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute)
	return db, nil
}

// Redact is the error of a driver without the parts of the address: user, password, database and
// host.
func (k Kind) Redact(address string, err error) error {
	if err == nil {
		return nil
	}
	message, parts := err.Error(), k.parts(address)
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
	for _, part := range parts {
		message = withoutWord(message, part)
	}
	return errors.New(message)
}

// withoutWord replaces a word, where it is not a part of a longer one.
func withoutWord(s, word string) string {
	if word == "" {
		return s
	}
	var b strings.Builder
	for before := rune(0); ; {
		i := strings.Index(s, word)
		if i < 0 {
			return b.String() + s
		}
		if i > 0 {
			before, _ = utf8.DecodeLastRuneInString(s[:i])
		}
		after, _ := utf8.DecodeRuneInString(s[i+len(word):])
		b.WriteString(s[:i])
		if len(word) < 4 && (isLetter(before) || isLetter(after)) {
			b.WriteString(word)
		} else {
			b.WriteString("…")
		}
		before, _ = utf8.DecodeLastRuneInString(word)
		s = s[i+len(word):]
	}
}

func isLetter(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

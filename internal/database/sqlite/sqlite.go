// Package sqlite opens SQLite databases, to read.
package sqlite

import (
	"database/sql"
	"errors"
	"net/url"

	_ "modernc.org/sqlite" // the driver
)

// Open makes a pool for the database in a file. It is only read, and waited for while others write.
func Open(path string) (*sql.DB, error) {
	if path == "" {
		return nil, errors.New("no path")
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro&_pragma=busy_timeout(1000)&_pragma=query_only(1)"}
	return sql.Open("sqlite", u.String())
}

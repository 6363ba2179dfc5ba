// Package sqlite opens SQLite databases.
package sqlite

import (
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// Open makes a pool for the database in a file. It is only read, and waited for while others write.
func Open(path string) (*sql.DB, error) {
	return open(path, "mode=ro&_pragma=busy_timeout(1000)&_pragma=query_only(1)")
}

// OpenToWrite makes a pool for the database in a file that there is. It is waited for while others
// write, and what is written there is on the disk when its transaction ends.
func OpenToWrite(path string) (*sql.DB, error) {
	return open(path, "mode=rw&_pragma=busy_timeout(1000)&_pragma=synchronous(FULL)")
}

func open(path, options string) (*sql.DB, error) {
	if path == "" {
		return nil, errors.New("no path")
	}
	path, err := filepath.Abs(path) // a relative one cannot be written as a URL
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: options}
	return sql.Open("sqlite", u.String())
}

// Package mysql opens MySQL and MariaDB databases.
package mysql

import (
	"database/sql"
	"io"
	"log"

	"github.com/go-sql-driver/mysql"
)

// Open makes a pool for the database of a DSN: user:password@tcp(host:port)/name.
// https://github.com/go-sql-driver/mysql#dsn-data-source-name
func Open(address string) (*sql.DB, error) {
	config, err := mysql.ParseDSN(address)
	if err != nil {
		return nil, err
	}
	config.InterpolateParams, config.MultiStatements = false, false // whatever the DSN says
	config.Logger = log.New(io.Discard, "", 0)                      // what matters comes back as an error
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

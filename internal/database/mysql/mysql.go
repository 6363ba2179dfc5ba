// Package mysql opens MySQL and MariaDB databases.
package mysql

import (
	"database/sql"
	"errors"
	"io"
	"log"
	"net"
	"slices"

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

// Parts are the parts of an address that the driver's errors may repeat.
func Parts(address string) []string {
	config, err := mysql.ParseDSN(address)
	if err != nil {
		return nil
	}
	host, _, _ := net.SplitHostPort(config.Addr)
	return []string{config.User, config.Passwd, config.DBName, config.Addr, host}
}

// Unencodable reports whether a statement failed because a column has no characters for a text that
// was bound: MariaDB says that collations do not mix (of two, three or more texts), MySQL that a
// parameter cannot be converted.
// https://mariadb.com/kb/en/mariadb-error-code-reference/
// https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
func Unencodable(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && slices.Contains([]uint16{1267, 1270, 1271, 3988}, e.Number)
}

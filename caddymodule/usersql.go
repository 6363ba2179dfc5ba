package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// UserSQL looks up users in a database of the operator by the operator's own query. While the
// database does not reply, only cached users are accepted.
type UserSQL struct {
	// Driver is the kind of database: `postgres`, `mysql` (also for MariaDB) or `sqlite`.
	Driver string `json:"driver"`

	// Address is the address of the database: `postgres://user:password@localhost/fusionpbx`,
	// `user:password@tcp(localhost:3306)/kamailio`, or the path of a SQLite file, in a Caddyfile
	// relative to it. It contains a password, so use a placeholder such as `{env.USERS_DATABASE}`.
	Address string `json:"address"`

	// Query is the statement that finds a user. Its holes are `{user}`, the name that the app sends,
	// and `{name}` and `{domain}`, its parts before and after the @. They are bound as parameters,
	// never inserted into the text. It must return `name` (always in the same spelling, under which
	// the user is counted and logged) and `password` (plain, SHA-1, bcrypt or argon2id) or `ha1` (the
	// MD5, SHA-1 or SHA-256 of user:realm:password). It may return `realm`, `from`, `groups`,
	// `region`, `limits`, `allow`, `deny` and `receive`; several values are separated by spaces, limits by
	// semicolons. Several rows of one user add secrets and numbers.
	Query string `json:"query"`

	// Realm is the realm of `ha1` if the query returns none.
	Realm string `json:"realm,omitempty"`

	// Timeout limits a query. Default: `5s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Cache is how long a found user is cached. An unknown name is cached for 10 seconds. Default:
	// `1m`.
	Cache caddy.Duration `json:"cache,omitempty"`

	// Stale is how much longer a cached user is used while the database does not reply. Default: `0`.
	Stale caddy.Duration `json:"stale,omitempty"`

	users *users.SQL
}

// defaultSQLCache is short, because a changed password remains valid for as long.
const defaultSQLCache = time.Minute

// CaddyModule returns the Caddy module information.
func (UserSQL) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.acrobits_sms.users.sql",
		New: func() caddy.Module { return new(UserSQL) },
	}
}

// Provision implements caddy.Provisioner. It opens no connection.
func (s *UserSQL) Provision(ctx caddy.Context) error {
	log := ctx.Logger()
	kind, query, err := s.parse()
	if err != nil {
		return fmt.Errorf("users sql: %w", err)
	}
	address, err := resolve(caddy.NewReplacer(), s.Address)
	if err != nil {
		return fmt.Errorf("users sql: %w", err)
	}
	if kind.Name != "sqlite" {
		warnExposedSecret(log, s.Address, zap.String("option", "users sql "+kind.Name))
	}
	if s.Timeout < 0 || s.Cache < 0 || s.Stale < 0 {
		return errors.New("users sql: durations must not be negative")
	}
	db, err := kind.Open(address)
	if err != nil {
		return fmt.Errorf("users sql: %w", err)
	}
	s.users = &users.SQL{
		DB: db, Query: query, Realm: s.Realm,
		Timeout:     cmp.Or(time.Duration(s.Timeout), defaultUsersTimeout),
		Keep:        cmp.Or(time.Duration(s.Cache), defaultSQLCache),
		Stale:       time.Duration(s.Stale),
		Unencodable: kind.Unencodable,
		Report: func(err error) {
			log.Error("cannot look up users in the database",
				zap.String("driver", kind.Name), zap.Error(kind.Redact(address, err)))
		},
	}
	s.users.Start()
	return nil
}

// parse validates the driver and parses the query.
func (s *UserSQL) parse() (kind database.Kind, query *users.Query, err error) {
	i := slices.IndexFunc(database.Kinds, func(k database.Kind) bool { return k.Name == s.Driver })
	switch {
	case i < 0:
		var known []string
		for _, k := range database.Kinds {
			known = append(known, k.Name)
		}
		return kind, nil, errors.New(suggest.Unknown("driver", s.Driver, known))
	case s.Address == "":
		return kind, nil, fmt.Errorf("write the address of the database, such as %s", database.Kinds[i].Example)
	case s.Query == "":
		return kind, nil, errors.New("write query with the statement that finds a user, such as `SELECT username AS name, password FROM subscriber WHERE username = {name}`")
	}
	query, err = users.ParseQuery(s.Query, database.Kinds[i].Hole)
	return database.Kinds[i], query, err
}

// Cleanup implements caddy.CleanerUpper.
func (s *UserSQL) Cleanup() error {
	if s.users == nil {
		return nil
	}
	return s.release()
}

func (s *UserSQL) acquire()       { s.users.Acquire() }
func (s *UserSQL) release() error { return s.users.Release() }

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	sql postgres|mysql|sqlite <address> {
//		query   <statement>
//		realm   <name>
//		timeout <duration>
//		cache   <duration>
//		stale   <duration>
//	}
func (s *UserSQL) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	at := *d
	if !d.AllArgs(&s.Driver, &s.Address) {
		return d.Err("write: users sql DRIVER ADDRESS { query … }")
	}
	known := []string{"query", "realm", "timeout", "cache", "stale"}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch word := d.Val(); word {
		case "query":
			err = oneArg(d, &s.Query)
		case "realm":
			err = oneArg(d, &s.Realm)
		case "timeout":
			err = durationArg(d, &s.Timeout)
		case "cache":
			err = durationArg(d, &s.Cache)
		case "stale":
			err = durationArg(d, &s.Stale)
		default:
			err = unknownWord(d, inUsers, known)
		}
		if err != nil {
			return err
		}
	}
	_, _, err := s.parse()
	if err == nil && s.Driver == "sqlite" && !hasPlaceholder(s.Address) {
		s.Address, err = relativeToCaddyfile(&at, s.Address)
	}
	return wrap(&at, err)
}

func (s *UserSQL) open(read accountReader) (users.Users, error) {
	s.users.Read = func(row users.Row) (users.Account, error) {
		u := userFromAnswer(row.Answer)
		u.Passwords = row.Passwords
		return readWithoutNumber(read, u)
	}
	return s.users, nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*UserSQL)(nil)
	_ caddy.CleanerUpper    = (*UserSQL)(nil)
	_ caddyfile.Unmarshaler = (*UserSQL)(nil)
	_ directory             = (*UserSQL)(nil)
)

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (s *UserSQL) UnmarshalJSON(data []byte) error {
	type plain UserSQL
	return decodeStrict(data, (*plain)(s))
}

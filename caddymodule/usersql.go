package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// UserSQL takes users from a database of the operator's, by a query of his own. Nobody is admitted while the database gives
// no answer, but for those it knew a short while ago.
type UserSQL struct {
	// Driver is the kind of database: `postgres`, `mysql` (MariaDB too) or `sqlite`.
	Driver string `json:"driver"`

	// Address is where it is: `postgres://user:password@localhost/fusionpbx`,
	// `user:password@tcp(localhost:3306)/kamailio`, or the path of a SQLite file, in a Caddyfile relative to that. It holds a password, so it is best a
	// placeholder such as `{env.USERS_DATABASE}`.
	Address string `json:"address"`

	// Query is the statement that finds a user. Its holes are `{user}`, the name as the app sends it, and `{name}` and
	// `{domain}`, its parts before and after the @; they are bound as parameters, never put into the text. It gives `name`
	// (always in the same writing, by which he is counted and logged) and `password` (plain, SHA-1, bcrypt or argon2id) or
	// `ha1` (the MD5, SHA-1 or SHA-256 of user:realm:password), and may give `realm`, `from`, `groups`, `region`, `limits`,
	// `allow` and `deny`, in which several values are divided by blanks, limits by semicolons. Several rows of one user are
	// further secrets and numbers.
	Query string `json:"query"`

	// Realm is that of `ha1` where the query gives none.
	Realm string `json:"realm,omitempty"`

	// Timeout is for a query. Default: `5s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Cache is for how long what was found counts. That there is nobody of a name counts for 10 seconds. Default: `1m`.
	Cache caddy.Duration `json:"cache,omitempty"`

	// Stale is for how long thereafter it still counts while the database gives no answer. Default: `0`.
	Stale caddy.Duration `json:"stale,omitempty"`

	users *users.SQL
}

// defaultSQLCache is short, because a password that was changed stays good for as long.
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
	if kind.Name != "sqlite" && isLiteral(s.Address) {
		log.Warn(literalSecret, zap.String("option", "users sql "+kind.Name))
	}
	if s.Timeout < 0 || s.Cache < 0 || s.Stale < 0 {
		return errors.New("users sql: times are not negative")
	}
	db, err := kind.Open(address)
	if err != nil {
		return fmt.Errorf("users sql: %w", err)
	}
	s.users = &users.SQL{
		DB: db, Query: query, Realm: s.Realm,
		Timeout:    cmp.Or(time.Duration(s.Timeout), defaultUsersTimeout),
		Keep:       cmp.Or(time.Duration(s.Cache), defaultSQLCache),
		Stale:      time.Duration(s.Stale),
		Unwritable: kind.Unwritable,
		Report: func(err error) {
			log.Error("users cannot be looked up in their database", zap.String("driver", kind.Name), zap.Error(err))
		},
	}
	s.users.Start()
	return nil
}

// parse reads the driver and the query.
func (s *UserSQL) parse() (kind database.Kind, query *users.Query, err error) {
	i := slices.IndexFunc(database.Kinds, func(k database.Kind) bool { return k.Name == s.Driver })
	switch {
	case i < 0:
		var known []string
		for _, k := range database.Kinds {
			known = append(known, k.Name)
		}
		return kind, nil, fmt.Errorf("there is no driver %q%s, write %s", s.Driver, adapters.Meant(s.Driver, known), strings.Join(known, ", "))
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

func (s *UserSQL) hold()          { s.users.Hold() }
func (s *UserSQL) release() error { return s.users.Release() }

// UnmarshalCaddyfile sets the directory up from Caddyfile tokens. Syntax:
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
			err = d.Errf("users sql has %s, not %q%s", strings.Join(known, ", "), word, adapters.Meant(word, known))
		}
		if err != nil {
			return err
		}
	}
	_, _, err := s.parse()
	if err == nil && s.Driver == "sqlite" && !hasPlaceholder(s.Address) {
		s.Address, err = besideCaddyfile(&at, s.Address)
	}
	return wrap(&at, err)
}

func (s *UserSQL) open(read readUser) (users.Users, error) {
	s.users.Read = func(row users.Row) (users.Account, error) {
		u := userOf(row.Answer)
		u.Passwords = row.Passwords
		account, _, err := read(u)
		return account, discreet(err)
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

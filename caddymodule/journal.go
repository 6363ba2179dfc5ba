package caddymodule

import (
	"os"
	"path/filepath"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal/sqlite"
)

func init() {
	caddy.RegisterModule(MemoryJournal{})
	caddy.RegisterModule(SQLiteJournal{})
	caddy.RegisterModule(PostgresJournal{})
}

// journals is a module that says where messages are kept.
// Guests in the namespace acrobits_sms.journals can only be of this package.
type journals interface {
	// kind is the name of what it is kept in.
	kind() string
	// address tells the stores apart. It may be secret.
	address() string
	// open begins to use the store.
	open() (journal.Store, error)
	// comesLater reports whether a store that cannot be opened now may be there later.
	comesLater() bool
}

// inMemory is the kind of journal that is the default.
const inMemory = "memory"

// MemoryJournal keeps messages in the memory of Caddy, the last 100,000 of a day at most. They survive a reload, not a restart.
type MemoryJournal struct{}

// CaddyModule returns the Caddy module information.
func (MemoryJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms.journals.memory", New: func() caddy.Module { return new(MemoryJournal) }}
}

// UnmarshalCaddyfile sets the journal up from Caddyfile tokens. Syntax:
//
//	journal memory
func (*MemoryJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return noArgs(d)
}

func (*MemoryJournal) kind() string                 { return inMemory }
func (*MemoryJournal) address() string              { return inMemory }
func (*MemoryJournal) open() (journal.Store, error) { return journal.NewMemory(), nil }
func (*MemoryJournal) comesLater() bool             { return false }

// SQLiteJournal keeps messages in a file, so that they survive a restart, a kill and a crash. Caddy needs to be the only one that
// writes to it, and its folder has to be on a disk of this machine.
type SQLiteJournal struct {
	// Path is that of the file, which is made if there is none. It may be a placeholder. Default: `acrobits_sms.db` in Caddy's data
	// directory.
	Path string `json:"path,omitempty"`

	path string
}

// CaddyModule returns the Caddy module information.
func (SQLiteJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms.journals.sqlite", New: func() caddy.Module { return new(SQLiteJournal) }}
}

// UnmarshalCaddyfile sets the journal up from Caddyfile tokens. The path is relative to the Caddyfile. Syntax:
//
//	journal sqlite [<path>]
func (j *SQLiteJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	d.Next()
	if d.NextArg() {
		if j.Path = d.Val(); !hasPlaceholder(j.Path) {
			if j.Path, err = besideCaddyfile(d, j.Path); err != nil {
				return d.WrapErr(err)
			}
		}
	}
	return noArgs(d)
}

// Provision finds the path, whose folder has to be there.
func (j *SQLiteJournal) Provision(caddy.Context) (err error) {
	if j.Path == "" {
		j.path = filepath.Join(caddy.AppDataDir(), "acrobits_sms.db")
		return nil
	}
	if j.path, err = resolve(caddy.NewReplacer(), j.Path); err != nil {
		return err
	}
	if j.path, err = filepath.Abs(j.path); err != nil {
		return err
	}
	return sqlite.CheckFolder(j.path)
}

func (*SQLiteJournal) kind() string      { return "sqlite" }
func (j *SQLiteJournal) address() string { return "sqlite " + j.path }
func (*SQLiteJournal) comesLater() bool  { return false }

func (j *SQLiteJournal) open() (journal.Store, error) {
	if j.Path == "" {
		if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
			return nil, err
		}
	}
	store, err := sqlite.Open(j.path)
	if err != nil {
		return nil, err
	}
	if isExposed(j.path) {
		journalLogger().Warn("other users of this machine may read or write the journal: chmod 600", zap.String("file", j.path))
	}
	return store, nil
}

// isExposed reports whether others than its owner may read or write a file.
func isExposed(path string) bool {
	file, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && file.Mode().Perm()&0o077 != 0
}

// PostgresJournal keeps messages in a PostgreSQL database. Several Caddys that send through one account can share it: they send no
// message twice, and count limits together.
type PostgresJournal struct {
	// Address is a URL such as `postgres://user:password@host/database`, best a placeholder. The tables, whose names begin with
	// `acrobits_sms_`, are made if there are none.
	Address string `json:"address,omitempty"`

	secret string
}

// CaddyModule returns the Caddy module information.
func (PostgresJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms.journals.postgres", New: func() caddy.Module { return new(PostgresJournal) }}
}

// UnmarshalCaddyfile sets the journal up from Caddyfile tokens. Syntax:
//
//	journal postgres <address>
func (j *PostgresJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&j.Address) {
		return d.Err("write the address of the database: journal postgres {env.SMS_DATABASE}")
	}
	return nil
}

// Provision reads the address. It opens no connection.
func (j *PostgresJournal) Provision(ctx caddy.Context) (err error) {
	if isLiteral(j.Address) {
		ctx.Logger().Warn(literalSecret, zap.String("option", "journal postgres"))
	}
	if j.secret, err = resolve(caddy.NewReplacer(), j.Address); err != nil {
		return err
	}
	return postgres.Check(j.secret)
}

func (*PostgresJournal) kind() string                   { return "postgres" }
func (j *PostgresJournal) address() string              { return "postgres " + j.secret }
func (j *PostgresJournal) open() (journal.Store, error) { return postgres.Open(j.secret) }
func (*PostgresJournal) comesLater() bool               { return true }

// Interface guards
var (
	_ journals              = (*MemoryJournal)(nil)
	_ caddyfile.Unmarshaler = (*MemoryJournal)(nil)
	_ journals              = (*SQLiteJournal)(nil)
	_ caddyfile.Unmarshaler = (*SQLiteJournal)(nil)
	_ caddy.Provisioner     = (*SQLiteJournal)(nil)
	_ journals              = (*PostgresJournal)(nil)
	_ caddyfile.Unmarshaler = (*PostgresJournal)(nil)
	_ caddy.Provisioner     = (*PostgresJournal)(nil)
)

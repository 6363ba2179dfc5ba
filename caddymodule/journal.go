package caddymodule

import (
	"os"
	"path/filepath"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
)

func init() {
	caddy.RegisterModule(MemoryJournal{})
	caddy.RegisterModule(SQLiteJournal{})
	caddy.RegisterModule(PostgresJournal{})
}

// journalSource is implemented by the modules of the namespace acrobits_sms.journals. Only
// this package can implement it.
type journalSource interface {
	// kind is the name of the module: memory, sqlite or postgres.
	kind() string
	// address identifies the store. It may contain a secret.
	address() string
	// open opens the store.
	open() (journal.Store, error)
	// mayOpenLater reports whether a store that cannot be opened now may be available later.
	mayOpenLater() bool
}

// inMemory is the kind of the default journal.
const inMemory = "memory"

// MemoryJournal stores the journal in memory: the messages of the last day, at most 100,000. They
// survive a reload, but not a restart.
type MemoryJournal struct{}

// CaddyModule returns the Caddy module information.
func (MemoryJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms.journals.memory", New: func() caddy.Module { return new(MemoryJournal) }}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	journal memory
func (*MemoryJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return noArgs(d)
}

func (*MemoryJournal) kind() string                 { return inMemory }
func (*MemoryJournal) address() string              { return inMemory }
func (*MemoryJournal) open() (journal.Store, error) { return journal.NewMemory(), nil }
func (*MemoryJournal) mayOpenLater() bool           { return false }

// SQLiteJournal stores the journal in a file, which survives a restart, a kill and a crash. Only
// one Caddy may use the file, and its folder must be on a local disk.
type SQLiteJournal struct {
	// Path is the path of the file, which is created if it does not exist. It may be a placeholder.
	// Default: `acrobits_sms.db` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	path string
}

// CaddyModule returns the Caddy module information.
func (SQLiteJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms.journals.sqlite", New: func() caddy.Module { return new(SQLiteJournal) }}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. The path is relative to the Caddyfile.
// Syntax:
//
//	journal sqlite [<path>]
func (j *SQLiteJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	d.Next()
	if d.NextArg() {
		if j.Path = d.Val(); !hasPlaceholder(j.Path) {
			if j.Path, err = relativeToCaddyfile(d, j.Path); err != nil {
				return d.WrapErr(err)
			}
		}
	}
	if d.NextArg() {
		return d.Err("write: journal sqlite [PATH]")
	}
	return nil
}

// Provision implements caddy.Provisioner. It resolves the path, and checks that its folder exists.
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

func (*SQLiteJournal) kind() string       { return "sqlite" }
func (j *SQLiteJournal) address() string  { return "sqlite " + j.path }
func (*SQLiteJournal) mayOpenLater() bool { return false }

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
		journalLogger().Warn("other users of this machine may read or write the journal: chmod 600",
			zap.String("file", j.path))
	}
	return store, nil
}

// isExposed reports whether other users than its owner may read or write a file.
func isExposed(path string) bool {
	file, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && file.Mode().Perm()&0o077 != 0
}

// PostgresJournal stores the journal in a PostgreSQL database. Several instances of Caddy that send
// through one account can share it: they send no message twice and share the counts of limits.
type PostgresJournal struct {
	// Address is a URL such as `postgres://user:password@host/database`, preferably a placeholder.
	// Tables with names that begin with `acrobits_sms_` are created if they do not exist.
	Address string `json:"address,omitempty"`

	secret string
}

// CaddyModule returns the Caddy module information.
func (PostgresJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms.journals.postgres", New: func() caddy.Module { return new(PostgresJournal) }}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	journal postgres <address>
func (j *PostgresJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&j.Address) {
		return d.Err("write the address of the database: journal postgres {env.SMS_DATABASE}")
	}
	return nil
}

// Provision implements caddy.Provisioner. It opens no connection.
func (j *PostgresJournal) Provision(ctx caddy.Context) (err error) {
	warnExposedSecret(ctx.Logger(), j.Address, zap.String("option", "journal postgres"))
	if j.secret, err = resolve(caddy.NewReplacer(), j.Address); err != nil {
		return err
	}
	return postgres.Check(j.secret)
}

func (*PostgresJournal) kind() string                   { return "postgres" }
func (j *PostgresJournal) address() string              { return "postgres " + j.secret }
func (j *PostgresJournal) open() (journal.Store, error) { return postgres.Open(j.secret) }
func (*PostgresJournal) mayOpenLater() bool             { return true }

// Interface guards
var (
	_ journalSource         = (*MemoryJournal)(nil)
	_ caddyfile.Unmarshaler = (*MemoryJournal)(nil)
	_ journalSource         = (*SQLiteJournal)(nil)
	_ caddyfile.Unmarshaler = (*SQLiteJournal)(nil)
	_ caddy.Provisioner     = (*SQLiteJournal)(nil)
	_ journalSource         = (*PostgresJournal)(nil)
	_ caddyfile.Unmarshaler = (*PostgresJournal)(nil)
	_ caddy.Provisioner     = (*PostgresJournal)(nil)
)

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (j *SQLiteJournal) UnmarshalJSON(data []byte) error {
	type plain SQLiteJournal
	return decodeStrict(data, (*plain)(j))
}

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (j *PostgresJournal) UnmarshalJSON(data []byte) error {
	type plain PostgresJournal
	return decodeStrict(data, (*plain)(j))
}

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (j *MemoryJournal) UnmarshalJSON(data []byte) error {
	type plain MemoryJournal
	return decodeStrict(data, (*plain)(j))
}

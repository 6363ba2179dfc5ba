package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// UserFile reads users from a JSON or CSV file. It reads the file again after a change. If a
// version cannot be read, the previous one stays in use and an error is logged. To change the file,
// write a new one and rename it.
type UserFile struct {
	// Path is the path of the file. JSON is a list of users, each as in a handler's `users`. The first
	// line of CSV has the names of the columns: `name` or `username`, `password`, `token`, `from`,
	// `group`, `region`, `allow`, `deny` and
	// `receive`. Several numbers, groups or destinations in a field are
	// separated by spaces; several passwords need JSON. Placeholders are refused.
	Path string `json:"path"`

	logger *zap.Logger
}

// userFileExtensions are the usual extensions of users files.
var userFileExtensions = []string{".csv", ".json"}

// withoutPath removes the path from the error about a file: a wrong word in its place may be a
// secret.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// CaddyModule returns the Caddy module information.
func (UserFile) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.acrobits_sms.users.file",
		New: func() caddy.Module { return new(UserFile) },
	}
}

// Provision implements caddy.Provisioner.
func (f *UserFile) Provision(ctx caddy.Context) error {
	f.logger = ctx.Logger()
	if f.Path == "" {
		return errors.New("write the path of a JSON or CSV file")
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. The path is relative to the Caddyfile.
// Syntax:
//
//	file <path>
func (f *UserFile) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.Next(); !d.AllArgs(&f.Path) {
		return d.Err("write: users file PATH")
	}
	var err error
	f.Path, err = relativeToCaddyfile(d, f.Path)
	return wrap(d, err)
}

// relativeToCaddyfile makes a path relative to the Caddyfile absolute, because the server that
// loads the configuration may run in another directory.
func relativeToCaddyfile(d *caddyfile.Dispenser, path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Abs(filepath.Join(filepath.Dir(d.File()), path))
}

func (f *UserFile) open(read accountReader) (users.Users, error) {
	if isReadableByOthers(f.Path) {
		f.logger.Warn("other users of this machine may read the users file: chmod 600", zap.String("file", f.Path))
	}
	parse := func(data []byte) (*users.List, error) { return f.parse(data, read) }
	opened, err := users.OpenFile(f.Path, parse, func(err error) {
		if err != nil {
			f.logger.Error("cannot read the users file; keeping the previous version",
				zap.String("file", f.Path), zap.Error(err))
		} else {
			f.logger.Info("read the users file", zap.String("file", f.Path))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("users file%s: %w", suggest.QuotePath(f.Path, userFileExtensions...), withoutPath(err))
	}
	return opened, nil
}

// parse returns the users of a version of the file.
func (f *UserFile) parse(data []byte, read accountReader) (*users.List, error) {
	list, err := parseUsers(data)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("there is no user in it")
	}
	accounts, weak := make([]users.Account, 0, len(list)), 0
	for _, u := range list {
		account, options, err := read(u.User)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", u.line, err)
		}
		accounts = append(accounts, account)
		weak += len(options)
	}
	made, err := users.NewList(accounts)
	var wrong *users.AccountError
	if errors.As(err, &wrong) { // not wrapped: it contains the name, which may be a secret in the wrong column
		return nil, fmt.Errorf("line %d: %w", list[wrong.Index].line, wrong.Err)
	} else if err != nil {
		return nil, err
	}
	if weak > 0 {
		f.logger.Warn("secrets are easy to guess", zap.Int("count", weak), zap.String("file", f.Path))
	}
	if made.HasMixedHashCosts() {
		f.logger.Warn(unevenHashes, zap.String("file", f.Path))
	}
	return made, nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*UserFile)(nil)
	_ caddyfile.Unmarshaler = (*UserFile)(nil)
	_ directory             = (*UserFile)(nil)
)

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (f *UserFile) UnmarshalJSON(data []byte) error {
	type plain UserFile
	return decodeStrict(data, (*plain)(f))
}

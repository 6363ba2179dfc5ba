package caddymodule

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// UserFile takes users from a file of JSON or CSV. The file is read again when it has changed. A version that cannot be
// read changes nothing, and is reported in the log. Best replace the file by renaming a new one.
type UserFile struct {
	// Path is that of the file. JSON is a list of users, each as in a handler's `users`. CSV has a line of names first,
	// of `name`, `password`, `token`, `from`, `group`, `region`, `allow` and `deny`; several numbers, groups or destinations in a field
	// are divided by blanks, several passwords need JSON. Nothing in the file is a placeholder.
	Path string `json:"path"`

	logger *zap.Logger
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

// UnmarshalCaddyfile sets the directory up from Caddyfile tokens. The path is relative to the Caddyfile. Syntax:
//
//	file <path>
func (f *UserFile) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.Next(); !d.AllArgs(&f.Path) {
		return d.Err("write: users file PATH")
	}
	var err error
	f.Path, err = besideCaddyfile(d, f.Path)
	return wrap(d, err)
}

// besideCaddyfile makes a path absolute that is relative to the Caddyfile: the server that loads the configuration may run
// elsewhere.
func besideCaddyfile(d *caddyfile.Dispenser, path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Abs(filepath.Join(filepath.Dir(d.File()), path))
}

func (f *UserFile) open(read readUser) (users.Users, error) {
	parse := func(data []byte) (*users.List, error) {
		list, err := parseUsers(data)
		if err != nil {
			return nil, err
		}
		accounts, weak := make([]users.Account, 0, len(list)), 0
		if len(list) == 0 {
			return nil, errors.New("there is no user in it")
		}
		for i, u := range list {
			if u == nil {
				return nil, errNull
			}
			account, options, err := read(u)
			if err != nil {
				return nil, fmt.Errorf("user %d of the file: %w", i+1, discreet(err))
			}
			accounts = append(accounts, account)
			weak += len(options)
		}
		made, err := users.NewList(accounts)
		if err != nil {
			return nil, err
		}
		if weak > 0 {
			f.logger.Warn("secrets are easy to guess", zap.Int("count", weak), zap.String("file", f.Path))
		}
		if made.Uneven() {
			f.logger.Warn(unevenHashes, zap.String("file", f.Path))
		}
		return made, nil
	}
	opened, err := users.OpenFile(f.Path, parse, func(err error) {
		if err != nil {
			f.logger.Error("the file of users cannot be read, so those of its last version stay", zap.String("file", f.Path), zap.Error(err))
		} else {
			f.logger.Info("read the file of users", zap.String("file", f.Path))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("users file %s: %w", f.Path, err)
	}
	return opened, nil
}

// parseUsers reads users of JSON or CSV.
func parseUsers(data []byte) ([]*User, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if start := bytes.TrimSpace(data); len(start) > 0 && (start[0] == '[' || start[0] == '{') {
		return parseUsersJSON(data)
	}
	return parseUsersCSV(data)
}

func parseUsersJSON(data []byte) (list []*User, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err = d.Decode(&list); err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("something follows the list")
		}
	}
	if err != nil {
		// The library's words may quote what stands there, which may be a secret.
		at := d.InputOffset()
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			at = syntax.Offset
		case errors.As(err, &kind):
			at = kind.Offset
		}
		line := 1 + bytes.Count(data[:max(min(at, int64(len(data)))-1, 0)], []byte("\n"))
		switch {
		case kind != nil && (kind.Field == "name" || kind.Field == "region"):
			return nil, fmt.Errorf(`line %d: %s is a text: "…"`, line, kind.Field)
		case kind != nil && kind.Field != "":
			return nil, fmt.Errorf(`line %d: %s is a list of texts: ["…"]`, line, kind.Field)
		case strings.HasPrefix(err.Error(), "json: unknown field "):
			return nil, fmt.Errorf("line %d or before: a user has name, passwords, tokens, from, groups, region, limits, allow and deny, and nothing else", line)
		}
		return nil, fmt.Errorf(`line %d: this is no list of users such as [{"name": "…", "passwords": ["…"], "from": ["+15551234567"]}]`, line)
	}
	return list, nil
}

// columns are what a CSV file says of a user.
var columns = []string{"name", "password", "token", "from", "group", "region", "allow", "deny"}

func parseUsersCSV(data []byte) (list []*User, err error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace = true
	names, err := r.Read()
	if err != nil || !slices.Contains(names, "name") {
		return nil, fmt.Errorf("line 1: write the names of the columns: %s", strings.Join(columns, ","))
	}
	for i, name := range names {
		if !slices.Contains(columns, name) {
			return nil, fmt.Errorf("line 1: a user has %s, not %q%s", strings.Join(columns, ", "), name, adapters.Meant(name, columns))
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("line 1: %s appears twice", name)
		}
	}
	for {
		record, err := r.Read()
		if err == io.EOF {
			return list, nil
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			return nil, fmt.Errorf("line %d: %w; there are %d columns", broken.Line, broken.Err, len(names))
		} else if err != nil {
			return nil, err
		}
		u := new(User)
		for i, field := range record {
			switch values := strings.Fields(field); names[i] {
			case "name":
				u.Name = strings.TrimSpace(field)
			case "password", "token":
				secret := strings.TrimSpace(field)
				switch {
				case secret == "":
				case names[i] == "token":
					u.Tokens = []string{secret}
				default:
					u.Passwords = []string{secret}
				}
			case "from":
				u.From = values
			case "group":
				u.Groups = values
			case "region":
				u.Region = strings.TrimSpace(field)
			case "allow":
				u.Allow = values
			case "deny":
				u.Deny = values
			}
		}
		list = append(list, u)
	}
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*UserFile)(nil)
	_ caddyfile.Unmarshaler = (*UserFile)(nil)
	_ directory             = (*UserFile)(nil)
)

package caddymodule

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// fileUser is a user of a file with its first line.
type fileUser struct {
	*User
	line int
}

// parseUsers parses users in JSON or CSV. Errors contain the line, but nothing that may be a
// secret.
func parseUsers(data []byte) (list []fileUser, err error) {
	if err := checkEncoding(data); err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if start := bytes.TrimSpace(data); len(start) > 0 && (start[0] == '[' || start[0] == '{') {
		list, err = parseUsersJSON(data)
	} else {
		list, err = parseUsersCSV(data)
	}
	if err != nil {
		return nil, err
	}
	for _, u := range list {
		if err := u.check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", u.line, err)
		}
	}
	return list, nil
}

// checkEncoding refuses data that is not UTF-8.
func checkEncoding(data []byte) error {
	if bytes.HasPrefix(data, []byte("\xFF\xFE")) || bytes.HasPrefix(data, []byte("\xFE\xFF")) ||
		bytes.IndexByte(data[:min(len(data), 4)], 0) >= 0 {
		return errors.New("line 1: the file is UTF-16; save it as UTF-8")
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Errorf("line %d: the file is not UTF-8; save it as UTF-8", lineAt(data, i))
		}
		i += size
	}
	return nil
}

// lineAt returns the line of the byte with an index.
func lineAt(data []byte, at int) int {
	return 1 + bytes.Count(data[:max(min(at, len(data)), 0)], []byte("\n"))
}

// check validates the user before placeholders would be replaced: a file must not have any.
func (u *fileUser) check() error {
	if u.User == nil {
		return errNull
	}
	if u.Name == "" {
		return errors.New("name is empty")
	}
	for _, list := range []struct {
		option string
		values []string
	}{
		{"name", []string{u.Name}}, {"password", u.Passwords}, {"token", u.Tokens}, {"from", u.From},
		{"group", u.Groups}, {"region", []string{u.Region}}, {"allow", u.Allow}, {"deny", u.Deny},
		{"receive", u.Receive},
	} {
		for _, value := range list.values {
			switch {
			case !placeholder.MatchString(value) && !unbraced.MatchString(value) && !caddyfileVariable.MatchString(value):
			case list.option == "password":
				return errors.New("password: placeholders are not replaced in a users file; write a hash, made by: caddy acrobits-sms hash")
			default:
				return fmt.Errorf("%s: placeholders are not replaced in a users file; write the value itself", list.option)
			}
		}
	}
	for _, password := range u.Passwords {
		if err := users.CheckPassword(password); err != nil {
			return fmt.Errorf("password: %w", err)
		}
	}
	return nil
}

func parseUsersJSON(data []byte) (list []fileUser, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	start, err := d.Token()
	if err == nil && start != json.Delim('[') {
		err = errors.New("no list")
	}
	for err == nil && d.More() {
		at := int(d.InputOffset())
		at += len(data[at:]) - len(bytes.TrimLeft(data[at:], ", \t\r\n"))
		u := fileUser{line: lineAt(data, at)}
		if err = d.Decode(&u.User); err == nil {
			list = append(list, u)
		}
	}
	if err == nil {
		if _, err = d.Token(); err == nil {
			if _, more := d.Token(); more != io.EOF {
				err = errors.New("something follows the list")
			}
		}
	}
	if err != nil {
		return nil, jsonError(data, d.InputOffset(), err)
	}
	return list, nil
}

// jsonError returns an error with the line of err. The library's message may quote the value, which
// may be a secret.
func jsonError(data []byte, at int64, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = max(at, syntax.Offset)
	case errors.As(err, &kind):
		at += kind.Offset
	}
	line := lineAt(data, int(at)-1)
	switch {
	case kind != nil && (kind.Field == "name" || kind.Field == "region"):
		return fmt.Errorf(`line %d: %s is a text: "…"`, line, kind.Field)
	case kind != nil && kind.Field != "":
		return fmt.Errorf(`line %d: %s is a list of texts: ["…"]`, line, kind.Field)
	}
	if field, is := strings.CutPrefix(err.Error(), "json: unknown field "); is {
		known := []string{"name", "passwords", "tokens", "from", "groups", "region", "limits", "allow", "deny", "receive"}
		return fmt.Errorf("line %d or before: %s", line, suggest.Unknown("member", strings.Trim(field, `"`), known))
	}
	return fmt.Errorf(`line %d: this is no list of users such as [{"name": "…", "passwords": ["…"], "from": ["+15551234567"]}]`, line)
}

// columns are the known columns of a CSV file.
var columns = []string{"name", "password", "token", "from", "group", "region", "allow", "deny", "receive"}

func parseUsersCSV(data []byte) (list []fileUser, err error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace = true
	first, err := r.Read()
	if err != nil {
		return nil, errNoColumns
	}
	names, err := parseColumns(first)
	if err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	lines := make(map[string]int) // by name
	for {
		record, err := r.Read()
		if err == io.EOF {
			return list, nil
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			return nil, fmt.Errorf("line %d: %w", broken.Line, csvError(broken, len(names)))
		} else if err != nil {
			return nil, err
		}
		u := fileUser{User: new(User)}
		u.line, _ = r.FieldPos(0)
		for i, field := range record {
			u.setColumn(names[i], strings.TrimSpace(field))
		}
		if before := lines[u.Name]; before != 0 && u.Name != "" {
			return nil, fmt.Errorf("line %d: line %d has the same name", u.line, before)
		}
		lines[u.Name] = u.line
		list = append(list, u)
	}
}

// csvError returns an error with advice about a line.
func csvError(err *csv.ParseError, columns int) error {
	switch err.Err {
	case csv.ErrFieldCount:
		return fmt.Errorf("%w; there are %d columns", err.Err, columns)
	case csv.ErrBareQuote, csv.ErrQuote:
		return errors.New(`a quotation mark is not closed, or is inside a field; write such a field as "with "" inside"`)
	}
	return err.Err
}

var errNoColumns = fmt.Errorf("line 1: write the names of the columns: %s", strings.Join(columns, ","))

// parseColumns parses the first line.
func parseColumns(first []string) (names []string, err error) {
	for _, sign := range []string{";", "\t", "|"} {
		if head, _, several := strings.Cut(first[0], sign); several && len(first) == 1 && isColumn(head) {
			return nil, fmt.Errorf("columns are separated by %q; separate them by commas: %s", sign, strings.Join(columns, ","))
		}
	}
	if !slices.ContainsFunc(first, isColumn) {
		return nil, errors.New(strings.TrimPrefix(errNoColumns.Error(), "line 1: "))
	}
	for i, name := range first {
		name = strings.TrimSpace(name)
		lower := strings.ToLower(name)
		if lower != name && isColumn(lower) {
			return nil, fmt.Errorf("write %s in lower case, not %q", lower, name)
		}
		switch {
		case name == "":
			return nil, fmt.Errorf("column %d has no name; known columns: %s", i+1, strings.Join(columns, ", "))
		case !isColumn(name):
			return nil, fmt.Errorf("column %d: %s", i+1, suggest.Unknown("column", name, columns))
		case name == "username":
			name = "name"
		}
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("the column %s appears twice", name)
		}
		names = append(names, name)
	}
	if !slices.Contains(names, "name") {
		return nil, fmt.Errorf("the column name is missing; known columns: %s", strings.Join(columns, ", "))
	}
	return names, nil
}

// isColumn reports whether a word is the name of a column, in any case.
func isColumn(word string) bool {
	word = strings.ToLower(strings.TrimSpace(word))
	return slices.Contains(columns, word) || word == "username"
}

// setColumn sets the field of a CSV column.
func (u *User) setColumn(column, field string) {
	values := strings.Fields(field)
	switch column {
	case "name":
		u.Name = field
	case "password":
		if field != "" {
			u.Passwords = []string{field}
		}
	case "token":
		if field != "" {
			u.Tokens = []string{field}
		}
	case "from":
		u.From = values
	case "group":
		u.Groups = values
	case "region":
		u.Region = field
	case "allow":
		u.Allow = values
	case "deny":
		u.Deny = values
	case "receive":
		u.Receive = values
	}
}

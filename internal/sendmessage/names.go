package sendmessage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// role is what a parameter means, whatever the template calls it.
type role uint8

const (
	roleUser role = iota
	rolePassword
	roleSender
	roleTo
	roleBody
	roleContentType
	roleDisposition
	roleSmart
	roleInstallID
	roleFrom // the user's name or the sender, told apart when all values are known
	roles
)

// roleNames are the roles as configuration and sentences name them, mostly the specification's own words.
var roleNames = [roles]string{
	"user", "password", "sender", "sms_to", "sms_body", "content_type", "disposition_notification", "smart", "installid", "from",
}

// aliases are the names seen in templates; of several that are present the first counts. No template may have to
// be changed for us, so names that have been seen anywhere belong here.
var aliases = [roles][]string{
	roleUser: {"username", "cloud_username", "user", "u", "account", "login", "email", "authUsername", "sip_user"},
	rolePassword: {
		"password", "cloud_password", "pass", "passwd", "p", "pwd", "secret", "token", "auth_token", "api_key", "access_token",
	},
	roleSender: {"caller_id", "from_number", "sender", "userCallerId", "sender_id", "src", "did"},
	roleTo: {
		"sms_to", "to", "dst", "da", "recipient", "destination", "dest", "receiver", "number", "phone", "phone_number", "msisdn", "to_number",
	},
	roleBody: {
		"sms_body", "body", "message_body", "msg", "message", "text", "sms_text", "message_text", "ud", "content",
	},
	roleContentType: {"content_type", "type"},
	roleDisposition: {"disposition_notification", "imdn"},
	roleSmart:       {"smart"},
	roleInstallID:   {"installid", "device", "device_id"},
	roleFrom:        {"from"},
}

// name is where a parameter name leads: a role, and its place among the names of that role.
type name struct {
	role role
	rank int
}

// Names maps parameter names to what they mean. Upper and lower case, _ and - make no difference.
type Names struct{ table map[string]name }

// ParseNames adds an operator's names to the known ones; they come before them. The key is a role such as sms_to
// (or to), the values are parameter names.
func ParseNames(own map[string][]string) (*Names, error) {
	n := &Names{table: make(map[string]name, 64)}
	for r, list := range aliases {
		for rank, alias := range list {
			n.table[canonical(alias)] = name{role(r), rank + 1000}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		r, ok := parseRole(key)
		if !ok {
			return nil, fmt.Errorf("there is no parameter %q to rename, write one of %s", key, strings.Join(roleNames[:roleFrom], ", "))
		}
		for rank, alias := range own[key] {
			if canonical(alias) == "" {
				return nil, fmt.Errorf("%q is not a name for the parameter %s", alias, key)
			}
			n.table[canonical(alias)] = name{r, rank}
		}
	}
	return n, nil
}

// parseRole finds a role by its own name or by any of its known aliases.
func parseRole(s string) (role, bool) {
	for r := role(0); r < roleFrom; r++ {
		if canonical(roleNames[r]) == canonical(s) {
			return r, true
		}
	}
	for r := role(0); r < roleFrom; r++ {
		for _, alias := range aliases[r] {
			if canonical(alias) == canonical(s) {
				return r, true
			}
		}
	}
	return 0, false
}

// isAlias reports whether a name is one of those known for a role.
func isAlias(r role, name string) bool {
	return slices.ContainsFunc(aliases[r], func(alias string) bool { return canonical(alias) == canonical(name) })
}

func (n *Names) find(param string) (name, bool) {
	var buf [32]byte
	found, ok := n.table[string(appendCanonical(buf[:0], param))]
	return found, ok
}

func canonical(s string) string { return string(appendCanonical(nil, s)) }

func appendCanonical(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '_' || c == '-' || c == ' ':
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// identity reports whether the role says who sends, or may.
func (r role) identity() bool { return r.credential() || r == roleFrom }

// credential reports whether the role says who sends.
func (r role) credential() bool { return r == roleUser || r == rolePassword }

// values are the parameters of one source: the query, the body, the path or the headers.
type values struct {
	names *Names
	pairs bool // a + that nobody escaped was read as a blank
	any   bool // there was a known name
	field [roles]field
}

// field is what a source says about one role.
type field struct {
	name    string // as the request has it
	text    string
	rank    int
	present bool     // the name stands in the template, though its value may be empty
	clash   bool     // the same name came twice with different values
	more    []string // further recipients
}

// add takes one parameter. Of several names for one role the first non-empty one of the table counts.
func (v *values) add(param, text string) {
	if n, ok := v.names.find(param); ok {
		v.put(n, param, text)
	}
}

// longestName is the longest name that is told; - and _ in it could go on for ever.
const longestName = 64

func (v *values) put(n name, param, text string) {
	v.any = true
	if len(param) > longestName {
		param = roleNames[n.role]
	}
	f := &v.field[n.role]
	switch {
	case !f.present || f.text == "" && text != "" || text != "" && n.rank < f.rank:
		f.name, f.text, f.rank, f.clash, f.more = param, text, n.rank, false, nil
	case text != "" && n.rank == f.rank && text != f.text:
		f.clash = true
		f.more = append(f.more, text)
	}
	f.present = true
}

// set is add for documents in which the last of two equal names counts. One that says who sends must say it once.
func (v *values) set(param, text string) {
	n, ok := v.names.find(param)
	if !ok {
		return
	}
	if f := &v.field[n.role]; f.present && f.rank == n.rank {
		if n.role.identity() {
			f.clash = f.clash || text != f.text
			return
		}
		f.text, f.clash, f.more = "", false, nil
	}
	v.put(n, param, text)
}

// merge adds the values of an object inside of the one that v holds. What both say must be the same.
func (v *values) merge(inner *values) {
	v.any = v.any || inner.any
	for r := range v.field {
		switch outer, f := &v.field[r], inner.field[r]; {
		case outer.text == "" && f.present:
			*outer = f
		case f.text != "" && f.text != outer.text:
			outer.clash = true
			outer.more = append(append(outer.more, f.text), f.more...)
		}
	}
}

// document is set for a value that is itself a list or an object: a text may be one, a credential never is.
func (v *values) document(param, raw string) {
	v.set(param, raw)
	if n, ok := v.names.find(param); ok && n.rank == v.field[n.role].rank {
		v.field[n.role].clash = n.role.credential()
	}
}

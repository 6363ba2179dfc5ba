package params

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Role is the meaning of a parameter, independent of its name in the template.
type Role uint8

// The roles.
const (
	RoleUser Role = iota
	RolePassword
	RoleSender
	RoleTo
	RoleBody
	RoleContentType
	RoleDisposition
	RoleSmart
	RoleInstallID
	RoleFrom // the user's name or the sender; the service decides
	// Fetch Messages.
	RoleLastID
	RoleLastSentID
	// The push token and account removal reporters. The first pair of token and app is for
	// messages.
	RoleSelector
	RoleMessageToken
	RoleMessageApp
	RoleToken
	RoleApp
	roles
)

// roleNames are the names of the roles in the configuration and in sentences, mostly as in the
// specification.
var roleNames = [roles]string{
	"user", "password", "sender", "sms_to", "sms_body", "content_type", "disposition_notification", "smart", "installid", "from",
	"last_id", "last_sent_id", "selector", "token_msgs", "appid_msgs", "token", "appid",
}

// aliases are the known names of each role in templates. If several are present, the first in this
// list counts. Operators must not have to change a template, so every name that occurs in practice
// belongs here.
var aliases = [roles][]string{
	RoleUser: {"username", "cloud_username", "user", "u", "account", "login", "email", "authUsername", "sip_user"},
	RolePassword: {
		"password", "cloud_password", "pass", "passwd", "p", "pwd", "psw", "secret", "token", "auth_token", "api_secret", "secret_key", "api_key",
		"access_token",
	},
	RoleSender: {
		"caller_id", "from_number", "sender", "userCallerId", "sender_id", "src", "did", "from_did", "originator", "oa", "source",
	},
	RoleTo: {
		"sms_to", "to", "dst", "da", "recipient", "destination", "dest", "receiver", "number", "phone", "phone_number", "msisdn", "to_number",
		"to_did", "to_user", "phones", "num",
	},
	RoleBody: {
		"sms_body", "body", "message_body", "msg", "message", "text", "sms_text", "message_text", "ud", "content",
		"message_data", "message_content", "user_data", "sms_info", "mes",
	},
	RoleContentType: {"content_type", "type"},
	RoleDisposition: {"disposition_notification", "imdn"},
	RoleSmart:       {"smart"},
	RoleInstallID:   {"installid", "device", "device_id"},
	RoleFrom:        {"from"},

	RoleLastID:       {"last_id", "last_known_sms_id", "last_known", "last_sms_id"},
	RoleLastSentID:   {"last_sent_id", "last_known_sent_sms_id", "last_sent_sms_id"},
	RoleSelector:     {"selector"},
	RoleMessageToken: {"token_msgs", "pushTokenOther"},
	RoleMessageApp:   {"appid_msgs", "pushappid_other"},
	RoleToken:        {"push_token", "token"},
	RoleApp:          {"push_appid", "appid"},
}

// Service is a web service of the app.
type Service uint8

// The services.
const (
	SendMessage Service = iota
	FetchMessages
	PushToken // the reporters of push tokens and of removed accounts
)

// services are the first and last role of each service besides those of the sender, and the roles
// whose absence is explained to the operator.
var services = [...]struct {
	first, last Role
	required    []Role
}{
	SendMessage:   {RoleUser, RoleFrom, []Role{RoleUser, RolePassword, RoleTo, RoleBody}},
	FetchMessages: {RoleLastID, RoleLastSentID, []Role{RoleUser, RolePassword}},
	PushToken:     {RoleSelector, RoleApp, []Role{RoleUser, RolePassword}},
}

// of reports whether a service has the role.
func (r Role) of(s Service) bool {
	return r.credential() || r == RoleInstallID || r == RoleFrom || r >= services[s].first && r <= services[s].last
}

// name is the role of a parameter name, and its rank among the names of that role.
type name struct {
	role Role
	rank int
}

// Names maps parameter names to roles. It ignores case, _ and -. A name with dots, such as
// auth.login, is the path of a member inside JSON objects, or of an element inside XML elements.
type Names struct {
	table    map[string]name
	dotted   bool // the table contains names with dots
	required []Role
}

// ParseNames returns the known names of a service and an operator's own names, which have
// precedence. The key is a role such as sms_to (or to), the values are parameter names.
func ParseNames(service Service, own map[string][]string) (*Names, error) {
	n := &Names{table: make(map[string]name, 64), required: services[service].required}
	for r, list := range aliases { // names of the service come last: token is a password, but not to PushToken
		for rank, alias := range list {
			if Role(r).of(service) {
				n.table[canonical(alias)] = name{Role(r), rank + 1000}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		r, ok := parseRole(key)
		if !ok {
			return nil, errors.New(suggest.Unknown("parameter", key, roleNames[:RoleFrom]))
		}
		for rank, alias := range own[key] {
			if fault := problemOfName(alias); fault != "" {
				return nil, fmt.Errorf("a name for the parameter %s %s", roleNames[r], fault)
			}
			known := n.table[canonical(alias)].role
			if !r.of(service) || known >= RoleLastID { // the app's own names keep their meaning
				continue
			}
			n.table[canonical(alias)] = name{r, rank}
			n.dotted = n.dotted || strings.Contains(alias, ".")
		}
	}
	return n, nil
}

// problemOfName returns the problem of a parameter name.
func problemOfName(alias string) string {
	switch {
	case canonical(alias) == "":
		return "is empty"
	case slices.ContainsFunc(strings.Split(alias, "."), func(part string) bool { return canonical(part) == "" }):
		return "has nothing before, behind or between dots; write a member of an object as auth.login"
	case indexed.MatchString(alias):
		return "has an index; write it without: a list with one element needs none"
	}
	return ""
}

// indexed matches the index of a list item.
var indexed = regexp.MustCompile(`\[\d+\]`)

// parseRole finds a role by its name or by any alias.
func parseRole(s string) (Role, bool) {
	for r := Role(0); r < RoleFrom; r++ {
		if canonical(roleNames[r]) == canonical(s) {
			return r, true
		}
	}
	for r := Role(0); r < RoleFrom; r++ {
		for _, alias := range aliases[r] {
			if canonical(alias) == canonical(s) {
				return r, true
			}
		}
	}
	return 0, false
}

// isAlias reports whether a name is a known alias of a role.
func isAlias(r Role, name string) bool {
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

// decides reports whether the role determines the user, the sender, the recipient or the text.
func (r Role) decides() bool { return r <= RoleBody || r == RoleFrom }

// identity reports whether the role is a credential or can be the user's name.
func (r Role) identity() bool { return r.credential() || r == RoleFrom }

// credential reports whether the role is the user or the password.
func (r Role) credential() bool { return r == RoleUser || r == RolePassword }

// values are the parameters of one source: the query, the body, the path or the headers.
type values struct {
	names *Names
	pairs bool // an unescaped + was read as a blank
	any   bool // the source contains a known name
	field [roles]field
}

// field contains the values of one role in a source.
type field struct {
	name     string // as written in the request
	text     string
	rank     int
	present  bool     // the template contains the name; the value may be empty
	clash    bool     // the same name has two different values
	more     []string // further recipients
	shadowed string   // another name with a different value, which is ignored
}

// add adds one parameter. If a role has several names, the non-empty one of the lowest rank counts.
func (v *values) add(param, text string) {
	if n, ok := v.names.find(param); ok {
		v.put(n, param, text)
	}
}

// nameAt returns the name of a member or an element: the operator's dotted name for it, or its own
// name.
func (v *values) nameAt(path []string, own string) string {
	if v.names.dotted {
		for i := range path {
			whole := strings.Join(path[i:], ".") + "." + own
			if _, ok := v.names.find(whole); ok {
				return whole
			}
		}
	}
	return own
}

// maxName bounds a name in an error, because a name may contain any number of - and _.
const maxName = 64

func (v *values) put(n name, param, text string) {
	v.any = true
	if len(param) > maxName {
		param = roleNames[n.role]
	}
	f := &v.field[n.role]
	if text != "" && f.text != "" && n.rank < f.rank && text != f.text {
		f.shadowed = f.name
	}
	switch {
	case !f.present || f.text == "" && text != "" || text != "" && n.rank < f.rank:
		f.name, f.text, f.rank, f.clash, f.more = param, text, n.rank, false, nil
	case text != "" && n.rank != f.rank && text != f.text:
		f.shadowed = param
	case text != "" && n.rank == f.rank && text != f.text:
		f.clash = true
		f.more = append(f.more, text)
	}
	f.present = true
}

// set is add for documents in which the last of two equal names counts. Two different values of an
// identity role are a clash instead.
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

// merge adds the values of an inner object. Different values of a role that decides are a clash.
func (v *values) merge(inner *values) {
	v.any = v.any || inner.any
	for r := range v.field {
		switch outer, f := &v.field[r], inner.field[r]; {
		case outer.text == "" && f.present:
			*outer = f
		case f.clash && outer.text == f.text:
			*outer = f
		case f.text != "" && f.text != outer.text && Role(r).decides():
			outer.clash = true
			outer.more = append(append(outer.more, f.text), f.more...)
		}
	}
}

// document is set for a value that is a list or an object. A text may be such a value; for a
// credential it is a clash.
func (v *values) document(param, raw string) {
	v.set(param, raw)
	if n, ok := v.names.find(param); ok && n.rank == v.field[n.role].rank {
		v.field[n.role].clash = n.role.credential()
	}
}

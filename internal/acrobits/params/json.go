package params

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// readJSON reads the members of a JSON document. It repairs an invalid document first, if the fault
// is a known one of hand-made templates.
func readJSON(body []byte, into *values) *sms.Refusal {
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	doc := string(body)
	if !ValidJSON(doc) {
		if doc = string(repairJSON(body)); !ValidJSON(doc) {
			return sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "JSON", "offset", strconv.Itoa(errorOffset(body)))
		}
	}
	top := unwrapSingle(gjson.Parse(doc))
	if !top.IsObject() {
		return sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "JSON", "offset", "1")
	}
	readObject(top, into, nil)
	return nil
}

// unwrapSingle returns the only element of a list, also of nested lists, or the value itself.
func unwrapSingle(value gjson.Result) gjson.Result {
	for value.IsArray() {
		items := value.Array()
		if len(items) != 1 {
			break
		}
		value = items[0]
	}
	return value
}

// maxNesting is the maximum nesting of lists and objects. Documents of apps have 3 levels.
const maxNesting = 32

// ValidJSON reports whether a document is valid and not nested too deeply. gjson is recursive, so
// the levels are counted before it parses the document.
func ValidJSON(doc string) bool {
	if strings.Count(doc, "[")+strings.Count(doc, "{") > maxNesting && nesting(doc) > maxNesting {
		return false
	}
	return gjson.Valid(doc)
}

// nesting returns the number of levels of lists and objects in a document.
func nesting(doc string) (deepest int) {
	level, quoted := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '[' || c == '{':
			if level++; level > deepest {
				deepest = level
			}
		case c == ']' || c == '}':
			level--
		}
	}
	return deepest
}

// hasAttachments reports whether an object contains the attachments of a file description.
func hasAttachments(object gjson.Result) bool {
	if !strings.Contains(object.Raw, "attachments") && !strings.Contains(object.Raw, `\`) { // a name may be escaped
		return false
	}
	attachments := object.Get("attachments")
	return attachments.IsArray() || attachments.IsObject()
}

// readObject reads the members of an object and of the objects inside it. As with XML elements,
// only the name of a member counts, not its place. path contains the names of the outer objects.
func readObject(object gjson.Result, into *values, path []string) {
	var envelopes []*values
	var inner *values
	object.ForEach(func(key, value gjson.Result) bool {
		name := into.nameAt(path, key.String())
		within := unwrapSingle(value)
		if value.IsArray() && isList(value, name, into.names) {
			into.list(name, value)
			return true
		}
		if !within.IsObject() && !within.IsArray() {
			if value.IsArray() { // an array, but not a list of values
				into.document(name, value.Raw)
			} else {
				into.set(name, scalar(value))
			}
			return true
		}
		if inner == nil {
			inner = new(values)
		}
		*inner = values{names: into.names}
		readWithin(within, inner, append(path[:len(path):len(path)], key.String()))
		if into.isEnvelope(name, within, inner) {
			envelopes, inner = append(envelopes, inner), nil
		} else {
			into.document(name, value.Raw)
		}
		return true
	})
	for _, e := range envelopes { // merge last, so that the order of members does not matter
		into.merge(e)
	}
	if hasAttachments(object) { // the description of a file, with or without parameters around it
		into.any = true
		into.field[RoleBody] = field{name: roleNames[RoleBody], text: object.Raw, present: true}
	}
}

// readWithin reads an object, or all objects of a list.
func readWithin(value gjson.Result, into *values, path []string) {
	if value.IsObject() {
		readObject(value, into, path)
		return
	}
	value.ForEach(func(_, item gjson.Result) bool {
		if item.IsObject() {
			one := &values{names: into.names}
			readObject(item, one, path)
			into.merge(one)
		}
		return true
	})
}

// isEnvelope reports whether an object or list only contains parameters. Otherwise it is itself a
// value, such as the description of a file. inner contains the parameters that were read from it. A
// number inside a recipient or sender object belongs to that role. An object for a password is
// never an envelope.
func (v *values) isEnvelope(param string, value gjson.Result, inner *values) bool {
	n, known := v.names.find(param)
	if !known {
		return inner.any
	}
	if hasAttachments(value) {
		return false
	}
	has := func(list ...Role) bool {
		return slices.ContainsFunc(list, func(r Role) bool { return inner.field[r].present })
	}
	switch n.role {
	case RolePassword:
		return false
	case RoleUser, RoleFrom:
		return has(RoleUser, RolePassword)
	case RoleBody:
		return has(RoleTo, RoleBody)
	case RoleTo, RoleSender:
		if !has(RoleTo, RoleSender) || has(RoleBody) && n.role == RoleSender {
			return has(RoleTo) && has(RoleBody)
		}
		if has(RoleTo) && n.role == RoleSender {
			inner.field[RoleSender], inner.field[RoleTo] = inner.field[RoleTo], field{}
		} else if n.role == RoleTo && !has(RoleTo) {
			inner.field[RoleTo], inner.field[RoleSender] = inner.field[RoleSender], field{}
		}
		return true
	}
	return has(RoleUser, RolePassword, RoleTo, RoleBody, RoleSender, RoleFrom)
}

// list adds a list of values. Several wishes become one value.
func (v *values) list(param string, array gjson.Result) {
	if n, _ := v.names.find(param); n.role == RoleDisposition {
		var wishes []string
		array.ForEach(func(_, item gjson.Result) bool {
			wishes = append(wishes, scalar(item))
			return true
		})
		v.set(param, strings.Join(wishes, ","))
		return
	}
	v.set(param, "")
	array.ForEach(func(_, item gjson.Result) bool {
		v.add(param, scalar(item))
		return true
	})
}

// isList reports whether an array is a list of values, such as recipients, and not a document. An
// array for a user name or a credential is not a list.
func isList(array gjson.Result, param string, names *Names) bool {
	n, ok := names.find(param)
	ok = ok && !n.role.identity()
	array.ForEach(func(_, item gjson.Result) bool {
		ok = ok && !item.IsArray() && !item.IsObject()
		return ok
	})
	return ok
}

func scalar(value gjson.Result) string {
	switch value.Type {
	case gjson.String:
		return value.Str
	case gjson.Null:
		return ""
	}
	return value.Raw // the raw text keeps numbers exact
}

// errorOffset returns the position of the first character that is not valid JSON, counted from 1.
// Raw control characters are not errors, because repairJSON repairs them.
func errorOffset(doc []byte) int {
	var fault *json.SyntaxError
	var any json.RawMessage
	mended := bytes.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, doc)
	if errors.As(json.Unmarshal(mended, &any), &fault) {
		return utf8.RuneCount(doc[:fault.Offset])
	}
	return 1
}

// repairJSON repairs 4 faults: raw control characters inside strings, a missing value after a
// colon, an unquoted value after a colon (a variable that the template does not quote), and a comma
// before a closing bracket. It returns a valid document unchanged.
func repairJSON(doc []byte) []byte {
	out := make([]byte, 0, len(doc)+16)
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; c {
		case '"':
			end := stringEnd(doc, i)
			out = appendString(out, doc[i:end])
			i = end - 1
		case ':':
			out = append(out, c)
			for i+1 < len(doc) && isBlank(doc[i+1]) {
				i++
				out = append(out, doc[i])
			}
			end := i + 1
			for end < len(doc) && strings.IndexByte(",}][\"{\n\r", doc[end]) < 0 {
				end++
			}
			bare := bytes.TrimRight(doc[i+1:end], " \t")
			opens := end < len(doc) && strings.IndexByte(`"{[`, doc[end]) >= 0
			switch {
			case len(bare) == 0 && opens, gjson.ValidBytes(bare):
				// a valid value follows
			case opens:
				return doc // not repairable, and to go on would take quadratic time
			default: // a missing value becomes an empty string, an unquoted one a string
				out = append(out, '"')
				out = appendString(out, bytes.ReplaceAll(bare, []byte{'\\'}, []byte(`\\`)))
				out = append(out, '"')
				i += len(bare)
			}
		case ',':
			if rest := bytes.TrimLeft(doc[i+1:], " \t\r\n"); len(rest) == 0 || rest[0] != '}' && rest[0] != ']' {
				out = append(out, c)
			}
		default:
			out = append(out, c)
		}
	}
	return out
}

// stringEnd returns the offset after the closing quote of the string that starts at i.
func stringEnd(doc []byte, i int) int {
	for i++; i < len(doc); i++ {
		switch doc[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(doc)
}

// appendString appends the bytes of a string and escapes raw control characters. A backslash before
// a raw control character is text, not the beginning of an escape.
func appendString(out, raw []byte) []byte {
	const digits = "0123456789abcdef"
	escaped := false // an odd number of backslashes precedes
	for _, c := range raw {
		if c >= 0x20 {
			out = append(out, c)
			escaped = c == '\\' && !escaped
			continue
		}
		if escaped {
			out, escaped = append(out, '\\'), false
		}
		out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
	}
	return out
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

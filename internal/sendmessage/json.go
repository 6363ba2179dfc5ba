package sendmessage

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// readJSON takes the members of a JSON document. A document that is not valid is repaired first, if its fault is one
// that hand-made templates are known for.
func readJSON(body []byte, into *values) *sms.Refusal {
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	doc := string(body)
	if !validJSON(doc) {
		if doc = string(repairJSON(body)); !validJSON(doc) {
			return sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "JSON", "offset", strconv.Itoa(faultOffset(body)))
		}
	}
	top := gjson.Parse(doc)
	if top.IsArray() {
		if items := top.Array(); len(items) == 1 {
			top = items[0]
		}
	}
	if !top.IsObject() {
		return sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "JSON", "offset", "1")
	}
	readObject(top, into, true)
	if holdsFiles(top) { // the description of a file, with or without the parameters around it
		into.any = true
		into.field[roleBody] = field{name: roleNames[roleBody], text: top.Raw, present: true}
	}
	return nil
}

// mostNested is how many levels of lists and objects a document has at most. Apps nest three.
const mostNested = 32

// validJSON reports whether a document is valid and not nested too deeply. gjson calls itself for every level, so it is
// not asked before these are counted.
func validJSON(doc string) bool {
	level, quoted := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '[' || c == '{':
			if level++; level > mostNested {
				return false
			}
		case c == ']' || c == '}':
			level--
		}
	}
	return gjson.Valid(doc)
}

// holdsFiles reports whether an object has what the description of a file has.
func holdsFiles(object gjson.Result) bool {
	attachments := object.Get("attachments")
	return attachments.IsArray() || attachments.IsObject()
}

func readObject(object gjson.Result, into *values, nested bool) {
	var envelopes []*values
	object.ForEach(func(key, value gjson.Result) bool {
		name := key.String()
		switch {
		case value.IsArray() && isList(value, name, into.names):
			into.set(name, "")
			value.ForEach(func(_, item gjson.Result) bool {
				into.add(name, scalar(item))
				return true
			})
		case value.IsObject() && nested && holdsMessage(value, into.names):
			inner := &values{names: into.names}
			readObject(value, inner, false)
			envelopes = append(envelopes, inner)
		case value.IsArray(), value.IsObject():
			into.document(name, value.Raw)
		default:
			into.set(name, scalar(value))
		}
		return true
	})
	for _, inner := range envelopes { // last, so that the order of members decides nothing
		into.merge(inner)
	}
}

// holdsMessage tells an envelope around the parameters from a document that is itself a value, such as the
// description of a file.
func holdsMessage(object gjson.Result, names *Names) (found bool) {
	if holdsFiles(object) {
		return false
	}
	object.ForEach(func(key, _ gjson.Result) bool {
		n, ok := names.find(key.String())
		found = ok && (n.role == roleTo || n.role == roleBody)
		return !found
	})
	return found
}

// isList tells a list of values, such as recipients, from a document. A list says nobody's name and no credential.
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
	return value.Raw // numbers stay exact, documents whole
}

// faultOffset says at which character a document stops being JSON, counted from 1. Raw control characters are no fault: they are
// mended.
func faultOffset(doc []byte) int {
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

// repairJSON mends four faults: raw control characters inside strings, a value that is missing after a colon, a value without
// quotes after a colon (a variable that the template does not quote), and a comma with nothing behind it. A valid document has
// none of them and comes back unchanged.
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
				// a string, an object, a list, a number or a word follows, as it should
			case opens:
				return doc // beyond repair, and to go on would cost time squared
			default: // nothing at all becomes an empty string
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

// stringEnd returns the offset behind the closing quote of the string that starts at i.
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

// appendString appends the bytes of a string, raw control characters escaped. A backslash before one is text, not the
// beginning of an escape.
func appendString(out, raw []byte) []byte {
	const digits = "0123456789abcdef"
	escaped := false // an odd number of backslashes stands before
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

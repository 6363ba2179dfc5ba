package adapters

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// field is a member of a body: a value, a list, an object, or a group that a condition keeps or drops.
type field struct {
	name     string
	kind     fieldKind
	values   []value // one for a value, any number for a list
	children []*field
	when     *condition
}

type fieldKind uint8

const (
	single       fieldKind = iota
	list                   // key[] value…
	object                 // key { … }
	objectInList           // key[] { … }
	group                  // when … { … }
)

// value is a template with its type in JSON.
type value struct {
	template template
	kind     valueKind
	fixed    []byte // JSON of a value without holes, made by bind
}

type valueKind uint8

const (
	textValue    valueKind = iota
	literalValue           // true, false, null or a number, written as it stands
	integerValue           // a hole whose text has to be a number
)

// errNotWritable says that a body cannot hold a value.
var errNotWritable = errors.New("not writable")

// bodyKind is how a body is encoded.
type bodyKind uint8

const (
	noBody bodyKind = iota
	formBody
	multipartBody
	jsonBody
	xmlBody
)

var bodyKinds = map[string]bodyKind{"form": formBody, "multipart": multipartBody, "json": jsonBody, "xml": xmlBody}

var mediaTypes = map[bodyKind]string{
	formBody: "application/x-www-form-urlencoded",
	jsonBody: "application/json",
	xmlBody:  "application/xml",
}

// parseFields reads the members of a body. Only json and xml have trees.
func (p *parser) parseFields(block []*statement, kind bodyKind) ([]*field, error) {
	var fields []*field
	seen := make(map[string]bool)
	for _, s := range block {
		f := &field{name: s.first()}
		if s.first() == "when" && !s.words[0].quoted {
			c, err := p.parseCondition(s, s.args())
			if err != nil {
				return nil, err
			}
			f.kind, f.when = group, &c
		} else if err := p.parseField(s, f, kind); err != nil {
			return nil, err
		}
		if s.opens {
			children, err := p.parseFields(s.block, kind)
			if err != nil {
				return nil, err
			}
			if len(children) == 0 {
				return nil, s.fail("the block is empty")
			}
			f.children = children
		}
		if f.kind == group {
			if !s.opens {
				return nil, s.fail("write: when CONDITION { … }")
			}
			if kind == xmlBody && slices.ContainsFunc(f.children, (*field).isAttribute) {
				return nil, s.fail("an attribute has no place in a when block")
			}
		} else if kind == jsonBody {
			if seen[f.name] {
				return nil, s.fail("%s appears twice; a list is %s[] value value", f.name, f.name)
			}
			seen[f.name] = true
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func (p *parser) parseField(s *statement, f *field, kind bodyKind) error {
	tree := kind == jsonBody || kind == xmlBody
	name, isList := strings.CutSuffix(f.name, "[]")
	if tree && isList {
		f.name = name
	}
	if strings.ContainsAny(f.name, "{}") {
		return s.fail("the name of a member is fixed text, %q holds a brace", f.name)
	}
	if kind == xmlBody && f.name != ownText && !xmlName.MatchString(strings.TrimPrefix(f.name, "@")) {
		return s.fail("%q is not a name for an element", f.name)
	}
	if kind == xmlBody && (f.isAttribute() || f.name == ownText) && (s.opens || isList) {
		return s.fail("%s has one value", f.name)
	}
	args := s.args()
	switch {
	case s.opens && !tree:
		return s.fail("%s has no tree: a form knows only names and values", f.name)
	case s.opens && len(args) > 0:
		return s.fail("%s has a value and a block, it takes one of them", f.name)
	case s.opens && isList:
		f.kind = objectInList
		return nil
	case s.opens:
		f.kind = object
		return nil
	case tree && isList:
		f.kind = list
	}
	typed := textValue
	if len(args) == 2 && args[0].text == "int" && !args[0].quoted && kind == jsonBody {
		typed, args = integerValue, args[1:]
	}
	if len(args) == 0 || len(args) > 1 && f.kind != list {
		return s.fail("%s takes one value; quote it if it has spaces%s", f.name, hashHint(s))
	}
	for _, w := range args {
		if kind == jsonBody && (strings.HasPrefix(w.text, "{\"") || strings.HasPrefix(w.text, "[")) {
			return s.fail("%s is given JSON text; write the tree: %s { member value }, or %s[] value", f.name, f.name, f.name)
		}
		t, err := p.parseTemplate(s, w.text)
		if err != nil {
			return err
		}
		if _, media := t.holds(mediaHole); media && (!t.isList() || kind == jsonBody && f.kind != list) {
			return s.fail("{%s} is a list: write %s[] {%s}", mediaHole, f.name, mediaHole)
		}
		if _, fixed := t.fixed(); fixed && typed == integerValue {
			return s.fail("int stands before a hole; a number is written as it is: %s 5", f.name)
		}
		v := value{template: t, kind: typed}
		if kind == jsonBody && !w.quoted && typed == textValue && isLiteral(w.text) {
			v.kind = literalValue
		}
		f.values = append(f.values, v)
	}
	return nil
}

// ownText is the name of a member that is the text of the element around it.
const ownText = "."

// xmlName is a name of an element or attribute, of ASCII letters.
var xmlName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:-]*$`)

// isAttribute reports whether a member of an xml body is an attribute of the element around it.
func (f *field) isAttribute() bool { return strings.HasPrefix(f.name, "@") }

// isLiteral reports whether a bare word is JSON by itself: true, false, null or a number as JSON writes them.
func isLiteral(w string) bool {
	switch w {
	case "true", "false", "null":
		return true
	}
	return w != "" && (w[0] == '-' || w[0] >= '0' && w[0] <= '9') && gjson.Valid(w)
}

// isInteger reports whether JSON can write a text as a whole number, without changing a digit.
func isInteger(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil && (s[0] != '0' || s == "0")
}

// bindFields puts the options in. Values of absent options go, and what becomes empty goes with them.
func bindFields(fields []*field, options map[string]string) (bound []*field, err error) {
	for _, f := range fields {
		b := *f
		b.values = nil
		for _, v := range f.values {
			t, ok := v.template.bind(options)
			if !ok {
				continue
			}
			v.template = t
			if fixed, ok := t.fixed(); ok {
				v.fixed = []byte(fixed)
				switch {
				case v.kind == textValue:
					v.fixed = gjson.AppendJSONString(nil, fixed)
				case v.kind == integerValue && !isInteger(fixed):
					return nil, fmt.Errorf("the option for %s has to be a number", f.name)
				}
			}
			b.values = append(b.values, v)
		}
		if b.children, err = bindFields(f.children, options); err != nil {
			return nil, err
		}
		if len(b.values)+len(b.children) > 0 {
			bound = append(bound, &b)
		}
	}
	return bound, nil
}

// eachPair gives the names and values of a form, query or multipart body in order.
func eachPair(fields []*field, v *vars, emit func(name, value string)) {
	for _, f := range fields {
		if f.kind == group {
			if f.when.holds(v) {
				eachPair(f.children, v, emit)
			}
			continue
		}
		t := f.values[0].template
		if t.isList() {
			for _, url := range v.media() {
				emit(f.name, url)
			}
		} else if s, ok := t.value(v); ok {
			emit(f.name, s)
		}
	}
}

func appendForm(dst []byte, fields []*field, v *vars) []byte {
	start := len(dst)
	eachPair(fields, v, func(name, value string) {
		if len(dst) > start {
			dst = append(dst, '&')
		}
		dst = appendEscaped(append(appendEscaped(dst, name), '='), value)
	})
	return dst
}

// appendEscaped is url.QueryEscape without a copy.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~':
			dst = append(dst, c)
		case c == ' ':
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// appendMultipart appends a form as https://www.rfc-editor.org/rfc/rfc7578 has it.
func appendMultipart(dst []byte, boundary string, fields []*field, v *vars) []byte {
	eachPair(fields, v, func(name, value string) {
		dst = append(append(append(dst, "--"...), boundary...), "\r\nContent-Disposition: form-data; name="...)
		dst = append(strconv.AppendQuote(dst, name), "\r\n\r\n"...)
		dst = append(append(dst, value...), "\r\n"...)
	})
	return append(append(append(dst, "--"...), boundary...), "--\r\n"...)
}

// appendJSON appends the members of an object and reports whether there was any.
func appendJSON(dst []byte, fields []*field, v *vars) (out []byte, wrote bool, err error) {
	for _, f := range fields {
		mark, more := len(dst), false
		if f.kind == group {
			if !f.when.holds(v) {
				continue
			}
			if wrote {
				dst = append(dst, ',')
			}
			dst, more, err = appendJSON(dst, f.children, v)
		} else {
			if wrote {
				dst = append(dst, ',')
			}
			dst = append(gjson.AppendJSONString(dst, f.name), ':')
			dst, more, err = f.appendJSON(dst, v)
		}
		if err != nil {
			return dst, false, err
		}
		if !more {
			dst = dst[:mark]
		}
		wrote = wrote || more
	}
	return dst, wrote, nil
}

// appendJSON appends the value of one member.
func (f *field) appendJSON(dst []byte, v *vars) (out []byte, wrote bool, err error) {
	switch f.kind {
	case object, objectInList:
		if f.kind == objectInList {
			dst = append(dst, '[')
		}
		dst, wrote, err = appendJSON(append(dst, '{'), f.children, v)
		dst = append(dst, '}')
		if f.kind == objectInList {
			dst = append(dst, ']')
		}
		return dst, wrote, err
	case list:
		dst = append(dst, '[')
		for i := range f.values {
			if f.values[i].template.isList() {
				for _, url := range v.media() {
					if wrote {
						dst = append(dst, ',')
					}
					dst, wrote = gjson.AppendJSONString(dst, url), true
				}
				continue
			}
			mark, more := len(dst), false
			if wrote {
				dst = append(dst, ',')
			}
			if dst, more, err = f.values[i].appendJSON(dst, v); err != nil {
				return dst, false, err
			}
			if !more {
				dst = dst[:mark]
			}
			wrote = wrote || more
		}
		return append(dst, ']'), wrote, nil
	}
	return f.values[0].appendJSON(dst, v)
}

func (val *value) appendJSON(dst []byte, v *vars) (out []byte, wrote bool, err error) {
	if val.fixed != nil {
		return append(dst, val.fixed...), true, nil
	}
	s, ok := val.template.value(v)
	if !ok {
		return dst, false, nil
	}
	if val.kind == integerValue {
		s = strings.TrimPrefix(s, "+")
		if !isInteger(s) {
			return dst, false, errNotWritable
		}
		return append(dst, s...), true, nil
	}
	return gjson.AppendJSONString(dst, s), true, nil
}

// appendXML appends elements. A member whose name begins with @ is an attribute of the element around it, one named .
// is its text.
func appendXML(dst *bytes.Buffer, fields []*field, v *vars) (wrote bool, err error) {
	for _, f := range fields {
		if f.isAttribute() {
			continue
		}
		if f.kind == group {
			if !f.when.holds(v) {
				continue
			}
			more, err := appendXML(dst, f.children, v)
			if err != nil {
				return false, err
			}
			wrote = wrote || more
			continue
		}
		mark := dst.Len()
		for _, text := range f.texts(v) {
			open, end := "<"+f.name+">", "</"+f.name+">"
			if f.name == ownText {
				open, end = "", ""
			}
			dst.WriteString(open)
			if err := escapeXML(dst, text); err != nil {
				return false, err
			}
			dst.WriteString(end)
			wrote = true
		}
		if f.kind == object || f.kind == objectInList {
			dst.WriteString("<" + f.name)
			attributes, err := f.appendAttributes(dst, v)
			if err != nil {
				return false, err
			}
			dst.WriteByte('>')
			more, err := appendXML(dst, f.children, v)
			if err != nil {
				return false, err
			}
			dst.WriteString("</" + f.name + ">")
			if !more && !attributes {
				dst.Truncate(mark)
				continue
			}
			wrote = true
		}
	}
	return wrote, nil
}

// appendAttributes appends the attributes of an element and reports whether there was any.
func (f *field) appendAttributes(dst *bytes.Buffer, v *vars) (wrote bool, err error) {
	for _, a := range f.children {
		if !a.isAttribute() {
			continue
		}
		s, ok := a.values[0].template.value(v)
		if !ok {
			continue
		}
		dst.WriteString(" " + a.name[1:] + `="`)
		if err := escapeXML(dst, s); err != nil {
			return false, err
		}
		dst.WriteByte('"')
		wrote = true
	}
	return wrote, nil
}

// texts are the values of a member that is no object.
func (f *field) texts(v *vars) (list []string) {
	for i := range f.values {
		if f.values[i].template.isList() {
			list = append(list, v.media()...)
		} else if s, ok := f.values[i].template.value(v); ok {
			list = append(list, s)
		}
	}
	return list
}

// escapeXML escapes a text, or fails where XML 1.0 has no way to write a character.
func escapeXML(dst *bytes.Buffer, s string) error {
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return errNotWritable
		}
	}
	return xml.EscapeText(dst, []byte(s))
}

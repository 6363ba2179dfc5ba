package adapters

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// field is a member of a body: a value, a list, an object, or a group of members under a condition.
type field struct {
	name     string
	kind     fieldKind
	values   []value // exactly 1 unless the field is a list
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
	nested                 // key json { … } in a form or query; the only child is the object or the list with an object
)

// value is a template with its type in JSON.
type value struct {
	template template
	kind     valueKind
	fixed    []byte // the encoded JSON of a value without holes, set by bindFields
}

type valueKind uint8

const (
	textValue    valueKind = iota
	literalValue           // true, false, null or a number, copied unchanged
	integerValue           // a hole whose text must be a whole number
	absentValue            // an option without a value, in a list with several values
)

// errNotWritable means that the encoding of a body has no way to write a value.
var errNotWritable = errors.New("not writable")

// bodyKind is the encoding of a body.
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

// bindFields replaces the holes of options by their values. It drops values of absent options, and
// members that become empty.
func bindFields(fields []*field, options map[string]string) (bound []*field, err error) {
	for _, f := range fields {
		if f.kind == group && !f.when.decided(options) {
			continue
		}
		b := *f
		b.values = nil
		given := false // true if at least 1 value is present
		for _, v := range f.values {
			unbound := v.template
			t, ok := unbound.bind(options)
			if !ok && len(f.values) > 1 { // a list in JSON: the later values keep their positions
				b.values = append(b.values, value{kind: absentValue})
			}
			if !ok {
				continue
			}
			given = true
			v.template = t
			if fixed, ok := t.fixed(); ok {
				v.fixed = []byte(fixed)
				switch {
				case v.kind == textValue:
					v.fixed = gjson.AppendJSONString(nil, fixed)
				case v.kind == integerValue && !isInteger(fixed):
					return nil, fmt.Errorf("option %s is a whole number", unbound.optionName())
				}
			}
			b.values = append(b.values, v)
		}
		if b.children, err = bindFields(f.children, options); err != nil {
			return nil, err
		}
		if given || len(b.children) > 0 {
			bound = append(bound, &b)
		}
	}
	return bound, nil
}

// eachPair calls a function with each name and value of a form, query or multipart body, in order.
func eachPair(fields []*field, v *vars, emit func(name, value string)) error {
	for _, f := range fields {
		switch f.kind {
		case group:
			if f.when.holds(v) {
				if err := eachPair(f.children, v, emit); err != nil {
					return err
				}
			}
			continue
		case nested:
			text, wrote, err := f.children[0].appendJSON(nil, v)
			if err != nil {
				return err
			}
			if wrote {
				emit(f.name, string(text))
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
	return nil
}

func appendForm(dst []byte, fields []*field, v *vars) ([]byte, error) {
	start := len(dst)
	err := eachPair(fields, v, func(name, value string) {
		if len(dst) > start {
			dst = append(dst, '&')
		}
		dst = appendEscaped(append(appendEscaped(dst, name), '='), value)
	})
	return dst, err
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

// appendMultipart appends a form in the format of https://www.rfc-editor.org/rfc/rfc7578.
func appendMultipart(dst []byte, boundary string, fields []*field, v *vars) ([]byte, error) {
	err := eachPair(fields, v, func(name, value string) {
		dst = append(append(append(dst, "--"...), boundary...), "\r\nContent-Disposition: form-data; name="...)
		dst = append(strconv.AppendQuote(dst, name), "\r\n\r\n"...)
		dst = append(append(dst, value...), "\r\n"...)
	})
	return append(append(append(dst, "--"...), boundary...), "--\r\n"...), err
}

// appendJSON appends the members of an object and reports whether it appended at least 1.
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
		if len(f.values) > 1 {
			return f.appendRow(dst, v)
		}
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
			if dst, wrote, err = f.values[i].appendJSON(dst, v); err != nil {
				return dst, false, err
			}
		}
		return append(dst, ']'), wrote, nil
	}
	return f.values[0].appendJSON(dst, v)
}

// appendRow appends the values of a list with several values. It writes null for an empty value, so
// that the others keep their positions.
func (f *field) appendRow(dst []byte, v *vars) (out []byte, wrote bool, err error) {
	for i := range f.values {
		if i > 0 {
			dst = append(dst, ',')
		}
		more := false
		if f.values[i].kind != absentValue {
			if dst, more, err = f.values[i].appendJSON(dst, v); err != nil {
				return dst, false, err
			}
		}
		if !more {
			dst = append(dst, "null"...)
		}
		wrote = wrote || more
	}
	return append(dst, ']'), wrote, nil
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

// appendXML appends elements. A member whose name begins with "@" becomes an attribute of the
// enclosing element. A member named "." becomes the text of the enclosing element.
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

// appendAttributes appends the attributes of an element and reports whether it appended at least 1.
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

// texts returns the values of a member that is not an object.
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

// escapeXML escapes a text. It fails if the text contains a character that XML 1.0 cannot express.
func escapeXML(dst *bytes.Buffer, s string) error {
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return errNotWritable
		}
	}
	return xml.EscapeText(dst, []byte(s))
}

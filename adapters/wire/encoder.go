package wire

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// ErrNotWritable means that a format has no way to write a value.
var ErrNotWritable = errors.New("not writable")

// OwnText is the name of a member that becomes the text of the enclosing XML element.
const OwnText = "."

// Encoder writes a body member by member. An object or list to which nothing is written is left
// out.
//
// In XML, a member whose name begins with "@" is an attribute; attributes come before all other
// members of an element. A list is written as several elements, or several values of a form, with
// the same name. A form has no objects.
type Encoder struct {
	format   Format
	boundary string
	dst      []byte
	files    []insertion
	open     Level
	err      error
}

// Level is an object or list that is being written.
type Level struct {
	begin    int    // the length of the body before it
	name     string // of an XML element
	end      byte   // of an object or list in JSON
	nameless bool   // a list, or the whole document, in JSON
	comma    bool   // the next member in JSON needs a comma before it
	inTag    bool   // the begin tag of the XML element is not closed yet
	wrote    bool
	flat     bool // outside of a list in a format without lists, which needs no end
}

// NewEncoder returns an encoder. boundary separates the parts of a Multipart body and must be in no
// value. size is the probable length of the longest value.
func NewEncoder(f Format, boundary string, size int) Encoder {
	e := Encoder{format: f, boundary: boundary, open: Level{nameless: true}}
	switch {
	case size == 0:
	case f == Form:
		e.dst = make([]byte, 0, 256+3*size)
	case f == Multipart:
		e.dst = make([]byte, 0, 1024+size)
	case f != None:
		e.dst = make([]byte, 0, 256+2*size)
	}
	if f == XML {
		e.dst = append(e.dst, `<?xml version="1.0" encoding="UTF-8"?>`...)
	}
	return e
}

// Body returns the body. JSON and XML cannot express an empty body.
func (e *Encoder) Body() (Body, error) {
	switch {
	case e.err == nil && !e.open.wrote && (e.format == JSON || e.format == XML):
		return Body{}, ErrNotWritable
	case e.format == Multipart:
		e.dst = append(append(append(e.dst, "--"...), e.boundary...), "--\r\n"...)
	}
	return Body{e.dst, e.files}, e.err
}

// Object begins an object. The result is the level outside of it, for End.
func (e *Encoder) Object(name string) (outer Level) { return e.begin(name, '{', '}') }

// List begins a list. The names of its members are ignored in JSON. The result is the level outside
// of it, for End.
func (e *Encoder) List(name string) (outer Level) {
	if e.format == JSON {
		return e.begin(name, '[', ']')
	}
	outer = e.open
	outer.flat = true
	return outer
}

func (e *Encoder) begin(name string, begin, end byte) (outer Level) {
	outer = e.open
	inner := Level{begin: len(e.dst), name: name, end: end, nameless: begin == '['}
	if e.format == JSON {
		e.name(name)
		e.dst = append(e.dst, begin)
	} else {
		e.closeTag()
		e.dst, inner.inTag = append(append(e.dst, '<'), name...), true
	}
	e.open = inner
	return outer
}

// End ends the innermost object or list.
func (e *Encoder) End(outer Level) {
	inner := e.open
	switch {
	case outer.flat:
		return
	case !inner.wrote:
		e.dst, e.open = e.dst[:inner.begin], outer
		return
	case e.format == JSON:
		e.dst = append(e.dst, inner.end)
	default:
		e.closeTag()
		e.tag("</", inner.name)
	}
	outer.wrote, outer.comma, outer.inTag = true, true, false
	e.open = outer
}

// Text writes a text.
func (e *Encoder) Text(name, s string) {
	switch e.format {
	case JSON:
		e.name(name)
		e.dst = gjson.AppendJSONString(e.dst, s)
	case XML:
		e.element(name, s)
	case Form:
		if len(e.dst) > 0 {
			e.dst = append(e.dst, '&')
		}
		e.dst = appendEscaped(append(appendEscaped(e.dst, name), '='), s)
	case Multipart:
		e.part(name)
		e.dst = append(append(append(e.dst, "\r\n\r\n"...), s...), "\r\n"...)
	}
	e.open.wrote = true
}

// part begins the header of a part of a Multipart body.
func (e *Encoder) part(name string) {
	e.dst = append(append(append(e.dst, "--"...), e.boundary...), "\r\nContent-Disposition: form-data; name="...)
	e.dst = strconv.AppendQuote(e.dst, name)
}

// Literal writes a value that is valid JSON. Only JSON has such values.
func (e *Encoder) Literal(name, json string) {
	e.name(name)
	e.dst, e.open.wrote = append(e.dst, json...), true
}

// Integer writes a whole number, which may begin with "+". Only JSON has such values.
func (e *Encoder) Integer(name, s string) {
	if s = strings.TrimPrefix(s, "+"); !IsInteger(s) {
		e.err = ErrNotWritable
	}
	e.Literal(name, s)
}

// Null writes null in a JSON list, where it keeps the positions of the values after it. A list with
// nothing else counts as empty.
func (e *Encoder) Null() {
	e.name("")
	e.dst = append(e.dst, "null"...)
}

// Document writes a JSON document as a text. The document must not contain files.
func (e *Encoder) Document(name string, body *Encoder) {
	switch {
	case body.err != nil:
		e.err = body.err
	case !body.open.wrote:
	case e.format == Multipart:
		e.part(name)
		e.dst = append(append(append(e.dst, "\r\nContent-Type: application/json\r\n\r\n"...), body.dst...), "\r\n"...)
		e.open.wrote = true
	default:
		e.Text(name, string(body.dst))
	}
}

// name begins a member in JSON.
func (e *Encoder) name(name string) {
	if e.open.comma {
		e.dst = append(e.dst, ',')
	}
	if e.open.comma = true; !e.open.nameless {
		e.dst = append(gjson.AppendJSONString(e.dst, name), ':')
	}
}

// element writes an XML element, an attribute, or the text of the enclosing element.
func (e *Encoder) element(name, s string) {
	switch {
	case IsAttribute(name):
		e.dst = append(append(append(e.dst, ' '), name[1:]...), `="`...)
		e.escape(s)
		e.dst = append(e.dst, '"')
	case name == OwnText:
		e.closeTag()
		e.escape(s)
	default:
		e.closeTag()
		e.tag("<", name)
		e.escape(s)
		e.tag("</", name)
	}
}

func (e *Encoder) tag(begin, name string) {
	e.dst = append(append(append(e.dst, begin...), name...), '>')
}

// closeTag ends the begin tag of the enclosing element.
func (e *Encoder) closeTag() {
	if e.open.inTag {
		e.dst, e.open.inTag = append(e.dst, '>'), false
	}
}

// escape writes a text as xml.EscapeText does. It fails if the text contains a character that XML
// 1.0 cannot express.
func (e *Encoder) escape(s string) {
	for _, r := range s {
		switch {
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF:
			e.err = ErrNotWritable
		case strings.ContainsRune("&<>\"'\t\n\r", r):
			e.dst = append(e.dst, xmlEscapes[r]...)
		default:
			e.dst = utf8.AppendRune(e.dst, r)
		}
	}
}

var xmlEscapes = [...]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&#34;", '\'': "&#39;", '\t': "&#x9;", '\n': "&#xA;", '\r': "&#xD;"}

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

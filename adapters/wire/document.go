package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/antchfx/xmlquery"
	"github.com/antchfx/xpath"
	"github.com/tidwall/gjson"
)

// Document is a body that was read.
type Document interface {
	// Values returns the values that a path leads to, with "" for null. present reports whether the
	// path exists in the document, which is also true if it leads to an empty list.
	Values(p Path) (values []string, present bool)
}

// Path leads to values in a document. The format of the document decides whether it is a gjson
// path, an XPath, a regular expression or a key.
type Path struct {
	// Header is the canonical name of a header, if the path leads to one.
	Header string

	text   string
	xpath  *xpath.Expr
	isName bool                  // the plain name of a member of a JSON object, read without gjson
	regex  func() *regexp.Regexp // for a header, it selects a part of the value and may be nil
}

// String returns the path as it is written.
func (p Path) String() string { return p.text }

// nameOfMember contains the characters that are not special in gjson.
const nameOfMember = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// ParsePath reads a path for documents of a format.
func ParsePath(f Format, s string) (p Path, err error) {
	p.text = s
	switch f {
	case JSON:
		p.isName = strings.Trim(s, nameOfMember) == ""
	case XML:
		p.xpath, err = compileXPath(s)
	case Text:
		p.regex, err = Pattern(s)
	}
	return p, err
}

// ParseHeader returns the path to a header, or to a part of its value if pattern is not empty.
func ParseHeader(name, pattern string) (p Path, err error) {
	p.Header = textproto.CanonicalMIMEHeaderKey(name)
	p.text = "header " + p.Header
	if pattern != "" {
		p.regex, err = Pattern(pattern)
	}
	return p, err
}

// Pattern checks a regular expression and compiles it on first use, because most patterns of a
// definition are never used.
func Pattern(s string) (func() *regexp.Regexp, error) {
	_, err := syntax.Parse(s, syntax.Perl)
	if e := (*syntax.Error)(nil); errors.As(err, &e) {
		err = fmt.Errorf("this is not a pattern: %s", e.Code)
	}
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) }), err
}

// compileXPath compiles a path that leads to nodes. The library panics if the types in an
// expression do not match.
func compileXPath(s string) (expr *xpath.Expr, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
		if err != nil {
			err = fmt.Errorf("this is not an XPath to an element or attribute: %w", withoutInput(err, s))
		}
	}()
	if expr, err = xpath.Compile(s); err != nil {
		return nil, err
	}
	root, err := xmlquery.Parse(strings.NewReader("<x/>"))
	if err != nil {
		return nil, err
	}
	nodes, ok := expr.Evaluate(xmlquery.CreateXPathNavigator(root)).(*xpath.NodeIterator)
	if !ok {
		return nil, errors.New("it leads to a value")
	}
	nodes.MoveNext()
	return expr, nil
}

// withoutInput returns err, the error of a library about text. If err quotes a word of text,
// withoutInput returns a fixed error instead.
func withoutInput(err error, text string) error {
	for _, word := range regexp.MustCompile(`[\pL\pN]{3,}`).FindAllString(text, -1) {
		if strings.Contains(err.Error(), word) {
			return errors.New("it is not well-formed")
		}
	}
	return err
}

// Composite replaces an object or list that is not empty. Such a value exists, but it is not an id,
// code or message. Its content is not shown, because it may contain the text of the message.
const Composite = "{…}"

// First returns the first value that is neither empty nor "false", which some APIs write for a
// missing value.
func First(doc Document, paths []Path) string {
	for _, p := range paths {
		values, _ := doc.Values(p)
		for _, v := range values {
			if v != "" && v != "false" && v != Composite {
				return v
			}
		}
	}
	return ""
}

// Headed is a document with headers. Document is nil if the body was not read.
type Headed struct {
	Document
	Header http.Header
}

// Values implements Document.
func (d Headed) Values(p Path) ([]string, bool) {
	if p.Header == "" && d.Document == nil {
		return nil, false
	}
	if p.Header == "" {
		return d.Document.Values(p)
	}
	v := d.Header.Get(p.Header)
	if p.regex != nil {
		m := p.regex().FindStringSubmatch(v)
		if m == nil {
			return nil, false
		}
		v = m[len(m)-1]
	}
	return []string{v}, v != ""
}

// Trim removes white space and a byte order mark around a body.
func Trim(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\uFEFF")))
}

// Open reads a body of the given format, or returns nil if it has another format. separator is the
// one between pairs.
func Open(f Format, separator string, body []byte) Document {
	body = Trim(body)
	switch f {
	case JSON:
		if doc := OpenJSON(body); doc != nil {
			return doc
		}
	case XML:
		root, err := xmlquery.Parse(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		for n := root.FirstChild; n != nil; n = n.NextSibling {
			if n.Type == xmlquery.ElementNode {
				if strings.EqualFold(n.Data, "html") {
					return nil
				}
				return XMLDocument{root}
			}
		}
	case Text:
		if len(body) > 0 && body[0] != '<' {
			return textDocument(body)
		}
	case Pairs:
		doc := make(PairsDocument)
		for line := range strings.Lines(string(body)) {
			for pair := range strings.SplitSeq(line, separator) {
				name, value, ok := strings.Cut(pair, "=")
				if name = strings.TrimSpace(name); ok && !strings.ContainsAny(name, "<> ") {
					doc[name] = strings.TrimSpace(value)
				}
			}
		}
		if len(doc) > 0 {
			return doc
		}
	}
	return nil
}

// JSONDocument is an object or a list. It caches the values of the last path, because definitions
// often use the same path several times in a row.
type JSONDocument struct {
	Top     []Member // the members of the object, or the items of the list
	body    string
	path    string
	found   []string
	present bool
}

// OpenJSON parses an object or a list. It returns nil for anything else.
func OpenJSON(body []byte) *JSONDocument {
	if len(body) == 0 || body[0] != '{' && body[0] != '[' || !gjson.ValidBytes(body) {
		return nil
	}
	d := &JSONDocument{body: string(body), Top: make([]Member, 0, 24)}
	for name, value := range Members(d.body) {
		d.Top = append(d.Top, Member{name, value})
	}
	return d
}

// Values implements Document.
func (d *JSONDocument) Values(p Path) ([]string, bool) {
	if p.text != d.path {
		d.path = p.text
		d.found, d.present = d.lookUp(p)
	}
	return d.found, d.present
}

func (d *JSONDocument) lookUp(p Path) (values []string, present bool) {
	var result gjson.Result
	if p.isName && d.body[0] == '{' {
		at := slices.IndexFunc(d.Top, func(m Member) bool { return m.Name == p.text })
		if at < 0 {
			return nil, false
		}
		value := d.Top[at].Value
		if value[0] != '[' {
			return []string{JSONText(value)}, true
		}
		result = gjson.Parse(value)
	} else if result = gjson.Get(d.body, p.text); !result.Exists() {
		return nil, false
	} else if !result.IsArray() {
		return []string{JSONText(result.Raw)}, true
	}
	for _, item := range result.Array() {
		values = append(values, JSONText(item.Raw))
	}
	return values, true
}

// XMLDocument is the root of a document whose first element is not html.
type XMLDocument struct{ Root *xmlquery.Node }

// Values implements Document.
func (d XMLDocument) Values(p Path) (values []string, present bool) {
	defer func() {
		if recover() != nil { // the library panics if the types in an expression do not match
			values, present = nil, false
		}
	}()
	for _, n := range xmlquery.QuerySelectorAll(d.Root, p.xpath) {
		values = append(values, strings.TrimSpace(n.InnerText()))
	}
	return values, len(values) > 0
}

type textDocument []byte

// Values implements Document.
func (d textDocument) Values(p Path) ([]string, bool) {
	m := p.regex().FindSubmatch(d)
	if m == nil {
		return nil, false
	}
	return []string{string(m[len(m)-1])}, true
}

// PairsDocument contains the last value of each name.
type PairsDocument map[string]string

// Values implements Document.
func (d PairsDocument) Values(p Path) ([]string, bool) {
	if v, ok := d[p.text]; ok {
		return []string{v}, true
	}
	return nil, false
}

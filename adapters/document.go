package adapters

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/antchfx/xmlquery"
	"github.com/tidwall/gjson"
)

// document is a parsed reply.
type document interface {
	// values returns the values that a path leads to, with "" for null. present reports whether the
	// path exists in the reply, which is also true if it leads to an empty list.
	values(p path) (values []string, present bool)
}

// composite replaces an object or list that is not empty. Such a value exists, but it is not an id,
// code or message. Its content is not shown, because it may contain the text of the message.
const composite = "{…}"

// firstOf returns the first value that is neither empty nor "false", which some APIs write for a
// missing value.
func firstOf(doc document, paths []path) string {
	for _, p := range paths {
		values, _ := doc.values(p)
		for _, v := range values {
			if v != "" && v != "false" && v != composite {
				return v
			}
		}
	}
	return ""
}

// open parses an answer, or returns nil. An answer with an empty body is accepted only if a header
// contains an id.
func (r *reply) open(a answer) document {
	doc := r.openBody(a)
	if len(r.headers) == 0 {
		return doc
	}
	d := headedDocument{doc, a.header}
	if doc == nil && (!a.whole || len(bytes.TrimSpace(a.body)) > 0 || firstOf(d, r.idHeaders) == "") {
		return nil
	}
	return d
}

// headedDocument is an answer whose headers are read too. Its document is nil if the body was not
// parsed.
type headedDocument struct {
	document
	header http.Header
}

func (d headedDocument) values(p path) ([]string, bool) {
	if p.header == "" && d.document == nil {
		return nil, false
	}
	if p.header == "" {
		return d.document.values(p)
	}
	v := d.header.Get(p.header)
	if p.regex != nil {
		m := p.regex().FindStringSubmatch(v)
		if m == nil {
			return nil, false
		}
		v = m[len(m)-1]
	}
	return []string{v}, v != ""
}

// openBody parses a body, or returns nil.
func (r *reply) openBody(a answer) document {
	if !a.whole {
		return nil
	}
	body := bytes.TrimSpace(bytes.TrimPrefix(a.body, []byte("\uFEFF")))
	switch r.kind {
	case jsonReply:
		if doc := newJSONDocument(body); doc != nil {
			return doc
		}
	case xmlReply:
		root, err := xmlquery.Parse(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		for n := root.FirstChild; n != nil; n = n.NextSibling {
			if n.Type == xmlquery.ElementNode {
				if strings.EqualFold(n.Data, "html") {
					return nil
				}
				return xmlDocument{root}
			}
		}
	case textReply:
		if len(body) > 0 && body[0] != '<' {
			return textDocument(body)
		}
	case pairsReply:
		doc := make(pairsDocument)
		for line := range strings.Lines(string(body)) {
			for pair := range strings.SplitSeq(line, r.separator) {
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

// jsonDocument caches the values of the last path, because definitions often use the same path
// several times in a row.
type jsonDocument struct {
	body    string
	top     []jsonMember // the members of the object, or the items of the list
	path    string
	found   []string
	present bool
}

// newJSONDocument parses an object or a list. It returns nil for anything else.
func newJSONDocument(body []byte) *jsonDocument {
	if len(body) == 0 || body[0] != '{' && body[0] != '[' || !gjson.ValidBytes(body) {
		return nil
	}
	d := &jsonDocument{body: string(body), top: make([]jsonMember, 0, 24)}
	for name, value := range jsonMembers(d.body) {
		d.top = append(d.top, jsonMember{name, value})
	}
	return d
}

func (d *jsonDocument) values(p path) ([]string, bool) {
	if p.text != d.path {
		d.path = p.text
		d.found, d.present = d.lookUp(p)
	}
	return d.found, d.present
}

func (d *jsonDocument) lookUp(p path) (values []string, present bool) {
	var result gjson.Result
	if p.isName && d.body[0] == '{' {
		at := slices.IndexFunc(d.top, func(m jsonMember) bool { return m.name == p.text })
		if at < 0 {
			return nil, false
		}
		value := d.top[at].value
		if value[0] != '[' {
			return []string{jsonText(value)}, true
		}
		result = gjson.Parse(value)
	} else if result = gjson.Get(d.body, p.text); !result.Exists() {
		return nil, false
	} else if !result.IsArray() {
		return []string{jsonText(result.Raw)}, true
	}
	for _, item := range result.Array() {
		values = append(values, jsonText(item.Raw))
	}
	return values, true
}

type xmlDocument struct{ root *xmlquery.Node }

func (d xmlDocument) values(p path) (values []string, present bool) {
	defer func() {
		if recover() != nil { // the library panics if the types in an expression do not match
			values, present = nil, false
		}
	}()
	for _, n := range xmlquery.QuerySelectorAll(d.root, p.xpath) {
		values = append(values, strings.TrimSpace(n.InnerText()))
	}
	return values, len(values) > 0
}

type textDocument []byte

func (d textDocument) values(p path) ([]string, bool) {
	m := p.regex().FindSubmatch(d)
	if m == nil {
		return nil, false
	}
	return []string{string(m[len(m)-1])}, true
}

type pairsDocument map[string]string

func (d pairsDocument) values(p path) ([]string, bool) {
	v, ok := d[p.text]
	if !ok {
		return nil, false
	}
	return []string{v}, true
}

package adapters

import (
	"bytes"
	"strings"

	"github.com/antchfx/xmlquery"
	"github.com/tidwall/gjson"
)

// document is a reply that was understood.
type document interface {
	// values returns what a path leads to, null being "", and whether it leads anywhere, be it to an empty list.
	values(p path) (values []string, present bool)
}

// composite stands for an object or list that is not empty: it exists, but is no id, code or message, and nobody
// wants to read what it holds, which may be the text.
const composite = "{…}"

// firstOf returns the first value that says something: neither empty nor false, as some APIs write "none".
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

// open understands a body, or returns nil.
func (r *reply) open(a answer) document {
	if !a.whole {
		return nil
	}
	body := bytes.TrimSpace(bytes.TrimPrefix(a.body, []byte("\uFEFF")))
	switch r.kind {
	case jsonReply:
		if gjson.ValidBytes(body) && (body[0] == '{' || body[0] == '[') {
			return &jsonDocument{body: body}
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

// jsonDocument remembers where the last path led: definitions often ask about one several times in a row.
type jsonDocument struct {
	body  []byte
	path  string
	found gjson.Result
}

func (d *jsonDocument) values(p path) ([]string, bool) {
	if p.text != d.path {
		d.path, d.found = p.text, gjson.GetBytes(d.body, p.text)
	}
	result := d.found
	if !result.Exists() {
		return nil, false
	}
	if !result.IsArray() {
		return []string{jsonText(result)}, true
	}
	var values []string
	for _, item := range result.Array() {
		values = append(values, jsonText(item))
	}
	return values, true
}

func jsonText(r gjson.Result) string {
	switch r.Type {
	case gjson.Null:
		return ""
	case gjson.String:
		return r.Str
	}
	if r.IsObject() || r.IsArray() {
		if strings.TrimSpace(r.Raw[1:len(r.Raw)-1]) == "" {
			return ""
		}
		return composite
	}
	return r.Raw // big integers stay exact
}

type xmlDocument struct{ root *xmlquery.Node }

func (d xmlDocument) values(p path) (values []string, present bool) {
	defer func() {
		if recover() != nil { // the library's way to say that types do not fit
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

package wire

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/antchfx/xmlquery"
	"github.com/tidwall/gjson"
)

// maxNumbered bounds the fields that a path with # leads to.
const maxNumbered = 50

// Fields is a form or the parameters of an address. Names are compared without regard to case,
// because providers change it. A path NAME# leads to NAME, NAME0, NAME1 and so on, in this order.
type Fields map[string][]string

// NewFields returns the fields of a form, nil if there are none.
func NewFields(form url.Values) Fields {
	if len(form) == 0 {
		return nil
	}
	f := make(Fields, len(form))
	for _, name := range slices.Sorted(maps.Keys(form)) { // the same order each time
		lower := strings.ToLower(name)
		f[lower] = append(f[lower], form[name]...)
	}
	return f
}

// Values implements Document.
func (f Fields) Values(p Path) (values []string, present bool) {
	name := strings.ToLower(p.String())
	stem, numbered := strings.CutSuffix(name, "#")
	if !numbered {
		values, present = f[name]
		return values, present
	}
	values = append(values, f[stem]...)
	for n := range maxNumbered {
		values = append(values, f[stem+strconv.Itoa(n)]...)
	}
	return values, len(values) > 0
}

// Items opens the objects or elements that a path leads to as documents of their own. A document of
// another format has no items.
func Items(doc Document, p Path) (items []Document) {
	switch doc := doc.(type) {
	case *JSONDocument:
		found := gjson.Get(doc.body, p.text)
		list := []gjson.Result{found}
		if found.IsArray() {
			list = found.Array()
		}
		for _, item := range list {
			if !item.IsObject() {
				continue
			}
			if item := OpenJSON([]byte(item.Raw)); item != nil {
				items = append(items, item)
			}
		}
	case XMLDocument:
		defer func() {
			if recover() != nil { // as in Values
				items = nil
			}
		}()
		for _, n := range xmlquery.QuerySelectorAll(doc.Root, p.xpath) {
			items = append(items, XMLDocument{n})
		}
	}
	return items
}

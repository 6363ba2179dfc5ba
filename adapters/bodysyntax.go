package adapters

import (
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
)

// parseFields reads the members of a body. Only `json` and `xml` bodies may be nested.
func (p *parser) parseFields(block []*syntax.Statement, kind wire.Format) ([]*field, error) {
	var fields []*field
	seen := make(map[string]bool)
	for _, s := range block {
		f := &field{name: s.First()}
		if s.First() == "when" && !s.Words[0].Quoted {
			c, err := p.parseCondition(s, s.Args())
			if err != nil {
				return nil, err
			}
			f.kind, f.when = group, &c
		} else if err := p.parseField(s, f, kind); err != nil {
			return nil, err
		}
		if s.Opens {
			within := kind
			if f.kind == nested {
				within = wire.JSON
			}
			children, err := p.parseFields(s.Block, within)
			if err != nil {
				return nil, err
			}
			if len(children) == 0 {
				return nil, s.Fail("the block is empty")
			}
			if f.kind == nested {
				if haveFiles(children) {
					return nil, s.Fail("a value that is JSON must not contain files; write json { … } as the body")
				}
				f.children[0].children = children
			} else {
				f.children = children
			}
		}
		if f.kind == group {
			if !s.Opens {
				return nil, s.Fail("write: when CONDITION { … }")
			}
			if kind == wire.XML && slices.ContainsFunc(f.children, func(f *field) bool { return wire.IsAttribute(f.name) }) {
				return nil, s.Fail("an attribute is not allowed in a when block")
			}
		} else if kind == wire.JSON {
			if seen[f.name] {
				return nil, s.Fail("%s appears twice; a list is %s[] value value", p.named(f.name), p.named(f.name))
			}
			seen[f.name] = true
		}
		fields = append(fields, f)
		if kind != wire.JSON {
			if err := p.checkOrder(s, fields); err != nil {
				return nil, err
			}
		}
	}
	if kind == wire.XML { // the encoder writes attributes first
		sort.SliceStable(fields, func(i, j int) bool { return wire.IsAttribute(fields[i].name) && !wire.IsAttribute(fields[j].name) })
	}
	return fields, nil
}

// checkOrder refuses several values with the same name if one of them may be empty. An empty value
// is left out, and the later values would move up into its position. That is harmless only if all
// values are pictures. JSON writes null for an empty value, so its lists are not checked.
func (p *parser) checkOrder(s *syntax.Statement, fields []*field) error {
	last := fields[len(fields)-1]
	var values []value
	for _, f := range fields {
		if f.name == last.name && (f.kind == single || f.kind == list) && !wire.IsAttribute(f.name) {
			values = append(values, f.values...)
		}
	}
	if len(values) < 2 {
		return nil
	}
	isMedia := func(v value) bool { _, media := v.template.holds(mediaHole, mediaHole+"."); return media }
	for _, v := range values {
		if hole := p.mayBeEmpty(v.template); hole != "" && !(isMedia(v) && !slices.ContainsFunc(values, func(v value) bool { return !isMedia(v) })) {
			return s.Fail("{%s} may be empty, and the values after it would move up: give each value a name of its own, or put them in when {%s} { … }", hole, hole)
		}
	}
	return nil
}

func (p *parser) parseField(s *syntax.Statement, f *field, kind wire.Format) error {
	tree := kind == wire.JSON || kind == wire.XML
	if name, value, _, ok := s.Pair(); ok {
		return s.Fail("write: %s", p.writtenAs(name, value))
	}
	shown := func() string { return p.named(strings.TrimSuffix(f.name, "[]")) }
	name, isList := strings.CutSuffix(f.name, "[]")
	if tree && isList {
		f.name = name
	}
	if strings.ContainsAny(f.name, "{}") {
		return s.Fail("the name of a member is fixed text, without braces")
	}
	if kind == wire.XML && f.name != wire.OwnText && !xmlName.MatchString(strings.TrimPrefix(f.name, "@")) {
		return s.Fail("the name of an element may contain letters, digits and _ . : -")
	}
	if kind == wire.XML && (wire.IsAttribute(f.name) || f.name == wire.OwnText) && (s.Opens || isList) {
		return s.Fail("an attribute, and the text of an element, has one value")
	}
	args := s.Args()
	switch {
	case s.Opens && !tree && len(args) == 1 && !args[0].Quoted && (args[0].Text == "json" || args[0].Text == "json[]"):
		f.kind, f.children = nested, []*field{{kind: rootKind(args[0].Text)}}
		return nil
	case s.Opens && !tree:
		return s.Fail("%s is a block, but a form contains only names and values; a value that is JSON is written %s json { … }%s", shown(), shown(), p.braceHint(f.name))
	case s.Opens && len(args) > 0:
		return s.Fail("%s has both a value and a block; write one of them%s", shown(), p.braceHint(f.name))
	case s.Opens && isList:
		f.kind = objectInList
		return nil
	case s.Opens:
		f.kind = object
		return nil
	case tree && isList:
		f.kind = list
	}
	typed := textValue
	if len(args) == 2 && args[0].Is("int") && kind == wire.JSON {
		typed, args = integerValue, args[1:]
	}
	if len(args) == 0 || len(args) > 1 && f.kind != list {
		return s.Fail("%s needs exactly one value; quote it if it has spaces%s%s", shown(), s.HashHint(), p.braceHint(f.name))
	}
	for _, w := range args {
		if kind == wire.JSON && looksLikeJSON.MatchString(w.Text) {
			return s.Fail("%s contains JSON as text; write its members: %s { member value }, or %s[] value", shown(), shown(), shown())
		}
		t, err := p.parseTemplate(s, w.Text)
		if err != nil {
			return err
		}
		if err := t.checkJoined(s, shown, tree); err != nil {
			return err
		}
		if t.isList() && len(args) > 1 {
			return s.Fail("{%s} must be the only value of its list, or the values after it would move", mediaHole)
		}
		isFile, err := t.checkFiles(s, f, kind)
		if err != nil {
			return err
		}
		if at := slices.IndexFunc(t, func(p part) bool { return p.media.all }); at >= 0 && (!t.isList() || kind == wire.JSON && f.kind != list) {
			return s.Fail("{%s} is a list: write %s[] {%s}", t[at].hole, shown(), t[at].hole)
		}
		if _, fixed := t.fixed(); fixed && typed == integerValue {
			return s.Fail("int is only for a hole; write a fixed number without it: %s 5", shown())
		}
		if typed == integerValue {
			p.markNumbers(t)
		}
		v := value{template: t, kind: typed}
		if isFile {
			if typed == integerValue {
				return s.Fail("int is only for a hole that is a number")
			}
			v.kind = fileValue
		}
		if kind == wire.JSON && !w.Quoted && typed == textValue && wire.IsLiteral(w.Text) {
			v.kind = literalValue
		}
		f.values = append(f.values, v)
	}
	return nil
}

// braceHint returns a question about a missing brace if the name of a member is a statement that
// belongs outside of a body.
func (p *parser) braceHint(name string) string {
	if slices.Contains(definitionWords, name) || slices.Contains(methods, name) || slices.Contains(requestWords, name) {
		return "; is a } missing above?"
	}
	return ""
}

// markNumbers marks the options of a value that must be a number.
func (p *parser) markNumbers(t template) {
	for _, part := range t {
		if name, is := strings.CutPrefix(part.hole, optionHole); is {
			p.option(name).Number = true
		}
	}
}

// rootKind returns the kind of the root that `json` or `json[]` begins: an object, or a list with
// an object.
func rootKind(word string) fieldKind {
	if strings.HasSuffix(word, "[]") {
		return objectInList
	}
	return object
}

// looksLikeJSON reports whether the author of a value probably meant it as JSON.
var looksLikeJSON = regexp.MustCompile(`^\s*(\[|\{\s*(["'\\}]|$))`)

// xmlName matches the name of an element or attribute. Only ASCII letters are accepted.
var xmlName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:-]*$`)

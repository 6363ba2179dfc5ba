package adapters

import (
	"fmt"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
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
}

type valueKind uint8

const (
	textValue    valueKind = iota
	literalValue           // true, false, null or a number, copied unchanged
	integerValue           // a hole whose text must be a whole number
	absentValue            // an option without a value, in a list with several values
	fileValue              // the bytes of files
)

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
			if fixed, ok := t.fixed(); ok && v.kind == integerValue && !wire.IsInteger(fixed) {
				return nil, fmt.Errorf("option %s is a whole number", unbound.optionName())
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

// write writes members to a body. It leaves out empty values.
func write(e *wire.Encoder, fields []*field, v *vars) {
	for _, f := range fields {
		switch f.kind {
		case group:
			if f.when.holds(v) {
				write(e, f.children, v)
			}
		case object:
			outer := e.Object(f.name)
			write(e, f.children, v)
			e.End(outer)
		case objectInList:
			list := e.List(f.name)
			outer := e.Object(f.name)
			write(e, f.children, v)
			e.End(outer)
			e.End(list)
		case nested:
			inner := wire.NewEncoder(wire.JSON, "", 0)
			write(&inner, f.children, v)
			e.Document(f.name, &inner)
		case list:
			outer := e.List(f.name)
			for i := range f.values {
				if !f.values[i].write(e, f.name, v) && len(f.values) > 1 {
					e.Null() // keeps the positions of the others
				}
			}
			e.End(outer)
		default:
			f.values[0].write(e, f.name, v)
		}
	}
}

// write writes a value and reports whether it is present.
func (val *value) write(e *wire.Encoder, name string, v *vars) bool {
	if val.kind == fileValue {
		return val.writeFiles(e, name, v)
	}
	if val.template.isList() {
		for _, text := range v.media(val.template[0].media.form) {
			e.Text(name, text)
		}
		return true
	}
	s, ok := val.template.value(v)
	switch {
	case !ok || val.kind == absentValue:
		return false
	case val.kind == literalValue:
		e.Literal(name, s)
	case val.kind == integerValue:
		e.Integer(name, s)
	default:
		e.Text(name, s)
	}
	return true
}

package adapters

import (
	"regexp"
	"slices"
)

// Secretive reports whether a header or parameter with this name usually contains a secret.
func Secretive(name string) bool { return secretive.MatchString(name) && !about.MatchString(name) }

// secretive matches names of secrets. about matches names that only describe a secret, such as
// token_type.
var (
	secretive = regexp.MustCompile(`(?i)(key|token|secret|auth|authorization|pass|passwd|password|passcode|passphrase|pwd)([-_.]|$)`)
	about     = regexp.MustCompile(`(?i)(^public[-_.]?key|[-_.](type|id))$`)
)

// Literals returns the names of headers and parameters that usually contain a secret and have a
// fixed value in the definition. Everybody who can read the configuration can read such a secret.
func (d *Definition) Literals() (names []string) {
	add := func(name string, t template) {
		if text, fixed := t.fixed(); fixed && text != "" && Secretive(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var walk func([]*field)
	walk = func(fields []*field) {
		for _, f := range fields {
			for _, v := range f.values {
				add(f.name, v.template)
			}
			walk(f.children)
		}
	}
	for _, operation := range d.operations() {
		o := &operation.request
		for _, h := range o.header {
			add(h.name, h.value)
		}
		walk(o.query)
		walk(o.fields)
	}
	return names
}

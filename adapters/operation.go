package adapters

import (
	"slices"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
)

// operation is one thing that an API can do: its request and how to read the reply. sendBlock,
// tokenBlock and uploadBlock embed it and add their own fields, each in its own file.
type operation struct {
	when    []condition
	request requestTemplate
	reply   reply
	at      syntax.Place
}

// operations returns all operations of a definition, of every kind.
func (d *Definition) operations() []*operation {
	list := make([]*operation, 0, len(d.sends)+2)
	for _, s := range d.sends {
		list = append(list, &s.operation)
	}
	if d.upload != nil {
		list = append(list, &d.upload.operation)
	}
	if d.token != nil {
		list = append(list, &d.token.operation)
	}
	return list
}

// Headers returns the names of the reply headers that the paths of the definition lead to.
func (d *Definition) Headers() (names []string) {
	for _, o := range d.operations() {
		for _, name := range o.reply.headers {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Credentials returns the names of the options that signatures require. If such an option is
// optional and not given, the credentials of the machine are used.
func (d *Definition) Credentials() (names []string) {
	for _, operation := range d.operations() {
		s := operation.request.sign
		if s == nil {
			continue
		}
		for _, arg := range s.args[:signers[s.scheme].least] {
			for _, o := range d.Options {
				if _, named := arg.holds("option." + o.Name); named && !slices.Contains(names, o.Name) {
					names = append(names, o.Name)
				}
			}
		}
	}
	return names
}

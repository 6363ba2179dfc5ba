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
	for _, operation := range d.operations() {
		for name, t := range operation.request.templates {
			if text, fixed := t.fixed(); fixed && text != "" && Secretive(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

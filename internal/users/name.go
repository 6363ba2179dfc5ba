package users

import "strings"

// namesOf are the names that an app's user name can stand for, the longest first. Apps and their provisioning send
// user, user@domain and user@domain@suffix for the same person, with stray blanks, and a domain in any case.
func namesOf(s string) []string {
	s = strings.TrimSpace(s)
	at := strings.IndexByte(s, '@')
	if at < 0 {
		return []string{s}
	}
	s = foldDomain(s)
	if suffix := strings.IndexByte(s[at+1:], '@'); suffix >= 0 {
		return []string{s, s[:at+1+suffix], s[:at]}
	}
	return []string{s, s[:at]}
}

// foldDomain writes what follows the first @ in lower case.
func foldDomain(name string) string {
	user, domain, has := strings.Cut(name, "@")
	if folded := strings.ToLower(domain); has && folded != domain {
		return user + "@" + folded
	}
	return name
}

// userAndDomain is a name without what follows a second @.
func userAndDomain(name string) string {
	names := namesOf(name)
	return names[max(0, len(names)-2)]
}

// IsCalled reports whether an app may call the user so.
func (u *User) IsCalled(name string) bool {
	for _, n := range namesOf(name) {
		if n == foldDomain(u.Name) {
			return true
		}
	}
	return false
}

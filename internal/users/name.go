package users

import "strings"

// namesOf are the names that an app's user name can stand for, the longest first. Apps and their provisioning send
// user, user@domain and user@domain@suffix for the same person, with stray blanks, and a domain in any case.
func namesOf(s string) []string {
	s = strings.TrimSpace(s)
	user, rest, hasDomain := strings.Cut(s, "@")
	if !hasDomain {
		return []string{s}
	}
	domain, _, hasSuffix := strings.Cut(rest, "@")
	names := []string{foldDomain(s), user}
	if hasSuffix {
		names = []string{foldDomain(s), user + "@" + strings.ToLower(domain), user}
	}
	return names
}

// foldDomain writes what follows the first @ in lower case.
func foldDomain(name string) string {
	user, domain, has := strings.Cut(name, "@")
	if !has {
		return name
	}
	return user + "@" + strings.ToLower(domain)
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

package users

import "strings"

// namesOf returns the names that an app's user name can mean, the longest first. Apps and their
// provisioning send user, user@domain and user@domain@suffix for the same person, with stray
// blanks, and a domain in any case.
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

// foldDomain returns the name with the part after the first @ in lower case and without a port.
func foldDomain(name string) string {
	user, domain, has := strings.Cut(name, "@")
	if folded := strings.ToLower(withoutPort(domain)); has && folded != domain {
		return user + "@" + folded
	}
	return name
}

// withoutPort removes the port from the first of two domains.
func withoutPort(domain string) string {
	at := strings.IndexByte(domain, ':')
	if at < 0 {
		return domain
	}
	if strings.HasPrefix(domain, "[") { // an IPv6 address
		if at = strings.Index(domain, "]:") + 1; at == 0 {
			return domain
		}
	}
	port, _, _ := strings.Cut(domain[at+1:], "@")
	if port == "" || strings.Trim(port, "0123456789") != "" {
		return domain
	}
	return domain[:at] + domain[at+1+len(port):]
}

// userAndDomain returns a name without a second @ and the suffix after it.
func userAndDomain(name string) string {
	names := namesOf(name)
	return names[max(0, len(names)-2)]
}

// MatchesName reports whether a name that an app sent may mean the user.
func (u *User) MatchesName(name string) bool {
	for _, n := range namesOf(name) {
		if n == foldDomain(u.Name) {
			return true
		}
	}
	return false
}

// CandidateNames returns the names that an app's user name can mean, the longest first: the whole
// name, the name without a suffix after the domain, and the name without the domain.
func CandidateNames(name string) []string { return namesOf(name) }

package params

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Values are the merged parameters of a request, by role.
type Values struct{ field [roles]field }

// Text returns the value of a role. It is empty if there is none.
func (v *Values) Text(r Role) string { return v.field[r].text }

// All returns the value of a role and the further values of the same name.
func (v *Values) All(r Role) []string { return append([]string{v.field[r].text}, v.field[r].more...) }

// Has reports whether the template contains the role. Its value may be empty.
func (v *Values) Has(r Role) bool { return v.field[r].present }

// NameIs reports whether the value of a role came by this name; case, _ and - make no difference.
func (v *Values) NameIs(r Role, name string) bool {
	return canonical(v.field[r].name) == canonical(name)
}

// merge merges the sources. It refuses two different values for one role, because one of the values
// is wrong.
func (v *Values) merge(req *Caller, sources ...*values) error {
	for ro := range v.field {
		m := &v.field[ro]
		for _, source := range sources {
			if !source.any {
				continue
			}
			f := source.normalize(Role(ro))
			m.present = m.present || f.present
			if f.shadowed != "" {
				req.Shadowed = [2]string{f.name, f.shadowed}
			}
			switch {
			case f.clash && Role(ro).credential():
				return sms.Refuse(sms.Unauthorized)
			case f.clash && Role(ro) != RoleTo, m.contradicts(f, Role(ro)):
				return sms.RefuseAs(sms.BadRequest, sms.Contradiction, "name", f.name)
			case m.text == "" && f.text != "":
				m.name, m.text, m.more = f.name, f.text, f.more
			}
		}
		if notReplaced(Role(ro), m.text) {
			switch Role(ro) {
			case RoleUser, RolePassword, RoleTo, RoleBody:
				return sms.RefuseAs(sms.BadRequest, sms.NotReplaced, "name", m.name)
			case RoleFrom:
				if v.field[RoleUser].text == "" { // no other parameter names the user
					return sms.RefuseAs(sms.BadRequest, sms.NotReplaced, "name", m.name)
				}
			}
			m.text = ""
		}
	}
	return nil
}

// fill takes what concerns the sender from the values.
func (req *Caller) fill(v *Values) error {
	req.User = cmp.Or(v.Text(RoleUser), v.Text(RoleFrom))
	req.Secret = sms.Hide(v.Text(RolePassword))
	req.InstallID = v.Text(RoleInstallID)
	for _, ro := range req.source.names.required {
		if !v.Has(ro) && !(ro == RoleUser && v.Has(RoleFrom)) {
			req.source.missing = append(req.source.missing, ro)
		}
	}
	if len(req.source.missing) == 0 {
		req.source = nil
	}
	if strings.Trim(req.Secret.Reveal(), "*") == "" && !req.Secret.Empty() {
		return sms.RefuseAs(sms.Unauthorized, sms.HiddenPassword)
	}
	return nil
}

// normalize converts the values of a role to their canonical form. It does not change secrets,
// because blanks are part of them.
func (v *values) normalize(ro Role) *field {
	f, clean := &v.field[ro], strings.TrimSpace
	switch ro {
	case RolePassword:
		return f
	case RoleBody:
		clean = cleanText
	case RoleContentType:
		clean = MediaType
	case RoleUser, RoleTo, RoleSender, RoleFrom:
		if v.pairs {
			clean = restorePlus
		}
	case RoleMessageToken, RoleToken:
		clean = restoreBase64
		if v.pairs {
			clean = blankToPlus
		}
	}
	f.text = clean(f.text)
	for i, text := range f.more {
		f.more[i] = clean(text)
	}
	return f
}

// contradicts reports whether two sources have different values.
func (f *field) contradicts(other *field, ro Role) bool {
	if f.text == "" || other.text == "" || f.text == other.text && slices.Equal(f.more, other.more) {
		return false
	}
	switch ro {
	case RolePassword: // a blank may be an unescaped +
		return strings.ReplaceAll(f.text, " ", "+") != strings.ReplaceAll(other.text, " ", "+")
	case RoleTo, RoleSender, RoleFrom:
		return len(f.more)+len(other.more) > 0 || BareNumber(f.text) != BareNumber(other.text)
	}
	return true
}

// BareNumber removes the separators between the digits of a number.
func BareNumber(s string) string {
	return betweenDigits.Replace(s)
}

var betweenDigits = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "", "/", "")

// LooksLikeNumber reports whether a name begins with a + or a digit.
func LooksLikeNumber(s string) bool {
	return s != "" && (s[0] == '+' || s[0] >= '0' && s[0] <= '9')
}

// blankToPlus restores every unescaped + of a base64 text, which contains no blanks.
func blankToPlus(s string) string {
	return strings.ReplaceAll(strings.Trim(s, "\t\r\n"), " ", "+")
}

// restoreBase64 is blankToPlus for a value with blanks around it.
func restoreBase64(s string) string { return blankToPlus(strings.TrimSpace(s)) }

// restorePlus restores an unescaped + that was read as a blank. It replaces the blank before a
// digit at the beginning of the text, after a comma or after an address scheme.
func restorePlus(s string) string {
	var out []byte
	for i := 0; i+1 < len(s); i++ {
		if s[i] != ' ' || s[i+1] < '0' || s[i+1] > '9' || !beginsNumber(s[:i]) {
			continue
		}
		if out == nil {
			out = []byte(s)
		}
		out[i] = '+'
	}
	if out != nil {
		s = string(out)
	}
	return strings.TrimSpace(s)
}

// beginsNumber reports whether a number may begin after the text.
func beginsNumber(before string) bool {
	if before == "" || strings.HasSuffix(before, ",") {
		return true
	}
	for _, scheme := range [...]string{"sip:", "sips:", "tel:", "sms:"} {
		if n := len(before) - len(scheme); n >= 0 && strings.EqualFold(before[n:], scheme) {
			return true
		}
	}
	return false
}

// notReplaced reports whether a value is a variable of the template that the app did not replace.
// People may write %wow%, and a password may have any form, so for texts and passwords only
// possible names of variables count.
func notReplaced(ro Role, s string) bool {
	if ro == RoleBody {
		s = strings.TrimSpace(s)
	}
	if !isVariable(s) {
		return false
	}
	name := strings.ToLower(s[1 : len(s)-1])
	known := strings.HasPrefix(name, "account[") || strings.HasPrefix(name, "sha1(")
	switch ro {
	case RoleBody:
		return known || strings.HasPrefix(name, "sms_") || strings.HasSuffix(name, "body") || isAlias(ro, name)
	case RolePassword:
		return known || strings.Contains(name, "pass") || isAlias(ro, name)
	}
	return true
}

// isVariable reports whether a text is a name between percent signs.
func isVariable(s string) bool {
	if len(s) < 3 || s[0] != '%' || s[len(s)-1] != '%' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		c := s[i]
		if !(c == '_' || c >= '0' && c <= '9' || IsLetter(c) || strings.IndexByte("[]()%", c) >= 0) {
			return false
		}
	}
	return true
}

func IsLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// cleanText converts line ends to LF and removes trailing NULs. It keeps blanks, because the user
// wrote them.
func cleanText(s string) string {
	s = strings.TrimRight(s, "\x00")
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s
}

// MediaType returns a media type in lower case, without parameters, and with a lost + restored. It
// returns an empty string for a value without a slash, because other systems use words such as
// type=sms.
func MediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	if !strings.Contains(s, "/") {
		return ""
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "+")
}

package sendmessage

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// fill merges the sources. It refuses two different values for one role, because one of the values
// is wrong.
func (req *Request) fill(sources ...*values) error {
	var merged [roles]field
	for ro := range merged {
		m := &merged[ro]
		for _, source := range sources {
			if !source.any {
				continue
			}
			f := source.normalize(role(ro))
			m.present = m.present || f.present
			if f.shadowed != "" {
				req.Shadowed = [2]string{f.name, f.shadowed}
			}
			switch {
			case f.clash && role(ro).credential():
				return sms.Refuse(sms.Unauthorized)
			case f.clash && role(ro) != roleTo, m.contradicts(f, role(ro)):
				return sms.RefuseAs(sms.BadRequest, sms.Contradiction, "name", f.name)
			case m.text == "" && f.text != "":
				m.name, m.text, m.more = f.name, f.text, f.more
			}
		}
		if notReplaced(role(ro), m.text) {
			switch role(ro) {
			case roleUser, rolePassword, roleTo, roleBody:
				return sms.RefuseAs(sms.BadRequest, sms.NotReplaced, "name", m.name)
			case roleFrom:
				if merged[roleUser].text == "" { // no other parameter names the user
					return sms.RefuseAs(sms.BadRequest, sms.NotReplaced, "name", m.name)
				}
			}
			m.text = ""
		}
	}
	req.User = merged[roleUser].text
	req.Secret = sms.Hide(merged[rolePassword].text)
	req.To = recipients(merged[roleTo])
	req.Sender = merged[roleSender].text
	switch from := merged[roleFrom].text; {
	case req.User == "":
		req.User = from
		if looksLikeNumber(from) { // a caller ID together with a token, which needs no name
			req.Sender = cmp.Or(req.Sender, from)
		}
	case req.Sender == "" && from != req.User:
		req.Sender = from
	}
	for _, ro := range [...]role{roleUser, rolePassword, roleTo, roleBody} {
		if !merged[ro].present && !(ro == roleUser && merged[roleFrom].present) {
			req.source.missing = append(req.source.missing, ro)
		}
	}
	if len(req.source.missing) == 0 {
		req.source = nil
	}
	req.Body = sms.Hide(merged[roleBody].text)
	req.NoBody = !merged[roleBody].present
	req.ContentType = merged[roleContentType].text
	req.NoContentType = !merged[roleContentType].present
	req.Smart = merged[roleSmart].text == "1" || strings.EqualFold(merged[roleSmart].text, "true")
	req.InstallID = merged[roleInstallID].text
	disposition := merged[roleDisposition]
	if req.Disposition = parseDisposition(disposition.text); req.isParameter(req.Disposition.ID) {
		req.Disposition.ID = ""
	}
	req.NoDisposition = !disposition.present || disposition.text != "" && req.Disposition.ID == ""
	if strings.Trim(req.Secret.Reveal(), "*") == "" && !req.Secret.Empty() {
		return sms.RefuseAs(sms.Unauthorized, sms.HiddenPassword)
	}
	return nil
}

// normalize converts the values of a role to their canonical form. It does not change secrets,
// because blanks are part of them.
func (v *values) normalize(ro role) *field {
	f, clean := &v.field[ro], strings.TrimSpace
	switch ro {
	case rolePassword:
		return f
	case roleBody:
		clean = cleanText
	case roleContentType:
		clean = mediaType
	case roleUser, roleTo, roleSender, roleFrom:
		if v.pairs {
			clean = restorePlus
		}
	}
	f.text = clean(f.text)
	for i, text := range f.more {
		f.more[i] = clean(text)
	}
	return f
}

// contradicts reports whether two sources have different values.
func (f *field) contradicts(other *field, ro role) bool {
	if f.text == "" || other.text == "" || f.text == other.text && slices.Equal(f.more, other.more) {
		return false
	}
	switch ro {
	case rolePassword: // a blank may be an unescaped +
		return strings.ReplaceAll(f.text, " ", "+") != strings.ReplaceAll(other.text, " ", "+")
	case roleTo, roleSender, roleFrom:
		return len(f.more)+len(other.more) > 0 || bareNumber(f.text) != bareNumber(other.text)
	}
	return true
}

// bareNumber removes the separators between the digits of a number.
func bareNumber(s string) string {
	return betweenDigits.Replace(s)
}

var betweenDigits = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "", "/", "")

// maxRecipientForms bounds the forms of one recipient in a request, because parsing a number is
// slow.
const maxRecipientForms = 10

// recipients splits the recipient values of the app also at commas, because no number or address
// contains a comma. It returns at most maxRecipientForms+1 items.
func recipients(f field) []string {
	var list []string
	for _, text := range append([]string{f.text}, f.more...) {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" || len(list) == maxRecipientForms && slices.Contains(list, part) {
				continue
			}
			if list = append(list, part); len(list) > maxRecipientForms {
				return list
			}
		}
	}
	return list
}

// looksLikeNumber reports whether a name begins with a + or a digit.
func looksLikeNumber(s string) bool {
	return s != "" && (s[0] == '+' || s[0] >= '0' && s[0] <= '9')
}

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
func notReplaced(ro role, s string) bool {
	if ro == roleBody {
		s = strings.TrimSpace(s)
	}
	if !isVariable(s) {
		return false
	}
	name := strings.ToLower(s[1 : len(s)-1])
	known := strings.HasPrefix(name, "account[") || strings.HasPrefix(name, "sha1(")
	switch ro {
	case roleBody:
		return known || strings.HasPrefix(name, "sms_") || strings.HasSuffix(name, "body") || isAlias(ro, name)
	case rolePassword:
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
		if !(c == '_' || c >= '0' && c <= '9' || isLetter(c) || strings.IndexByte("[]()%", c) >= 0) {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// cleanText converts line ends to LF and removes trailing NULs. It keeps blanks, because the user
// wrote them.
func cleanText(s string) string {
	s = strings.TrimRight(s, "\x00")
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s
}

// mediaType returns a media type in lower case, without parameters, and with a lost + restored. It
// returns an empty string for a value without a slash, because other systems use words such as
// type=sms.
func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	if !strings.Contains(s, "/") {
		return ""
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "+")
}

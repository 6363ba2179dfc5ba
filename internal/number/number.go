// Package number reads telephone numbers, short codes and sender IDs in every writing that apps send.
package number

import (
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// maxLength is longer than any number or SIP address that an app sends.
const maxLength = 128

// KnownRegion reports whether a region is a two-letter code that telephone numbers are known for, such as US.
func KnownRegion(region string) bool { return phonenumbers.GetSupportedRegions()[region] }

// Recipient reads a recipient: a telephone number in national or international writing, a short code, or the SIP or
// tel address of one. Numbers without a country are read as numbers of the region, which may be empty. A number has
// to be possible, not valid: the app's user knows better than a table which numbers exist.
func Recipient(raw, region string) (sms.Number, bool) {
	s, ok := bare(raw)
	if !ok {
		return sms.Number{}, false
	}
	return dialable(s, region)
}

// Sender reads a number to send from, which may also be an alphanumeric sender ID of 1 to 11 characters.
// https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id
func Sender(raw, region string) (sms.Number, bool) {
	s, ok := bare(raw)
	if ok {
		if n, ok := dialable(s, region); ok {
			return n, true
		}
	}
	if s = strings.TrimSpace(raw); len(s) > 11 {
		return sms.Number{}, false
	}
	letters := 0
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			letters++
		case r >= '0' && r <= '9', strings.ContainsRune(" -_.&+", r):
		default:
			return sms.Number{}, false
		}
	}
	return sms.Number{Value: s, Kind: sms.Alphanumeric}, letters > 0
}

// bare takes away what stands around a number: an address scheme, a host, parameters, invisible characters.
func bare(raw string) (string, bool) {
	if len(raw) > maxLength {
		return "", false
	}
	s := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r) || unicode.IsControl(r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, raw)
	if _, inner, ok := strings.Cut(s, "<"); ok {
		s, _, _ = strings.Cut(inner, ">")
	}
	s = strings.TrimSpace(s)
	for _, escaped := range [...][2]string{{"%3A", ":"}, {"%3a", ":"}, {"%40", "@"}, {"%2B", "+"}, {"%2b", "+"}} {
		s = strings.ReplaceAll(s, escaped[0], escaped[1])
	}
	for _, scheme := range []string{"sips:", "sip:", "tel:", "sms:"} {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = strings.TrimPrefix(s[len(scheme):], "@")
			break
		}
	}
	s, _, _ = strings.Cut(s, "@")
	s, params, _ := strings.Cut(s, ";")
	if params = strings.TrimSpace(params); params != "" && !unicode.IsLetter(rune(params[0])) {
		return "", false // a second number rather than a parameter
	}
	return strings.TrimSpace(s), true
}

func dialable(s, region string) (sms.Number, bool) {
	digits, international := 0, false
	for i, r := range s {
		switch {
		case unicode.IsDigit(r):
			digits++
		case r == '+' || r == '＋':
			if i != 0 {
				return sms.Number{}, false
			}
			international = true
		case unicode.IsLetter(r), strings.ContainsRune("*#%,=&:_", r):
			return sms.Number{}, false // no keypad letters: a recipient named ACME is no number
		}
	}
	switch {
	case digits < 3 || digits > 17:
		return sms.Number{}, false
	case !international && digits <= 6:
		return sms.Number{Value: phonenumbers.NormalizeDigitsOnly(s), Kind: sms.ShortCode}, true
	case !international && strings.HasPrefix(phonenumbers.NormalizeDigitsOnly(s), "00"):
		s, international = "+"+phonenumbers.NormalizeDigitsOnly(s)[2:], true
	}
	parsed, err := phonenumbers.Parse(s, region)
	reason := phonenumbers.INVALID_LENGTH
	if err == nil {
		reason = phonenumbers.IsPossibleNumberWithReason(parsed)
	}
	switch {
	case reason == phonenumbers.IS_POSSIBLE:
		return sms.Number{Value: phonenumbers.Format(parsed, phonenumbers.E164), Kind: sms.Phone}, true
	case international:
		return sms.Number{}, false
	case digits <= 8 && reason != phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		return sms.Number{Value: phonenumbers.NormalizeDigitsOnly(s), Kind: sms.ShortCode}, true
	}
	// International digits without a plus are taken only if they can be read in no other way.
	if parsed, err = phonenumbers.Parse("+"+phonenumbers.NormalizeDigitsOnly(s), ""); err == nil && phonenumbers.IsValidNumber(parsed) {
		return sms.Number{Value: phonenumbers.Format(parsed, phonenumbers.E164), Kind: sms.Phone}, true
	}
	return sms.Number{}, false
}

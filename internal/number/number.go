// Package number reads telephone numbers, short codes and sender IDs in every writing that apps send.
package number

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// maxLength is longer than any number or SIP address that an app sends.
const maxLength = 128

// Like finds what may be a telephone number in the words of others, in any writing.
var Like = regexp.MustCompile(`\p{Nd}(?:(?:[,:;]|(?:[\p{Zs}().\-/_·]|%2[089CcDdEeFf]|&nbsp;)*)\p{Nd}){6,}`)

// KnownRegion reports whether a region is a two-letter code that telephone numbers are known for, such as US.
func KnownRegion(region string) bool { return phonenumbers.GetSupportedRegions()[region] }

// MeantRegion guesses the region that a word was to be, such as UK or USA, empty if it has no idea.
func MeantRegion(word string) string {
	region, err := language.ParseRegion(word)
	if code := region.Canonicalize().String(); err == nil && KnownRegion(code) {
		return code
	}
	return ""
}

// CheckRegion says what is wrong with what is to be a known region.
func CheckRegion(region string) error {
	if KnownRegion(region) {
		return nil
	}
	if meant := MeantRegion(region); meant != "" {
		return fmt.Errorf("%q is not a country, did you mean %s?", region, meant)
	}
	return fmt.Errorf("%q is not a country, write two capital letters such as US", region)
}

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

// ParseSender is Sender for what stands in a configuration: its error says what to write instead.
func ParseSender(raw, region string) (sms.Number, error) {
	n, ok := Sender(raw, region)
	if ok {
		return n, nil
	}
	or := ""
	if region == "" {
		or = ", or set default_region"
	}
	return n, fmt.Errorf("%q is not a number, short code or sender ID; write numbers as +15551234567%s", raw, or)
}

// schemes are those of addresses that may hold a number.
var schemes = []string{"sips:", "sip:", "tel:", "sms:"}

// bare takes away what stands around a number: an address scheme, a host, parameters, quotes, invisible characters. Digits
// of all scripts become ASCII.
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
		case r >= 0x80 && unicode.Is(unicode.Nd, r):
			return asciiDigit(r)
		case r == '＋':
			return '+'
		}
		return r
	}, raw)
	if _, inner, ok := strings.Cut(s, "<"); ok {
		s, _, _ = strings.Cut(inner, ">")
	}
	for _, escaped := range [...][2]string{{"%3A", ":"}, {"%3a", ":"}, {"%40", "@"}, {"%2B", "+"}, {"%2b", "+"}} {
		s = strings.ReplaceAll(s, escaped[0], escaped[1])
	}
	s = strings.TrimSpace(s)
	if unquoted := strings.TrimLeft(s, `"'([`); strings.HasPrefix(unquoted, "+") {
		s = strings.TrimRight(unquoted, `"'`)
	}
	for _, scheme := range schemes {
		if at := strings.TrimPrefix(s, "+"); len(at) > len(scheme) && strings.EqualFold(at[:len(scheme)], scheme) {
			s = strings.TrimLeft(at[len(scheme):], "/@")
			break
		}
	}
	s, _, _ = strings.Cut(s, "@")
	s, params, _ := strings.Cut(s, ";")
	if params = strings.TrimSpace(params); params != "" && !unicode.IsLetter(rune(params[0])) {
		return "", false // a second number rather than a parameter
	}
	s = strings.TrimSpace(s)
	if country := phoneContext(params); !strings.HasPrefix(s, "+") {
		s = country + s
	}
	return s, true
}

// phoneContext is the country code that a local number of a tel address belongs to.
// https://www.rfc-editor.org/rfc/rfc3966#section-5.1.5
func phoneContext(params string) string {
	for param := range strings.SplitSeq(params, ";") {
		if name, value, _ := strings.Cut(strings.TrimSpace(param), "="); strings.EqualFold(name, "phone-context") && strings.HasPrefix(value, "+") {
			return value
		}
	}
	return ""
}

// asciiDigit turns a decimal digit of any script into its ASCII form. Unicode keeps them in runs of ten.
func asciiDigit(r rune) rune {
	for _, run := range unicode.Nd.R16 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + (r-rune(run.Lo))%10
		}
	}
	for _, run := range unicode.Nd.R32 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + (r-rune(run.Lo))%10
		}
	}
	return r
}

// What is bare is read as ASCII digits, perhaps after a plus, and what people put between them.
func dialable(s, region string) (sms.Number, bool) {
	digits := make([]byte, 0, len(s))
	international, plain := strings.HasPrefix(s, "+"), true // plain: nothing but digits, blanks and hyphens
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits = append(digits, byte(r))
		case r == '+' && i > 0:
			return sms.Number{}, false
		case unicode.IsLetter(r), strings.ContainsRune("*#%,=&:_$", r):
			return sms.Number{}, false // no keypad letters: a recipient named ACME is no number
		case r != ' ' && r != '-':
			plain = false
		}
	}
	var short sms.Number
	if plain {
		short = sms.Number{Value: string(digits), Kind: sms.ShortCode}
	}
	switch n := len(digits); {
	case n < 3 || n > 17:
		return sms.Number{}, false
	case international:
		return phone(s, "", isPossible)
	case n < 6:
		return short, plain
	case n == 6:
		if own, ok := phone(s, region, phonenumbers.IsValidNumber); ok {
			return own, true
		}
		return short, plain
	case isOwnAbroad(string(digits), region):
		return phone("+"+strings.TrimPrefix(string(digits), "00"), "", isPossible)
	case strings.HasPrefix(string(digits), "0"):
		if parsed, err := phonenumbers.ParseAndKeepRawInput(s, region); err == nil && isPossible(mended(parsed)) &&
			parsed.GetCountryCodeSource() == phonenumbers.PhoneNumber_FROM_NUMBER_WITH_IDD {
			return e164(parsed), true
		}
		if after, is := strings.CutPrefix(string(digits), "00"); is {
			return phone("+"+after, "", isPossible)
		}
	}
	// International digits without a plus are taken only if they can hardly be read in another way.
	abroad, valid := sms.Number{}, false
	if len(digits) == len(s) {
		abroad, valid = phone("+"+s, "", phonenumbers.IsValidNumber)
	}
	parsed, err := phonenumbers.Parse(s, region)
	if err == nil && strings.HasPrefix(string(digits), strconv.Itoa(mexico)) { // or else a 1 may be that of another country
		parsed = mended(parsed)
	}
	reason := phonenumbers.INVALID_LENGTH
	if err == nil {
		reason = phonenumbers.IsPossibleNumberWithReason(parsed)
	}
	switch {
	case reason == phonenumbers.IS_POSSIBLE && !(valid && len(digits) > 10 && !phonenumbers.IsValidNumber(parsed)):
		return e164(parsed), true
	case len(digits) <= 8 && reason != phonenumbers.IS_POSSIBLE && reason != phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		// Providers that take digits without a plus would send it to the country that has such numbers.
		if _, collides := phone("+"+string(digits), "", isPossible); !collides {
			return short, plain
		}
	}
	return abroad, valid
}

// isOwnAbroad reports whether digits are a number of the region as one writes it abroad, without a plus or with 00. Where numbering
// plans are loose, it may be possible as a national number too, but that would have to begin with the trunk prefix.
func isOwnAbroad(digits, region string) bool {
	trunk := phonenumbers.GetNddPrefixForRegion(region, true)
	digits, marked := strings.CutPrefix(digits, "00")
	if trunk == "" && !marked || trunk != "" && strings.HasPrefix(digits, trunk) ||
		!strings.HasPrefix(digits, strconv.Itoa(phonenumbers.GetCountryCodeForRegion(region))) {
		return false
	}
	_, valid := phone("+"+digits, "", phonenumbers.IsValidNumber)
	return valid
}

func isPossible(n *phonenumbers.PhoneNumber) bool {
	return phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE
}

// phone parses a number that has to pass.
func phone(s, region string, passes func(*phonenumbers.PhoneNumber) bool) (sms.Number, bool) {
	parsed, err := parse(s, region)
	if err != nil || !passes(parsed) {
		return sms.Number{}, false
	}
	return e164(parsed), true
}

// mexico had a 1 before its mobile numbers, which address books and messengers still have.
// https://en.wikipedia.org/wiki/Telephone_numbers_in_Mexico
const (
	mexico      = 52
	mexicosOld1 = 1_00_0000_0000
)

// parse is libphonenumber's, which has forgotten what people still write.
func parse(s, region string) (*phonenumbers.PhoneNumber, error) {
	n, err := phonenumbers.Parse(s, region)
	if err != nil {
		return nil, err
	}
	return mended(n), nil
}

func mended(n *phonenumbers.PhoneNumber) *phonenumbers.PhoneNumber {
	if n.GetCountryCode() == mexico && n.GetNationalNumber()/mexicosOld1 == 1 {
		*n.NationalNumber -= mexicosOld1
	}
	return n
}

func e164(n *phonenumbers.PhoneNumber) sms.Number {
	return sms.Number{Value: phonenumbers.Format(n, phonenumbers.E164), Kind: sms.Phone}
}

// Package number parses telephone numbers, short codes and sender IDs in the forms that apps and
// people write. It returns numbers in E.164 and short codes as digits.
//
// It never guesses: input that could mean two numbers is refused, because a text to a stranger is
// worse than an error. Package gateway calls it for each message, caddymodule for the numbers of a
// configuration. It is safe for concurrent use.
package number

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// maxLength is longer than any number or SIP address that an app sends.
const maxLength = 128

// Pattern matches a possible telephone number in any text.
var Pattern = regexp.MustCompile(`\p{Nd}(?:(?:[,:;]|(?:[\p{Zs}().\-/_·]|%2[089CcDdEeFf]|&nbsp;)*)\p{Nd}){6,}`)

// KnownRegion reports whether a region is a two-letter code that libphonenumber knows, such as US.
func KnownRegion(region string) bool { return phonenumbers.GetSupportedRegions()[region] }

// SuggestRegion returns the region that a mistyped word such as UK or USA probably means, empty if
// there is none.
func SuggestRegion(word string) string {
	region, err := language.ParseRegion(word)
	if code := region.Canonicalize().String(); err == nil && KnownRegion(code) {
		return code
	}
	return ""
}

// CheckRegion returns an error for an unknown region.
func CheckRegion(region string) error {
	if KnownRegion(region) {
		return nil
	}
	if meant := SuggestRegion(region); meant != "" {
		return fmt.Errorf("unknown country %q, did you mean %s?", region, meant)
	}
	return errors.New("unknown country; write two capital letters such as US")
}

// Recipient reads a recipient: a telephone number in national or international form, a short code,
// or a SIP or tel address that contains either. A number without a country code is read as a number
// of the region, which may be empty. A number must be possible, but need not be valid, because the
// app's user knows better than a table which numbers exist.
func Recipient(raw, region string) (sms.Number, bool) {
	s, ok := extract(raw)
	if !ok {
		return sms.Number{}, false
	}
	return parseNumber(s, region)
}

// Unlisted reads a recipient in international form in a range for which libphonenumber knows no
// numbers, such as a new range. In a known range, a number with a digit too many or too few is a
// typing error and is refused.
func Unlisted(raw string) (sms.Number, bool) {
	s, ok := extract(raw)
	if !ok || strings.ContainsFunc(s, unicode.IsLetter) {
		return sms.Number{}, false
	}
	after, is := strings.CutPrefix(s, "00")
	if !is {
		after, is = strings.CutPrefix(s, "+")
	}
	if is = is && strings.Trim(after, "0123456789 ().-/") == ""; !is {
		return sms.Number{}, false
	}
	digits := digitsOf(after)
	if len(digits) < minE164 || len(digits) > maxE164 || digits[0] == '0' || isKnownRange(digits) {
		return sms.Number{}, false
	}
	return sms.Number{Value: "+" + digits, Kind: sms.Phone}, true
}

// The lengths of international numbers, https://www.itu.int/rec/T-REC-E.164.
const (
	minE164 = 7
	maxE164 = 15
)

// isKnownRange reports whether libphonenumber knows a valid number that is a prefix of the digits,
// or that starts with the digits.
func isKnownRange(digits string) bool {
	for n := 4; n <= maxE164; n++ {
		for filler := '0'; filler <= '9'; filler++ {
			long := digits + strings.Repeat(string(filler), max(0, n-len(digits)))
			if parsed, err := phonenumbers.Parse("+"+long[:n], ""); err == nil && phonenumbers.IsValidNumber(parsed) {
				return true
			}
			if n <= len(digits) {
				break
			}
		}
	}
	return false
}

// Sender reads a telephone number, a short code or an alphanumeric sender ID of 1 to 11 characters
// to send from.
// https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id
func Sender(raw, region string) (sms.Number, bool) {
	if fromSpreadsheet.MatchString(raw) {
		return sms.Number{}, false
	}
	s, ok := extract(raw)
	if ok {
		if n, ok := parseNumber(s, region); ok && (n.Kind == sms.Phone || !isAddress(raw)) {
			return n, true
		}
	}
	if s = strings.TrimSpace(raw); len(s) > 11 || signsInDigits.MatchString(s) {
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

// fromSpreadsheet matches numbers as spreadsheets write them into a CSV file: 1.5555E+10,
// 1,5555E+10, 2E+11 or 15550001111.0. An exponent loses the last digits; .0 adds a digit.
var fromSpreadsheet = regexp.MustCompile(`^[\s']*(?:\d+(?:[.,]\d*)?[eE]\+?\d+|\d{7,}[.,]0+)\s*$`)

// signsInDigits matches a dot or plus between digits. Damaged numbers contain it, sender IDs do
// not.
var signsInDigits = regexp.MustCompile(`\d[.+]+\d`)

// ParseSender is Sender for a value of a configuration, with an error that explains what to write
// instead. The error quotes the value only if the value cannot be a secret.
func ParseSender(raw, region string) (sms.Number, error) {
	n, ok := Sender(raw, region)
	if ok {
		return n, nil
	}
	if fromSpreadsheet.MatchString(raw) {
		return n, fmt.Errorf("invalid number%s, which a spreadsheet has changed; format the column as text and write numbers as +15551234567", suggest.QuoteNumber(raw))
	}
	if isAddress(raw) {
		return n, errors.New("a SIP address without a whole number is no sender; write the number, such as +15551234567")
	}
	or := ""
	if region == "" {
		or = ", or set default_region"
	}
	return n, fmt.Errorf("invalid number, short code or sender ID%s; write numbers as +15551234567%s", suggest.QuoteNumber(raw), or)
}

// ParseSenders is ParseSender for a list that was split at blanks. A number that was split into
// several pieces, such as +1 (555) 000-1111, is an error that shows how to write the number.
func ParseSenders(list []string, region string) (numbers []sms.Number, err error) {
	if whole := joinPieces(list, region); whole != "" {
		return nil, fmt.Errorf("blanks divide numbers; write %s", whole)
	}
	for _, s := range list {
		n, err := ParseSender(s, region)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// maxPieces bounds the pieces of one number.
const maxPieces = 6

// joinPieces returns the number that consecutive items of the list form together, empty if there is
// none. Pieces that may all be short codes are joined only if there are at least 3 of at most 4
// digits each that form a valid number: 12345 67890 are two short codes.
func joinPieces(list []string, region string) string {
	for i := range list {
		joined, whole, broken := "", "", false
		for j, piece := range list[i:min(len(list), i+maxPieces)] {
			n, ok := Sender(piece, region)
			if ok && !broken && (n.Kind != sms.ShortCode || len(piece) > 4) || j > 0 && strings.HasPrefix(piece, "+") || strings.Trim(piece, "0123456789+-.()/") != "" {
				break
			}
			joined, broken = joined+piece, broken || !ok
			if n, ok = Sender(joined, region); j > 0 && ok && n.Kind == sms.Phone && (broken || j > 1 && isValid(n)) {
				whole = n.Value
			}
		}
		if whole != "" {
			return whole
		}
	}
	return ""
}

func isValid(n sms.Number) bool {
	parsed, err := phonenumbers.Parse(n.Value, "")
	return err == nil && phonenumbers.IsValidNumber(parsed)
}

// isAddress reports whether the text is a SIP or tel address. The digits of an address may be an
// extension, not a short code.
func isAddress(raw string) bool { return strings.ContainsAny(raw, "@:") }

// schemes are the schemes of addresses that may contain a number.
var schemes = []string{"sips:", "sip:", "tel:", "sms:"}

// extract removes the text around a number: an address scheme, a host, parameters, quotes and
// invisible characters. It converts digits of all scripts to ASCII.
func extract(raw string) (string, bool) {
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

// phoneContext returns the country code of a local number in a tel address.
// https://www.rfc-editor.org/rfc/rfc3966#section-5.1.5
func phoneContext(params string) string {
	for param := range strings.SplitSeq(params, ";") {
		if name, value, _ := strings.Cut(strings.TrimSpace(param), "="); strings.EqualFold(name, "phone-context") && strings.HasPrefix(value, "+") {
			return value
		}
	}
	return ""
}

// asciiDigit converts a decimal digit of any script to ASCII. Unicode assigns decimal digits in
// runs of 10.
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

// parseNumber parses the result of extract: ASCII digits, perhaps after a plus, with separators.
func parseNumber(s, region string) (sms.Number, bool) {
	digits := make([]byte, 0, len(s))
	international, plain := strings.HasPrefix(s, "+"), true // plain is set if there are only digits, blanks and hyphens
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits = append(digits, byte(r))
		case r == '+' && i > 0:
			return sms.Number{}, false
		case unicode.IsLetter(r), strings.ContainsRune("*#%,=&:_$", r):
			return sms.Number{}, false // no keypad letters: a recipient named ACME is not a number
		case r != ' ' && r != '-':
			plain = false
		}
	}
	var short sms.Number
	if plain {
		short = sms.Number{Value: string(digits), Kind: sms.ShortCode}
	}
	switch n := len(digits); {
	case n < 3 || n > 17, n > 3 && strings.Trim(string(digits), "0") == "":
		return sms.Number{}, false
	case international:
		return phone(s, "", isPossible)
	case n < 6:
		return short, plain
	case n == 6:
		if own, ok := phone(s, region, phonenumbers.IsValidNumber); ok && !strings.HasPrefix(string(digits), "00") {
			return own, true
		}
		return short, plain
	case twoTrunkPrefixes.MatchString(s):
		return sms.Number{}, false
	case isOwnAbroad(string(digits), region):
		return phone("+"+strings.TrimPrefix(string(digits), "00"), "", isPossible)
	case strings.HasPrefix(string(digits), "0"):
		if parsed, ok := parseAbroad(s, region); ok && isPossible(parsed) {
			if !lostTrunkPrefix(s, string(digits), parsed, region) {
				return sms.Number{}, false
			}
			return e164(parsed), true
		}
		if after, is := strings.CutPrefix(s, "00"); is {
			return phone("+"+after, "", isPossible)
		}
		if after, is := strings.CutPrefix(string(digits), "00"); is {
			return phone("+"+after, "", isPossible)
		}
	}
	// International digits without a plus are accepted only if they can hardly mean another
	// number.
	abroad, valid := sms.Number{}, false
	if len(digits) == len(s) {
		abroad, valid = phone("+"+s, "", phonenumbers.IsValidNumber)
	}
	parsed, err := phonenumbers.Parse(s, region)
	if err == nil && strings.HasPrefix(string(digits), strconv.Itoa(mexico)) { // otherwise a leading 1 may be another country's code
		parsed = withoutOldPrefix(parsed)
	}
	reason := phonenumbers.INVALID_LENGTH
	if err == nil {
		reason = phonenumbers.IsPossibleNumberWithReason(parsed)
	}
	switch {
	case reason == phonenumbers.IS_POSSIBLE && !lostTrunkPrefix(s, string(digits), parsed, region):
		return sms.Number{}, false
	case reason == phonenumbers.IS_POSSIBLE && !(valid && len(digits) > 10 && !phonenumbers.IsValidNumber(parsed)):
		return e164(parsed), true
	case len(digits) <= 8 && reason != phonenumbers.IS_POSSIBLE && reason != phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		// A provider that accepts digits without a plus would send the message to the
		// country where that number is possible.
		if _, collides := phone("+"+string(digits), "", isPossible); !collides {
			return short, plain
		}
	}
	return abroad, valid
}

// twoTrunkPrefixes matches a trunk prefix before another one, as in 0 020 7946 0123 and 0(0)151
// 12345678. If the two were read as the international prefix 00, a stranger would get the message.
var twoTrunkPrefixes = regexp.MustCompile(`^\D*0\D+0`)

// isOwnAbroad reports whether digits are a number of the region in international form, without a
// plus or with 00. In a loose numbering plan the same digits may also be possible as a national
// number, but a national number would begin with the trunk prefix.
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

// phone parses a number and accepts it only if passes returns true.
func phone(s, region string, passes func(*phonenumbers.PhoneNumber) bool) (sms.Number, bool) {
	parsed, err := parse(s, region)
	if err != nil || !passes(parsed) || !lostTrunkPrefix(s, digitsOf(s), parsed, region) {
		return sms.Number{}, false
	}
	return e164(parsed), true
}

// parseAbroad reads a number that begins with the region's international prefix.
func parseAbroad(s, region string) (*phonenumbers.PhoneNumber, bool) {
	parsed, err := phonenumbers.ParseAndKeepRawInput(s, region)
	if err != nil || parsed.GetCountryCodeSource() != phonenumbers.PhoneNumber_FROM_NUMBER_WITH_IDD {
		return nil, false
	}
	return withoutOldPrefix(parsed), true
}

// nanp is the country code of North America. The trunk prefix there is 1 too, so that a second 1 is
// a typing error.
const nanp = "1"

// lostTrunkPrefix reports whether libphonenumber removed at most a trunk prefix after the country
// code. If it removed other digits, the result would be another number. A trunk prefix is in
// brackets, or the rest without it is a valid number.
func lostTrunkPrefix(s, digits string, n *phonenumbers.PhoneNumber, region string) bool {
	code, national := strconv.Itoa(int(n.GetCountryCode())), phonenumbers.GetNationalSignificantNumber(n)
	before, is := strings.CutSuffix(digits, national)
	if !is { // libphonenumber rewrote the number
		return phonenumbers.IsValidNumber(n)
	}
	behind, abroad := before, strings.HasPrefix(s, "+")
	if idd, _ := strings.CutSuffix(before, code); !abroad && n.GetCountryCodeSource() == phonenumbers.PhoneNumber_FROM_NUMBER_WITH_IDD {
		abroad = true
		if shorter, ok := parseAbroad(idd+national, region); !ok || shorter.GetCountryCode() != n.GetCountryCode() || code != nanp {
			behind = strings.TrimPrefix(before, idd)
		}
	}
	if behind == code || !abroad && (behind == "" || !strings.HasPrefix(behind, code)) { // no digits removed, or a trunk prefix without country code
		return true
	}
	if trunk := bracketed.FindStringSubmatch(s); trunk != nil && strings.HasSuffix(before, code+trunk[1]) {
		return true
	}
	return code != nanp && phonenumbers.IsValidNumber(n)
}

// bracketed matches the trunk prefix in a number such as +44 (0)20 7946 0123.
var bracketed = regexp.MustCompile(`^[+0-9 .-]*[0-9 ]\(([0-9]{1,2})\)`)

// digitsOf returns the ASCII digits of a number.
func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// mexico had a 1 before its mobile numbers. Address books and messengers still contain it.
// https://en.wikipedia.org/wiki/Telephone_numbers_in_Mexico
const (
	mexico      = 52
	mexicosOld1 = 1_00_0000_0000
)

// parse is phonenumbers.Parse, and also removes outdated prefixes.
func parse(s, region string) (*phonenumbers.PhoneNumber, error) {
	n, err := phonenumbers.Parse(s, region)
	if err != nil {
		return nil, err
	}
	return withoutOldPrefix(n), nil
}

func withoutOldPrefix(n *phonenumbers.PhoneNumber) *phonenumbers.PhoneNumber {
	if n.GetCountryCode() == mexico && n.GetNationalNumber()/mexicosOld1 == 1 {
		*n.NationalNumber -= mexicosOld1
	}
	return n
}

func e164(n *phonenumbers.PhoneNumber) sms.Number {
	return sms.Number{Value: phonenumbers.Format(n, phonenumbers.E164), Kind: sms.Phone}
}

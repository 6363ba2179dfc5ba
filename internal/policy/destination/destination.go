// Package destination decides which numbers messages may be sent to. By default these are ordinary
// numbers of the sender's country.
//
// It never allows an emergency number, and no kind of number that costs more unless that kind is
// allowed by name. Package gateway calls Check; routing uses Set. A Policy and a Set are immutable,
// so that they are safe for concurrent use.
package destination

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// kind is the kind of a number.
type kind uint8

const (
	ordinary kind = iota
	premium
	sharedCost
	satellite
	personal
	shortCode
	emergency // always refused
	kinds
)

// kindNames are the names of the kinds in the configuration and in sentences.
var kindNames = [kinds][2]string{
	premium:    {"premium", "premium-rate numbers"},
	sharedCost: {"shared_cost", "shared-cost numbers"},
	satellite:  {"satellite", "satellite and global networks"},
	personal:   {"personal", "personal numbers"},
	shortCode:  {"short_codes", "short codes"},
	emergency:  {"emergency", "emergency numbers"},
}

// everywhere is the word for all countries.
const everywhere = "all"

// Policy contains the allowed and denied destinations. A destination that is both allowed and
// denied is denied. A Policy is immutable.
type Policy struct{ allow, deny rules }

// rules are countries, prefixes of numbers, and kinds of numbers.
type rules struct {
	all       bool
	countries []string
	prefixes  []string
	kinds     [kinds]bool
}

// Parse reads a policy. Each word is a country such as US, the word all, a prefix of numbers such
// as +4420, or a kind of number: premium, shared_cost, satellite, personal or short_codes.
func Parse(allow, deny []string) (*Policy, error) {
	var p Policy
	var err error
	if p.allow, err = parseRules(allow); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	if p.deny, err = parseRules(deny); err != nil {
		return nil, fmt.Errorf("deny: %w", err)
	}
	return &p, nil
}

func parseRules(words []string) (r rules, err error) {
	for _, w := range words {
		k := slices.IndexFunc(kindNames[:], func(names [2]string) bool { return names[0] == w })
		digits, prefix := strings.CutPrefix(w, "+")
		switch {
		case w == everywhere:
			r.all = true
		case k > 0 && kind(k) != emergency:
			r.kinds[k] = true
		case prefix && digits != "" && strings.Trim(digits, "0123456789") == "":
			r.prefixes = append(r.prefixes, w)
		case number.KnownRegion(w):
			r.countries = append(r.countries, w)
		default:
			return r, unknown(w)
		}
	}
	return r, nil
}

// unknown returns the error for a word that is not a destination. The error quotes the word only if
// the word cannot be a secret.
func unknown(w string) error {
	if meant := suggestion(w); meant != "" {
		return fmt.Errorf("unknown destination %q, did you mean %s?", w, meant)
	}
	words := []string{everywhere}
	for k := ordinary + 1; k < emergency; k++ {
		words = append(words, kindNames[k][0])
	}
	quoted, meant := cmp.Or(suggest.Quote(w, words), suggest.QuoteNumber(w)), suggest.DidYouMean(w, words)
	if meant == "" {
		meant = ";"
	}
	return fmt.Errorf("unknown destination%s%s write a country such as US, a prefix such as +4420, or %s", quoted, meant, strings.Join(words, ", "))
}

// suggestion returns the destination that a mistyped word probably means.
func suggestion(w string) string {
	if w != "" && strings.Trim(w, "0123456789") == "" {
		return "+" + w
	}
	return number.SuggestRegion(w)
}

// Empty reports whether nothing is allowed beyond the sender's own country, and nothing is denied.
func (p *Policy) Empty() bool { return p.allow.empty() && p.deny.empty() }

func (r *rules) empty() bool {
	return !r.all && len(r.countries)+len(r.prefixes) == 0 && r.kinds == [kinds]bool{}
}

// AllowsAny reports whether anything is allowed to a sender without a country.
func (p *Policy) AllowsAny() bool { return !p.allow.empty() }

// With adds the rules of another policy, such as a user's own.
func (p *Policy) With(more *Policy) *Policy {
	return &Policy{p.allow.with(more.allow), p.deny.with(more.deny)}
}

func (r rules) with(more rules) rules {
	r.all = r.all || more.all
	r.countries = slices.Concat(r.countries, more.countries)
	r.prefixes = slices.Concat(r.prefixes, more.prefixes)
	for k := range r.kinds {
		r.kinds[k] = r.kinds[k] || more.kinds[k]
	}
	return r
}

// hasCountry reports whether a country is among the rules.
func (r *rules) hasCountry(country string) bool {
	return r.all || slices.Contains(r.countries, country)
}

// hasPrefix reports whether a prefix of a number is among the rules.
func (r *rules) hasPrefix(to string) bool {
	return slices.ContainsFunc(r.prefixes, func(prefix string) bool { return strings.HasPrefix(to, prefix) })
}

// Set is a set of destinations.
type Set struct{ rules }

// ParseSet reads a set from the words that Parse accepts.
func ParseSet(words []string) (*Set, error) {
	r, err := parseRules(words)
	return &Set{r}, err
}

// Contains reports whether a recipient is in the set. A short code counts as a number of the
// region, which may be empty.
func (s *Set) Contains(to sms.Number, region string) bool {
	if to.Kind != sms.Phone {
		return s.kinds[shortCode] || s.hasCountry(region)
	}
	f := factsOf(to)
	return s.kinds[f.kind] || s.hasCountry(f.country) || s.hasPrefix(to.Value)
}

// Country returns the country of a telephone number, empty if not known, and region for short
// codes.
func Country(to sms.Number, region string) string {
	if to.Kind != sms.Phone {
		return region
	}
	return factsOf(to).country
}

// AllowsPrefix reports whether the policy allows a prefix of the number that is longer than a
// calling code, such as +4420.
func (p *Policy) AllowsPrefix(to sms.Number) bool {
	return slices.ContainsFunc(p.allow.prefixes, func(prefix string) bool {
		code, err := strconv.Atoi(prefix[1:])
		return strings.HasPrefix(to.Value, prefix) && (err != nil || !callingCodes[code])
	})
}

// Check refuses a recipient that a sender may not reach. region is the country of senders that are
// not telephone numbers, and may be empty.
func (p *Policy) Check(to, from sms.Number, region string) *sms.Refusal {
	home := region
	if from.Kind == sms.Phone {
		home = factsOf(from).country
	}
	if to.Kind == sms.ShortCode {
		switch {
		case dialsEmergency(to.Value, home), dialsEmergency(to.Value, region):
			return refuseKind(emergency)
		case !p.allow.kinds[shortCode] || p.deny.kinds[shortCode]:
			return refuseKind(shortCode)
		}
		return nil
	}
	f := factsOf(to)
	switch {
	case f.kind == emergency:
		return refuseKind(emergency)
	case f.kind != ordinary && (!p.allow.kinds[f.kind] || p.deny.kinds[f.kind]):
		return refuseKind(f.kind)
	case p.deny.hasPrefix(to.Value):
		return sms.Refuse(sms.DestinationNotAllowed)
	case p.deny.hasCountry(f.country):
		return refuseCountry(f.country)
	case f.country == home && home != "", p.allow.hasCountry(f.country), p.allow.hasPrefix(to.Value):
		return nil
	case f.kind == satellite: // no country to check, and the kind is allowed
		return nil
	}
	return refuseCountry(f.country)
}

func refuseKind(k kind) *sms.Refusal {
	return sms.RefuseAs(sms.DestinationNotAllowed, sms.DestinationKind, "kind", kindNames[k][1])
}

func refuseCountry(country string) *sms.Refusal {
	region, err := language.ParseRegion(country)
	if err != nil || country == global {
		return sms.Refuse(sms.DestinationNotAllowed)
	}
	return sms.RefuseAs(sms.DestinationNotAllowed, sms.DestinationCountry, "country", display.English.Regions().Name(region))
}

// facts are the country and kind of a telephone number.
type facts struct {
	country string
	kind    kind
}

// known caches facts, because libphonenumber takes longer than all other work on a request.
var known = cache.NewTable[string, facts](4096)

// factsOf returns the cached facts of a telephone number.
func factsOf(n sms.Number) facts {
	if f, ok := known.Get(n.Value); ok {
		return f
	}
	f := computeFacts(n.Value)
	known.Put(n.Value, f)
	return f
}

// maxEmergency is longer than any emergency number with a country code.
const maxEmergency = 12

// global is libphonenumber's region for numbers without a country.
const global = "001"

// computeFacts returns the facts of a number, or of its longest valid prefix.
func computeFacts(e164 string) facts {
	parsed, ok := parseE164(e164)
	if !ok {
		return facts{}
	}
	var f facts
	national := strings.TrimLeft(phonenumbers.GetNationalSignificantNumber(parsed), "0")
	kindOf := phonenumbers.UNKNOWN
	for {
		if f.country = phonenumbers.GetRegionCodeForNumber(parsed); f.country != "" {
			kindOf = phonenumbers.GetNumberType(parsed)
		}
		if kindOf != phonenumbers.UNKNOWN || !dropSurplusDigits(parsed) {
			break
		}
	}
	switch kindOf {
	case phonenumbers.PREMIUM_RATE:
		f.kind = premium
	case phonenumbers.SHARED_COST:
		f.kind = sharedCost
	case phonenumbers.PERSONAL_NUMBER:
		f.kind = personal
	}
	if f.country == "" { // use the main region of the calling code
		f.country = phonenumbers.GetRegionCodeForCountryCode(int(parsed.GetCountryCode()))
	}
	switch code := parsed.GetCountryCode(); {
	case code == 1 && strings.HasPrefix(e164, "+1900"), code == 979: // even if libphonenumber does not know the number
		f.kind = premium
	case code == 808:
		f.kind = sharedCost
	case code == 870, code == 881, code == 882, code == 883:
		f.kind = satellite
	}
	if len(e164) < maxEmergency && isEmergency(national, f.country) {
		f.kind = emergency
	}
	return f
}

// dropSurplusDigits removes one or more digits from the end of a number until the rest is possible,
// because networks may ignore surplus digits. It reports whether it found a possible number.
func dropSurplusDigits(n *phonenumbers.PhoneNumber) bool {
	for *n.NationalNumber > 9 {
		*n.NationalNumber /= 10
		switch phonenumbers.IsPossibleNumberWithReason(n) {
		case phonenumbers.IS_POSSIBLE:
			return true
		case phonenumbers.TOO_SHORT:
			return false
		}
	}
	return false
}

var callingCodes = phonenumbers.GetSupportedCallingCodes()

// parseE164 parses a number that libphonenumber has formatted as E.164. It is faster than
// libphonenumber's parser, which reads any form.
func parseE164(e164 string) (*phonenumbers.PhoneNumber, bool) {
	if !strings.HasPrefix(e164, "+") || strings.HasPrefix(e164, "+0") {
		return nil, false
	}
	for n := 2; n <= 4 && n < len(e164); n++ {
		code, err := strconv.ParseInt(e164[1:n], 10, 32)
		if err != nil || !callingCodes[int(code)] {
			continue
		}
		national, err := strconv.ParseUint(e164[n:], 10, 64)
		if err != nil {
			return nil, false
		}
		countryCode := int32(code)
		number := &phonenumbers.PhoneNumber{CountryCode: &countryCode, NationalNumber: &national}
		if zeros := int32(len(e164[n:]) - len(strings.TrimLeft(e164[n:len(e164)-1], "0")) - 1); zeros > 0 {
			leading := true
			number.ItalianLeadingZero, number.NumberOfLeadingZeros = &leading, &zeros
		}
		return number, true
	}
	return nil, false
}

// emergencies returns a pattern of emergency numbers for each country.
var emergencies = sync.OnceValue(func() map[string]*regexp.Regexp {
	all := make(map[string]*regexp.Regexp)
	list, err := phonenumbers.ShortNumberMetadataCollection()
	if err != nil {
		panic(err) // it is part of the binary
	}
	for _, region := range list.GetMetadata() {
		if pattern := region.GetEmergency().GetNationalNumberPattern(); pattern != "" {
			all[region.GetId()] = regexp.MustCompile("^(?:" + pattern + ")$")
		}
	}
	return all
})

// isEmergency reports whether a short number is an emergency number in the country, or in most
// countries.
func isEmergency(s, country string) bool {
	pattern := emergencies()[country]
	return s == "112" || s == "911" || s == "999" || s == "000" || pattern != nil && pattern.MatchString(s)
}

// international returns a pattern of international call prefixes for each country.
var international = sync.OnceValue(func() map[string]*regexp.Regexp {
	all := make(map[string]*regexp.Regexp)
	list, err := phonenumbers.MetadataCollection()
	if err != nil {
		panic(err) // it is part of the binary
	}
	for _, region := range list.GetMetadata() {
		if pattern := region.GetInternationalPrefix(); pattern != "" {
			all[region.GetId()] = regexp.MustCompile("^(?:" + pattern + ")")
		}
	}
	return all
})

// abroadPrefixes are international call prefixes that travellers know from other countries.
var abroadPrefixes = []string{"001", "009", "010", "011", "0011"}

// dialsEmergency reports whether a short number is an emergency number in the country, alone or
// after digits that people dial before numbers: zeros, the trunk prefix, or an international call
// prefix with or without a country code.
func dialsEmergency(s, country string) bool {
	if isEmergency(s, country) {
		return true
	}
	if len(s) < 3 {
		return false
	}
	if trunk := phonenumbers.GetNddPrefixForRegion(country, true); trunk != "" {
		if after, is := strings.CutPrefix(s, trunk); is && dialsEmergency(after, country) {
			return true
		}
	}
	if s[0] == '0' { // no short code begins with 0
		for n := 1; n <= len(s)-2; n++ {
			if isEmergency(s[n:], country) && (len(s)-n > 2 || strings.Trim(s[:n], "0") == "" || slices.Contains(abroadPrefixes, s[:n])) {
				return true
			}
		}
	}
	after, abroad := strings.CutPrefix(s, "00")
	if prefix := international()[country]; prefix != nil && prefix.MatchString(s) {
		after, abroad = s[len(prefix.FindString(s)):], true
	}
	if !abroad {
		return false
	}
	for n := 1; n <= 3 && n < len(after); n++ {
		code, _ := strconv.Atoi(after[:n])
		for _, there := range phonenumbers.GetRegionCodesForCountryCode(code) {
			if isEmergency(strings.TrimLeft(after[n:], "0"), there) {
				return true
			}
		}
	}
	return isEmergency(after, country)
}

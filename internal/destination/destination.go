// Package destination decides to which numbers messages may go. By default that is the country of the sender, and no
// number that costs more than others.
package destination

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// kind is what a number is where it is no ordinary one.
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

// kindNames are the kinds as configuration names them, and as people do.
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

// Policy says which destinations are allowed and denied. What is denied is denied even if it is allowed too. It is
// immutable.
type Policy struct{ allow, deny rules }

// rules are countries, beginnings of numbers and kinds.
type rules struct {
	all       bool
	countries []string
	prefixes  []string
	kinds     [kinds]bool
}

// Parse reads a policy. Each word is a country such as US, all, the beginning of a number such as +4420, or a kind of
// number: premium, shared_cost, satellite, personal or short_codes.
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
			if meant := meant(w); meant != "" {
				return r, fmt.Errorf("%q is not a destination, did you mean %s?", w, meant)
			}
			return r, fmt.Errorf("%q is not a destination; write a country such as US, all, a prefix such as +4420, or premium, shared_cost, satellite, personal, short_codes", w)
		}
	}
	return r, nil
}

// meant guesses the destination that a word was to be.
func meant(w string) string {
	if w != "" && strings.Trim(w, "0123456789") == "" {
		return "+" + w
	}
	return number.MeantRegion(w)
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

// hasPrefix reports whether the beginning of a number is.
func (r *rules) hasPrefix(to string) bool {
	return slices.ContainsFunc(r.prefixes, func(prefix string) bool { return strings.HasPrefix(to, prefix) })
}

// Set is some destinations.
type Set struct{ rules }

// ParseSet reads a set of the words of a policy.
func ParseSet(words []string) (*Set, error) {
	r, err := parseRules(words)
	return &Set{r}, err
}

// Has reports whether a recipient is in the set. Short codes are in the country of the region, which may be empty.
func (s *Set) Has(to sms.Number, region string) bool {
	if to.Kind != sms.Phone {
		return s.kinds[shortCode] || s.hasCountry(region)
	}
	f := about(to)
	return s.kinds[f.kind] || s.hasCountry(f.country) || s.hasPrefix(to.Value)
}

// Country is the country of a recipient, that of the region for short codes, empty if it is not known.
func Country(to sms.Number, region string) string {
	if to.Kind != sms.Phone {
		return region
	}
	return about(to).country
}

// Check refuses a recipient that a sender may not reach. region is the country of senders that are not telephone numbers,
// and may be empty.
func (p *Policy) Check(to, from sms.Number, region string) *sms.Refusal {
	home := region
	if from.Kind == sms.Phone {
		home = about(from).country
	}
	if to.Kind == sms.ShortCode {
		switch {
		case isEmergency(to.Value, home), isEmergency(to.Value, region):
			return refuseKind(emergency)
		case !p.allow.kinds[shortCode] || p.deny.kinds[shortCode]:
			return refuseKind(shortCode)
		}
		return nil
	}
	f := about(to)
	switch {
	case f.kind != ordinary && (!p.allow.kinds[f.kind] || p.deny.kinds[f.kind]):
		return refuseKind(f.kind)
	case p.deny.hasPrefix(to.Value):
		return sms.Refuse(sms.DestinationNotAllowed)
	case p.deny.hasCountry(f.country):
		return refuseCountry(f.country)
	case f.country == home && home != "", p.allow.hasCountry(f.country), p.allow.hasPrefix(to.Value):
		return nil
	case f.kind == satellite: // it has no country, and its kind is allowed
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

// facts are what is known of a telephone number.
type facts struct {
	country string
	kind    kind
}

// known remembers what was asked for: libphonenumber takes longer than everything else that happens to a request.
var known = recent.NewTable[string, facts](4096)

// about looks a telephone number up.
func about(n sms.Number) facts {
	if f, ok := known.Get(n.Value); ok {
		return f
	}
	f := lookUp(n.Value)
	known.Put(n.Value, f)
	return f
}

// global is libphonenumber's region of numbers that belong to no country.
const global = "001"

// lookUp finds out what is known of a number, or of its longest valid beginning.
func lookUp(e164 string) facts {
	parsed, ok := split(e164)
	if !ok {
		return facts{}
	}
	var f facts
	kindOf := phonenumbers.UNKNOWN
	for {
		if f.country = phonenumbers.GetRegionCodeForNumber(parsed); f.country != "" {
			kindOf = phonenumbers.GetNumberType(parsed)
		}
		if kindOf != phonenumbers.UNKNOWN || !shorten(parsed) {
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
	if f.country == "" { // the main region of the calling code
		f.country = phonenumbers.GetRegionCodeForCountryCode(int(parsed.GetCountryCode()))
	}
	switch code := parsed.GetCountryCode(); {
	case code == 1 && strings.HasPrefix(e164, "+1900"), code == 979: // whether or not libphonenumber knows the number
		f.kind = premium
	case code == 808:
		f.kind = sharedCost
	case code == 870, code == 881, code == 882, code == 883:
		f.kind = satellite
	}
	return f
}

// shorten drops digits of a number that is possible, but not valid, until it is possible again: networks may drop surplus
// digits. It reports whether there is such a number.
func shorten(n *phonenumbers.PhoneNumber) bool {
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

// split reads a number that libphonenumber itself wrote as E.164, which costs a part of what its own parser does.
func split(e164 string) (*phonenumbers.PhoneNumber, bool) {
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

// emergencies are the numbers that call for help, by country.
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

// isEmergency reports whether a short number calls for help, in the country or nearly everywhere.
func isEmergency(s, country string) bool {
	pattern := emergencies()[country]
	return s == "112" || s == "911" || s == "999" || pattern != nil && pattern.MatchString(s)
}

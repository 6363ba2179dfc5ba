package destination

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// TestTable holds the policy against testdata/numbers/destinations.json.
func TestTable(t *testing.T) {
	data, err := os.ReadFile("../../../testdata/numbers/destinations.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		To, From, Region, Refused, Why string
		Allow, Deny                    []string
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 200 {
		t.Errorf("%d rows", len(rows))
	}
	passed := map[string]bool{}
	for _, r := range rows {
		p, err := Parse(r.Allow, r.Deny)
		if err != nil {
			t.Fatal(err)
		}
		to, ok := number.Recipient(r.To, "")
		if !ok {
			t.Errorf("%s (%s) is not a recipient", r.To, r.Why)
			continue
		}
		from := sms.Number{}
		if r.From != "" {
			if from, ok = number.Sender(r.From, r.Region); !ok {
				t.Errorf("%s (%s) is not a sender", r.From, r.Why)
			}
		}
		for range 2 { // the second time it is remembered
			got := "passes"
			if refusal := p.Check(to, from, r.Region); refusal != nil {
				if got = string(refusal.Variant); got == "" {
					got = "default"
				}
				if refusal.Cause != sms.DestinationNotAllowed || strings.Contains(refusal.Fill(refusal.Sentence(), ""), "{") {
					t.Errorf("%s: %v says %q", r.Why, refusal, refusal.Fill(refusal.Sentence(), ""))
				}
			}
			want := r.Refused
			if want == "" {
				want = "passes"
			}
			if got != want {
				t.Errorf("%s from %q (%s): %s, want %s", r.To, r.From, r.Why, got, want)
			}
		}
		if country, allowed := strings.CutSuffix(r.Why, ", allowed"); allowed && r.Refused == "" && strings.HasPrefix(country, "US to ") {
			passed[country] = true
		}
	}
	if len(passed) < 40 {
		t.Errorf("ordinary numbers of %d countries pass when allowed, want 40", len(passed))
	}
}

// Every refusal says in words what is not allowed.
func TestSentences(t *testing.T) {
	p, err := Parse(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	from := sms.Number{Value: "+15550001111", Kind: sms.Phone}
	for to, want := range map[string]string{
		"+18762101234": "Messages to this country are not allowed: Jamaica",
		"+19005551234": "Messages to premium-rate numbers are not allowed",
		"72227":        "Messages to short codes are not allowed",
		"911":          "Messages to emergency numbers are not allowed",
		"+80012345678": "Messages to this destination are not allowed",
	} {
		n, _ := number.Recipient(to, "")
		refusal := p.Check(n, from, "US")
		if refusal == nil || refusal.Fill(refusal.Sentence(), "") != want {
			t.Errorf("%s: %v, want %s", to, refusal, want)
		}
	}
}

// A user's rules come on top of the site's.
func TestWith(t *testing.T) {
	site, err := Parse([]string{"GB", "short_codes"}, []string{"+4420"})
	if err != nil {
		t.Fatal(err)
	}
	user, err := Parse([]string{"DE"}, []string{"short_codes"})
	if err != nil {
		t.Fatal(err)
	}
	from := sms.Number{Value: "+15550001111", Kind: sms.Phone}
	for to, want := range map[string]bool{"+447400123456": true, "+442079460123": false, "+4915123456789": true, "72227": false, "+33612345678": false} {
		n, _ := number.Recipient(to, "")
		if got := site.With(user).Check(n, from, "US") == nil; got != want {
			t.Errorf("%s: %t, want %t", to, got, want)
		}
	}
	if n, _ := number.Recipient("72227", ""); site.Check(n, from, "US") != nil {
		t.Error("a user's rules changed the site's")
	}
	// A number is an emergency number in the country of the sender's number, or in the sender's region.
	for _, help := range []string{"110", "911", "112"} {
		if n, _ := number.Recipient(help, ""); site.Check(n, from, "DE") == nil {
			t.Errorf("%s passes, since short codes do", help)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for word, want := range map[string]string{"us": "did you mean US?", "UK": "did you mean GB?", "4420": "did you mean +4420?", "USA": `unknown destination "USA", did you mean US?`, "premum": `unknown destination "premum", did you mean premium?`, "S3CR3T": "unknown destination;", "+": `unknown destination "+"; write`, "+44x": "unknown destination; write a country such as US, a prefix such as +4420, or all, premium", "emergency": "unknown destination;", "": "unknown destination;"} {
		for _, lists := range [][2][]string{{{word}, nil}, {nil, {word}}} {
			if _, err := Parse(lists[0], lists[1]); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v", word, err)
			}
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	p, _ := Parse(nil, nil)
	from, to := sms.Number{Value: "+15550001111", Kind: sms.Phone}, sms.Number{Value: "+15551231234", Kind: sms.Phone}
	b.ReportAllocs()
	for b.Loop() {
		p.Check(to, from, "US")
	}
}

// Our own split of a number equals that of libphonenumber's parser.
func TestSplit(t *testing.T) {
	count := 0
	for region := range phonenumbers.GetSupportedRegions() {
		for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
			example := phonenumbers.GetExampleNumberForType(region, kind)
			if example == nil {
				continue
			}
			count++
			e164 := phonenumbers.Format(example, phonenumbers.E164)
			want, err := phonenumbers.Parse(e164, "")
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := parseE164(e164); !ok || got.GetCountryCode() != want.GetCountryCode() || got.GetNationalNumber() != want.GetNationalNumber() ||
				got.GetItalianLeadingZero() != want.GetItalianLeadingZero() || got.GetNumberOfLeadingZeros() != want.GetNumberOfLeadingZeros() {
				t.Errorf("%s: %v, want %v", e164, got, want)
			}
		}
	}
	if count < 500 {
		t.Errorf("%d examples", count)
	}
	for _, not := range []string{"", "+", "+1", "+0123456", "+49x", "12345"} {
		if got, ok := parseE164(not); ok {
			t.Errorf("%q: %v", not, got)
		}
	}
}

// Whatever stands before a number that calls for help, and wherever that is one, nothing is sent to
// it.
func TestHelp(t *testing.T) {
	p, err := Parse([]string{"all", "short_codes", "premium", "shared_cost", "satellite", "personal", "+1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for region := range phonenumbers.GetSupportedRegions() {
		numbers := []string{"112", "911", "999"}
		if pattern := emergencies()[region]; pattern != nil {
			for n := range 10_000 {
				if s := strconv.Itoa(n); pattern.MatchString(s) {
					numbers = append(numbers, s)
				}
			}
		}
		code := strconv.Itoa(phonenumbers.GetCountryCodeForRegion(region))
		prefixes := []string{"", "0", "00", "000", phonenumbers.GetNddPrefixForRegion(region, true), "+" + code, "00" + code, "+" + code + "0", "0 ", "0-"}
		for _, idd := range []string{"001", "0011", "009", "010", "011", "810"} {
			if list := international()[region]; list != nil && list.FindString(idd) == idd {
				prefixes = append(prefixes, idd, idd+code)
			} else if idd[0] == '0' {
				prefixes = append(prefixes, idd)
			}
		}
		example := phonenumbers.GetExampleNumber(region)
		own := sms.Number{Value: phonenumbers.Format(example, phonenumbers.E164), Kind: sms.Phone}
		for _, help := range numbers {
			for _, prefix := range prefixes {
				for _, from := range []sms.Number{{}, own} {
					tried++
					to, ok := number.Recipient(prefix+help, region)
					elsewhere := to.Kind == sms.Phone && strings.TrimLeft(strings.TrimPrefix(to.Value, "+"+code), "0") != help // a whole number that ends so
					if ok && !elsewhere && p.Check(to, from, region) == nil {
						t.Errorf("%s: %s%s is sent to as %q", region, prefix, help, to.Value)
					}
				}
			}
		}
	}
	t.Logf("%d numbers", tried)
	for _, passes := range []string{"72227", "91112", "11233", "911123"} {
		if to, ok := number.Recipient(passes, "US"); !ok || p.Check(to, sms.Number{}, "US") != nil {
			t.Errorf("%s is no number for help", passes)
		}
	}
}

// An operator may allow a range that the tables do not know. A slip in a known one is none.
func TestUnlisted(t *testing.T) {
	p, err := Parse([]string{"+371300", "+4420", "+1"}, []string{"+3713009"})
	if err != nil {
		t.Fatal(err)
	}
	from := sms.Number{Value: "+15550001111", Kind: sms.Phone}
	for raw, want := range map[string]string{
		"+37130012345": "+37130012345", "+371 300 123 456": "+371300123456", "00371300123": "+371300123", "+371 (300) 1234567": "+3713001234567",
		"+3713009123456": "", "+371301123456": "", "+371 2": "", "+371300": "", "+3713001234567890": "",
		"+44 20 7946 01234": "", "+4420794601": "", "+1 123 123 12321": "", "+1555123123": "", "+371300x12345": "", "371300123456": "",
	} {
		to, ok := number.Recipient(raw, "US")
		if !ok {
			if to, ok = number.Unlisted(raw); ok && !p.AllowsPrefix(to) {
				ok = false
			}
		}
		got := ""
		if ok && p.Check(to, from, "US") == nil {
			got = to.Value
		}
		if got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

package number

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func TestRecipient(t *testing.T) {
	data, err := os.ReadFile("../../testdata/numbers/recipients.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Raw, Region, Is, Kind, Why string }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]sms.NumberKind{"": sms.NoNumber, "phone": sms.Phone, "short": sms.ShortCode}
	for _, c := range cases {
		n, ok := Recipient(c.Raw, c.Region)
		if ok != (c.Is != "") || n.Value != c.Is || n.Kind != kinds[c.Kind] {
			t.Errorf("%q in %q (%s): got %s %d %t, want %q", c.Raw, c.Region, c.Why, n.Value, n.Kind, ok, c.Is)
		}
		table := NewCache()
		for range 2 {
			if again, same := table.Recipient(c.Raw, c.Region); again != n || same != ok {
				t.Errorf("%q: remembered as %q, want %q", c.Raw, again.Value, n.Value)
			}
		}
	}
}

func TestSender(t *testing.T) {
	for raw, want := range map[string]sms.Number{
		"+15550001111":                     {Value: "+15550001111", Kind: sms.Phone},
		"5550001111":                       {Value: "+15550001111", Kind: sms.Phone},
		"72227":                            {Value: "72227", Kind: sms.ShortCode},
		"ACME":                             {Value: "ACME", Kind: sms.Alphanumeric},
		"Acme Shop 24":                     {},
		"Acme Shop24":                      {Value: "Acme Shop24", Kind: sms.Alphanumeric},
		"Café":                             {},
		"":                                 {},
		"--":                               {},
		"A\r\nB":                           {},
		"0000":                             {},
		"sip:1001@pbx":                     {},
		"1001@pbx":                         {},
		"tel:1001":                         {},
		"sip:+15550001111@pbx.example.com": {Value: "+15550001111", Kind: sms.Phone},
		"tel:5550001111":                   {Value: "+15550001111", Kind: sms.Phone},
	} {
		if n, ok := Sender(raw, "US"); ok != !want.IsZero() || ok && n != want {
			t.Errorf("%q: got %+v %t, want %+v", raw, n.Value, ok, want.Value)
		}
	}
}

// Whatever comes in, a phone is + and digits, a short code digits: nothing else ever reaches a
// provider.
func TestRecipientIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.OneOf(rapid.String(), rapid.StringMatching(`[+0-9 ()./-]{0,24}`)).Draw(t, "raw")
		n, ok := Recipient(raw, rapid.SampledFrom([]string{"", "US", "DE", "GB"}).Draw(t, "region"))
		if !ok {
			return
		}
		digits := strings.TrimPrefix(n.Value, "+")
		if strings.Trim(digits, "0123456789") != "" || len(digits) < 3 || len(digits) > 17 ||
			(n.Kind == sms.Phone) != strings.HasPrefix(n.Value, "+") {
			t.Fatalf("%q became %q", raw, n.Value)
		}
		if again, ok := Recipient(n.Value, "US"); n.Kind == sms.Phone && (!ok || again != n) {
			t.Fatalf("%q is not stable, it became %q", n.Value, again.Value)
		}
	})
}

func FuzzRecipient(f *testing.F) {
	for _, seed := range []string{"+1(555)123-1234", "sip:+1555@x", "tel:00", "\u202a1", "<>", "%40", "00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		Recipient(raw, "US")
		Sender(raw, "")
	})
}

func TestKnownNumberCostsNothing(t *testing.T) {
	table := NewCache()
	table.Recipient("+1(555)123-1234", "US")
	if n := testing.AllocsPerRun(100, func() { table.Recipient("+1(555)123-1234", "US") }); n > 0 {
		t.Errorf("%v allocations for a known number", n)
	}
}

// A number that a spreadsheet has rewritten is neither a number nor a sender ID, in any region.
func TestSpreadsheetNumbers(t *testing.T) {
	for _, raw := range []string{
		"1.5555E+10", "1,5555E+10", "1.5E10", "2E+11", "1e10", "4.479E+11", "15550001111.0", "15550001111,00", "491711234567.0", " 1.5555E+10", "'1.5555E+10",
		"\u00a01.5555E+10\u00a0", "5.5.5A", "1+1ACME", "A1..2", "ACME 24.7",
	} {
		for _, region := range []string{"", "US", "DE", "GB"} {
			if n, err := ParseSender(raw, region); err == nil {
				t.Errorf("%q in %q is %v", raw, region, n)
			}
		}
	}
	for raw, want := range map[string]sms.NumberKind{
		"'+15550001111": sms.Phone, "\u00a0+15550001111\u00a0": sms.Phone, "+1\u00a0555\u00a0000\u00a01111": sms.Phone,
		"555.000.1111": sms.Phone, "B+B": sms.Alphanumeric, "A.1": sms.Alphanumeric, "4U+": sms.Alphanumeric, "E1": sms.Alphanumeric,
	} {
		n, err := ParseSender(raw, "US")
		if err != nil || n.Kind != want {
			t.Errorf("%q: %v, %v", raw, n, err)
		}
	}
	_, err := ParseSender("1.5555E+10", "US")
	want := `invalid number "1.5555E+10", which a spreadsheet has changed; format the column as text and write numbers as +15551234567`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// A list that was divided at blanks may have one number in pieces. Short codes are none.
func TestParseSenders(t *testing.T) {
	for _, c := range []struct{ list, region, want string }{
		{"+1 (555) 000-1111", "", "+15550001111"},
		{"ACME +1 (555) 000-1111 12345", "US", "+15550001111"},
		{"(555) 000-1111", "US", "+15550001111"},
		{"+1 5550001111", "US", "+15550001111"},
		{"+49 171 123 45 67", "DE", "+491711234567"},
		{"212 555 1234", "US", "+12125551234"},
		{"020 7946 0123", "GB", "+442079460123"},
		{"12345 67890", "US", ""},
		{"22395 55555", "US", ""},
		{"411 511", "US", ""},
		{"+15550001111 5550002222 ACME 12345", "US", ""},
	} {
		numbers, err := ParseSenders(strings.Fields(c.list), c.region)
		switch {
		case c.want == "" && (err != nil || len(numbers) != len(strings.Fields(c.list))):
			t.Errorf("%s: %v, %v", c.list, numbers, err)
		case c.want != "" && (err == nil || err.Error() != "blanks divide numbers; write "+c.want):
			t.Errorf("%s: %v, %v, want %s", c.list, numbers, err, c.want)
		}
	}
}

// An error repeats nothing that may be a secret.
func TestParseSenderQuotes(t *testing.T) {
	for raw, want := range map[string]string{
		"+1555":       `invalid number, short code or sender ID "+1555"; write numbers as +15551234567`,
		"hunter2!one": "invalid number, short code or sender ID; write numbers as +15551234567",
	} {
		if _, err := ParseSender(raw, "US"); err == nil || err.Error() != want {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// A digit too many behind a country code is a number of its own, or none, unless it is what that
// country has for a trunk prefix.
func TestOneDigitMore(t *testing.T) {
	count := 0
	former := map[string]string{"52": "1", "370": "8", "375": "0"} // people still write these
	for region := range phonenumbers.GetSupportedRegions() {
		example := phonenumbers.GetExampleNumberForType(region, phonenumbers.MOBILE)
		if example == nil {
			continue
		}
		code, national := fmt.Sprint(example.GetCountryCode()), phonenumbers.GetNationalSignificantNumber(example)
		trunk := phonenumbers.GetNddPrefixForRegion(region, true)
		for digit := range 10 {
			count++
			for _, raw := range []string{fmt.Sprintf("+%s %d %s", code, digit, national), fmt.Sprintf("00%s %d%s", code, digit, national)} {
				n, ok := Recipient(raw, "FR")
				own := strings.HasPrefix(trunk, fmt.Sprint(digit)) && code != "1" || former[code] == fmt.Sprint(digit)
				if ok && n.Value != "+"+code+fmt.Sprint(digit)+national && !own {
					t.Errorf("%s: %s became %s", region, raw, n.Value)
				}
			}
		}
	}
	if count < 2000 {
		t.Errorf("%d numbers", count)
	}
}

// Two zeros that something divides are no international prefix: one of them is a slip, and the
// number would be a stranger's.
func TestDividedZeros(t *testing.T) {
	for _, c := range [][2]string{
		{"0 020 7946 0123", "GB"}, {"0 (0) 20 7946 0123", "GB"}, {"0 06 12 34 56 78", "FR"}, {"(0)06 12 34 56 78", "FR"}, {"0(0)151 12345678", "DE"},
		{"0-0151-12345678", "DE"}, {"0/0151 12345678", "DE"}, {"0.0151.12345678", ""}, {"(0)(0)2079460123", "US"}, {"tel:0-02079460123", "GB"},
		{"0\u00a0020 7946 0123", "GB"}, {"0 044 7912 345678", "GB"},
	} {
		if n, ok := Recipient(c[0], c[1]); ok {
			t.Errorf("%q in %q is %s", c[0], c[1], n.Value)
		}
	}
	for raw, want := range map[string]string{"00 44 7912 345678": "+447912345678", "(00)44 7912 345678": "+447912345678", "00(44)7912345678": "+447912345678", "0 7912 034567": "+447912034567"} {
		if n, _ := Recipient(raw, "GB"); n.Value != want {
			t.Errorf("%q is %q, want %s", raw, n.Value, want)
		}
	}
}

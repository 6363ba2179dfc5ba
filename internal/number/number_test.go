package number

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

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
		table := NewTable()
		for range 2 {
			if again, same := table.Recipient(c.Raw, c.Region); again != n || same != ok {
				t.Errorf("%q: remembered as %q, want %q", c.Raw, again.Value, n.Value)
			}
		}
	}
}

func TestSender(t *testing.T) {
	for raw, want := range map[string]sms.Number{
		"+15550001111": {Value: "+15550001111", Kind: sms.Phone},
		"5550001111":   {Value: "+15550001111", Kind: sms.Phone},
		"72227":        {Value: "72227", Kind: sms.ShortCode},
		"ACME":         {Value: "ACME", Kind: sms.Alphanumeric},
		"Acme Shop 24": {},
		"Acme Shop24":  {Value: "Acme Shop24", Kind: sms.Alphanumeric},
		"Café":         {},
		"":             {},
		"--":           {},
		"A\r\nB":       {},
	} {
		if n, ok := Sender(raw, "US"); ok != !want.IsZero() || ok && n != want {
			t.Errorf("%q: got %+v %t, want %+v", raw, n.Value, ok, want.Value)
		}
	}
}

// Whatever comes in, a phone is + and digits, a short code digits: nothing else ever reaches a provider.
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
	table := NewTable()
	table.Recipient("+1(555)123-1234", "US")
	if n := testing.AllocsPerRun(100, func() { table.Recipient("+1(555)123-1234", "US") }); n > 0 {
		t.Errorf("%v allocations for a known number", n)
	}
}

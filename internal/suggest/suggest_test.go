package suggest

import (
	"strings"
	"testing"
)

var words = []string{"user", "users", "adapter", "allow", "deny", "define", "default_region", "auth_token", "sms.to", "sms.from", "US"}

// The nearest known words are offered, at most 3, and none that is far.
func TestDidYouMean(t *testing.T) {
	for typed, want := range map[string]string{
		"adaptor":                  ", did you mean adapter?",
		"ADAPTER":                  ", did you mean adapter?",
		"usr":                      ", did you mean user or US or users?",
		"us":                       ", did you mean US or user or users?",
		"to":                       ", did you mean sms.to or US?", // a known word without its first part
		"def":                      ", did you mean define or default_region or deny?",
		"default":                  ", did you mean default_region?",
		"auth_token=SECRET":        ", did you mean auth_token?",
		"auth_tokn:SECRET":         ", did you mean auth_token?",
		"journal":                  "",
		"":                         "",
		"=SECRET":                  "",
		strings.Repeat("user", 30): "",
	} {
		if got := DidYouMean(typed, words); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
	if got := DidYouMean("user", nil); got != "" {
		t.Errorf("without known words: %q", got)
	}
}

// A word that is near a known one is quoted up to = or :. All others may be secrets.
func TestQuote(t *testing.T) {
	for typed, want := range map[string]string{
		"adaptor":           ` "adaptor"`,
		"Adapter":           ` "Adapter"`,
		"auth_token=SECRET": ` "auth_token"`,
		"authtoken:SECRET":  ` "authtoken"`,
		"default":           ` "default"`,
		"from":              ` "from"`,
		"usr":               ` "usr"`,
		"auth_tokenS3CR3T":  "", // the value sticks to the name
		"SECRETauth_token":  "",
		"S3CR3T":            "",
		"x":                 "", // near any short word
		"S9":                "",
		"=SECRET":           "",
		"":                  "",
		"de\x00ny":          ` "de\x00ny"`,
	} {
		if got := Quote(typed, words); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

// A value of a column of numbers is quoted if nothing but digits and the signs of numbers stands
// there.
func TestQuoteNumber(t *testing.T) {
	for typed, want := range map[string]string{
		"1.5555E+10":             ` "1.5555E+10"`,
		"+1(555)000-1111":        ` "+1(555)000-1111"`,
		"15550001111.0":          ` "15550001111.0"`,
		"1,5555E+10":             "",
		"'+15550001111":          "",
		"1.5e10":                 "",
		"hunter2":                "",
		"":                       "",
		strings.Repeat("12", 41): "",
	} {
		if got := QuoteNumber(typed); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

// A path is quoted by its ending.
func TestQuotePath(t *testing.T) {
	for typed, want := range map[string]string{
		"users.csv": ` "users.csv"`, "/etc/caddy/users.csv": ` "/etc/caddy/users.csv"`, ".csv": "", "S3CR3T": "", "a/b": "", "x.pdf": "",
	} {
		if got := QuotePath(typed, ".csv", ".json"); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

// Known words are listed with the nearest first, or in their own order if none is near.
func TestUnknown(t *testing.T) {
	for _, c := range []struct{ kind, typed, want string }{
		{"word", "dny", `unknown word "dny", did you mean deny? known words: deny, user, allow`},
		{"cause", "dny=SECRET", `unknown cause "dny", did you mean deny? known causes: deny, user, allow`},
		{"country", "SECRET", "unknown country; known countries: user, allow, deny"},
	} {
		if got := Unknown(c.kind, c.typed, []string{"user", "allow", "deny"}); got != c.want {
			t.Errorf("%s: %q, want %q", c.typed, got, c.want)
		}
	}
}

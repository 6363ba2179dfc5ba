package redact

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const (
	secret = "s3cret-token-of-johndow"
	body   = "Meet me at the old bridge, code 482913"
	to     = "+15551231234"
)

func filter() *Filter {
	a := NewAccount()
	a.AddSecret(secret)
	return &Filter{Account: a, Token: sms.Hide("bearer-of-the-day-7"), Body: sms.Hide(body), Numbers: [2]sms.Number{{Value: to, Kind: sms.Phone}, {Value: "+15550001111", Kind: sms.Phone}}}
}

// writings are what others make of a text.
var writings = map[string]func(string) string{
	"plain":     func(s string) string { return s },
	"base64":    func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64url": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base32":    func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) },
	"base32 low": func(s string) string {
		return strings.ToLower(strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(s)), "="))
	},
	"hex": func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX": func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"UTF-16": func(s string) string {
		return hex.EncodeToString([]byte("\x00" + strings.Join(strings.Split(s, ""), "\x00")))
	},
	"URL": func(s string) string { return url.PathEscape(strings.ReplaceAll(s, "e", "\x01")) },
}

// Whatever a provider gives as an id is not shown if it repeats text, numbers or a part of a
// secret, in one encoding or two around each other, behind other letters. A whole secret is given
// to nobody; ids as providers make them are shown.
func TestIDs(t *testing.T) {
	f := filter()
	for what, c := range map[string]struct {
		text string
		want Fitness
	}{
		"text": {"the-old-bridge", Private}, "number": {"5551231234", Private}, "number, written": {"+1-555-123-1234", Private}, "sender": {"15550001111", Private},
		"a part of the secret": {"token-of-johnd", Private}, "the secret": {secret, Unfit}, "a part of the token": {"of-the-day-7", Private}, "token": {"bearer-of-the-day-7", Unfit},
	} {
		f := filter()
		f.Body = sms.Hide("Meet me at the-old-bridge, please")
		for outer, write := range writings {
			for inner, again := range writings {
				if strings.Contains(outer+inner, "URL") || outer == "UTF-16" && inner != "plain" {
					continue
				}
				for _, before := range []string{"", "x", "id", "SM1", "id.", "a-bc"} {
					id := before + write(again(c.text))
					if len(id) > maxID || strings.HasSuffix(before, "-") {
						continue
					}
					if got := f.ID(id); got != c.want && !(c.want == Unfit && got == Private) {
						t.Errorf("%s in %s in %s behind %q: %q is %d, want %d", what, inner, outer, before, id, got, c.want)
					}
					if c.want == Unfit && before == "" && outer == "plain" && inner == "plain" && f.ID(id) != Unfit {
						t.Errorf("%s is given away", what)
					}
				}
			}
		}
	}
	for _, id := range []string{
		"SM5ef8732a3c49700934481addd5ce1659", "7b4dd7ed-4b5d-4b2a-9c39-5b4c4a3c1b2a", "01JDQX5Y2V8M7W3K9B4N6T0RZA", "123456789012345678901", "0", "1", "AAMkADk0ZGU=", "msg_2bXq8Hk1LmNo",
		"queue-17@smsc.example.com", "20261130170000123", "3EB0C767D82B0A1E95", "dGhpcyBpcyBhbiBpZA==",
	} {
		if got := f.ID(id); got != Fit {
			t.Errorf("%q is %d", id, got)
		}
	}
}

// Words are shown without what nobody sees in them, without numbers in any encoding, and without
// runs that nobody can judge.
func TestWords(t *testing.T) {
	f := filter()
	hidden := func(s string) string { return strings.Join(strings.Split(s, ""), "\u200b") }
	for words, want := range map[string]string{
		"blocked: " + hidden("the old bridge"):                                                               "(not shown: it repeats the message)",
		"blocked: " + strings.ReplaceAll("the old bridge", "e", "e\u00ad"):                                   "(not shown: it repeats the message)",
		"bad key " + hidden("token-of-johndow"):                                                              "(not shown: it repeats a secret)",
		"no route to " + hidden(to):                                                                          "no route to +155••••••34",
		"no route to %2B15551231234":                                                                         "no route to %2B155••••••34",
		"no route to " + base64.StdEncoding.EncodeToString([]byte(to)):                                       "(not shown: it repeats a number)",
		"no route to " + base64.StdEncoding.EncodeToString([]byte("to=+442079460123 x")):                     "(not shown: it repeats a number)",
		"no route to " + hex.EncodeToString([]byte(to)):                                                      "no route to 2b313•••••••••••••••••34",
		"no route to " + base32.StdEncoding.EncodeToString([]byte(to)):                                       "(not shown: it repeats a number)",
		"see " + base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString([]byte(to)))):                   "(not shown: it repeats a number)",
		"echo " + base32.StdEncoding.EncodeToString([]byte("at the old bridge")):                             "(not shown: it repeats the message)",
		"echo " + base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString([]byte("at the old bridge")))): "(not shown: it repeats the message)",
		"trace " + strings.Repeat("Zq9", 40) + " end":                                                        "trace (120 characters) end",
		"The 'To' number is not valid, see https://www.twilio.com/docs/errors/21211":                         "The 'To' number is not valid, see https://www.twilio.com/docs/errors/21211",
		`{"error":{"code":"x","reason":"destination unreachable","retry":false,"more":"documentation"}}`:     `{"error":{"code":"x","reason":"destination unreachable","retry":false,"more":"documentation"}}`,
	} {
		if got, _ := f.Words(words, 200); got != want {
			t.Errorf("%q is shown as %q, want %q", words, got, want)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v %s", f.Account, *f.Account, f.Account, f.Account); strings.Contains(got, secret) {
		t.Error(got)
	}
}

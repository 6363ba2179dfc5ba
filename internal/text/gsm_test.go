package text

import "testing"

func TestFromGSM(t *testing.T) {
	for in, want := range map[string]string{
		"Gr\x7e\x1ee 100%":   "Grüße 100%",
		"\x00\x02\x10":       "@$Δ",
		"\x1b\x65 \x1b\x3c":  "€ [",
		"\x1b\x41":           "A", // not in the extension table
		"a\x1b":              "a\u00a0",
		"\xe1":               "a", // the highest bit does not count
		"":                   "",
		"\x1b\x1b":           "\u00a0",
		"Hello from a phone": "Hello from a phone",
	} {
		if got := FromGSM([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for r, n := range gsm { // both tables have the same characters
		if found := FromGSM(codeOf(r)); found != string(r) {
			t.Errorf("%q of %d septets: %q", r, n, found)
		}
	}
}

// codeOf returns the code of a GSM character.
func codeOf(r rune) []byte {
	for c, other := range gsmExtended {
		if other == r {
			return []byte{escape, c}
		}
	}
	for c, other := range gsmCharacters {
		if other == r {
			return []byte{byte(c)}
		}
	}
	return nil
}

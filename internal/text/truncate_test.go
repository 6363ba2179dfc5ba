package text

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTruncate(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"0123456789":             "0123456789",
		"0123456789a":            "012345678…",
		"one two three":          "one two…",
		"12345678e\u0301\u0301x": "12345678…",
		strings.Repeat("é", 11):  strings.Repeat("é", 9) + "…",
	} {
		if got := Truncate(in, 10); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s, n := rapid.String().Draw(t, "text"), rapid.IntRange(1, 20).Draw(t, "n")
		if got := Truncate(s, n); utf8.RuneCountInString(got) > n || got != s && !strings.HasSuffix(got, "…") {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

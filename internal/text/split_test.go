package text

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"pgregory.net/rapid"
)

func atMost(n int, u Unit) func(int, string) bool {
	return func(_ int, part string) bool { return Length(part, u) <= n }
}

func TestSplit(t *testing.T) {
	const family = "👨‍👩‍👧‍👦"
	for name, c := range map[string]struct {
		text  string
		max   int
		unit  Unit
		most  int
		parts []string
		rest  string
	}{
		"fits":              {"Hello", 5, Characters, 9, []string{"Hello"}, ""},
		"words":             {"one two three", 8, Characters, 9, []string{"one two ", "three"}, ""},
		"a blank follows":   {"one two three", 7, Characters, 9, []string{"one two", " three"}, ""},
		"no blanks":         {"abcdefgh", 3, Characters, 9, []string{"abc", "def", "gh"}, ""},
		"a long word":       {"a bcdefghij", 4, Characters, 9, []string{"a ", "bcde", "fghi", "j"}, ""},
		"line ends":         {"one\ntwo\nthree", 8, Characters, 9, []string{"one\ntwo\n", "three"}, ""},
		"only blanks left":  {"one" + strings.Repeat(" ", 9), 5, Characters, 9, []string{"one  "}, ""},
		"blanks between":    {"one" + strings.Repeat(" ", 9) + "two", 4, Characters, 9, []string{"one ", "two"}, ""},
		"extension table":   {"€€€€", 4, Septets, 9, []string{"€€", "€€"}, ""},
		"national letters":  {"ñandú", 70, Septets, 9, []string{"ñandú"}, ""},
		"surrogate pairs":   {"👋👋👋", 3, UTF16, 9, []string{"👋", "👋", "👋"}, ""},
		"joined characters": {family + family, 11, UTF16, 9, []string{family, family}, ""},
		"bytes":             {"ääää", 5, Octets, 9, []string{"ää", "ää"}, ""},
		"too many":          {"abcdefgh", 3, Characters, 2, []string{"abc", "def"}, "gh"},
		"nothing fits":      {family, 10, UTF16, 9, nil, family},
	} {
		parts, rest := Split(c.text, c.most, atMost(c.max, c.unit))
		if !slices.Equal(parts, c.parts) || rest != c.rest {
			t.Errorf("%s: %q and %q, want %q and %q", name, parts, rest, c.parts, c.rest)
		}
	}
}

// Whatever the text: parts fit, join to the text but for blanks between them, and cut no character.
func TestSplitKeepsText(t *testing.T) {
	alphabet := []rune("aé€ñ 你👋\u200d👩🏽e\u0301\n{[")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringOf(rapid.SampledFrom(alphabet)), rapid.String()).Draw(t, "text")
		unit := Unit(rapid.IntRange(0, 3).Draw(t, "unit"))
		max := rapid.IntRange(1, 40).Draw(t, "max")
		parts, rest := Split(text, rapid.IntRange(1, 20).Draw(t, "most"), atMost(max, unit))
		left := text
		for _, p := range parts {
			if Length(p, unit) > max || strings.TrimSpace(p) == "" || !utf8.ValidString(p) && utf8.ValidString(text) {
				t.Fatalf("%q is no part of at most %d %s", p, max, unit)
			}
			i := strings.Index(left, p)
			if i < 0 || strings.TrimSpace(left[:i]) != "" {
				t.Fatalf("%q gets lost before %q", left, p)
			}
			left = left[i+len(p):]
		}
		if rest == "" && strings.TrimSpace(left) != "" || rest != "" && strings.TrimSpace(strings.TrimSuffix(left, rest)) != "" {
			t.Fatalf("%q is left, and %q told", left, rest)
		}
		ends := map[int]bool{0: true}
		for g := uniseg.NewGraphemes(text); g.Next(); {
			_, end := g.Positions()
			ends[end] = true
		}
		at := 0
		for _, p := range parts {
			at += strings.Index(text[at:], p) + len(p)
			if !ends[at] {
				t.Fatalf("%q ends inside of a character", p)
			}
		}
	})
}

// The largest text takes about as long as its parts.
func BenchmarkSplit(b *testing.B) {
	long := strings.Repeat("word ", 50000)
	for b.Loop() {
		Split(long, 10, atMost(1600, Characters))
	}
}

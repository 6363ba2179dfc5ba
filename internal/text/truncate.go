package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Truncate cuts a text to at most n characters, of which the last one is then an ellipsis. It cuts
// between words if possible, and never before a combining character unless there is nothing else.
func Truncate(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	cut := n - 1
	for cut > 0 && unicode.In(runes[cut], unicode.Mn, unicode.Me, unicode.Variation_Selector, unicode.Join_Control) {
		cut--
	}
	for i := cut; i > cut*2/3; i-- {
		if runes[i] == ' ' {
			cut = i
			break
		}
	}
	return strings.TrimRight(string(runes[:cut]), " ") + "…"
}

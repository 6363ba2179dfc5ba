package text

import "unicode/utf16"

// How much a segment holds: alone, and as one of several, which spend octets on being put together again.
// 3GPP TS 23.040, 9.2.3.24.1.
const (
	septetsAlone, septetsOfMany = 160, 153
	utf16Alone, utf16OfMany     = 70, 67
)

// Segments counts the segments in which networks carry a text, which is what providers charge for. A character is never
// divided, so that segments may be left with a place free.
func Segments(s string) int {
	alone, ofMany, width := utf16Alone, utf16OfMany, utf16.RuneLen
	total, gsm := septets(s)
	if gsm {
		alone, ofMany = septetsAlone, septetsOfMany
		width = func(r rune) int { n, _ := septets(string(r)); return n }
	} else {
		total = utf16Length(s)
	}
	if total <= alone {
		return 1
	}
	count, used := 1, 0
	for _, r := range s {
		n := width(r)
		if used+n > ofMany {
			count, used = count+1, 0
		}
		used += n
	}
	return count
}

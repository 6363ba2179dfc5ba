package text

import "unicode/utf16"

// The capacity of a segment, alone and as one of several. Each of several segments needs octets for
// the concatenation header, 3GPP TS 23.040, 9.2.3.24.1.
const (
	septetsAlone, septetsOfMany = 160, 153
	utf16Alone, utf16OfMany     = 70, 67
)

// Segments returns the number of network segments of a text, for which providers charge. A
// character is never divided between segments, so that a segment may have an unused place.
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

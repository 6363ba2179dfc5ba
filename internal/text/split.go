package text

import (
	"strings"

	"github.com/rivo/uniseg"
)

// Split cuts a text into no more than most parts. fits reports whether a part with an index fits.
// Split cuts after blanks, or between grapheme clusters if there are no blanks. It drops parts that
// would be only blanks; the joined parts are otherwise the text. rest is the text that remains if
// most parts do not suffice, or if not even one character fits.
func Split(s string, most int, fits func(i int, part string) bool) (parts []string, rest string) {
	for rest = s; strings.TrimSpace(rest) != ""; {
		i := len(parts)
		if i == most {
			return parts, rest
		}
		end := cut(rest, func(part string) bool { return fits(i, part) })
		if end == 0 {
			return parts, rest
		}
		if part := rest[:end]; strings.TrimSpace(part) != "" {
			parts = append(parts, part)
		}
		rest = rest[end:]
	}
	return parts, ""
}

// cut returns the length of the longest beginning of a text that fits and that ends where a part
// may end, or 0. It assumes that if a beginning does not fit, longer ones do not fit either.
func cut(s string, fits func(string) bool) int {
	ends := make([]int, 1, 256) // offsets after 0, 1, 2, … characters
	for state, next := -1, 64; ends[len(ends)-1] < len(s); {
		ends = append(ends, ends[len(ends)-1]+firstCharacter(s[ends[len(ends)-1]:], &state))
		if len(ends) == next {
			if !fits(s[:ends[next-1]]) {
				break
			}
			next *= 2
		}
	}
	low, high := 0, len(ends)
	for high-low > 1 {
		if middle := (low + high) / 2; fits(s[:ends[middle]]) {
			low = middle
		} else {
			high = middle
		}
	}
	blank := func(k int) bool { return strings.TrimSpace(s[ends[k-1]:ends[k]]) == "" }
	if ends[low] == len(s) || low+1 < len(ends) && blank(low+1) {
		return ends[low]
	}
	for k := low; k > 1; k-- {
		if blank(k) && strings.TrimSpace(s[:ends[k]]) != "" {
			return ends[k]
		}
	}
	return ends[low]
}

// firstCharacter returns the length of the first grapheme cluster.
func firstCharacter(s string, state *int) int {
	character, _, _, next := uniseg.FirstGraphemeClusterInString(s, *state)
	*state = next
	return len(character)
}

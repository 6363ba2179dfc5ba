package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Split cuts a text into at most so many parts that each fit, given a part's place and text. It cuts behind blanks, or
// where there are none between characters as people see them. The parts joined are the text, but for parts that would
// be blanks alone. What is left when there are no parts left, or when not even one character fits, comes back as rest.
func Split(s string, most int, fits func(i int, part string) bool) (parts []string, rest string) {
	for rest = s; strings.TrimSpace(rest) != ""; {
		i := len(parts)
		if i == most {
			return parts, rest
		}
		end := longest(rest, func(part string) bool { return fits(i, part) })
		if end == 0 {
			return parts, rest
		}
		if end < len(rest) {
			end = behindBlank(rest[:end], rest[end:])
		}
		if part := rest[:end]; strings.TrimSpace(part) != "" {
			parts = append(parts, part)
		}
		rest = rest[end:]
	}
	return parts, ""
}

// longest returns the length of the longest beginning of a text, in whole characters, that fits. It asks as if what is
// longer than something that does not fit did not fit either.
func longest(s string, fits func(string) bool) int {
	ends := make([]int, 1, 256) // of characters, the first of none
	for state, next := -1, 64; ; {
		last := ends[len(ends)-1]
		if last == len(s) {
			break
		}
		var character string
		character, _, _, state = uniseg.FirstGraphemeClusterInString(s[last:], state)
		ends = append(ends, last+len(character))
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
	return ends[low]
}

// behindBlank moves the end of a part back to behind its last blank, unless a blank follows it or it has none.
func behindBlank(part, rest string) int {
	if next, _ := utf8.DecodeRuneInString(rest); unicode.IsSpace(next) {
		return len(part)
	}
	if i := strings.LastIndexFunc(part, unicode.IsSpace); i > 0 && strings.TrimSpace(part[:i]) != "" {
		_, size := utf8.DecodeRuneInString(part[i:])
		return i + size
	}
	return len(part)
}

package redact

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
)

// oneLine returns valid UTF-8 without control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// visible removes invisible characters, because they may split a quoted secret or text.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, s)
}

// maxRun is the longest run of characters without a blank that is shown. A longer run may be an
// encoding that decodings does not know.
const maxRun = 64

var longRun = regexp.MustCompile(`[\pL\p{Nd}+/=_.%-]{` + strconv.Itoa(maxRun+1) + `,}`)

// shortenRuns replaces each run longer than maxRun by its length.
func shortenRuns(s string) string {
	return longRun.ReplaceAllStringFunc(s, func(run string) string {
		return "(" + strconv.Itoa(utf8.RuneCountInString(run)) + " characters)"
	})
}

// minNumber is the number of digits from which a number counts as a telephone number.
const minNumber = 7

// containsNumber reports whether a text contains a possible telephone number.
func containsNumber(s string) bool { return maskNumbers(s) != s }

// maskNumbers hides all digits of possible telephone numbers except the first 3 and the last 2.
func maskNumbers(s string) string {
	return number.Pattern.ReplaceAllStringFunc(s, func(found string) string {
		isDigit := unicode.IsDigit
		count, at := 0, 0
		for _, r := range found {
			if isDigit(r) {
				count++
			}
		}
		if count < minNumber {
			return found
		}
		return strings.Map(func(r rune) rune {
			if !isDigit(r) {
				return r
			}
			if at++; at <= 3 || at > count-2 {
				return r
			}
			return '•'
		}, found)
	})
}

var wordPattern = regexp.MustCompile(`[\pL\p{Nd}]+`)

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// containsWords reports whether s contains words as whole words, not inside of longer words.
func containsWords(s, words string) bool {
	for from := 0; ; {
		i := strings.Index(s[from:], words)
		if i < 0 {
			return false
		}
		begin, end := from+i, from+i+len(words)
		before, _ := utf8.DecodeLastRuneInString(s[:begin])
		after, _ := utf8.DecodeRuneInString(s[end:])
		if !isWord(before) && !isWord(after) {
			return true
		}
		from = begin + 1
	}
}

// minQuote is the shortest run of bytes that counts as quoting a secret or a text.
const minQuote = 8

// fragmentSet contains all runs of minQuote bytes of some texts. begins is a filter that makes most
// look-ups in the map unnecessary.
type fragmentSet struct {
	all    map[string]struct{}
	begins [1024]uint64 // 1 bit for each hash of the first 4 bytes of a run
}

func newFragmentSet(texts []string) *fragmentSet {
	f := &fragmentSet{all: make(map[string]struct{})}
	for _, s := range texts {
		for i := 0; i+minQuote <= len(s); i++ {
			f.all[s[i:i+minQuote]] = struct{}{}
			h := hashBegin(s, i)
			f.begins[h>>6] |= 1 << (h & 63)
		}
	}
	return f
}

// hashBegin returns a 16-bit hash of the 4 bytes at index i.
func hashBegin(s string, i int) uint32 {
	_ = s[i+3]
	return (uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24) * 0x9e3779b1 >> 16
}

// in reports whether a text contains one of the fragments.
func (f *fragmentSet) in(s string) bool {
	if f == nil {
		return false
	}
	for i := 0; i+minQuote <= len(s); i++ {
		if h := hashBegin(s, i); f.begins[h>>6]&(1<<(h&63)) != 0 {
			if _, is := f.all[s[i:i+minQuote]]; is {
				return true
			}
		}
	}
	return false
}

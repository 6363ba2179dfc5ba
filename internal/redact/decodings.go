package redact

import (
	"encoding/json"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxDecodings limits the decodings of a text.
const maxDecodings = 64

// decodings returns a provider's words and everything that they decode to, in lower case. It
// removes up to 2 layers of escapes or encodings. The first item is the undecoded text.
func decodings(s string) []string {
	list := decodeTwice(s)
	for i := range list {
		list[i] = strings.ToLower(list[i])
	}
	return list
}

func decodeTwice(s string) []string {
	list := make([]string, 1, 4)
	list[0] = s
	for begin, depth := 0, 0; depth < 2; depth++ {
		end := len(list)
		for _, outer := range list[begin:end] {
			list = add(list, unescapings(outer))
			list = add(list, decodedRuns(outer))
		}
		begin = end
	}
	return list
}

// add appends the texts that list does not contain yet, up to maxDecodings.
func add(list, more []string) []string {
	for _, s := range more {
		if len(list) < maxDecodings && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// unescapings returns a text without escapes, once for each known syntax of escapes.
func unescapings(s string) []string {
	if !strings.ContainsAny(s, `\&%=`) {
		return nil
	}
	return []string{unescapeJSON(s), html.UnescapeString(s), unescapeBytes(s), unescapeRunes(s)}
}

// joinHex removes the separators between hexadecimal bytes.
func joinHex(s string) string {
	if !strings.ContainsAny(s, ` :,x\`) { // the fast path for ids, which only have hyphens
		return strings.ReplaceAll(s, "-", "")
	}
	return between.Replace(s)
}

var between = strings.NewReplacer(" ", "", ":", "", "-", "", ",", "", "0x", "", `\x`, "")

var usual = strings.NewReplacer("-", "+", "_", "/")

// standard converts the URL alphabet of base64 to the standard alphabet.
// https://www.rfc-editor.org/rfc/rfc4648#section-5
func standard(s string) string {
	if !strings.ContainsAny(s, "-_") {
		return s
	}
	return usual.Replace(s)
}

// reading is a text with its decodings in lower case.
type reading struct {
	text      string
	decodings []string
	all       []string // decodings, and the text in normalized hexadecimal and base64
}

func read(s string) reading {
	list := decodings(s)
	r := reading{s, list, list}
	for _, other := range [...]string{joinHex(list[0]), standard(list[0])} {
		if !slices.Contains(list, other) {
			r.all = append(r.all[:len(r.all):len(r.all)], other)
		}
	}
	return r
}

// jsonEscape matches the escapes of a JSON string, also in a text that is not JSON as a whole.
var jsonEscape = regexp.MustCompile(`(\\u[0-9A-Fa-f]{4})+|\\.`)

func unescapeJSON(s string) string {
	return jsonEscape.ReplaceAllStringFunc(s, func(escape string) string {
		var plain string
		if json.Unmarshal([]byte(`"`+escape+`"`), &plain) != nil {
			return escape[1:]
		}
		return plain
	})
}

// byteEscape matches the escapes of bytes in URLs, mails and many programming languages.
var byteEscape = regexp.MustCompile(`(?:%|=|\\x)([0-9A-Fa-f]{2})|\\([0-3][0-7]{2})`)

func unescapeBytes(s string) string {
	return unescape(byteEscape, s, func(n rune) string { return string([]byte{byte(n)}) })
}

// runeEscape matches the escapes of characters in Perl, Rust, JavaScript and others.
var runeEscape = regexp.MustCompile(`\\[xu]\{([0-9A-Fa-f]{1,6})\}`)

func unescapeRunes(s string) string {
	return unescape(runeEscape, s, func(n rune) string { return string(n) })
}

// unescape replaces each escape by the result of by for its number. Group 1 of the pattern is a
// hexadecimal number, group 2 an octal number.
func unescape(escape *regexp.Regexp, s string, by func(n rune) string) string {
	return escape.ReplaceAllStringFunc(s, func(found string) string {
		digits, base := escape.FindStringSubmatch(found), 16
		if digits[1] == "" {
			digits, base = digits[1:], 8
		}
		n, _ := strconv.ParseInt(digits[1], base, 32)
		return by(rune(n))
	})
}

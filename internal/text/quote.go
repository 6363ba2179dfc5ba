package text

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// Encodings returns a text unchanged and encoded for URLs, in HTML, hexadecimal, base64 and UTF-16.
// The results have the same number and order for every text.
func Encodings(s string) []string {
	return []string{
		s, url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s), hex.EncodeToString([]byte(s)),
		strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="), string(AppendUTF16Hex(nil, s)),
	}
}

// LooseEncodings returns the Encodings of a text, its base64 after other bytes, and its UTF-8
// decoded with a wrong charset. The results have the same number and order for every text.
func LooseEncodings(s string) []string {
	return append(Encodings(s), base64Behind(s, 1), base64Behind(s, 2), misread(charmap.ISO8859_1, s), misread(charmap.Windows1252, s))
}

// base64Behind returns the base64 of a text after that number of other bytes, without the letters
// that depend on the bytes around the text.
func base64Behind(s string, by int) string {
	whole := (by + len(s)) / 3 * 3
	if whole == 0 {
		return ""
	}
	return base64.StdEncoding.EncodeToString(append(make([]byte, by, by+len(s)), s...)[:whole])[by+1:]
}

// misread returns the UTF-8 of a text decoded with another charset.
func misread(as *charmap.Charmap, s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(as.DecodeByte(s[i]))
	}
	return b.String()
}

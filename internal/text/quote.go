package text

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// Quotations are the forms in which others write a text: as it is, as URLs and forms, as pages, and encoded. A text has
// as many as any other, in the same order.
func Quotations(s string) []string {
	return []string{
		s, url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s), hex.EncodeToString([]byte(s)),
		strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="), string(AppendUTF16Hex(nil, s)),
	}
}

// Echoes are the Quotations of a text, and forms of it in which something stood before it, or that were read in another encoding than
// they were written in. A text has as many as any other, in the same order.
func Echoes(s string) []string {
	return append(Quotations(s), shifted(s, 1), shifted(s, 2), misread(charmap.ISO8859_1, s), misread(charmap.Windows1252, s))
}

// shifted is what base64 makes of a text behind so many other bytes, without the letters that depend on what stands around it.
func shifted(s string, by int) string {
	whole := (by + len(s)) / 3 * 3
	if whole == 0 {
		return ""
	}
	return base64.StdEncoding.EncodeToString(append(make([]byte, by, by+len(s)), s...)[:whole])[by+1:]
}

// misread is how UTF-8 looks that was taken for another encoding.
func misread(as *charmap.Charmap, s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(as.DecodeByte(s[i]))
	}
	return b.String()
}

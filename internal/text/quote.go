package text

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"strings"
)

// Quotations are the forms in which others write a text: as it is, as URLs and forms, as pages, and encoded. A text has
// as many as any other, in the same order.
func Quotations(s string) []string {
	return []string{
		s, url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s), hex.EncodeToString([]byte(s)),
		strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="), string(AppendUTF16Hex(nil, s)),
	}
}

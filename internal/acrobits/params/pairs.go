package params

import "strings"

// pairs reads name=value pairs as apps and hand-made templates write them, which net/url would
// partly refuse. & or &amp; separates pairs; &amp; comes from settings in XML. The first =
// separates name and value, an invalid % escape stays unchanged, + is a blank. Each pair may be on
// a line of its own. pairs emits every pair, in order.
func pairs(s string, emit func(name, value string)) {
	for s != "" {
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		pair = strings.TrimPrefix(pair, "amp;")
		if pair != "" && (pair[0] == '\r' || pair[0] == '\n') { // a pair on its own line may be indented
			pair = strings.TrimLeft(pair, " \t\r\n")
		}
		if pair = strings.TrimRight(pair, "\r\n"); pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		text := Unescape(value, true)
		if isVariable(value) && strings.Contains(text, "\uFFFD") {
			text = value // an unreplaced variable: %ac of %account[…]% is not an escape
		}
		emit(Unescape(name, true), text)
	}
}

// Unescape decodes valid %XX escapes, keeps every other %, and replaces invalid UTF-8 by U+FFFD.
func Unescape(s string, plus bool) string {
	first := -1
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '%' || c == '+' && plus || c >= 0x80 {
			first = i
			break
		}
	}
	if first < 0 {
		return s
	}
	out := make([]byte, first, len(s))
	copy(out, s)
	for i := first; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && plus:
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && hex(s[i+1]) >= 0 && hex(s[i+2]) >= 0:
			out = append(out, byte(hex(s[i+1])<<4|hex(s[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

package text

import "strings"

// escape is the GSM character that says that the next one is in the extension table.
const escape = 0x1b

// gsmCharacters are the characters of the default alphabet by their codes, and gsmExtended those of
// the extension table.
var (
	gsmCharacters = func() (table []rune) {
		for _, r := range gsmBasic {
			if len(table) == escape {
				table = append(table, '\u00a0')
			}
			table = append(table, r)
		}
		return table
	}()
	gsmExtended = map[byte]rune{0x0a: '\f', 0x14: '^', 0x28: '{', 0x29: '}', 0x2f: '\\', 0x3c: '[', 0x3d: '~', 0x3e: ']', 0x40: '|', 0x65: '€'}
)

// FromGSM decodes a text in the GSM alphabet, one character a byte. As in 3GPP TS 23.038, an unknown
// character of the extension table becomes that of the default alphabet.
func FromGSM(s []byte) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i] & 0x7f
		if c == escape && i+1 < len(s) {
			i++
			c = s[i] & 0x7f
			if r, ok := gsmExtended[c]; ok {
				b.WriteRune(r)
				continue
			}
		}
		b.WriteRune(gsmCharacters[c])
	}
	return b.String()
}

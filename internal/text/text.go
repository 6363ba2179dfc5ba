// Package text measures and splits texts as mobile networks do, in septets of the GSM alphabet or
// in UTF-16, and decodes the former. It also lists the encodings in which a reply may quote a text.
//
// It never changes a text and never divides a character. Packages adapters, dryrun and redact call
// it. It has no state, so that it is safe for concurrent use.
package text

import (
	"strings"
	"unicode"
	"unicode/utf16"
)

// Unit is the unit of a length.
type Unit uint8

// The units. Septets measure texts of the GSM 7-bit default alphabet; any other text has no length
// in septets.
const (
	Characters Unit = iota // Unicode code points
	Septets                // GSM 03.38 septets, an extension character counting 2
	UTF16                  // UTF-16 code units, as UCS-2 messages count
	Octets                 // UTF-8 bytes
)

var unitNames = [...]string{"characters", "septets", "utf16", "octets"}

// String returns the unit's name.
func (u Unit) String() string { return unitNames[u] }

// ParseUnit finds a unit by its name.
func ParseUnit(name string) (Unit, bool) {
	for u, n := range unitNames {
		if n == name {
			return Unit(u), true
		}
	}
	return 0, false
}

// Length measures a text. In septets, a text outside the GSM alphabet is measured in UTF-16 code
// units instead, because networks would send it in UCS-2.
func Length(s string, u Unit) int {
	switch u {
	case Octets:
		return len(s)
	case UTF16:
		return utf16Length(s)
	case Septets:
		if n, ok := septets(s); ok {
			return n
		}
		return utf16Length(s)
	}
	n := 0
	for range s {
		n++
	}
	return n
}

// IsBlank reports whether a text shows nothing: it is empty, or contains only invisible characters.
func IsBlank(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !IsInvisible(r) }) < 0
}

// brailleBlank is not a blank in Unicode, but shows nothing.
const brailleBlank = '\u2800'

// IsInvisible reports whether a character shows nothing by itself.
func IsInvisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == brailleBlank ||
		r >= 0x80 && unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// IsGSM reports whether the GSM 7-bit default alphabet and its extension table contain all
// characters of a text.
func IsGSM(s string) bool {
	_, ok := septets(s)
	return ok
}

// AppendUTF16Hex appends the text in UTF-16, big endian, as hexadecimal digits.
func AppendUTF16Hex(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	unit := func(u uint16) {
		dst = append(dst, digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	for _, r := range s {
		if hi, lo := utf16.EncodeRune(r); hi != '\uFFFD' {
			unit(uint16(hi))
			unit(uint16(lo))
		} else {
			unit(uint16(r))
		}
	}
	return dst
}

func utf16Length(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// The alphabet of 3GPP TS 23.038, 6.2.1 and 6.2.1.1.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "\f^{}\\[~]|€"
)

var gsm = func() map[rune]int {
	table := make(map[rune]int)
	for _, r := range gsmBasic {
		table[r] = 1
	}
	for _, r := range gsmExtension {
		table[r] = 2
	}
	return table
}()

// ascii contains the number of septets of each ASCII character, 0 if the GSM alphabet lacks it. It
// is faster than gsm.
var ascii = func() (table [128]uint8) {
	for r, n := range gsm {
		if r < 128 {
			table[r] = uint8(n)
		}
	}
	return table
}()

func septets(s string) (n int, ok bool) {
	for _, r := range s {
		width := 0
		if r < 128 {
			width = int(ascii[r])
		} else {
			width = gsm[r]
		}
		if width == 0 {
			return 0, false
		}
		n += width
	}
	return n, true
}

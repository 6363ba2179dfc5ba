// Package text measures messages the way mobile networks do.
package text

import "unicode/utf16"

// Unit is what a length is counted in.
type Unit uint8

// The units. Septets count the GSM 7-bit default alphabet; a text that it cannot write has no length in septets.
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

// Length measures a text. In septets, a text outside the GSM alphabet is measured in UTF-16 code units instead,
// because that is how it would be sent.
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

// IsGSM reports whether the GSM 7-bit default alphabet and its extension table can write the text.
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

// ascii holds the septets of the characters that nearly all texts are made of; 0 is none.
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

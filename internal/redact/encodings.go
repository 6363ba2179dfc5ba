package redact

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// encoding is a way to write bytes in letters and digits.
type encoding struct {
	values *[256]byte // the value of each letter, noLetter for other bytes
	bits   uint       // bits in a letter
	least  int        // shorter runs of letters are not decoded
	group  int        // number of letters after which byte and letter boundaries coincide again
}

// https://www.rfc-editor.org/rfc/rfc4648
var encodings = [...]encoding{
	{values: alphabet(upper+lower+"0123456789+/", "-+", "_/"), bits: 6, least: 8, group: 4},
	{values: alphabet(upper+"234567", folded...), bits: 5, least: 10, group: 8},
	{values: hexValues, bits: 4, least: 12, group: 2},
}

var hexValues = alphabet("0123456789ABCDEF", "aA", "bB", "cC", "dD", "eE", "fF")

const (
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower = "abcdefghijklmnopqrstuvwxyz"
)

// folded are the pairs that give a lower-case letter the value of its upper-case letter.
var folded = func() (pairs []string) {
	for i := range len(lower) {
		pairs = append(pairs, lower[i:i+1]+upper[i:i+1])
	}
	return pairs
}()

const noLetter = 0xFF

// alphabet returns the value of each letter, which is its index in letters. The first letter of a
// pair gets the value of the second.
func alphabet(letters string, pairs ...string) *[256]byte {
	var values [256]byte
	for i := range values {
		values[i] = noLetter
	}
	for i := range len(letters) {
		values[letters[i]] = byte(i)
	}
	for _, pair := range pairs {
		values[pair[0]] = values[pair[1]]
	}
	return &values
}

// appendDecoded decodes a run of letters and appends the complete bytes.
func (e *encoding) appendDecoded(dst []byte, run string) []byte {
	bits, left := uint32(0), uint(0)
	for i := range len(run) {
		bits = bits<<e.bits | uint32(e.values[run[i]])
		if left += e.bits; left >= 8 {
			left -= 8
			dst = append(dst, byte(bits>>left))
		}
	}
	return dst
}

// decodedRuns decodes each run of letters and digits in s and returns the readable results. The
// encoded text may begin anywhere in the run, so each possible alignment is tried.
func decodedRuns(s string) (list []string) {
	var scratch [maxID]byte
	dst := scratch[:0]
	for i := range encodings {
		e, from := &encodings[i], s
		if i == 2 {
			from = joinHex(s)
		}
		for begin, end := 0, 0; begin < len(from); begin = end + 1 {
			for end = begin; end < len(from) && e.values[from[end]] != noLetter; {
				end++
			}
			run := from[begin:end]
			if len(run) < e.least || i < 2 && isHex(run) { // base64 and base32 of a text have other letters too
				continue
			}
			for shift := 0; shift < e.group && len(run)-shift >= e.least; shift++ {
				dst = e.appendDecoded(dst[:0], run[shift:])
				if plain := withoutNUL(dst); isReadable(plain) {
					list = append(list, string(plain))
				}
			}
		}
	}
	return list
}

// isHex reports whether a run consists of hexadecimal digits and hyphens, as most ids do.
func isHex(run string) bool {
	for i := range len(run) {
		if c := run[i]; c != '-' && hexValues[c] == noLetter {
			return false
		}
	}
	return true
}

// withoutNUL converts UTF-16 with only ASCII characters to ASCII.
func withoutNUL(b []byte) []byte {
	if bytes.IndexByte(b, 0) < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte{0}, nil)
}

// class classifies a byte of a decoded run.
type class uint8

const (
	binary class = iota // not part of a text
	symbol              // printable
	letter              // or punctuation that is frequent next to letters and digits
	digit
	beyond // part of a character outside of ASCII
)

var classes = func() (c [256]class) {
	for b := range c {
		switch r := rune(b); {
		case r >= utf8.RuneSelf:
			c[b] = beyond
		case r >= '0' && r <= '9':
			c[b] = digit
		case isWord(r), unicode.IsSpace(r), strings.ContainsRune(`.,:;!?'"-+()@/_#&%=`, r):
			c[b] = letter
		case unicode.IsPrint(r):
			c[b] = symbol
		}
	}
	return c
}()

// isReadable reports whether decoded bytes may be text. The bytes of a decoded random id are not
// readable.
func isReadable(b []byte) bool {
	readable, digits, whole := 0, 0, len(b) >= 4
	for i := 0; i < len(b); {
		size, c := 1, classes[b[i]]
		if c == beyond {
			var r rune
			switch r, size = utf8.DecodeRune(b[i:]); {
			case r == utf8.RuneError, !unicode.IsPrint(r):
				c = binary
			case isWord(r):
				c = letter
			default:
				c = symbol
			}
		}
		i += size
		switch c {
		case binary:
			readable, digits, whole = 0, 0, false
		case symbol:
			readable, digits = 0, 0
		case letter:
			readable, digits = readable+size, 0
		case digit:
			readable, digits = readable+1, digits+1
		}
		if readable >= minQuote || digits >= minNumber {
			return true
		}
	}
	return whole
}

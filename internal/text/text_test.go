package text

import (
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"
)

func TestLength(t *testing.T) {
	for _, c := range []struct {
		text                               string
		characters, septets, utf16, octets int
		gsm                                bool
	}{
		{"", 0, 0, 0, 0, true},
		{"Hello World", 11, 11, 11, 11, true},
		{"€", 1, 2, 1, 3, true},
		{"[{^~|}]\\", 8, 16, 8, 8, true},
		{"èÇÅΔ¿", 5, 5, 5, 10, true},
		{"`", 1, 1, 1, 1, false},
		{"ç", 1, 1, 1, 2, false}, // the alphabet has only the capital
		{"Ω", 1, 1, 1, 2, true},
		{"👋", 1, 2, 2, 4, false},
		{"👨‍👩‍👧", 5, 8, 8, 18, false},
		{"\n\r\f", 3, 4, 3, 3, true},
		{"\t", 1, 1, 1, 1, false},
	} {
		if n := Length(c.text, Characters); n != c.characters {
			t.Errorf("%q: %d characters, want %d", c.text, n, c.characters)
		}
		if n := Length(c.text, Septets); n != c.septets {
			t.Errorf("%q: %d septets, want %d", c.text, n, c.septets)
		}
		if n := Length(c.text, UTF16); n != c.utf16 {
			t.Errorf("%q: %d UTF-16 units, want %d", c.text, n, c.utf16)
		}
		if n := Length(c.text, Octets); n != c.octets {
			t.Errorf("%q: %d octets, want %d", c.text, n, c.octets)
		}
		if IsGSM(c.text) != c.gsm {
			t.Errorf("%q: GSM %t, want %t", c.text, !c.gsm, c.gsm)
		}
	}
}

func TestAlphabet(t *testing.T) {
	basic, extension := 0, 0
	for _, n := range gsm {
		if n == 1 {
			basic++
		} else {
			extension++
		}
	}
	// 128 positions, of which one leads to the extension table.
	if basic != 127 || extension != 10 {
		t.Errorf("%d basic and %d extension characters, want 127 and 10", basic, extension)
	}
}

func TestUTF16Hex(t *testing.T) {
	if got := string(AppendUTF16Hex(nil, "A€👋")); got != "004120ACD83DDC4B" {
		t.Errorf("got %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		raw, err := hex.DecodeString(string(AppendUTF16Hex(nil, s)))
		if err != nil {
			t.Fatal(err)
		}
		var units []uint16
		for i := 0; i < len(raw); i += 2 {
			units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
		}
		if back := string(utf16.Decode(units)); back != s {
			t.Fatalf("%q came back as %q", s, back)
		}
	})
}

func TestUnits(t *testing.T) {
	for _, name := range strings.Fields("characters septets utf16 octets") {
		if u, ok := ParseUnit(name); !ok || u.String() != name {
			t.Errorf("%s is no unit", name)
		}
	}
	if _, ok := ParseUnit("bytes"); ok {
		t.Error("bytes is a unit")
	}
}

func TestIsBlank(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, " \n": true, "\u200b": true, "\u200b\u200d\ufeff\u2060": true, "\u00ad": true, "\u3164": true, "\u115f\uffa0": true, "\u2800": true,
		"\ufe0f": true, "\u034f": true, "\u202a\u202c": true, "\U000e0020": true, "\x00\x7f": true, "\u00a0\u3000\u2003": true, "\u180e": true,
		".": false, "\u200ba": false, "\u2764\ufe0f": false, "\u0301": false, "\ufffd": false, "\U0001f468\u200d\U0001f469": false,
	} {
		if got := IsBlank(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}

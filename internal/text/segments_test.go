package text

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSegments(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{
		{"", 1},
		{strings.Repeat("a", 160), 1},
		{strings.Repeat("a", 161), 2},
		{strings.Repeat("a", 306), 2},
		{strings.Repeat("a", 307), 3},
		{strings.Repeat("€", 80), 1},
		{strings.Repeat("€", 81), 2},
		{strings.Repeat("€", 152), 2}, // 153 is odd, so a place stays free
		{strings.Repeat("€", 153), 3},
		{strings.Repeat("ж", 70), 1},
		{strings.Repeat("ж", 71), 2},
		{strings.Repeat("ж", 134), 2},
		{strings.Repeat("ж", 135), 3},
		{strings.Repeat("👍", 35), 1},
		{strings.Repeat("👍", 36), 2},
		{strings.Repeat("👍", 66), 2}, // 67 is odd
		{strings.Repeat("👍", 67), 3},
		{strings.Repeat("a", 69) + "ж", 1},
		{strings.Repeat("a", 70) + "ж", 2},
	} {
		if got := Segments(c.text); got != c.want {
			t.Errorf("%d characters of %.4q: %d segments, want %d", Length(c.text, Characters), c.text, got, c.want)
		}
	}
}

// A longer text never takes fewer segments, and none takes fewer than its length asks for.
func TestSegmentsGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringN(0, 400, -1).Draw(t, "text")
		n := Segments(s)
		if more := Segments(s + "a"); more < n || n < 1 {
			t.Fatalf("%d segments, %d with a letter more", n, more)
		}
		most := utf16OfMany
		if IsGSM(s) {
			most = septetsOfMany
		}
		if n > 1 && n*most < Length(s, Septets) {
			t.Fatalf("%d segments cannot hold %d", n, Length(s, Septets))
		}
	})
}

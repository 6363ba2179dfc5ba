package block

import (
	"strings"
	"testing"
	"time"
)

// A block is found by every writing of the name, on its site, and by nobody else.
func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		blocked, user, host string
		want                bool
	}{
		{"johndow", "johndow", "", true},
		{"johndow", "JohnDow", "", true},
		{" JOHNDOW ", "johndow", "", true},
		{"johndow", "johndow@example.com", "", true},
		{"johndow", "johndow@Example.com@qrcode", "", true},
		{"johndow@Example.com", "johndow", "", true},
		{"johndow@example.com@qrcode", "johndow@EXAMPLE.com", "", true},
		{"johndow@example.com", "johndow@example.net", "", false},
		{"johndow@example.com", "johndo", "", false},
		{"johndow", "johndow2", "", false},
		{"johndow", "2johndow", "", false},
		{"johndow", "example.com", "", false},
		{"+15551234567", "+15551234567", "", true},
		{"ÄRZTE", "ärzte", "", true},
		{"johndow", "johndow", "sms.example.com", true},
		{"johndow", "johndow", "SMS.example.com.:8443", true},
		{"johndow", "johndow@example.com", "bücher.example", true},
		{"johndow", "johndow", "::1", true},
		{"johndow", "johndow", "[::1]:8443", true},
	} {
		b, err := New(c.blocked, c.host, time.Time{})
		if err != nil {
			t.Fatalf("%q: %v", c.blocked, err)
		}
		s := NewSet([]Block{{User: "other"}, b})
		if got := s.Blocks(c.user, c.host); got != c.want {
			t.Errorf("a block of %q blocks %q: %t", c.blocked, c.user, got)
		}
		if got := s.Blocks(c.user, "other.example"); got != (c.want && c.host == "") {
			t.Errorf("a block of %q on %q blocks %q on another site: %t", c.blocked, c.host, c.user, got)
		}
		if NewSet(nil).Blocks(c.user, "") || (*Set)(nil).Blocks(c.user, "") {
			t.Error("an empty set blocks")
		}
	}
	if Host("Bücher.example:443") != Host("xn--bcher-kva.example.") || Host("[::1]:8080") != Host("::1") {
		t.Error("a host has two writings")
	}
}

// Only names can be blocked.
func TestBadBlocks(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {" ", ""}, {"@example.com", ""}, {strings.Repeat("x", 257), ""}, {"a\nb", ""}, {"a\x00", ""}, {"\xff", ""}, {"a\u202eb", ""},
		{"a", "https://x/"}, {"a", "x/path"}, {"a", strings.Repeat("x", 256)}, {"a", ":8080"}, {"a", "a b"}, {"a", "user@x"}, {"a", "."},
	} {
		if b, err := New(c[0], c[1], time.Time{}); err == nil {
			t.Errorf("%q on %q is blocked as %+v", c[0], c[1], b)
		}
	}
}

// A set without blocks costs a message nothing.
func TestEmptySetAllocatesNothing(t *testing.T) {
	s := NewSet(nil)
	if n := testing.AllocsPerRun(100, func() { s.Blocks("johndow@example.com", "sms.example.com") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

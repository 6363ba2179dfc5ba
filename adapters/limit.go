package adapters

import (
	"strconv"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// limit is the longest text of a definition or send block.
type limit struct {
	max  int
	unit text.Unit
	wide int // the limit in UTF-16 units for texts outside of the GSM alphabet; 0 if max applies to them too
}

// parseLimit reads: text max N UNIT, or: text max N septets M utf16.
func parseLimit(s *syntax.Statement) (limit, error) {
	var l limit
	ok := false
	if a := s.Args(); (len(a) == 3 || len(a) == 5) && a[0].Text == "max" {
		if l.max, l.unit, ok = parseLength(a[1:3]); ok && len(a) == 5 {
			var unit text.Unit
			l.wide, unit, ok = parseLength(a[3:])
			ok = ok && l.unit == text.Septets && unit == text.UTF16
		}
	}
	if !ok {
		return limit{}, s.Fail("write: text max N characters, septets, utf16 or octets; or: text max N septets M utf16; or: text replace OLD NEW")
	}
	return l, nil
}

// parseLength reads: N UNIT.
func parseLength(w []syntax.Word) (int, text.Unit, bool) {
	n, err := strconv.Atoi(w[0].Text)
	unit, ok := text.ParseUnit(w[1].Text)
	return n, unit, ok && err == nil && n > 0
}

// check refuses a text above the limit.
func (l limit) check(body string) *sms.Refusal {
	if l.max == 0 {
		return nil
	}
	most, unit := l.max, l.unit
	if l.wide != 0 && !text.IsGSM(body) {
		most, unit = l.wide, text.UTF16
	}
	if n := text.Length(body, unit); n > most {
		return tooLong(n, unit, most)
	}
	return nil
}

// tooLong returns the refusal with the length and the limit, in units that the app's user
// understands.
func tooLong(length int, unit text.Unit, limit int) *sms.Refusal {
	word := "characters"
	if unit == text.Octets {
		word = "bytes"
	}
	return sms.RefuseAs(sms.TooLong, sms.TextTooLong, "length", strconv.Itoa(length), "unit", word, "limit", strconv.Itoa(limit))
}

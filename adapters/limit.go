package adapters

import (
	"context"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// limit is the longest text of a definition or variant.
type limit struct {
	max  int
	unit text.Unit
	wide int // the longest text that the GSM alphabet cannot write, in UTF-16 units; 0 if there is no other limit for it
}

// parseLimit reads: text max N UNIT, or: text max N septets M utf16.
func parseLimit(s *statement) (limit, error) {
	var l limit
	ok := false
	if a := s.args(); (len(a) == 3 || len(a) == 5) && a[0].text == "max" {
		if l.max, l.unit, ok = parseLength(a[1:3]); ok && len(a) == 5 {
			var unit text.Unit
			l.wide, unit, ok = parseLength(a[3:])
			ok = ok && l.unit == text.Septets && unit == text.UTF16
		}
	}
	if !ok {
		return limit{}, s.fail("write: text max N characters, septets, utf16 or octets; or: text max N septets M utf16; or: text replace OLD NEW")
	}
	return l, nil
}

// parseLength reads: N UNIT.
func parseLength(w []word) (int, text.Unit, bool) {
	n, err := strconv.Atoi(w[0].text)
	unit, ok := text.ParseUnit(w[1].text)
	return n, unit, ok && err == nil && n > 0
}

// check refuses a text that is too long and says by how much.
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

// tooLong says by how much a text is too long, in words that its writer knows.
func tooLong(length int, unit text.Unit, limit int) *sms.Refusal {
	word := "characters"
	if unit == text.Octets {
		word = "bytes"
	}
	return sms.RefuseAs(sms.TooLong, sms.TextTooLong, "length", strconv.Itoa(length), "unit", word, "limit", strconv.Itoa(limit))
}

// Parts splits the text of a message into as few messages as this API takes, one if it fits, at most so many. Each part
// is a message of its own with an id that depends on the message's and the part's place alone; what is attached goes
// with the first. The error is a *sms.Refusal.
func (a *Adapter) Parts(m *sms.Message, most int) ([]*sms.Message, error) {
	_, _, refusal := a.choose(m)
	if refusal == nil {
		return []*sms.Message{m}, nil
	}
	if refusal.Cause != sms.TooLong || most < 2 {
		return nil, refusal
	}
	whole := m.Body.Reveal()
	texts, rest := text.Split(whole, most, func(i int, s string) bool {
		_, _, refusal := a.choose(partOf(m, i, s))
		return refusal == nil
	})
	switch {
	case rest != "" && len(texts) == 0:
		return nil, refusal
	case rest != "":
		length := text.Length(whole, text.Characters)
		return nil, tooLong(length, text.Characters, length-text.Length(rest, text.Characters))
	}
	parts := make([]*sms.Message, len(texts))
	for i, s := range texts {
		parts[i] = partOf(m, i, s)
		v, c, refusal := a.choose(parts[i])
		if refusal == nil { // what cannot be written is found out before anything is sent
			_, _, refusal = c.build(context.Background(), v)
		}
		if refusal != nil {
			return nil, refusal
		}
		if i > 0 {
			parts[i].ID = uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d", m.ID, i)).String()
		}
	}
	return parts, nil
}

// partOf is the message with a part of its text.
func partOf(m *sms.Message, i int, s string) *sms.Message {
	p := *m
	if p.Body = sms.Hide(s); i > 0 {
		p.Media = nil
	}
	return &p
}

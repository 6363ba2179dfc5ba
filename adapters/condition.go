package adapters

import (
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// condition decides whether a variant or a group of members takes part.
type condition struct {
	negated bool
	hole    filler // of a value that must not be empty
	unicode bool
	media   bool
	alpha   bool // the sender is alphanumeric
	unit    text.Unit
	compare func(length, limit int) bool
	limit   int
}

var comparisons = map[string]func(a, b int) bool{
	"<=": func(a, b int) bool { return a <= b },
	"<":  func(a, b int) bool { return a < b },
	">=": func(a, b int) bool { return a >= b },
	">":  func(a, b int) bool { return a > b },
}

// parseCondition reads what stands behind when: [no] media, unicode, alphanumeric or {hole}, or UNIT <= N.
func (p *parser) parseCondition(s *statement, words []word) (condition, error) {
	var c condition
	if len(words) > 1 && words[0].text == "no" {
		c.negated, words = true, words[1:]
	}
	switch {
	case len(words) == 1 && words[0].text == "media":
		c.media = true
		return c, nil
	case len(words) == 1 && words[0].text == "unicode":
		c.unicode = true
		return c, nil
	case len(words) == 1 && words[0].text == "alphanumeric":
		c.alpha = true
		return c, nil
	case len(words) == 1 && strings.HasPrefix(words[0].text, "{"):
		t, err := p.parseTemplate(s, words[0].text)
		if err != nil {
			return c, err
		}
		if len(t) == 1 && t[0].fill != nil && t[0].hole != tokenHole {
			c.hole = t[0].fill
			return c, nil
		}
	case len(words) == 3 && !c.negated:
		unit, ok := text.ParseUnit(words[0].text)
		limit, err := strconv.Atoi(words[2].text)
		if c.unit, c.limit, c.compare = unit, limit, comparisons[words[1].text]; ok && err == nil && c.compare != nil {
			return c, nil
		}
	}
	return c, s.fail("when takes media, unicode, alphanumeric (the sender) or one {sms.…} hole, each with no in front to turn it round, or a length such as: septets <= 160")
}

// isLength reports whether the condition is about the length of the text.
func (c *condition) isLength() bool { return c.compare != nil }

func (c *condition) holds(v *vars) bool {
	ok := false
	switch {
	case c.media:
		ok = len(v.message.Media) > 0
	case c.alpha:
		ok = v.message.From.Kind == sms.Alphanumeric
	case c.unicode:
		ok = !text.IsGSM(v.text)
	case c.hole != nil:
		ok = c.hole(v) != ""
	default:
		ok = c.compare(text.Length(v.text, c.unit), c.limit)
	}
	return ok != c.negated
}

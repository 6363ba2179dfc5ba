package adapters

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// condition decides whether a send block is a candidate, or whether a group of members is sent.
type condition struct {
	negated bool
	hole    filler // the hole whose value must not be empty
	unicode bool
	media   bool
	alpha   bool // the sender is alphanumeric
	unit    text.Unit
	compare func(length, limit int) bool
	limit   int
	option  *optionCondition
}

// optionCondition is a condition on an option. Bind evaluates it once.
type optionCondition struct {
	name  string
	value string // the required value; "" accepts any value
}

// decided reports whether a condition on an option is true. It returns true for conditions on the
// message, which are evaluated later.
func (c *condition) decided(options map[string]string) bool {
	if c.option == nil {
		return true
	}
	v := options[c.option.name]
	return (v != "" && (c.option.value == "" || v == c.option.value)) != c.negated
}

var comparisons = map[string]func(a, b int) bool{
	"<=": func(a, b int) bool { return a <= b },
	"<":  func(a, b int) bool { return a < b },
	">=": func(a, b int) bool { return a >= b },
	">":  func(a, b int) bool { return a > b },
}

// parseCondition reads the words after `when`: [no] media, unicode, alphanumeric or {hole}, or UNIT
// <= N.
func (p *parser) parseCondition(s *syntax.Statement, words []syntax.Word) (condition, error) {
	var c condition
	if len(words) > 1 && words[0].Text == "no" {
		c.negated, words = true, words[1:]
	}
	switch {
	case len(words) == 1 && words[0].Text == "media":
		c.media = true
		return c, nil
	case len(words) == 1 && words[0].Text == "unicode":
		c.unicode = true
		return c, nil
	case len(words) == 1 && words[0].Text == "alphanumeric":
		c.alpha = true
		return c, nil
	case len(words) == 1 && strings.HasPrefix(words[0].Text, "{"):
		t, err := p.parseTemplate(s, words[0].Text)
		if err != nil {
			return c, err
		}
		if len(t) == 1 && t[0].fill != nil && t[0].hole != tokenHole {
			c.hole = t[0].fill
			return c, nil
		}
		if o := p.optionOf(t); o != nil {
			c.option = &optionCondition{name: o.Name}
			return c, nil
		}
	case len(words) == 3 && strings.HasPrefix(words[0].Text, "{") && (words[1].Text == "==" || words[1].Text == "!=") && !c.negated:
		t, err := p.parseTemplate(s, words[0].Text)
		if err != nil {
			return c, err
		}
		if o := p.optionOf(t); o != nil {
			if !slices.Contains(o.Values, words[2].Text) {
				return c, s.Fail("only an option with a list of values is compared, with one of them: option %s optional in A B", o.Name)
			}
			c.option, c.negated = &optionCondition{o.Name, words[2].Text}, words[1].Text == "!="
			return c, nil
		}
	case len(words) == 3 && !c.negated:
		unit, ok := text.ParseUnit(words[0].Text)
		limit, err := strconv.Atoi(words[2].Text)
		if c.unit, c.limit, c.compare = unit, limit, comparisons[words[1].Text]; ok && err == nil && c.compare != nil {
			return c, nil
		}
	}
	return c, s.Fail("when takes media, unicode, alphanumeric (the sender) or one {sms.…} hole, each with no in front to turn it round, or a length such as: septets <= 160, or an option such as: {option.NAME} == VALUE")
}

// optionOf returns the option of a template that consists of a single {option.NAME}.
func (p *parser) optionOf(t template) *Option {
	for i := range p.def.Options {
		if o := &p.def.Options[i]; len(t) == 1 && t[0].hole == optionHole+o.Name {
			return o
		}
	}
	return nil
}

// isLength reports whether the condition is about the length of the text.
func (c *condition) isLength() bool { return c.compare != nil }

func (c *condition) holds(v *vars) bool {
	if c.option != nil {
		return true // bind has dropped the groups whose condition is false
	}
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

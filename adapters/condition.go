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
	negated  bool
	media    bool // it is `media`
	isLength bool // it is about the length of the text
	test     func(v *vars) bool
	option   *optionCondition // instead of test
}

// tests are the conditions of one word.
var tests = map[string]func(v *vars) bool{
	"media":        func(v *vars) bool { return len(v.message.Media) > 0 },
	"unicode":      func(v *vars) bool { return !text.IsGSM(v.text) },
	"alphanumeric": func(v *vars) bool { return v.message.From.Kind == sms.Alphanumeric }, // the sender
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
	case len(words) == 1 && tests[words[0].Text] != nil:
		c.test, c.media = tests[words[0].Text], words[0].Text == "media"
		return c, nil
	case len(words) == 1 && strings.HasPrefix(words[0].Text, "{"):
		t, err := p.parseTemplate(s, words[0].Text)
		if err != nil {
			return c, err
		}
		if len(t) == 1 && t[0].fill != nil && t[0].hole != tokenHole {
			c.test = func(v *vars) bool { return t[0].fill(v) != "" }
			return c, nil
		}
		if o := p.option(t.optionName()); o != nil && len(t) == 1 {
			c.option = &optionCondition{name: o.Name}
			return c, nil
		}
	case len(words) == 3 && strings.HasPrefix(words[0].Text, "{") && (words[1].Text == "==" || words[1].Text == "!=") && !c.negated:
		t, err := p.parseTemplate(s, words[0].Text)
		if err != nil {
			return c, err
		}
		if o := p.option(t.optionName()); o != nil && len(t) == 1 {
			if !slices.Contains(o.Values, words[2].Text) {
				return c, s.Fail("only an option with a list of values is compared, with one of them: option %s optional in A B", o.Name)
			}
			c.option, c.negated = &optionCondition{o.Name, words[2].Text}, words[1].Text == "!="
			return c, nil
		}
	case len(words) == 3 && !c.negated:
		unit, ok := text.ParseUnit(words[0].Text)
		limit, err := strconv.Atoi(words[2].Text)
		if compare := comparisons[words[1].Text]; ok && err == nil && compare != nil {
			c.isLength, c.test = true, func(v *vars) bool { return compare(text.Length(v.text, unit), limit) }
			return c, nil
		}
	}
	return c, s.Fail("write after when: media, unicode, alphanumeric (the sender) or one {sms.…} hole, each may have no before it, to negate it, or a length such as: septets <= 160, or an option such as: {option.NAME} == VALUE")
}

func (c *condition) holds(v *vars) bool {
	return c.option != nil || c.test(v) != c.negated // bind has dropped the groups whose option differs
}

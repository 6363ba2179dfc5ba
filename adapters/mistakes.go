package adapters

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// This file contains the errors about lines in another format or in the wrong place. These errors
// never quote a value, because a secret may be in the wrong place. They quote a name only if it is
// similar to a known one.

// unknownWord returns the error about a statement whose first word is unknown in the block named
// inside. inside is "" at the top of a definition.
func (s *statement) unknownWord(inside string, known []string) error {
	word := s.first()
	if name, _, glue, ok := s.pair(); ok {
		switch {
		case slices.Contains(known, name):
			return s.fail("write: %s VALUE, without %s", name, glue)
		case inside != "" && glue == ":":
			return s.fail("a header is written: header NAME VALUE, without :")
		}
	}
	method := strings.ToUpper(word)
	switch isMethod := slices.Contains(methods, method); {
	case isMethod && inside == "":
		return s.fail("write send { %s … }", method)
	case isMethod && word != method:
		return s.fail("write %s in capitals", method)
	case word == "define":
		return s.fail("a file contains what stands between the braces of define")
	case inside == "" && (slices.Contains(requestWords, word) || word == "when" || word == "json[]"):
		return s.fail("%s stands inside send { … }", word)
	case inside != "" && (slices.Contains(definitionWords, word) || slices.Contains(caddyfileWords, word)):
		return s.fail("%s does not belong into %s { … }, is a } missing above?", word, inside)
	case slices.Contains(caddyfileWords, word):
		return s.fail("%s stands in the Caddyfile, outside of define; is a } missing above?", word)
	case foreignWords[strings.ToLower(word)] != "":
		return s.fail("write: %s", foreignWords[strings.ToLower(word)])
	}
	return s.fail("%s", suggest.Unknown("word", word, known))
}

// caddyfileWords are words of the Caddyfile that may appear after a definition.
var caddyfileWords = []string{"adapter", "user", "users", "allow", "deny", "default_region", "acrobits_sms", "route", "respond", "handle"}

// foreignWords maps the words of other tools to our way to write the same.
var foreignWords = map[string]string{
	"url": "base_url https://HOST, and send { POST /path … }", "uri": "base_url https://HOST, and send { POST /path … }", "endpoint": "base_url https://HOST, and send { POST /path … }",
	"host": "base_url https://HOST", "method": "send { POST /path … }", "request": "send { POST /path … }", "response": "reply json, xml, text or pairs",
	"headers": "header NAME VALUE, a line each", "-h": "header NAME VALUE", "--header": "header NAME VALUE",
	"auth": "basic USER PASSWORD, or: bearer TOKEN", "authorization": "basic USER PASSWORD, or: bearer TOKEN", "-u": "basic USER PASSWORD", "--user": "basic USER PASSWORD",
	"params": "query { name value … }", "parameters": "query { name value … }", "qs": "query { name value … }",
	"body": "form { name value … }, or: json { name value … }", "data": "form { name value … }, or: json { name value … }", "-d": "form { name value … }, or: json { name value … }",
	"curl": "send { POST /path … }", "-x": "send { POST /path … }",
}

// pair finds a name and a value that are joined as in other formats: to=value, to = value, to:
// value, "to" => value. glue is the operator between them.
func (s *statement) pair() (name, value, glue string, ok bool) {
	first := s.words[0]
	second := word{}
	if len(s.words) > 1 {
		second = s.words[1]
	}
	if !strings.ContainsAny(first.text, "=:") && (second.text == "" || second.text[0] != '=' && second.text[0] != ':') {
		return "", "", "", false
	}
	for _, form := range []*regexp.Regexp{assigned, labelled} {
		if found := form.FindStringSubmatch(first.text); found != nil {
			if name, glue, value = found[1], found[2], found[3]; value == "" {
				value = second.text
			}
			return strings.Trim(name, `"'`), value, glue, true
		}
	}
	if found := glued.FindStringSubmatch(second.text); found != nil && !second.quoted {
		glue, value = found[1], found[2]
		if value == "" && len(s.words) > 2 {
			value = s.words[2].text
		}
		return first.text, value, glue, true
	}
	return "", "", "", false
}

var (
	// assigned matches names followed by "=". labelled matches names followed by ":", but not names
	// of XML, which contain ":".
	assigned = regexp.MustCompile(`^([^={]*)(=>|=)(.*)$`)
	labelled = regexp.MustCompile(`^([^={]+?)(:)((?:["'{].*)?)$`)
	// glued matches values that begin with "=" or ":".
	glued = regexp.MustCompile(`^(=>|:=|=|:)(.*)$`)
)

// writtenAs returns the line that the author of a pair meant. It replaces an unknown name by NAME
// and an unknown value by VALUE.
func (p *parser) writtenAs(name, value string) string {
	if name = p.known(name); name == "" {
		name = "NAME"
	}
	value = strings.Trim(value, `"',;& `)
	if end := strings.IndexByte(value, '}'); end > 0 {
		value = value[:end+1]
	}
	if !p.isKnownHole(value) {
		value = "VALUE"
	}
	return name + " " + value
}

// known returns name if an error may quote it, else "". An error may quote names similar to the
// last part of a hole, such as the name of an option, or to a frequent name of a parameter.
func (p *parser) known(name string) string {
	list := []string{"text", "message", "number", "key", "token", "sender", "recipient", "phone", "type", "username", "password", "api_key", "id", "when"}
	for _, h := range p.holes() {
		list = append(list, h[strings.LastIndexByte(h, '.')+1:])
	}
	if len(name) > maxHole || suggest.Quote(name, list) == "" || strings.ContainsAny(name, "=:") {
		return ""
	}
	return name
}

// named returns name if an error may quote it, else NAME.
func (p *parser) named(name string) string {
	if known := p.known(name); known != "" {
		return known
	}
	return "NAME"
}

// holes returns the names of all holes that the definition may use, without braces.
func (p *parser) holes() []string {
	list := []string{mediaHole, tokenHole}
	for h := range holes {
		list = append(list, h)
	}
	slices.Sort(list)
	for _, o := range p.def.Options {
		list = append(list, optionHole+o.Name)
	}
	return list
}

func (p *parser) isKnownHole(text string) bool {
	return len(text) > 2 && text[0] == '{' && text[len(text)-1] == '}' && slices.Contains(p.holes(), text[1:len(text)-1])
}

// otherHoles matches holes in the syntax of other languages: %sms_to%, $sms_to, $(sms.to),
// <sms.to>, [sms.to], :sms_to, or sms.to alone.
var otherHoles = regexp.MustCompile(`(^|[%$<\[:(])\(?((?:sms|option|message|attempt)[._][a-z0-9_.]+)`)

// checkText refuses fixed text that contains a hole in the syntax of another language, because it
// would be sent unchanged.
func (p *parser) checkText(s *statement, text string) error {
	if !strings.ContainsAny(text, "._") {
		return nil
	}
	for _, found := range otherHoles.FindAllStringSubmatch(text, -1) {
		name := strings.TrimRight(found[2], ".")
		if found[1] == "" && (name != text || !strings.Contains(name, ".")) {
			continue
		}
		for _, h := range p.holes() {
			if h == name || strings.ReplaceAll(h, ".", "_") == strings.ReplaceAll(name, ".", "_") {
				return s.fail("write {%s}: a hole stands in braces, and nothing else around it", h)
			}
		}
	}
	return nil
}

// checkAround refuses ${hole}, %{hole} and {{hole}}, because the additional characters would be
// sent.
func (t template) checkAround(s *statement) error {
	for i := 1; i < len(t); i++ {
		if before := t[i-1].text; t[i].hole != "" && t[i-1].hole == "" && strings.ContainsAny(before[len(before)-1:], "${%") {
			return s.fail("write {%s}, without %s in front of it", t[i].hole, before[len(before)-1:])
		}
	}
	return nil
}

// jsonLine reports whether a line looks like JSON. It is called before blocks are read, because the
// braces of JSON would not match.
func (s *statement) jsonLine() bool {
	if len(s.words) == 1 && !s.words[0].quoted {
		return slices.Contains([]string{"},", "],", "]", "{}", "{},", "[],", "[]"}, s.first())
	}
	return len(s.words) > 1 && s.words[0].quoted && !s.words[1].quoted && strings.HasPrefix(s.words[1].text, ":")
}

// failJSON returns the error about a line of JSON.
func (s *statement) failJSON(p *parser) error {
	line := "to {sms.to}"
	if name, value, _, ok := s.pair(); ok {
		if as := p.writtenAs(name, value); !strings.Contains(as, "NAME ") && !strings.HasSuffix(as, " VALUE") {
			line = as
		}
	}
	return s.fail("no JSON here: one `name value` a line, such as: %s", line)
}

// optionsOf returns the options that a definition declares, found in its lines before it is parsed.
func optionsOf(lines []line) (list []Option) {
	for _, l := range lines {
		if len(l.words) > 1 && l.words[0].text == "option" && isName(l.words[1].text) {
			list = append(list, Option{Name: l.words[1].text})
		}
	}
	return list
}

// contradicting finds the probable place of a missing brace. It returns the number of the first
// line whose indentation suggests that an open block above it has ended, or 0 if there is no such
// line.
func contradicting(source string, lines []line) int {
	indents := strings.Split(source, "\n")
	indentOf := func(n int) int { s := indents[n-1]; return len(s) - len(strings.TrimLeft(s, " \t")) }
	var open []int
	for i, l := range lines {
		last := l.words[len(l.words)-1]
		closes := l.words[0].isBrace("}")
		if depth := len(open); depth > 0 {
			within := indentOf(open[depth-1])
			contradicts := indentOf(l.number) < within || !closes && indentOf(l.number) == within
			switch {
			case contradicts && lines[i-1].number == open[depth-1]: // the text is not indented at all
				return 0
			case contradicts:
				return l.number
			}
		}
		switch {
		case closes && len(open) > 0:
			open = open[:len(open)-1]
		case last.isBrace("{") && len(l.words) > 1:
			open = append(open, l.number)
		}
	}
	return 0
}

// withoutInput returns err, the error of a library about text. If err quotes a word of text,
// withoutInput returns a fixed error instead.
func withoutInput(err error, text string) error {
	for _, word := range regexp.MustCompile(`[\pL\pN]{3,}`).FindAllString(text, -1) {
		if strings.Contains(err.Error(), word) {
			return errors.New("it is not well-formed")
		}
	}
	return err
}

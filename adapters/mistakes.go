package adapters

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// This file contains the errors about lines in another format or in the wrong place. These errors
// never quote a value, because a secret may be in the wrong place. They quote a name only if it is
// similar to a known one.

// unknownWord returns the error about a statement whose first word is unknown in the block named
// inside. inside is "" at the top of a definition.
func unknownWord(s *syntax.Statement, inside string, known []string) error {
	word := s.First()
	if name, _, glue, ok := s.Pair(); ok {
		switch {
		case slices.Contains(known, name):
			return s.Fail("write: %s VALUE, without %s", name, glue)
		case inside != "" && glue == ":":
			return s.Fail("write: header NAME VALUE, without :")
		}
	}
	method := strings.ToUpper(word)
	switch isMethod := slices.Contains(methods, method); {
	case isMethod && inside == "":
		return s.Fail("write send { %s … }", method)
	case isMethod && word != method:
		return s.Fail("write %s in capitals", method)
	case word == "define":
		return s.Fail("remove define { and its }: a file contains only the lines between them")
	case inside == "" && (slices.Contains(requestWords, word) || word == "when" || word == "json[]"):
		return s.Fail("write %s inside send { … }", word)
	case inside != "" && (slices.Contains(definitionWords, word) || slices.Contains(caddyfileWords, word)):
		return s.Fail("%s does not belong in %s { … }, is a } missing above?", word, inside)
	case slices.Contains(caddyfileWords, word):
		return s.Fail("%s is a word of the Caddyfile and belongs outside of define; is a } missing above?", word)
	case foreignWords[strings.ToLower(word)] != "":
		return s.Fail("write: %s", foreignWords[strings.ToLower(word)])
	}
	return s.Unknown("word", word, known)
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

// writtenAs returns the line that the author of a pair meant. It replaces an unknown name by NAME
// and an unknown value by VALUE.
func (p *parser) writtenAs(name, value string) string {
	value = strings.Trim(value, `"',;& `)
	if end := strings.IndexByte(value, '}'); end > 0 {
		value = value[:end+1]
	}
	if !p.isKnownHole(value) {
		value = "VALUE"
	}
	return p.named(name) + " " + value
}

// named returns name if an error may quote it, else NAME. An error may quote names similar to the
// last part of a hole, such as the name of an option, or to a frequent name of a parameter.
func (p *parser) named(name string) string {
	list := []string{"text", "message", "number", "key", "token", "sender", "recipient", "phone", "type", "username", "password", "api_key", "id", "when"}
	for _, h := range p.holes() {
		list = append(list, h[strings.LastIndexByte(h, '.')+1:])
	}
	if len(name) > maxHole || suggest.Quote(name, list) == "" || strings.ContainsAny(name, "=:") {
		return "NAME"
	}
	return name
}

// holes returns the names of all holes that the definition may use, without braces.
func (p *parser) holes() []string {
	list := []string{mediaHole, tokenHole}
	for form, f := range mediaForms {
		if form == "" {
			list = append(list, mediaHole+".0")
			continue
		}
		list = append(list, mediaHole+".0."+form)
		if f.carries() {
			list = append(list, mediaHole+"."+form)
		}
	}
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
var otherHoles = regexp.MustCompile(`(^|[%$<\[:(])\(?((?:sms|option|message|attempt|receipt)[._][a-z0-9_.]+)`)

// checkText refuses fixed text that contains a hole in the syntax of another language, because it
// would be sent unchanged.
func (p *parser) checkText(s *syntax.Statement, text string) error {
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
				return s.Fail("write {%s}: a hole is written in braces, without other signs around it", h)
			}
		}
	}
	return nil
}

// checkAround refuses ${hole}, %{hole} and {{hole}}, because the additional characters would be
// sent.
func (t template) checkAround(s *syntax.Statement) error {
	for i := 1; i < len(t); i++ {
		if before := t[i-1].text; t[i].hole != "" && t[i-1].hole == "" && strings.ContainsAny(before[len(before)-1:], "${%") {
			return s.Fail("write {%s}, without %s in front of it", t[i].hole, before[len(before)-1:])
		}
	}
	return nil
}

// failJSON adds an example to the error about a line of JSON: that line as a statement, if all its
// words may be quoted. before are the statements before it.
func failJSON(err *syntax.JSONError, before []*syntax.Statement) error {
	p := &parser{def: new(Definition)}
	for _, s := range before {
		if args := s.Args(); s.First() == "option" && len(args) > 0 && isName(args[0].Text) {
			p.def.Options = append(p.def.Options, Option{Name: args[0].Text})
		}
	}
	example := "to {sms.to}"
	if name, value, _, ok := err.Pair(); ok {
		if as := p.writtenAs(name, value); !strings.Contains(as, "NAME ") && !strings.HasSuffix(as, " VALUE") {
			example = as
		}
	}
	return fmt.Errorf("%w, such as: %s", err, example)
}

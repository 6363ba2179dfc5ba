package adapters

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/antchfx/xmlquery"
	"github.com/antchfx/xpath"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

var replyKinds = map[string]replyKind{"json": jsonReply, "xml": xmlReply, "text": textReply, "pairs": pairsReply}

var operators = []string{"==", "!=", "in", "exists", "empty", "matches", "every"}

// replyWords are the statements that make up a reply, at the top of a definition or in a variant.
var replyWords = []string{"reply", "accepted", "id", "code", "message", "cause"}

// parseReply reads the reply statements among a list. What a variant says of one word replaces what stands above,
// except cause lines, which come before those above. A variant with a reply line of its own takes nothing from above:
// paths of one kind mean nothing in another.
func (p *parser) parseReply(statements []*statement, above reply) (reply, error) {
	r := above
	seen := make(map[string]bool)
	for _, s := range statements {
		if s.first() == "reply" {
			if seen["reply"] {
				return r, s.fail("reply appears twice")
			}
			seen["reply"] = true
			r, above = reply{}, reply{}
			if err := r.parseKind(s); err != nil {
				return r, err
			}
		}
	}
	r.causes = nil
	for _, s := range statements {
		word := s.first()
		if !slices.Contains(replyWords, word) || word == "reply" {
			continue
		}
		if s.opens {
			return r, s.fail("%s takes no block", word)
		}
		if r.kind == noReply {
			return r, s.fail("say how to read the reply before %s: reply json, xml, text or pairs", word)
		}
		first := !seen[word]
		if !first && word != "accepted" && word != "cause" {
			return r, s.fail("%s appears twice", word)
		}
		seen[word] = true
		var err error
		switch word {
		case "accepted":
			if first {
				r.status, r.accepted, r.asksForWords = nil, nil, false
			}
			err = r.parseAccepted(s)
		case "id":
			r.generated = len(s.words) == 2 && s.words[1].text == "generated" && !s.words[1].quoted
			if r.id = nil; !r.generated {
				r.id, err = r.parsePaths(s)
			}
		case "code":
			r.code, err = r.parsePaths(s)
		case "message":
			r.message, err = r.parsePaths(s)
		case "cause":
			err = r.parseCause(s)
		}
		if err != nil {
			return r, err
		}
	}
	r.causes = append(r.causes, above.causes...)
	return r, nil
}

func (r *reply) parseKind(s *statement) error {
	kind, ok := replyKinds[s.words[min(1, len(s.words)-1)].text]
	if !ok || len(s.words) > 3 || len(s.words) == 3 && kind != pairsReply {
		return s.fail("write: reply json, xml, text or pairs")
	}
	r.kind, r.separator = kind, "&"
	if len(s.words) == 3 {
		r.separator = s.words[2].text
	}
	return nil
}

func (r *reply) parsePaths(s *statement) ([]path, error) {
	if len(s.args()) == 0 {
		return nil, s.fail("%s takes at least one path%s", s.first(), hashHint(s))
	}
	var paths []path
	for _, w := range s.args() {
		p, err := r.parsePath(s, w.text, w.quoted)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

func (r *reply) parsePath(s *statement, w string, quoted bool) (p path, err error) {
	p.text = w
	switch r.kind {
	case xmlReply:
		if p.xpath, err = compileXPath(w); err != nil {
			return p, s.fail("%q is not an XPath to an element or attribute: %v", w, err)
		}
	case textReply:
		if !quoted {
			return p, s.fail("a pattern stands in backticks: `%s`", w)
		}
		if p.regex, err = pattern(w); err != nil {
			return p, s.fail("%q is not a pattern: %v", w, err)
		}
	}
	return p, nil
}

// pattern checks a regular expression, and compiles it when it is first used: most cause lines never are.
func pattern(s string) (func() *regexp.Regexp, error) {
	_, err := syntax.Parse(s, syntax.Perl)
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) }), err
}

// compileXPath compiles a path that leads to nodes. The library panics where types do not fit.
func compileXPath(w string) (expr *xpath.Expr, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if expr, err = xpath.Compile(w); err != nil {
		return nil, err
	}
	root, err := xmlquery.Parse(strings.NewReader("<x/>"))
	if err != nil {
		return nil, err
	}
	nodes, ok := expr.Evaluate(xmlquery.CreateXPathNavigator(root)).(*xpath.NodeIterator)
	if !ok {
		return nil, errors.New("it leads to a value")
	}
	nodes.MoveNext()
	return expr, nil
}

func (r *reply) parseAccepted(s *statement) error {
	args := s.args()
	if len(args) > 1 && args[0].text == "status" && !slices.Contains(operators, args[1].text) {
		ranges, err := parseStatuses(s, args[1:])
		for _, a := range ranges {
			if a.from < 200 || a.to > 299 {
				return s.fail("only 2xx can mean accepted")
			}
		}
		r.status = append(r.status, ranges...)
		return err
	}
	p, err := r.parsePredicate(s, args)
	if err == nil {
		r.accepted = append(r.accepted, *p)
		r.asksForWords = r.asksForWords || p.of == "code" || p.of == "message"
	}
	return err
}

func parseStatuses(s *statement, words []word) (ranges []statusRange, err error) {
	for _, w := range words {
		class, isClass := strings.CutSuffix(w.text, "xx")
		n, err := strconv.Atoi(class)
		switch {
		case err == nil && isClass && n >= 1 && n <= 5:
			ranges = append(ranges, statusRange{n * 100, n*100 + 99})
		case err == nil && !isClass && n >= 100 && n <= 599:
			ranges = append(ranges, statusRange{n, n})
		default:
			return nil, s.fail("%q is not an HTTP status such as 201 or 2xx", w.text)
		}
	}
	return ranges, nil
}

// wholeBody is what a predicate without a path is about.
const wholeBody = "body"

// parsePredicate reads: PATH OPERATOR [VALUE…], where PATH may be id, code or message as the definition finds them,
// status with statuses behind it, or missing for the whole body as a text, of whatever kind it is.
func (r *reply) parsePredicate(s *statement, w []word) (*predicate, error) {
	var p predicate
	subject := "accepted PATH"
	if s.first() == "cause" {
		subject = "cause NAME when PATH"
	}
	if len(w) > 1 && w[0].text == "status" && !slices.Contains(operators, w[1].text) {
		ranges, err := parseStatuses(s, w[1:])
		return &predicate{of: "status", status: ranges}, err
	}
	if len(w) > 0 && !w[0].quoted && slices.Contains(operators, w[0].text) {
		p.of = wholeBody
	} else if len(w) > 0 {
		if first := w[0]; !first.quoted && (first.text == "id" || first.text == "code" || first.text == "message") {
			p.of = first.text
		} else {
			var err error
			if p.path, err = r.parsePath(s, first.text, first.quoted); err != nil {
				return nil, err
			}
		}
		w = w[1:]
	}
	if len(w) > 1 && w[0].text == "every" {
		p.every, w = true, w[1:]
	}
	if len(w) == 0 || !slices.Contains(operators, w[0].text) || w[0].text == "every" {
		return nil, s.fail("write: %s, then one of %s%s", subject, strings.Join(operators[:len(operators)-1], " "), hashHint(s))
	}
	p.op = w[0].text
	for _, v := range w[1:] {
		if isOurs(v.text) {
			return nil, s.fail("%s: holes stand in requests, a reply is compared with fixed text", v.text)
		}
		p.values = append(p.values, v.text)
	}
	wanted := map[string]bool{
		"==": len(p.values) == 1, "!=": len(p.values) == 1, "matches": len(p.values) == 1, "in": len(p.values) > 0,
		"exists": len(p.values) == 0, "empty": len(p.values) == 0,
	}
	if !wanted[p.op] {
		return nil, s.fail("%s has the wrong number of values after it", p.op)
	}
	if p.op == "matches" {
		var err error
		if p.regex, err = pattern(p.values[0]); err != nil {
			return nil, s.fail("%q is not a pattern: %v", p.values[0], err)
		}
	}
	return &p, nil
}

// asks reports whether an accepted or cause line is about id, code or message.
func (r *reply) asks(of string) bool {
	return slices.ContainsFunc(r.accepted, func(p predicate) bool { return p.of == of }) ||
		slices.ContainsFunc(r.causes, func(c causeRule) bool { return c.when != nil && c.when.of == of || of == "code" && len(c.codes) > 0 })
}

func (r *reply) parseCause(s *statement) error {
	args := s.args()
	if len(args) < 2 {
		return s.fail("write: cause NAME CODE…, or: cause NAME when PATH == VALUE")
	}
	c, ok := sms.ParseCause(args[0].text)
	if !ok || !c.FromProvider() {
		var known []string
		for _, c := range sms.Causes() {
			if c.FromProvider() {
				known = append(known, c.String())
			}
		}
		return s.fail("a provider cannot cause %q%s (it can cause %s)", args[0].text, Meant(args[0].text, known), strings.Join(known, ", "))
	}
	rule := causeRule{cause: c}
	if args[1].text == "when" && !args[1].quoted {
		var err error
		if rule.when, err = r.parsePredicate(s, args[2:]); err != nil {
			return err
		}
	} else {
		for _, w := range args[1:] {
			if slices.Contains(operators, w.text) && !w.quoted {
				return s.fail("write: cause %s when PATH %s VALUE", c, w.text)
			}
			if slices.Contains(rule.codes, w.text) {
				return s.fail("code %s appears twice", w.text)
			}
			for _, earlier := range r.causes {
				if slices.Contains(earlier.codes, w.text) {
					return s.fail("code %s has a cause already, %s", w.text, earlier.cause)
				}
			}
			rule.codes = append(rule.codes, w.text)
		}
	}
	r.causes = append(r.causes, rule)
	return nil
}

// String names the kind as definitions do.
func (k replyKind) String() string {
	for name, kind := range replyKinds {
		if kind == k {
			return name
		}
	}
	return "reply"
}

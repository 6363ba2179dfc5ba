package adapters

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

var replyFormats = wire.ByName(wire.JSON, wire.XML, wire.Text, wire.Pairs)

var operators = []string{"==", "!=", "in", "exists", "empty", "matches", "every"}

// replyWords are the statements that make up a reply, at the top of a definition or in a send
// block.
var replyWords = []string{"reply", "accepted", "id", "code", "message", "cause"}

// parseReply reads the reply statements in a list. A statement in a send block replaces the
// statements with the same first word above the block. Cause lines are not replaced: those in the
// send block come first. A send block with its own reply line inherits nothing, because a path for
// one kind of reply means nothing in another.
func (p *parser) parseReply(statements []*syntax.Statement, above reply) (reply, error) {
	r := above
	seen := make(map[string]bool)
	for _, s := range statements {
		if s.First() == "reply" {
			if seen["reply"] {
				return r, s.Fail("reply appears twice")
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
		word := s.First()
		if !slices.Contains(replyWords, word) || word == "reply" {
			continue
		}
		if s.Opens {
			return r, s.Fail("%s must not have a block", word)
		}
		if r.format == wire.None {
			return r, s.Fail("say how to read the reply before %s: reply json, xml, text or pairs", word)
		}
		first := !seen[word]
		if !first && word != "accepted" && word != "cause" {
			return r, s.Fail("%s appears twice", word)
		}
		seen[word] = true
		var err error
		switch word {
		case "accepted":
			if first {
				r.status, r.statusText, r.accepted, r.asksForWords = nil, "", nil, false
			}
			err = r.parseAccepted(s)
		case "id":
			r.idHeaders, r.shared = nil, false
			if w := s.Words; len(w) > 2 && w[len(w)-1].Is("shared") {
				paths := *s
				paths.Words, r.shared = w[:len(w)-1], true
				s = &paths
			}
			r.generated = len(s.Words) == 2 && s.Words[1].Is("generated")
			if r.generated && r.shared {
				return r, s.Fail("id generated is a new one for each message; leave shared out")
			}
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

func (r *reply) parseKind(s *syntax.Statement) error {
	format, ok := replyFormats[s.Words[min(1, len(s.Words)-1)].Text]
	if !ok || len(s.Words) > 3 || len(s.Words) == 3 && format != wire.Pairs {
		return s.Fail("write: reply json, xml, text or pairs")
	}
	r.format, r.separator = format, "&"
	if len(s.Words) == 3 {
		r.separator = s.Words[2].Text
	}
	return nil
}

func (r *reply) parsePaths(s *syntax.Statement) ([]wire.Path, error) {
	if len(s.Args()) == 0 {
		return nil, s.Fail("%s needs at least one path%s", s.First(), s.HashHint())
	}
	var paths []wire.Path
	for i, w := range s.Args() {
		if w.Is(headerWord) {
			p, err := r.parseHeaderPath(s, s.Args()[i+1:])
			if first := s.First(); first == "id" || first == "access" {
				r.idHeaders = append(r.idHeaders, p)
			}
			return append(paths, p), err
		}
		p, err := r.parsePath(s, w)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// headerWord, in place of a path, says that the name of a header follows.
const headerWord = "header"

// parseHeaderPath reads the words after `header`, up to the end of the line: NAME [PATTERN].
func (r *reply) parseHeaderPath(s *syntax.Statement, w []syntax.Word) (p wire.Path, err error) {
	if len(w) == 0 || len(w) > 2 || !headerName.MatchString(w[0].Text) || len(w) == 2 && !w[1].Quoted {
		return p, s.Fail("write: %s header NAME, or with a pattern in backticks that finds a part of it, `([^/]+)$`, and nothing after it; put a path named header in quotes", s.First())
	}
	pattern := ""
	if len(w) == 2 {
		pattern = w[1].Text
	}
	if p, err = wire.ParseHeader(w[0].Text, pattern); err != nil {
		return p, s.Fail("%w", err)
	}
	r.headers = append(slices.Clip(r.headers), p.Header)
	return p, nil
}

func (r *reply) parsePath(s *syntax.Statement, w syntax.Word) (wire.Path, error) {
	if r.format == wire.Text && !w.Quoted {
		return wire.Path{}, s.Fail("put the pattern in backticks: %s `PATTERN`", s.First())
	}
	p, err := wire.ParsePath(r.format, w.Text)
	if err != nil {
		err = s.Fail("%w", err)
	}
	return p, err
}

// unknownOperator returns the error about an unknown operator. It suggests our operator for the
// spellings of other languages.
func unknownOperator(typed string) string {
	known := operators
	if as := map[string]string{"=": "==", "===": "==", "is": "==", "eq": "==", "equals": "==", "<>": "!=", "not": "!=", "isnt": "!=", "ne": "!=", "contains": "matches", "~": "matches", "=~": "matches",
		"like": "matches", "exist": "exists", "present": "exists", "missing": "empty", "null": "empty", "any": "in", "of": "in"}[strings.ToLower(typed)]; as != "" {
		known = append([]string{as}, slices.DeleteFunc(slices.Clone(operators), func(o string) bool { return o == as })...)
		return "unknown operator, did you mean " + as + "? known operators: " + strings.Join(known, ", ")
	}
	return suggest.Unknown("operator", typed, known)
}

func (r *reply) parseAccepted(s *syntax.Statement) error {
	args := s.Args()
	if len(args) > 1 && args[0].Text == "status" && !slices.Contains(operators, args[1].Text) {
		ranges, err := parseStatuses(s, args[1:])
		for _, a := range ranges {
			if a.from < 200 || a.to > 299 {
				return s.Fail("only 2xx can mean accepted")
			}
		}
		r.status = append(r.status, ranges...)
		r.statusText = strings.TrimSpace(r.statusText + " " + syntax.Join(args[1:]))
		return err
	}
	p, err := r.parsePredicate(s, args)
	if err == nil {
		p.text = "accepted " + syntax.Join(args)
		r.accepted = append(r.accepted, *p)
		r.asksForWords = r.asksForWords || p.of == "code" || p.of == "message"
	}
	return err
}

func parseStatuses(s *syntax.Statement, words []syntax.Word) (ranges []statusRange, err error) {
	for _, w := range words {
		class, isClass := strings.CutSuffix(w.Text, "xx")
		n, err := strconv.Atoi(class)
		switch {
		case err == nil && isClass && n >= 1 && n <= 5:
			ranges = append(ranges, statusRange{n * 100, n*100 + 99})
		case err == nil && !isClass && n >= 100 && n <= 599:
			ranges = append(ranges, statusRange{n, n})
		default:
			return nil, s.Fail("write an HTTP status as 201 or 2xx")
		}
	}
	return ranges, nil
}

// wholeBody is the subject of a predicate without a path.
const wholeBody = "body"

// parsePredicate reads: PATH OPERATOR [VALUE…], where PATH may be id, code or message as the
// definition finds them, status with statuses behind it, or missing for the whole body as a text,
// of whatever kind it is.
func (r *reply) parsePredicate(s *syntax.Statement, w []syntax.Word) (*predicate, error) {
	p := predicate{at: s.Place}
	subject := "accepted PATH"
	switch s.First() {
	case "cause":
		subject = "cause NAME when PATH"
	case "when":
		subject = "when PATH"
	}
	if len(w) > 1 && w[0].Text == "status" && !slices.Contains(operators, w[1].Text) {
		ranges, err := parseStatuses(s, w[1:])
		return &predicate{of: "status", status: ranges, at: s.Place}, err
	}
	if len(w) > 0 && !w[0].Quoted && slices.Contains(operators, w[0].Text) {
		p.of = wholeBody
	} else if len(w) > 0 {
		if len(w) > 2 && w[0].Is(headerWord) && !slices.Contains(operators, w[1].Text) {
			var err error
			if p.path, err = r.parseHeaderPath(s, w[1:2]); err != nil {
				return nil, err
			}
			w = w[1:]
		} else if first := w[0]; !first.Quoted && (first.Text == "id" || first.Text == "code" || first.Text == "message") {
			p.of = first.Text
		} else {
			var err error
			if p.path, err = r.parsePath(s, first); err != nil {
				return nil, err
			}
		}
		w = w[1:]
	}
	if len(w) > 1 && w[0].Text == "every" {
		p.every, w = true, w[1:]
	}
	if len(w) > 0 && !w[0].Quoted && !slices.Contains(operators, w[0].Text) {
		return nil, s.Fail("%s; write: %s OPERATOR VALUE", unknownOperator(w[0].Text), subject)
	}
	if len(w) == 0 || !slices.Contains(operators, w[0].Text) || w[0].Text == "every" {
		return nil, s.Fail("write: %s, then one of %s%s", subject, strings.Join(operators[:len(operators)-1], " "), s.HashHint())
	}
	p.op = w[0].Text
	for _, v := range w[1:] {
		if isOurs(v.Text) {
			return nil, s.Fail("holes are not allowed here: a reply is compared with fixed text")
		}
		p.values = append(p.values, v.Text)
	}
	wanted := map[string]bool{
		"==": len(p.values) == 1, "!=": len(p.values) == 1, "matches": len(p.values) == 1, "in": len(p.values) > 0,
		"exists": len(p.values) == 0, "empty": len(p.values) == 0,
	}
	if !wanted[p.op] {
		return nil, s.Fail("wrong number of values after %s", p.op)
	}
	if p.op == "matches" {
		var err error
		if p.regex, err = wire.Pattern(p.values[0]); err != nil {
			return nil, s.Fail("%w", err)
		}
	}
	return &p, nil
}

// asks returns the first `accepted` or `cause` line that tests `id`, `code` or `message`.
func (r *reply) asks(of string) (at syntax.Place, asks bool) {
	for _, p := range r.accepted {
		if p.of == of {
			return p.at, true
		}
	}
	for _, c := range r.causes {
		if c.when != nil && c.when.of == of || of == "code" && len(c.codes) > 0 {
			return c.at, true
		}
	}
	return syntax.Place{}, false
}

func (r *reply) parseCause(s *syntax.Statement) error {
	args, scope, err := splitScope(s)
	if err != nil {
		return err
	}
	if len(args) < 2 {
		return s.Fail("write: cause NAME CODE…, or: cause NAME when PATH == VALUE")
	}
	c, ok := sms.ParseCause(args[0].Text)
	if !ok || !c.FromProvider() {
		var known []string
		for _, c := range sms.Causes() {
			if c.FromProvider() {
				known = append(known, c.String())
			}
		}
		return s.Unknown("cause", args[0].Text, known)
	}
	rule := causeRule{cause: c, scope: scope, at: s.Place}
	if args[1].Is("when") {
		if rule.when, err = r.parsePredicate(s, args[2:]); err != nil {
			return err
		}
	} else {
		for _, w := range args[1:] {
			if slices.Contains(operators, w.Text) && !w.Quoted {
				return s.Fail("write: cause %s when PATH %s VALUE", c, w.Text)
			}
			if slices.Contains(rule.codes, w.Text) {
				return s.Fail("code %s appears twice", w.Text)
			}
			for _, earlier := range r.causes {
				if slices.Contains(earlier.codes, w.Text) {
					return s.Fail("code %s has a cause already, %s", w.Text, earlier.cause)
				}
			}
			rule.codes = append(rule.codes, w.Text)
		}
	}
	r.causes = append(r.causes, rule)
	return nil
}

// splitScope removes "for SCOPE" from the end of a cause line. In predicates of causes other than
// quota, both words are values.
func splitScope(s *syntax.Statement) (args []syntax.Word, scope sms.Scope, err error) {
	args = s.Args()
	at := slices.IndexFunc(args, func(w syntax.Word) bool { return w.Is("for") })
	quota := len(args) > 0 && args[0].Text == sms.Quota.String()
	if at < 0 || !quota && len(args) > 1 && args[1].Text == "when" {
		return args, scope, nil
	}
	known := false
	if at == len(args)-2 {
		scope, known = sms.ParseScope(args[at+1].Text)
	}
	if !quota || !known {
		return nil, scope, s.Fail("for account, for sender and for recipient are allowed only at the end of a line cause quota")
	}
	return args[:at], scope, nil
}

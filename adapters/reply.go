package adapters

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/antchfx/xmlquery"
	"github.com/antchfx/xpath"
	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// reply says how to read what a provider answers.
type reply struct {
	kind      replyKind
	separator string // between the pairs
	status    []statusRange
	accepted  []predicate
	id        []path
	generated bool
	code      []path
	message   []path
	causes    []causeRule
	// asksForWords is set if an accepted line is about code or message
	asksForWords bool
}

type replyKind uint8

const (
	noReply replyKind = iota
	jsonReply
	xmlReply
	textReply
	pairsReply
)

var replyKinds = map[string]replyKind{"json": jsonReply, "xml": xmlReply, "text": textReply, "pairs": pairsReply}

type statusRange struct{ from, to int }

// path leads to values in a reply: a gjson path, an XPath, a regular expression or a key, after the kind of reply.
type path struct {
	text  string
	xpath *xpath.Expr
	regex func() *regexp.Regexp
}

// predicate is a condition on a reply.
type predicate struct {
	path   path
	of     string // id, code, message, status or the whole body instead of a path
	every  bool
	op     string
	values []string
	regex  func() *regexp.Regexp
	status []statusRange
}

// causeRule gives a cause to codes, or to replies for which a predicate holds.
type causeRule struct {
	cause sms.Cause
	codes []string
	when  *predicate
}

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

// answer is a reply of a provider as it came.
type answer struct {
	status int
	header http.Header
	body   []byte
	whole  bool // the body was read to its end
}

// read says what an answer means. own is our id of the message.
func (r *reply) read(a answer, own string) sms.Receipt {
	out := sms.Receipt{Status: a.status}
	statusFits := inRanges(r.status, a.status)
	success := a.status >= 200 && a.status < 300
	if statusFits && r.generated && len(r.accepted) == 0 {
		out.Outcome, out.ID = sms.Accepted, own
		return out
	}
	doc := r.open(a)
	if doc == nil {
		return r.readOther(a, out)
	}
	out.ID = firstOf(doc, r.id)
	shape := false
	if !statusFits || r.asksForWords {
		shape = r.findWords(doc, a, &out)
	}
	fits, said := r.accepts(doc, a, &out)
	if statusFits && fits {
		out.Outcome, out.Code, out.Detail = sms.Accepted, "", ""
		if r.generated {
			out.ID = own
		}
		return out
	}
	if statusFits && !r.asksForWords {
		shape = r.findWords(doc, a, &out)
	}
	out.ID = ""
	for _, rule := range r.causes {
		if rule.when == nil && out.Code != "" && slices.Contains(rule.codes, out.Code) {
			return failed(out, rule.cause, a)
		}
		if rule.when != nil {
			if holds, _ := rule.when.holds(doc, a, &out); holds {
				return failed(out, rule.cause, a)
			}
		}
	}
	// Inside a 2xx only a reply that clearly says no is a refusal: what it lacks says nothing.
	return failed(out, statusCause(a.status, success && !(statusFits && (shape || said))), a)
}

// readOther says what an answer means that is cut off or not of the kind it should be. Errors often are of another kind
// than successes; of such an answer the status counts, and its words as a whole. A 2xx of another kind is always unknown,
// and a 5xx unless its words say otherwise: it may come from anybody on the way.
func (r *reply) readOther(a answer, out sms.Receipt) sms.Receipt {
	out.Detail = "the reply is cut off or is not " + r.kind.String()
	if a.status >= 200 && a.status < 300 {
		return failed(out, sms.Unknown, a)
	}
	if words := bytes.TrimSpace(a.body); a.whole && len(words) > 0 && words[0] != '<' {
		out.Detail = string(words)
	}
	for _, rule := range r.causes {
		if rule.when == nil || rule.when.of == "status" && a.status >= 500 || rule.when.of == wholeBody && !a.whole {
			continue
		}
		if rule.when.of == "status" || rule.when.of == wholeBody {
			if holds, _ := rule.when.holds(nil, a, &out); holds {
				return failed(out, rule.cause, a)
			}
		}
	}
	return failed(out, sms.CauseOfStatus(a.status), a)
}

// accepts reports whether all predicates of an acceptance hold. If not, said reports whether that is because of what
// the reply says, not of what it lacks.
func (r *reply) accepts(doc document, a answer, found *sms.Receipt) (fits, said bool) {
	fits = true
	for i := range r.accepted {
		holds, present := r.accepted[i].holds(doc, a, found)
		fits = fits && holds
		said = said || !holds && present
	}
	return fits, said
}

// findWords looks for code and message, which an acceptance does not need, and reports whether there are any.
func (r *reply) findWords(doc document, a answer, out *sms.Receipt) bool {
	out.Code = firstOf(doc, r.code)
	out.Detail = firstOf(doc, r.message)
	shape := out.Code != "" || out.Detail != ""
	if out.Detail == "" && r.kind == textReply {
		out.Detail = strings.TrimSpace(string(a.body))
	}
	return shape
}

// statusCause is the cause that the status names, unless all is unclear.
func statusCause(status int, unclear bool) sms.Cause {
	if unclear {
		return sms.Unknown
	}
	return sms.CauseOfStatus(status)
}

func inRanges(ranges []statusRange, status int) bool {
	for _, r := range ranges {
		if status >= r.from && status <= r.to {
			return true
		}
	}
	return false
}

// longestRetry is the longest time to wait that is believed.
const longestRetry = 24 * time.Hour

// retryAfter reads how long a provider wants to be left alone, 0 if it does not say.
// https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
func retryAfter(h http.Header) time.Duration {
	s := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(seconds) {
		return time.Duration(min(max(seconds, 0), longestRetry.Seconds()) * float64(time.Second))
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(time.Until(t), 0), longestRetry)
	}
	return 0
}

// holds evaluates a predicate. If it does not hold, present reports whether that is because of what the reply says,
// not of what it lacks.
func (p *predicate) holds(doc document, a answer, found *sms.Receipt) (holds, present bool) {
	if p.of == "status" {
		return inRanges(p.status, a.status), true
	}
	var values []string
	switch p.of {
	case wholeBody:
		values = oneOrNone(string(bytes.TrimSpace(a.body)))
	case "id":
		values = oneOrNone(found.ID)
	case "code":
		values = oneOrNone(found.Code)
	case "message":
		values = oneOrNone(found.Detail)
	default:
		values, _ = doc.values(p.path)
	}
	if p.op == "empty" {
		return !slices.ContainsFunc(values, func(v string) bool { return v != "" }), true
	}
	if len(values) == 0 {
		return p.op == "!=" && !p.every, false
	}
	if !p.every && p.op != "exists" {
		values = values[:1]
	}
	for _, v := range values {
		ok := false
		switch p.op {
		case "==":
			ok = v == p.values[0]
		case "!=":
			ok = v != p.values[0]
		case "in":
			ok = slices.Contains(p.values, v)
		case "exists":
			ok = v != ""
		case "matches":
			ok = p.regex().MatchString(v)
		}
		if !ok {
			return false, v != ""
		}
	}
	return true, true
}

func oneOrNone(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// document is a reply that was understood.
type document interface {
	// values returns what a path leads to, null being "", and whether it leads anywhere, be it to an empty list.
	values(p path) (values []string, present bool)
}

// composite stands for an object or list that is not empty: it exists, but is no id, code or message, and nobody
// wants to read what it holds, which may be the text.
const composite = "{…}"

// firstOf returns the first value that says something: neither empty nor false, as some APIs write "none".
func firstOf(doc document, paths []path) string {
	for _, p := range paths {
		values, _ := doc.values(p)
		for _, v := range values {
			if v != "" && v != "false" && v != composite {
				return v
			}
		}
	}
	return ""
}

// open understands a body, or returns nil.
func (r *reply) open(a answer) document {
	if !a.whole {
		return nil
	}
	body := bytes.TrimSpace(bytes.TrimPrefix(a.body, []byte("\uFEFF")))
	switch r.kind {
	case jsonReply:
		if gjson.ValidBytes(body) && (body[0] == '{' || body[0] == '[') {
			return &jsonDocument{body: body}
		}
	case xmlReply:
		root, err := xmlquery.Parse(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		for n := root.FirstChild; n != nil; n = n.NextSibling {
			if n.Type == xmlquery.ElementNode {
				if strings.EqualFold(n.Data, "html") {
					return nil
				}
				return xmlDocument{root}
			}
		}
	case textReply:
		if len(body) > 0 && body[0] != '<' {
			return textDocument(body)
		}
	case pairsReply:
		doc := make(pairsDocument)
		for line := range strings.Lines(string(body)) {
			for pair := range strings.SplitSeq(line, r.separator) {
				name, value, ok := strings.Cut(pair, "=")
				if name = strings.TrimSpace(name); ok && !strings.ContainsAny(name, "<> ") {
					doc[name] = strings.TrimSpace(value)
				}
			}
		}
		if len(doc) > 0 {
			return doc
		}
	}
	return nil
}

// jsonDocument remembers where the last path led: definitions often ask about one several times in a row.
type jsonDocument struct {
	body  []byte
	path  string
	found gjson.Result
}

func (d *jsonDocument) values(p path) ([]string, bool) {
	if p.text != d.path {
		d.path, d.found = p.text, gjson.GetBytes(d.body, p.text)
	}
	result := d.found
	if !result.Exists() {
		return nil, false
	}
	if !result.IsArray() {
		return []string{jsonText(result)}, true
	}
	var values []string
	for _, item := range result.Array() {
		values = append(values, jsonText(item))
	}
	return values, true
}

func jsonText(r gjson.Result) string {
	switch r.Type {
	case gjson.Null:
		return ""
	case gjson.String:
		return r.Str
	}
	if r.IsObject() || r.IsArray() {
		if strings.TrimSpace(r.Raw[1:len(r.Raw)-1]) == "" {
			return ""
		}
		return composite
	}
	return r.Raw // big integers stay exact
}

type xmlDocument struct{ root *xmlquery.Node }

func (d xmlDocument) values(p path) (values []string, present bool) {
	defer func() {
		if recover() != nil { // the library's way to say that types do not fit
			values, present = nil, false
		}
	}()
	for _, n := range xmlquery.QuerySelectorAll(d.root, p.xpath) {
		values = append(values, strings.TrimSpace(n.InnerText()))
	}
	return values, len(values) > 0
}

type textDocument []byte

func (d textDocument) values(p path) ([]string, bool) {
	m := p.regex().FindSubmatch(d)
	if m == nil {
		return nil, false
	}
	return []string{string(m[len(m)-1])}, true
}

type pairsDocument map[string]string

func (d pairsDocument) values(p path) ([]string, bool) {
	v, ok := d[p.text]
	if !ok {
		return nil, false
	}
	return []string{v}, true
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

// failed completes a receipt of a message that was not accepted.
func failed(out sms.Receipt, c sms.Cause, a answer) sms.Receipt {
	out.Outcome = sms.Refused
	if c == sms.Unknown {
		out.Outcome = sms.OutcomeUnknown
	}
	if c == sms.Busy {
		out.RetryAfter = retryAfter(a.header)
	}
	out.Refusal = &sms.Refusal{Cause: c, ByProvider: true, RetryAfter: out.RetryAfter}
	return out
}

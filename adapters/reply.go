package adapters

import (
	"bytes"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/antchfx/xpath"

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

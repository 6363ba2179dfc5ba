package adapters

import (
	"bytes"
	"cmp"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// reply describes how to read a provider's reply.
type reply struct {
	format    wire.Format
	separator string // between the pairs
	status    []statusRange
	// statusText is the text after `accepted status`
	statusText string
	accepted   []predicate
	id         []wire.Path
	generated  bool
	shared     bool // several messages may get the same id
	code       []wire.Path
	message    []wire.Path
	causes     []causeRule
	// headers are the names of the headers that are read. idHeaders are the paths of `id` and
	// `access` that lead to a header.
	headers   []string
	idHeaders []wire.Path
	// asksForWords is set if an `accepted` line tests `code` or `message`
	asksForWords bool
}

type statusRange struct{ from, to int }

// predicate is a condition on a reply.
type predicate struct {
	text   string // the line as it was written
	path   wire.Path
	of     string // `id`, `code`, `message`, `status` or the whole body, instead of a path
	every  bool
	op     string
	values []string
	regex  func() *regexp.Regexp
	status []statusRange
	at     syntax.Place
}

// causeRule gives a cause to codes, or to replies for which a predicate holds.
type causeRule struct {
	cause sms.Cause
	scope sms.Scope // only for a quota
	codes []string
	when  *predicate
	at    syntax.Place
}

// answer is a provider's reply before it is interpreted.
type answer struct {
	status int
	header http.Header
	body   []byte
	whole  bool   // the body was read to its end
	text   string // the text of the message, which a reply may repeat
}

// reading is the interpretation of an answer.
type reading struct {
	sms.Result
	// note says why no line of the definition fits the answer; empty if a line fits
	note string
}

// read interprets an answer. own is the id that we gave the message.
func (r *reply) read(a answer, own string) reading {
	out := reading{Result: sms.Result{Status: a.status}}
	statusFits := inRanges(r.status, a.status)
	needsNothing := r.generated && len(r.accepted) == 0 // the status alone decides, whatever the kind of the reply
	doc := r.open(a)
	if doc == nil && !(statusFits && needsNothing) {
		return r.readOther(a, out)
	}
	shape, fits, said := false, true, false
	if doc != nil {
		out.ID = wire.First(doc, r.id)
		if !statusFits || r.asksForWords {
			shape = r.findWords(doc, a, &out.Result)
		}
		fits, said = r.accepts(doc, a, &out.Result)
	}
	contradiction, words := noObjection, ""
	if statusFits && !r.namesSuccess() {
		if contradiction, words = r.objection(doc, a, out.ID); contradiction == noObjection && doc != nil && r.hasCause(wire.First(doc, r.code)) {
			contradiction = saysError
		}
	}
	if statusFits && fits && contradiction == noObjection {
		out.Outcome, out.Code, out.Detail = sms.Accepted, "", ""
		switch {
		case r.generated:
			out.ID = own
		case isNoID(out.ID):
			out.ID = ""
		}
		return out
	}
	if statusFits && !r.asksForWords && doc != nil {
		shape = r.findWords(doc, a, &out.Result)
	}
	note := r.unmet(doc, a, &out.Result, contradiction)
	out.ID = ""
	if rule := r.cause(doc, a, &out.Result); rule != nil {
		out.Result = rule.failed(out.Result, a)
		return out
	}
	if !shape {
		out.note = note
	}
	if contradiction == saysError {
		out.Detail = cmp.Or(out.Detail, words)
	}
	// A 2xx reply is a refusal only if it clearly says no. A missing value is no evidence.
	success := a.status >= 200 && a.status < 300
	saysNo := statusFits && contradiction != doubtful && (shape || said || contradiction == saysError)
	cause := sms.CauseOfStatus(a.status)
	if success && !saysNo {
		cause = sms.Unconfirmed
	}
	out.Result = failed(out.Result, cause, a)
	return out
}

// open parses an answer, or returns nil. An answer with an empty body is accepted only if a header
// contains an id.
func (r *reply) open(a answer) (doc wire.Document) {
	if a.whole {
		doc = wire.Open(r.format, r.separator, a.body)
	}
	if len(r.headers) == 0 {
		return doc
	}
	d := wire.Headed{Document: doc, Header: a.header}
	if doc == nil && (!a.whole || len(bytes.TrimSpace(a.body)) > 0 || wire.First(d, r.idHeaders) == "") {
		return nil
	}
	return d
}

// hasCause reports whether a cause line names the code.
func (r *reply) hasCause(code string) bool {
	return code != "" && slices.ContainsFunc(r.causes, func(rule causeRule) bool { return slices.Contains(rule.codes, code) })
}

// cause returns the first cause line that fits, or nil. If the reply is of another kind, doc is
// nil, and only lines about the whole body or the status can fit.
func (r *reply) cause(doc wire.Document, a answer, found *sms.Result) *causeRule {
	for i := range r.causes {
		rule := &r.causes[i]
		if rule.when == nil {
			if found.Code != "" && slices.Contains(rule.codes, found.Code) {
				return rule
			}
			continue
		}
		if doc == nil && rule.when.of != "status" && rule.when.of != wholeBody {
			continue
		}
		if holds, _ := rule.when.holds(doc, a, found); holds {
			return rule
		}
	}
	return nil
}

// readOther interprets an answer that is cut off or of an unexpected kind. Error replies often have
// another kind than success replies. Only the status and the whole body are then used. A 2xx answer
// always means unknown. A 5xx answer means unknown unless a cause line fits its body, because any
// proxy on the way may have sent it.
func (r *reply) readOther(a answer, out reading) reading {
	out.note = r.unmet(nil, a, &out.Result, doubtful)
	if a.status >= 200 && a.status < 300 {
		out.Result = failed(out.Result, sms.Unconfirmed, a)
		return out
	}
	if words := bytes.TrimSpace(a.body); a.whole && len(words) > 0 && words[0] != '<' {
		out.Detail = string(words)
	}
	for _, rule := range r.causes {
		if rule.when == nil || rule.when.of == "status" && a.status >= 500 || rule.when.of == wholeBody && !a.whole {
			continue
		}
		if rule.when.of == "status" || rule.when.of == wholeBody {
			if holds, _ := rule.when.holds(nil, a, &out.Result); holds {
				out.note = ""
				out.Result = rule.failed(out.Result, a)
				return out
			}
		}
	}
	out.Result = failed(out.Result, sms.CauseOfStatus(a.status), a)
	return out
}

// unmet says why an answer was not accepted. It quotes the definition, never the answer.
func (r *reply) unmet(doc wire.Document, a answer, found *sms.Result, contradiction verdict) string {
	var lines []string
	if !inRanges(r.status, a.status) {
		lines = append(lines, "accepted status "+r.statusText)
	}
	if doc != nil {
		for i := range r.accepted {
			if holds, _ := r.accepted[i].holds(doc, a, found); !holds {
				lines = append(lines, r.accepted[i].text)
			}
		}
	}
	var notes []string
	switch {
	case !a.whole:
		notes = append(notes, "the reply is cut off")
	case len(bytes.TrimSpace(a.body)) == 0:
		notes = append(notes, "the reply is empty")
	case doc == nil:
		notes = append(notes, "the reply is not "+r.format.String())
	case contradiction == doubtful:
		notes = append(notes, "the reply is a web page, an empty list or a long text, which `accepted status` alone does not accept")
	case contradiction == saysError:
		notes = append(notes, "the reply reports an error, which `accepted status` alone does not accept")
	}
	if len(lines) > 0 {
		notes = append(notes, "not met: "+strings.Join(lines, "; "))
	}
	return strings.Join(notes, "; ")
}

// accepts reports whether all `accepted` predicates are true. If one is false, said reports whether
// the reply contains a value that makes it false. A missing value does not set said.
func (r *reply) accepts(doc wire.Document, a answer, found *sms.Result) (fits, said bool) {
	fits = true
	for i := range r.accepted {
		holds, present := r.accepted[i].holds(doc, a, found)
		fits = fits && holds
		said = said || !holds && present
	}
	return fits, said
}

// findWords looks for a code and a message and reports whether a path leads to one. An accepted
// reply needs neither.
func (r *reply) findWords(doc wire.Document, a answer, out *sms.Result) bool {
	out.Code = wire.First(doc, r.code)
	out.Detail = wire.First(doc, r.message)
	shape := out.Code != "" || out.Detail != ""
	if out.Detail == "" && r.format == wire.Text {
		out.Detail = strings.TrimSpace(string(a.body))
	}
	return shape
}

func inRanges(ranges []statusRange, status int) bool {
	return slices.ContainsFunc(ranges, func(r statusRange) bool { return status >= r.from && status <= r.to })
}

// A Retry-After above longestBusy is treated as a quota, because the app's user does not wait that
// long. Values above longestRetry are reduced to it.
const (
	longestBusy  = time.Minute
	longestRetry = time.Hour
)

// retryAfter returns the delay that the header Retry-After asks for, or 0 without the header. A
// date is compared with the reply's own Date, so that the clocks may differ.
// https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
func retryAfter(h http.Header) time.Duration {
	s := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(seconds) {
		return time.Duration(min(max(seconds, 0), longestRetry.Seconds()) * float64(time.Second))
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(t.Sub(now), 0), longestRetry)
}

// holds evaluates a predicate. If the predicate is false, present reports whether the reply
// contains a value that makes it false, as opposed to lacking a value.
func (p *predicate) holds(doc wire.Document, a answer, found *sms.Result) (holds, present bool) {
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
		values, _ = doc.Values(p.path)
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
			if p.of == "id" && isNoID(v) {
				return false, false
			}
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

// isNoID reports whether a value is a placeholder that APIs write when they gave no id: 0, -1, null
// and the like.
func isNoID(s string) bool {
	if s == "" {
		return false
	}
	if c := s[0]; c == '-' || c == '0' { // zeroes and hyphens, or a negative number
		return strings.Trim(s, "0-") == "" || len(s) > 1 && c == '-' && strings.Trim(s[1:], "0123456789") == ""
	}
	return len(s) <= len("undefined") && slices.ContainsFunc(noIDs, func(word string) bool { return strings.EqualFold(s, word) })
}

var noIDs = []string{"null", "nil", "none", "undefined", "n/a"}

func oneOrNone(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// failed completes the result of a message that the rule refuses.
func (c *causeRule) failed(out sms.Result, a answer) sms.Result {
	out.Scope = c.scope
	return failed(out, c.cause, a)
}

// failed completes a result of a message that was not accepted.
func failed(out sms.Result, c sms.Cause, a answer) sms.Result {
	out.Outcome = sms.Refused
	if c == sms.Unconfirmed {
		out.Outcome = sms.OutcomeUnknown
	}
	if c == sms.Busy || c == sms.Quota {
		out.RetryAfter = retryAfter(a.header)
	}
	if c == sms.Quota || out.RetryAfter > longestBusy {
		out.Refusal = sms.ReachedQuota(out.RetryAfter)
		return out
	}
	out.Refusal = &sms.Refusal{Cause: c, ByProvider: true, RetryAfter: out.RetryAfter}
	return out
}

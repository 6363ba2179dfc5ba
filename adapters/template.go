package adapters

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// template is a value with holes. After bind, only holes remain whose values differ between
// messages.
type template []part

// part is fixed text, or a hole if hole is not empty.
type part struct {
	text    string
	hole    string
	fill    filler
	content content
	media   mediaPart // of a hole of files
}

// content is the set of a message's contents that must not be lost. Bit n stands for picture or
// file n. The 2 highest bits stand for the text and the recipient.
type content uint64

const (
	maxMedia                 = 62 // more than any message has
	textContent      content = 1 << 63
	recipientContent content = 1 << maxMedia
	allMedia         content = recipientContent - 1
)

// contentOf returns the contents of a message.
func contentOf(m *sms.Message) (c content) {
	c = recipientContent
	if !m.Body.Empty() {
		c |= textContent
	}
	return c | 1<<min(len(m.Media), maxMedia) - 1
}

// filler returns the value of a hole for one message.
type filler func(v *vars) string

// vars are the data that fill the holes in one attempt.
type vars struct {
	message  *sms.Message
	to, from string // in the form that this provider expects
	text     string // after the definition's replacements
	token    sms.Hidden
	now      time.Time
	receipts sms.Hidden // the address for receipts, without our id
	included content    // contents that the request has so far
	uploaded []string   // the ids of the files that were uploaded
}

// media returns the values of a hole of all files. It returns none if a file has no value, because
// the file would be lost.
func (v *vars) media(form mediaForm) (values []string) {
	for i := range v.message.Media {
		value := mediaPart{index: i, form: form}.value(v)
		if value == "" {
			return nil
		}
		values = append(values, value)
	}
	v.included |= allMedia
	return values
}

// holes are all holes but {option.NAME}, {token}, {sms.media} and {sms.media.N}.
var holes = map[string]filler{
	"sms.to":             func(v *vars) string { return v.to },
	"sms.from":           func(v *vars) string { return v.from },
	"sms.body":           func(v *vars) string { return v.text },
	"sms.body.utf16hex":  func(v *vars) string { return string(text.AppendUTF16Hex(nil, v.text)) },
	"sms.session":        session,
	"sms.user":           func(v *vars) string { return v.message.User },
	"sms.content_type":   func(v *vars) string { return v.message.ContentType },
	"sms.disposition.id": func(v *vars) string { return v.message.Disposition.ID },
	"sms.disposition":    disposition,
	"sms.smart": func(v *vars) string {
		if v.message.Smart {
			return "1"
		}
		return ""
	},
	"sms.install_id":       func(v *vars) string { return v.message.InstallID },
	"message.id":           func(v *vars) string { return v.message.ID },
	"message.id.hex":       func(v *vars) string { return strings.ReplaceAll(v.message.ID, "-", "") },
	"message.time.unix":    func(v *vars) string { return strconv.FormatInt(v.message.Received.Unix(), 10) },
	"message.time.rfc3339": func(v *vars) string { return v.message.Received.UTC().Format(time.RFC3339) },
	"message.time.http":    func(v *vars) string { return v.message.Received.UTC().Format(http.TimeFormat) },
	"attempt.uuid":         func(*vars) string { return uuid.NewString() },
	"receipt.url":          receiptURL,
}

// session returns the same value for all messages from one number to another.
func session(v *vars) string {
	sum := sha256.Sum256([]byte(v.message.From.Value + "\x00" + v.message.To.Value))
	return hex.EncodeToString(sum[:])
}

func disposition(v *vars) string {
	d := v.message.Disposition
	if d.ID == "" || len(d.Wishes) == 0 {
		return d.ID
	}
	return d.ID + ":" + strings.Join(d.Wishes, ",")
}

// referenceParameter is the parameter of the address for receipts that contains our id.
const referenceParameter = "reference"

// receiptURL returns the address to which the provider sends the receipts of a message.
func receiptURL(v *vars) string {
	if v.receipts.Empty() {
		return ""
	}
	return v.receipts.Reveal() + "?" + referenceParameter + "=" + v.message.ID
}

// holesOfMessage are the holes that differ between messages.
var holesOfMessage = []string{"sms.", mediaHole, "message.", "attempt.", "receipt.", tokenHole}

const (
	mediaHole  = "sms.media"
	optionHole = "option."
	tokenHole  = "token"
)

// maxHole is an upper bound for the length of a hole's name.
const maxHole = 80

// parseTemplate reads the holes of a word. An opening brace that does not begin a hole is text.
func (p *parser) parseTemplate(s *syntax.Statement, w string) (t template, err error) {
	for rest := w; rest != ""; {
		open := strings.IndexByte(rest, '{')
		fixed := rest
		if open >= 0 {
			fixed = rest[:open]
		}
		if err := p.checkText(s, fixed); err != nil {
			return nil, err
		}
		if open < 0 {
			t = append(t, part{text: rest})
			break
		}
		if open > 0 {
			t, rest = append(t, part{text: rest[:open]}), rest[open:]
		}
		end := strings.IndexByte(rest[:min(len(rest), maxHole)], '}')
		switch {
		case end > 0 && isHole(rest[1:end]):
			h, err := p.parseHole(s, rest[1:end])
			if err != nil {
				return nil, err
			}
			t, rest = append(t, h), rest[end+1:]
		case isOurs(rest):
			return nil, s.Fail("a hole ends in } and has no spaces, such as {sms.to}")
		default:
			t, rest = append(t, part{text: "{"}), rest[1:]
		}
	}
	return t, t.checkAround(s)
}

// isName reports whether a word can name an adapter, an option or a part of a hole.
func isName(name string) bool {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return name != ""
}

// isHole reports whether the text between two braces is meant as a hole, even if no such hole
// exists.
func isHole(inner string) bool {
	return inner != "" && !strings.ContainsAny(inner, " \t\r\n\"'`{,;=")
}

// isOurs reports whether a text begins like one of our holes.
func isOurs(s string) bool {
	families := []string{"{" + optionHole, "{sms.", "{message.", "{attempt.", "{receipt."}
	return slices.ContainsFunc(families, func(family string) bool { return strings.HasPrefix(s, family) })
}

// parseHole reads the name of a hole and adds the hole's content to that of the current send block.
func (p *parser) parseHole(s *syntax.Statement, name string) (part, error) {
	if option, ok := strings.CutPrefix(name, optionHole); ok {
		if p.option(option) != nil {
			p.use(s, name)
			return part{hole: name}, nil
		}
		return part{}, s.Fail("%s; an option is declared first: option NAME", suggest.Unknown("hole", name, p.holes()))
	}
	if name == tokenHole {
		p.use(s, name)
		return part{hole: name, fill: func(v *vars) string { return v.token.Reveal() }}, nil
	}
	if fill, ok := holes[name]; ok {
		h := part{hole: name, fill: fill}
		switch {
		case strings.HasPrefix(name, "sms.body"):
			h.content = textContent
		case name == "sms.to":
			h.content = recipientContent
		}
		p.content |= h.content
		return h, nil
	}
	if h, ok := parseMediaHole(name); ok {
		p.content |= h.content
		return h, nil
	}
	for _, foreign := range []string{
		"http.", "env.", "file.", "system.", "time.", "tls_", "vars.", "args", "block", "client_ip", "cookie.", "dir", "err.", "file", "header.",
		"host", "labels.", "method", "orig_", "path", "port", "query", "re.", "remote", "request_id", "resp.", "rp.", "scheme", "upstream_", "uri",
	} {
		if strings.HasPrefix(name, foreign) {
			if name != foreign {
				foreign += "…"
			}
			return part{}, s.Fail("{%s} is a placeholder of Caddy's; a definition knows only {option.*}, {sms.*}, {message.*}, {attempt.*}, {receipt.url} and {token}", foreign)
		}
	}
	return part{}, s.Unknown("hole", name, p.holes())
}

// use records the first place of a hole.
func (p *parser) use(s *syntax.Statement, hole string) {
	p.sending[hole] = p.sending[hole] || !p.receiving
	if _, known := p.used[hole]; !known {
		p.used[hole] = s.Place
	}
}

// bind replaces the holes of options by their values and joins adjacent fixed texts. ok is false if
// an option has no value; the template is then absent.
func (t template) bind(options map[string]string) (bound template, ok bool) {
	for _, p := range t {
		if option, is := strings.CutPrefix(p.hole, optionHole); is {
			if options[option] == "" {
				return nil, false
			}
			p = part{text: options[option]}
		}
		if last := len(bound) - 1; p.hole == "" && last >= 0 && bound[last].hole == "" {
			bound[last].text += p.text
			continue
		}
		bound = append(bound, p)
	}
	return bound, true
}

// fixed returns the text of a bound template without holes.
func (t template) fixed() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].hole == "":
		return t[0].text, true
	}
	return "", false
}

// value fills a bound template. It returns "" and false if one of the holes is empty.
func (t template) value(v *vars) (string, bool) {
	return t.escaped(v, nil)
}

// escaped is like value, but applies escape to the value of each hole. A value that becomes empty
// counts as an empty hole.
func (t template) escaped(v *vars, escape func(string) string) (string, bool) {
	if s, ok := t.fixed(); ok {
		return s, true
	}
	var b strings.Builder
	var holds content
	for _, p := range t {
		s := p.text
		if p.hole != "" {
			if s = p.fill(v); escape != nil {
				s = escape(s)
			}
			if s == "" {
				return "", false
			}
			holds |= p.content
		}
		if len(t) == 1 {
			v.included |= holds
			return s, true
		}
		b.WriteString(s)
	}
	v.included |= holds
	return b.String(), true
}

// checkJoined refuses values of the app inside of fixed text that looks like JSON, XML or another
// format. The values are not escaped for that format, so a message text with quotes could add a
// recipient. A value that the app chooses freely must be the last in its template. Otherwise it
// could imitate the values after it.
func (t template) checkJoined(s *syntax.Statement, name func() string, tree bool) error {
	if len(t) < 2 {
		return nil
	}
	ofApp := func(p part) bool { return strings.HasPrefix(p.hole, "sms.") }
	if !slices.ContainsFunc(t, ofApp) {
		return nil
	}
	for i, p := range t {
		if p.hole == "" && strings.ContainsAny(p.text, "\"<{[&\r\n") {
			advice := "write the tree: " + name() + " { member value }"
			if !tree {
				advice = "a value that is JSON is written " + name() + " json { member value }"
			}
			return s.Fail("a value of the app is inside a text with \", <, {, [, & or a line break, where nothing would escape it; %s", advice)
		}
		picture := strings.HasPrefix(p.hole, mediaHole) // only values that are free themselves may follow the URL of a picture
		if freeHoles[p.hole] && i < len(t)-1 || picture && slices.ContainsFunc(t[i+1:], func(p part) bool { return ofApp(p) && !freeHoles[p.hole] && !strings.HasPrefix(p.hole, mediaHole) }) {
			return s.Fail("{%s} must be the last part of its value, or the only one: a user could imitate the part after it", p.hole)
		}
	}
	return nil
}

// freeHoles are the holes whose values the app chooses freely.
var freeHoles = map[string]bool{
	"sms.body": true, "sms.user": true, "sms.content_type": true, "sms.install_id": true, "sms.disposition": true, "sms.disposition.id": true,
}

// mayBeEmpty returns the first hole of a template that may be empty, or "".
func (p *parser) mayBeEmpty(t template) string {
	for _, h := range t {
		option, isOption := strings.CutPrefix(h.hole, optionHole)
		switch {
		case isOption && slices.ContainsFunc(p.def.Options, func(o Option) bool { return o.Name == option && o.Optional }):
			return h.hole
		case strings.HasPrefix(h.hole, "receipt."), strings.HasPrefix(h.hole, "sms.") && h.hole != "sms.to" && h.hole != "sms.session":
			return h.hole
		}
	}
	return ""
}

// optionName returns the name of the first option in a template.
func (t template) optionName() string {
	hole, _ := t.holds(optionHole)
	return strings.TrimPrefix(hole, optionHole)
}

// isList reports whether the template is a hole of all files, such as {sms.media}, which is never
// joined with other text.
func (t template) isList() bool { return len(t) == 1 && t[0].media.all }

// holds returns the first hole that has one of the names. A name that ends in a dot is a prefix.
func (t template) holds(names ...string) (string, bool) {
	for _, p := range t {
		for _, n := range names {
			if p.hole == n || strings.HasSuffix(n, ".") && strings.HasPrefix(p.hole, n) {
				return p.hole, true
			}
		}
	}
	return "", false
}

package adapters

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// template is a value with holes. After bind only holes that differ from message to message are left.
type template []part

// part is fixed text, or a hole if its name is not empty.
type part struct {
	text  string
	hole  string
	fill  filler
	cargo cargo
}

// cargo is what of a message must not get lost on the way: bit n is its nth picture or file, the highest bit its text.
type cargo uint64

const (
	textCargo cargo = 1 << 63
	allMedia  cargo = textCargo - 1
)

// cargoOf is what a message carries.
func cargoOf(m *sms.Message) (c cargo) {
	if !m.Body.Empty() {
		c = textCargo
	}
	return c | 1<<min(len(m.Media), 63) - 1
}

// filler gives the value of a hole for one message.
type filler func(v *vars) string

// vars are what the holes of one attempt are filled from.
type vars struct {
	message  *sms.Message
	to, from string // in the writing of this provider
	text     string // with the definition's replacements
	now      time.Time
	placed   cargo // what stands in the request so far
}

// media gives every picture and file to a list hole.
func (v *vars) media() []string {
	v.placed |= allMedia
	return v.message.Media
}

// holes are all holes but {option.NAME}, {sms.media} and {sms.media.N}.
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
	"message.time.unix":    func(v *vars) string { return strconv.FormatInt(v.message.Received.Unix(), 10) },
	"message.time.rfc3339": func(v *vars) string { return v.message.Received.UTC().Format(time.RFC3339) },
	"message.time.http":    func(v *vars) string { return v.message.Received.UTC().Format(http.TimeFormat) },
	"attempt.uuid":         func(*vars) string { return uuid.NewString() },
}

// session is the same for every message between two numbers.
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

const (
	mediaHole  = "sms.media"
	optionHole = "option."
)

// maxHole is longer than any hole.
const maxHole = 80

// parseTemplate reads the holes of a word. An opening brace that begins no hole is text.
func (p *parser) parseTemplate(s *statement, w string) (t template, err error) {
	for rest := w; rest != ""; {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			return append(t, part{text: rest}), nil
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
			return nil, s.fail("%.*q is no hole: it ends in } and has no blanks", maxHole, rest)
		default:
			t, rest = append(t, part{text: "{"}), rest[1:]
		}
	}
	return t, nil
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

// isHole reports whether what stands between braces is a hole, if only a mistaken one, rather than text.
func isHole(inner string) bool {
	return inner != "" && !strings.ContainsAny(inner, " \t\r\n\"'`{,;=")
}

// isOurs reports whether a text begins like one of our holes.
func isOurs(s string) bool {
	for _, family := range []string{"{" + optionHole, "{sms.", "{message.", "{attempt."} {
		if strings.HasPrefix(s, family) {
			return true
		}
	}
	return false
}

// parseHole reads the name of a hole and notes what the variant that it stands in can carry.
func (p *parser) parseHole(s *statement, name string) (part, error) {
	if option, ok := strings.CutPrefix(name, optionHole); ok {
		for i := range p.def.Options {
			if p.def.Options[i].Name == option {
				p.used[option] = true
				return part{hole: name}, nil
			}
		}
		return part{}, s.fail("{%s} names no option of this definition, write: option %s", name, option)
	}
	if fill, ok := holes[name]; ok {
		h := part{hole: name, fill: fill}
		if strings.HasPrefix(name, "sms.body") {
			h.cargo = textCargo
		}
		p.cargo |= h.cargo
		return h, nil
	}
	if name == mediaHole {
		p.cargo |= allMedia
		return part{hole: name}, nil
	}
	if index, ok := strings.CutPrefix(name, mediaHole+"."); ok {
		if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < 63 {
			p.cargo |= 1 << n
			return part{hole: name, cargo: 1 << n, fill: func(v *vars) string {
				if n < len(v.message.Media) {
					return v.message.Media[n]
				}
				return ""
			}}, nil
		}
	}
	for _, foreign := range []string{
		"http.", "env.", "file.", "system.", "time.", "tls_", "vars.", "args", "block", "client_ip", "cookie.", "dir", "err.", "file", "header.",
		"host", "labels.", "method", "orig_", "path", "port", "query", "re.", "remote", "request_id", "resp.", "rp.", "scheme", "upstream_", "uri",
	} {
		if strings.HasPrefix(name, foreign) {
			return part{}, s.fail("{%s} is a placeholder of Caddy's; a definition knows only {option.*}, {sms.*}, {message.*} and {attempt.*}", name)
		}
	}
	known := []string{mediaHole}
	for h := range holes {
		known = append(known, h)
	}
	return part{}, s.fail("{%s} names nothing%s", name, meant(name, known))
}

// bind puts the values of the options in and joins what is fixed. Without a value of an optional option the template
// is absent: ok is false.
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

// value fills a bound template. It is absent, "" and false, if one of its holes is empty.
func (t template) value(v *vars) (string, bool) {
	return t.escaped(v, nil)
}

// escaped is value with every hole escaped for where the template stands. What escape makes empty is absent.
func (t template) escaped(v *vars, escape func(string) string) (string, bool) {
	if s, ok := t.fixed(); ok {
		return s, true
	}
	var b strings.Builder
	var holds cargo
	for _, p := range t {
		s := p.text
		if p.hole != "" {
			if s = p.fill(v); escape != nil {
				s = escape(s)
			}
			if s == "" {
				return "", false
			}
			holds |= p.cargo
		}
		if len(t) == 1 {
			v.placed |= holds
			return s, true
		}
		b.WriteString(s)
	}
	v.placed |= holds
	return b.String(), true
}

// isList reports whether the template is the list hole, which stands alone.
func (t template) isList() bool { return len(t) == 1 && t[0].hole == mediaHole }

// holds reports whether the template has one of the holes, named in full or by a prefix that ends in a dot.
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

// condition decides whether a variant or a group of members takes part.
type condition struct {
	negated bool
	hole    filler // of a value that must not be empty
	unicode bool
	media   bool
	alpha   bool // the sender is alphanumeric
	unit    text.Unit
	compare func(length, limit int) bool
	limit   int
}

var comparisons = map[string]func(a, b int) bool{
	"<=": func(a, b int) bool { return a <= b },
	"<":  func(a, b int) bool { return a < b },
	">=": func(a, b int) bool { return a >= b },
	">":  func(a, b int) bool { return a > b },
}

// parseCondition reads what stands behind when: [no] media, unicode, alphanumeric or {hole}, or UNIT <= N.
func (p *parser) parseCondition(s *statement, words []word) (condition, error) {
	var c condition
	if len(words) > 1 && words[0].text == "no" {
		c.negated, words = true, words[1:]
	}
	switch {
	case len(words) == 1 && words[0].text == "media":
		c.media = true
		return c, nil
	case len(words) == 1 && words[0].text == "unicode":
		c.unicode = true
		return c, nil
	case len(words) == 1 && words[0].text == "alphanumeric":
		c.alpha = true
		return c, nil
	case len(words) == 1 && strings.HasPrefix(words[0].text, "{"):
		t, err := p.parseTemplate(s, words[0].text)
		if err != nil {
			return c, err
		}
		if len(t) == 1 && t[0].fill != nil {
			c.hole = t[0].fill
			return c, nil
		}
	case len(words) == 3 && !c.negated:
		unit, ok := text.ParseUnit(words[0].text)
		limit, err := strconv.Atoi(words[2].text)
		if c.unit, c.limit, c.compare = unit, limit, comparisons[words[1].text]; ok && err == nil && c.compare != nil {
			return c, nil
		}
	}
	return c, s.fail("when takes media, unicode, alphanumeric (the sender) or one {sms.…} hole, each with no in front to turn it round, or a length such as: septets <= 160")
}

// isLength reports whether the condition is about the length of the text.
func (c *condition) isLength() bool { return c.compare != nil }

func (c *condition) holds(v *vars) bool {
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

// limit is the longest text of a definition or variant.
type limit struct {
	max  int
	unit text.Unit
}

// parseLimit reads: text max N UNIT.
func parseLimit(s *statement) (limit, error) {
	if a := s.args(); len(a) == 3 && a[0].text == "max" {
		n, err := strconv.Atoi(a[1].text)
		if unit, ok := text.ParseUnit(a[2].text); ok && err == nil && n > 0 {
			return limit{n, unit}, nil
		}
	}
	return limit{}, s.fail("write: text max N characters, septets, utf16 or octets; or: text replace OLD NEW")
}

// check refuses a text that is too long and says by how much.
func (l limit) check(body string) *sms.Refusal {
	if l.max == 0 {
		return nil
	}
	if n := text.Length(body, l.unit); n > l.max {
		unit := "characters"
		if l.unit == text.Octets {
			unit = "bytes"
		}
		return sms.RefuseAs(sms.TooLong, sms.TextTooLong,
			"length", strconv.Itoa(n), "unit", unit, "limit", strconv.Itoa(l.max))
	}
	return nil
}

// numberForm is how a provider writes telephone numbers.
type numberForm uint8

const (
	e164 numberForm = iota
	digits
	doubleZero
	nanp10
	nanp11
)

var numberForms = map[string]numberForm{"e164": e164, "digits": digits, "00": doubleZero, "nanp10": nanp10, "nanp11": nanp11}

// write writes a number; short codes and alphanumeric senders stay as they are. What the form cannot express is
// refused, not guessed.
func (f numberForm) write(n sms.Number) (string, bool) {
	if n.Kind != sms.Phone {
		return n.Value, true
	}
	switch f {
	case digits:
		return n.Value[1:], true
	case doubleZero:
		return "00" + n.Value[1:], true
	case nanp10, nanp11:
		if len(n.Value) != 12 || n.Value[1] != '1' {
			return "", false
		}
		if f == nanp10 {
			return n.Value[2:], true
		}
		return n.Value[1:], true
	}
	return n.Value, true
}

// checkOption refuses option values that could break out of a header or a URL.
func checkOption(name, value string) error {
	for _, c := range value {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("option %s holds a control character", name)
		}
	}
	return nil
}

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

// cargo is what of a message must not get lost on the way: bit n is its nth picture or file, the highest bits its text and
// its recipient.
type cargo uint64

const (
	maxMedia             = 62 // more than any message has
	textCargo      cargo = 1 << 63
	recipientCargo cargo = 1 << maxMedia
	allMedia       cargo = recipientCargo - 1
)

// cargoOf is what a message carries.
func cargoOf(m *sms.Message) (c cargo) {
	c = recipientCargo
	if !m.Body.Empty() {
		c |= textCargo
	}
	return c | 1<<min(len(m.Media), maxMedia) - 1
}

// filler gives the value of a hole for one message.
type filler func(v *vars) string

// vars are what the holes of one attempt are filled from.
type vars struct {
	message  *sms.Message
	to, from string // in the writing of this provider
	text     string // with the definition's replacements
	token    sms.Hidden
	now      time.Time
	placed   cargo // what stands in the request so far
}

// media gives every picture and file to a list hole.
func (v *vars) media() []string {
	v.placed |= allMedia
	return v.message.Media
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
	tokenHole  = "token"
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
			return nil, s.fail("%.*q is not a hole: it ends in } and has no spaces", maxHole, rest)
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
				p.used[name] = true
				return part{hole: name}, nil
			}
		}
		return part{}, s.fail("{%s} names no option of this definition, write: option %s", name, option)
	}
	if name == tokenHole {
		p.used[name] = true
		return part{hole: name, fill: func(v *vars) string { return v.token.Reveal() }}, nil
	}
	if fill, ok := holes[name]; ok {
		h := part{hole: name, fill: fill}
		switch {
		case strings.HasPrefix(name, "sms.body"):
			h.cargo = textCargo
		case name == "sms.to":
			h.cargo = recipientCargo
		}
		p.cargo |= h.cargo
		return h, nil
	}
	if name == mediaHole {
		p.cargo |= allMedia
		return part{hole: name}, nil
	}
	if index, ok := strings.CutPrefix(name, mediaHole+"."); ok {
		if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < maxMedia {
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
			return part{}, s.fail("{%s} is a placeholder of Caddy's; a definition knows only {option.*}, {sms.*}, {message.*}, {attempt.*} and {token}", name)
		}
	}
	known := []string{mediaHole, tokenHole}
	for h := range holes {
		known = append(known, h)
	}
	return part{}, s.fail("{%s} names nothing%s", name, Meant(name, known))
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

// checkOption refuses option values that could break out of a header or a URL.
func checkOption(name, value string) error {
	if value == "." || value == ".." {
		return fmt.Errorf("option %s leads to another folder", name)
	}
	for _, c := range value {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("option %s holds a control character", name)
		}
	}
	return nil
}

package params

import (
	"errors"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Pattern reads parameters from the path of a request, such as /send/{token}/{to}/{body}. A text at
// the end may contain slashes, because apps do not escape characters that a URL may contain.
type Pattern struct {
	segments []segment
	text     bool // the last segment is the text, which contains the rest of the path
	slash    bool // the pattern ends with a slash, which is not part of the text
}

type segment struct{ literal, param string }

// ParsePattern reads a pattern: a path whose segments are each a fixed word or the {name} of a
// parameter.
func ParsePattern(s string, names *Names) (*Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, errors.New("a path pattern begins with /, such as /send/{user}/{password}/{sms_to}/{sms_body}")
	}
	p := &Pattern{slash: strings.HasSuffix(s, "/")}
	for _, part := range strings.Split(strings.Trim(s, "/"), "/") {
		inner, open := strings.CutPrefix(part, "{")
		param, closed := strings.CutSuffix(inner, "}")
		switch {
		case open && closed:
			n, ok := names.find(param)
			if !ok {
				return nil, errors.New("path pattern: " + suggest.Unknown("parameter", param, roleNames[:RoleFrom]))
			}
			p.segments = append(p.segments, segment{param: param})
			p.text = n.role == RoleBody
		case strings.ContainsAny(part, "{}"):
			return nil, errors.New("a segment of a path pattern is either a word or one {name}")
		default:
			p.segments = append(p.segments, segment{literal: part})
			p.text = false
		}
	}
	return p, nil
}

// read reads the parameters of an escaped path and reports whether the path matches. It splits the
// path before unescaping it, so that an escaped slash in a text stays in the text. A query without
// known parameters belongs to the text at the end of the path, because apps do not escape ? either.
func (p *Pattern) read(escaped, query string, into *values) bool {
	escaped, limit := strings.TrimPrefix(escaped, "/"), len(p.segments)
	if !p.text || p.slash {
		escaped = strings.TrimSuffix(escaped, "/")
	}
	if !p.text {
		limit = -1
	} else if query != "" {
		escaped += "?" + query
	}
	parts := strings.SplitN(escaped, "/", limit)
	if len(parts) != len(p.segments) {
		return false
	}
	for i, s := range p.segments {
		part := Unescape(parts[i], false)
		switch {
		case s.param != "":
			into.add(s.param, part)
		case s.literal != part:
			return false
		}
	}
	return true
}

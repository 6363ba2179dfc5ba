package sendmessage

import (
	"fmt"
	"strings"
)

// Pattern reads parameters from the path of a request, such as /send/{token}/{to}/{body}. A text at the end may hold
// slashes: apps escape no character that an address may have.
type Pattern struct {
	segments []segment
	text     bool // the last one is a text, which takes the rest
	slash    bool // behind the text stands a slash that is not part of it
}

type segment struct{ literal, param string }

// ParsePattern reads a pattern: a path whose segments are fixed words or one {name} each, a name being a parameter's.
func ParsePattern(s string, names *Names) (*Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, fmt.Errorf("a path pattern begins with /, %q does not", s)
	}
	p := &Pattern{slash: strings.HasSuffix(s, "/")}
	for _, part := range strings.Split(strings.Trim(s, "/"), "/") {
		inner, open := strings.CutPrefix(part, "{")
		param, closed := strings.CutSuffix(inner, "}")
		switch {
		case open && closed:
			n, ok := names.find(param)
			if !ok {
				return nil, fmt.Errorf("the path pattern %q holds {%s}, which is not a known parameter", s, param)
			}
			p.segments = append(p.segments, segment{param: param})
			p.text = n.role == roleBody
		case strings.ContainsAny(part, "{}"):
			return nil, fmt.Errorf("a segment of the path pattern %q is either a word or one {name}", s)
		default:
			p.segments = append(p.segments, segment{literal: part})
			p.text = false
		}
	}
	return p, nil
}

// read takes the parameters of an escaped path and reports whether the path fits. Splitting comes before unescaping,
// so that an escaped slash in a text stays in the text. A query that holds no parameters is the end of a text at the end
// of the path.
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
		part := unescape(parts[i], false)
		switch {
		case s.param != "":
			into.add(s.param, part)
		case s.literal != part:
			return false
		}
	}
	return true
}

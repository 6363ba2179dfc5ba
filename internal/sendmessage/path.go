package sendmessage

import (
	"fmt"
	"strings"
)

// Pattern reads parameters from the path of a request, such as /send/{token}/{to}/{body}. A text at the end may hold
// slashes: apps escape no character that an address may have.
type Pattern struct {
	segments []segment
	limit    int // how many segments to split into, -1 for all
}

type segment struct{ literal, param string }

// ParsePattern reads a pattern: a path whose segments are fixed words or one {name} each, a name being a parameter's.
func ParsePattern(s string, names *Names) (*Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, fmt.Errorf("a path pattern begins with /, %q does not", s)
	}
	p := &Pattern{limit: -1}
	endsInText := false
	for _, part := range strings.Split(strings.Trim(s, "/"), "/") {
		inner, open := strings.CutPrefix(part, "{")
		param, closed := strings.CutSuffix(inner, "}")
		switch {
		case open && closed:
			n, ok := names.find(param)
			if !ok {
				return nil, fmt.Errorf("the path pattern %q holds {%s}, which is no known parameter", s, param)
			}
			p.segments = append(p.segments, segment{param: param})
			endsInText = n.role == roleBody
		case strings.ContainsAny(part, "{}"):
			return nil, fmt.Errorf("a segment of the path pattern %q is either a word or one {name}", s)
		default:
			p.segments = append(p.segments, segment{literal: part})
			endsInText = false
		}
	}
	if endsInText {
		p.limit = len(p.segments)
	}
	return p, nil
}

// read takes the parameters of an escaped path and reports whether the path fits. Splitting comes before unescaping,
// so that an escaped slash in a text stays in the text.
func (p *Pattern) read(escaped string, into *values) bool {
	parts := strings.SplitN(strings.Trim(escaped, "/"), "/", p.limit)
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

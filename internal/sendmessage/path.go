package sendmessage

import (
	"fmt"
	"strings"
)

// Pattern reads parameters from the path of a request, such as /send/{token}/{to}/{body}.
type Pattern struct{ segments []segment }

type segment struct{ literal, param string }

// ParsePattern reads a pattern: a path whose segments are fixed words or one {name} each, a name being a parameter's.
func ParsePattern(s string, names *Names) (*Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, fmt.Errorf("a path pattern begins with /, %q does not", s)
	}
	p := &Pattern{}
	for _, part := range strings.Split(strings.Trim(s, "/"), "/") {
		inner, open := strings.CutPrefix(part, "{")
		param, closed := strings.CutSuffix(inner, "}")
		switch {
		case open && closed:
			if _, ok := names.find(param); !ok {
				return nil, fmt.Errorf("the path pattern %q holds {%s}, which is no known parameter", s, param)
			}
			p.segments = append(p.segments, segment{param: param})
		case strings.ContainsAny(part, "{}"):
			return nil, fmt.Errorf("a segment of the path pattern %q is either a word or one {name}", s)
		default:
			p.segments = append(p.segments, segment{literal: part})
		}
	}
	return p, nil
}

// read takes the parameters of an escaped path and reports whether the path fits. Splitting comes before unescaping,
// so that an escaped slash in a text stays in the text.
func (p *Pattern) read(escaped string, into *values) bool {
	parts := strings.Split(strings.Trim(escaped, "/"), "/")
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

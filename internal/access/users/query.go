package users

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Query is an SQL statement that looks up a user by the name that the app sent. The values of its
// holes are bound as parameters, never inserted into the text.
type Query struct {
	text  string
	holes []string
}

// queryHoles maps each hole of a query to the function that computes its value.
var queryHoles = map[string]func(name string) string{
	"user":   userAndDomain,
	"name":   func(name string) string { name, _, _ = strings.Cut(userAndDomain(name), "@"); return name },
	"domain": func(name string) string { _, domain, _ := strings.Cut(userAndDomain(name), "@"); return domain },
}

// errNoHole is returned for a query without a name.
var errNoHole = errors.New("the query asks for nobody: write {user}, the name as the app sends it, or {name} and {domain}, its parts before and after the @")

// ParseQuery reads a statement with the holes {user}, {name} and {domain}. hole returns the
// placeholder of the nth parameter, counted from 1.
func ParseQuery(text string, hole func(n int) string) (*Query, error) {
	q := new(Query)
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && strings.IndexByte("'\"`", c) >= 0:
			quote = c
		case c == '{':
			name, _, closed := strings.Cut(text[i+1:], "}")
			_, known := queryHoles[name]
			switch {
			case known && quote != 0:
				return nil, fmt.Errorf("{%s} stands in quotes, where it means itself; take the quotes away, it is bound as a parameter", name)
			case known:
				q.holes = append(q.holes, name)
				b.WriteString(hole(len(q.holes)))
				i += len(name) + 1
				continue
			case quote == 0 && closed:
				return nil, errors.New(suggest.Unknown("hole", name, slices.Sorted(maps.Keys(queryHoles))) + "; quote braces that mean themselves")
			}
		case quote == 0 && c == '?':
			return nil, errors.New("the query has a ? of its own; write {user}, or {name} and {domain}")
		}
		b.WriteByte(c)
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c of the query is not closed", quote)
	}
	if q.text = b.String(); len(q.holes) == 0 || len(q.holes) == strings.Count(strings.Join(q.holes, " "), "domain") {
		return nil, errNoHole
	}
	return q, nil
}

// asksDomain reports whether the statement has the hole {domain}.
func (q *Query) asksDomain() bool { return slices.Contains(q.holes, "domain") }

// arguments returns the values of the holes for a name.
func (q *Query) arguments(name string) []any {
	args := make([]any, len(q.holes))
	for i, hole := range q.holes {
		args[i] = queryHoles[hole](name)
	}
	return args
}

package users

import (
	"errors"
	"fmt"
	"strings"
)

// Query is an SQL statement that looks a user up by what the app sent: its holes are bound as parameters, never put in.
type Query struct {
	text  string
	holes []string
}

// queryHoles are what stands in the holes of a query.
var queryHoles = map[string]func(name string) string{
	"user":   userAndDomain,
	"name":   func(name string) string { name, _, _ = strings.Cut(userAndDomain(name), "@"); return name },
	"domain": func(name string) string { _, domain, _ := strings.Cut(userAndDomain(name), "@"); return domain },
}

// errNoHole says what a query has to be about.
var errNoHole = errors.New("the query asks for nobody: write {user}, the name as the app sends it, or {name} and {domain}, its parts before and after the @")

// ParseQuery reads a statement with the holes {user}, {name} and {domain}. hole writes the nth parameter, from 1.
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
				return nil, fmt.Errorf("the query has {user}, {name} and {domain}, not {%.40s}", name)
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

// arguments are what is bound to the holes for a name.
func (q *Query) arguments(name string) []any {
	args := make([]any, len(q.holes))
	for i, hole := range q.holes {
		args[i] = queryHoles[hole](name)
	}
	return args
}

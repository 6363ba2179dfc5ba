package syntax

import (
	"regexp"
	"slices"
	"strings"
)

// Pair finds a name and a value that are joined as in other formats: to=value, to = value, to:
// value, "to" => value. glue is the operator between them.
func (s *Statement) Pair() (name, value, glue string, ok bool) {
	first := s.Words[0]
	second := Word{}
	if len(s.Words) > 1 {
		second = s.Words[1]
	}
	if !strings.ContainsAny(first.Text, "=:") && (second.Text == "" || second.Text[0] != '=' && second.Text[0] != ':') {
		return "", "", "", false
	}
	for _, form := range []*regexp.Regexp{assigned, labelled} {
		if found := form.FindStringSubmatch(first.Text); found != nil {
			if name, glue, value = found[1], found[2], found[3]; value == "" {
				value = second.Text
			}
			return strings.Trim(name, `"'`), value, glue, true
		}
	}
	if found := glued.FindStringSubmatch(second.Text); found != nil && !second.Quoted {
		glue, value = found[1], found[2]
		if value == "" && len(s.Words) > 2 {
			value = s.Words[2].Text
		}
		return first.Text, value, glue, true
	}
	return "", "", "", false
}

var (
	// assigned matches names followed by "=". labelled matches names followed by ":", but not names
	// of XML, which contain ":".
	assigned = regexp.MustCompile(`^([^={]*)(=>|=)(.*)$`)
	labelled = regexp.MustCompile(`^([^={]+?)(:)((?:["'{].*)?)$`)
	// glued matches values that begin with "=" or ":".
	glued = regexp.MustCompile(`^(=>|:=|=|:)(.*)$`)
)

// JSONError is the error about a line of JSON. It is found before the braces are read, because those
// of JSON would not match.
type JSONError struct{ *Statement }

// Error contains no word of the line.
func (e *JSONError) Error() string {
	return e.Fail("no JSON here: one `name value` a line").Error()
}

// isJSON reports whether a line looks like JSON.
func (s *Statement) isJSON() bool {
	if len(s.Words) == 1 && !s.Words[0].Quoted {
		return slices.Contains([]string{"},", "],", "]", "{}", "{},", "[],", "[]"}, s.First())
	}
	return len(s.Words) > 1 && s.Words[0].Quoted && !s.Words[1].Quoted && strings.HasPrefix(s.Words[1].Text, ":")
}

// contradicting finds the probable place of a missing brace. It returns the number of the first
// line whose indentation suggests that an open block above it has ended, or 0 if there is no such
// line.
func contradicting(source string, lines []line) int {
	indents := strings.Split(source, "\n")
	indentOf := func(n int) int { s := indents[n-1]; return len(s) - len(strings.TrimLeft(s, " \t")) }
	var open []int
	for i, l := range lines {
		last := l.words[len(l.words)-1]
		closes := l.words[0].Is("}")
		if depth := len(open); depth > 0 {
			within := indentOf(open[depth-1])
			contradicts := indentOf(l.number) < within || !closes && indentOf(l.number) == within
			switch {
			case contradicts && lines[i-1].number == open[depth-1]: // the text is not indented at all
				return 0
			case contradicts:
				return l.number
			}
		}
		switch {
		case closes && len(open) > 0:
			open = open[:len(open)-1]
		case last.Is("{") && len(l.words) > 1:
			open = append(open, l.number)
		}
	}
	return 0
}

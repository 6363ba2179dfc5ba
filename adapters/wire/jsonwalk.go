package wire

import (
	"iter"
	"strings"

	"github.com/tidwall/gjson"
)

// Members yields the names and values of an object or a list. Names are unescaped, values are
// raw JSON. The items of a list have empty names. It does not parse the values that it skips, so s
// must be valid JSON.
func Members(s string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		isObject := s[0] == '{'
		for i := jsonNext(s, 1); s[i] != '}' && s[i] != ']'; {
			name := ""
			if isObject {
				end := jsonEnd(s, i)
				name = jsonString(s[i:end])
				i = jsonNext(s, jsonNext(s, end)+1) // after the colon
			}
			end := jsonEnd(s, i)
			if !yield(name, s[i:end]) {
				return
			}
			if i = jsonNext(s, end); s[i] == ',' {
				i = jsonNext(s, i+1)
			}
		}
	}
}

// Member is a member of an object, or an item of a list with an empty name.
type Member struct{ Name, Value string }

// jsonNext returns the index of the first byte from i on that is not white space.
func jsonNext(s string, i int) int {
	for s[i] <= ' ' {
		i++
	}
	return i
}

// jsonEnd returns the end of the value that begins at i.
func jsonEnd(s string, i int) int {
	depth := 0
	for ; ; i++ {
		switch s[i] {
		case '"':
			i = jsonStringEnd(s, i) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\t', '\n', '\r':
			continue
		default:
			for i+1 < len(s) && s[i+1] > ' ' && s[i+1] != ',' && s[i+1] != '}' && s[i+1] != ']' {
				i++
			}
		}
		if depth == 0 {
			return i + 1
		}
	}
}

// jsonStringEnd returns the end of the string that begins at i.
func jsonStringEnd(s string, i int) int {
	for i++; ; i++ {
		i += strings.IndexByte(s[i:], '"')
		escapes := 0
		for s[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i + 1
		}
	}
}

// jsonString unquotes a string.
func jsonString(s string) string {
	if strings.IndexByte(s, '\\') >= 0 {
		return gjson.Parse(s).Str
	}
	return s[1 : len(s)-1]
}

// JSONText converts a value to text. null, {} and [] become "". Other objects and lists become
// Composite. Numbers keep all their digits.
func JSONText(s string) string {
	if s == "" {
		return ""
	}
	switch s[0] {
	case 'n':
		return ""
	case '"':
		return jsonString(s)
	case '{', '[':
		if strings.TrimSpace(s[1:len(s)-1]) == "" {
			return ""
		}
		return Composite
	}
	return s
}

package syntax

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// lexerLine matches the line number in errors of Caddy's lexer.
var lexerLine = regexp.MustCompile(` on line #(\d+)`)

// line contains the words of a line. A quoted word may extend over several lines.
type line struct {
	number int
	words  []Word
}

// lex splits a text into lines of words. Caddy's lexer reads character by character, and would take
// about 40 % of the time of reading all definitions, so lex uses it only for texts with escapes,
// heredocs or words of several lines.
func lex(source string) ([]line, error) {
	if lines, ok := lexByLine(source); ok {
		return lines, nil
	}
	return lexWhole(source)
}

func lexWhole(source string) ([]line, error) {
	tokens, err := caddyfile.Tokenize([]byte(source+"\n"), "")
	var lines []line
	for i, t := range tokens {
		if i == 0 || t.Line > tokens[i-1].Line+tokens[i-1].NumLineBreaks() {
			lines = append(lines, line{number: t.Line})
		}
		last := &lines[len(lines)-1]
		last.words = append(last.words, wordOf(t))
	}
	return lines, err
}

// lexByLine returns the same as lexWhole if each line of the text can be read separately. It
// returns false for other texts, such as those with escapes and heredocs.
func lexByLine(source string) ([]line, bool) {
	if !utf8.ValidString(source) || strings.Contains(source, "\uFEFF") {
		return nil, false
	}
	lines := make([]line, 0, strings.Count(source, "\n")+1)
	words := make([]Word, 0, len(source)/8) // shared by all lines
	number := 0
	for s := range strings.Lines(source) {
		number++
		s = strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
		first := len(words)
		for {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
			if s == "" || s[0] == '#' {
				if len(words) > first && strings.Contains(s, `\`) { // Caddy's lexer joins the next line to this one
					return nil, false
				}
				break
			}
			w, rest, ok := cutWord(s)
			if !ok {
				return nil, false
			}
			words, s = append(words, w), rest
		}
		if len(words) > first {
			lines = append(lines, line{number, words[first:len(words):len(words)]})
		}
	}
	return lines, true
}

// cutWord removes the first word from a line. ok is false if the word needs Caddy's lexer.
func cutWord(s string) (w Word, rest string, ok bool) {
	if quote := s[:1]; quote == "`" || quote == `"` {
		w.Quoted = true
		w.Text, rest, ok = strings.Cut(s[1:], quote)
		return w, rest, ok && (quote == "`" || !strings.Contains(w.Text, `\`))
	}
	end := strings.IndexFunc(s, unicode.IsSpace)
	if end < 0 {
		end = len(s)
	}
	w.Text, rest = s[:end], s[end:]
	return w, rest, !strings.Contains(w.Text, `\`) && !strings.HasPrefix(w.Text, "<<") && !strings.HasPrefix(rest, "\r")
}

package adapters

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// statement is a line of a definition, with its block if the line opens one.
type statement struct {
	words []word
	block []*statement
	opens bool
	at    place
}

// word is one word of a line. A quoted word is always text; the same word without quotes may be a
// number or a keyword.
type word struct {
	text   string
	quoted bool
}

// place is the position of a statement.
type place struct {
	file string
	line int
}

// fail returns an error that begins with the place.
func (p place) fail(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", p.file, p.line, fmt.Errorf(format, args...))
}

// first returns the first word, which names the statement.
func (s *statement) first() string { return s.words[0].text }

// args returns the words after the first.
func (s *statement) args() []word { return s.words[1:] }

func (s *statement) fail(format string, args ...any) error { return s.at.fail(format, args...) }

// kind identifies a statement that may appear only once. It is the first word and, for `number` and
// `text`, also the next: "number recipient", "text max".
func (s *statement) kind() string {
	if word := s.first(); len(s.words) > 2 && (word == "number" || word == "text") {
		if of := s.words[1].text; of != "replace" {
			return word + " " + of
		}
		return word + " replace " + s.words[2].text
	}
	return s.first()
}

// one returns the argument of a statement that must have exactly one.
func (s *statement) one(what string) (word, error) {
	if len(s.words) != 2 || s.opens {
		return word{}, s.fail("%s takes one %s%s", s.first(), what, hashHint(s))
	}
	return s.words[1], nil
}

// hashHint explains why a line may look empty: # begins a comment.
func hashHint(s *statement) string {
	if len(s.words) == 1 {
		return " (one that begins with # must stand in backticks, or it is a comment)"
	}
	return ""
}

// maxDepth limits the nesting of blocks.
const maxDepth = 16

// parseSyntax reads the statements of a definition. Words, quotes and comments follow the rules of
// a Caddyfile, because Caddy's own lexer reads them. Blocks follow the rules of Caddy's parser: "{"
// ends a line, and "}" is alone on a line. The parser itself is not used: it expands import and
// {$ENV}, and the line numbers in its errors would be wrong. firstLine is the line number of the
// first line of the text in its file.
func parseSyntax(file string, firstLine int, source string) ([]*statement, error) {
	source = strings.TrimPrefix(source, "\uFEFF")
	at := func(line int) place { return place{file, firstLine + line - 1} }
	if before, _, found := strings.Cut(source, "{$"); found {
		return nil, at(1 + strings.Count(before, "\n")).fail("{$…} has no place in a definition, write an option")
	}
	lines, err := lex(source)
	if err != nil {
		line := 1
		if n := lexerLine.FindStringSubmatch(err.Error()); n != nil {
			line, _ = strconv.Atoi(n[1])
		}
		return nil, at(line).fail("a heredoc is not closed or not well-formed: <<NAME ends a line, then come its lines, and one that has NAME alone")
	}
	var root statement
	blocks := []*statement{&root}
	statements := make([]statement, len(lines))
	for i, line := range lines {
		s := &statements[i]
		s.at, s.words = at(line.number), line.words
		inside := blocks[len(blocks)-1]
		if s.jsonLine() {
			return nil, s.failJSON(&parser{def: &Definition{Options: optionsOf(lines)}})
		}
		if s.words[0].isBrace("}") {
			switch {
			case inside == &root:
				return nil, s.fail("the braces do not match, this one closes nothing")
			case len(s.words) > 1:
				return nil, s.fail("} stands on a line of its own")
			}
			blocks = blocks[:len(blocks)-1]
			continue
		}
		if last := len(s.words) - 1; last > 0 && s.words[last].isBrace("{") {
			s.opens, s.words = true, s.words[:last]
		}
		for _, w := range s.words {
			switch {
			case w.isBrace("{"), w.isBrace("}"):
				return nil, s.fail("%s stands in the wrong place: a block is a line that ends in {, its statements line by line, and a line with }", w.text)
			case !w.quoted && strings.Contains(w.text, "\n"):
				return nil, s.fail("a quote or backtick is not closed")
			}
		}
		if s.first() == "import" && !s.words[0].quoted {
			return nil, s.fail("import has no place in a definition")
		}
		inside.block = append(inside.block, s)
		if s.opens {
			if len(blocks) > maxDepth {
				return nil, s.fail("more than %d blocks stand in each other", maxDepth)
			}
			blocks = append(blocks, s)
		}
	}
	if last := blocks[len(blocks)-1]; last != &root {
		if n := contradicting(source, lines); n > 0 {
			return nil, at(n).fail("is a } missing above? The braces do not match")
		}
		return nil, last.fail("the braces do not match, one is not closed")
	}
	return root.block, nil
}

// lexerLine matches the line number in errors of Caddy's lexer.
var lexerLine = regexp.MustCompile(` on line #(\d+)`)

// line contains the words of a line. A quoted word may extend over several lines.
type line struct {
	number int
	words  []word
}

// lex splits a text into lines of words. Caddy's lexer is slow, because it reads character by
// character; it would take most of the time of Parse. lex uses it only for texts with escapes,
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
	words := make([]word, 0, len(source)/8) // shared by all lines
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
func cutWord(s string) (w word, rest string, ok bool) {
	if quote := s[:1]; quote == "`" || quote == `"` {
		w.quoted = true
		w.text, rest, ok = strings.Cut(s[1:], quote)
		return w, rest, ok && (quote == "`" || !strings.Contains(w.text, `\`))
	}
	end := strings.IndexFunc(s, unicode.IsSpace)
	if end < 0 {
		end = len(s)
	}
	w.text, rest = s[:end], s[end:]
	return w, rest, !strings.Contains(w.text, `\`) && !strings.HasPrefix(w.text, "<<") && !strings.HasPrefix(rest, "\r")
}

func wordOf(t caddyfile.Token) word { return word{t.Text, t.Quoted()} }

func (w word) isBrace(brace string) bool { return w.text == brace && !w.quoted }

// Render converts the tokens of a block back to text. A definition inside of a Caddyfile can then
// be stored in JSON like a definition in its own file. Each line keeps its distance from the first,
// so that errors show the right line number.
func Render(tokens []caddyfile.Token) string {
	var b strings.Builder
	d := caddyfile.NewDispenser(tokens)
	line, depth := 0, 0
	for i := range tokens {
		onNewLine := i > 0 && d.NextLine()
		if !onNewLine {
			d.Next()
		}
		t := d.Token()
		if wordOf(t).isBrace("}") {
			depth--
		}
		if onNewLine {
			gap := 1
			if t.File == tokens[0].File {
				gap = max(gap, t.Line-tokens[0].Line-line)
			}
			line += gap
			b.WriteString(strings.Repeat("\n", gap) + strings.Repeat("\t", max(depth, 0)))
		} else if i > 0 {
			b.WriteByte(' ')
		}
		text := renderWord(t)
		line += strings.Count(text, "\n")
		b.WriteString(text)
		if wordOf(t).isBrace("{") {
			depth++
		}
	}
	return b.String()
}

// renderWord writes a word in a form that Caddy's lexer reads as the same word.
func renderWord(t caddyfile.Token) string {
	text := t.Text
	switch {
	case !t.Quoted() && isBareWord(text):
		return text
	case !strings.ContainsAny(text, "\"\\"):
		return `"` + text + `"`
	case !strings.Contains(text, "`"):
		return "`" + text + "`"
	case !strings.Contains(text, `\`):
		return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
	}
	marker := "TEXT"
	for strings.Contains(text, marker) {
		marker += "_"
	}
	return "<<" + marker + "\n" + text + "\n" + marker
}

// isBareWord reports whether a text can be written without quotes. The argument of an import may
// contain any character.
func isBareWord(text string) bool {
	return text != "" && !strings.ContainsFunc(text, unicode.IsSpace) && !strings.ContainsAny(text[:1], "\"`#\\") &&
		!strings.HasPrefix(text, "<<") && !strings.HasSuffix(text, `\`) && !strings.Contains(text, `\<`)
}

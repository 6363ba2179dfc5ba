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

// statement is a line of a definition with the block that it opens, if it does.
type statement struct {
	words []word
	block []*statement
	opens bool
	at    place
}

// word is one word of a line. A quoted one is text even where a bare one would be a number or a keyword.
type word struct {
	text   string
	quoted bool
}

// place is where a statement stands.
type place struct {
	file string
	line int
}

// fail makes an error that names the place.
func (p place) fail(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", p.file, p.line, fmt.Errorf(format, args...))
}

// first is the word that says what the statement is.
func (s *statement) first() string { return s.words[0].text }

// args are the words behind the first.
func (s *statement) args() []word { return s.words[1:] }

func (s *statement) fail(format string, args ...any) error { return s.at.fail(format, args...) }

// kind is the word and, of words that say different things, what it says: number recipient, text max.
func (s *statement) kind() string {
	if word := s.first(); len(s.words) > 2 && (word == "number" || word == "text") {
		if of := s.words[1].text; of != "replace" {
			return word + " " + of
		}
		return word + " replace " + s.words[2].text
	}
	return s.first()
}

// one returns the only argument.
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

// maxDepth is how deep blocks may stand in each other.
const maxDepth = 16

// parseSyntax reads the statements of a definition. Words, quotes and comments are those of a Caddyfile, because
// Caddy's own lexer reads them; blocks are laid out as Caddy's parser asks for it: { ends a line, } has one to itself.
// The parser itself is not used, because it follows import and {$ENV}, and names lines of a file that nobody sees.
// firstLine is the number of the text's first line in its file.
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
		return nil, at(line).fail("%s", lexerLine.ReplaceAllString(err.Error(), ""))
	}
	var root statement
	blocks := []*statement{&root}
	statements := make([]statement, len(lines))
	for i, line := range lines {
		s := &statements[i]
		s.at, s.words = at(line.number), line.words
		inside := blocks[len(blocks)-1]
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
		return nil, last.fail("the braces do not match, one is not closed")
	}
	return root.block, nil
}

// lexerLine is how errors of Caddy's lexer name the line.
var lexerLine = regexp.MustCompile(` on line #(\d+)`)

// line is what stands on a line, and on those that a quoted word of it goes on to.
type line struct {
	number int
	words  []word
}

// lex splits a text into lines of words. Caddy's lexer reads character by character, which is most of what reading a
// definition takes, so it is asked only for texts that hold more than plain lines.
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

// lexByLine is lexWhole for a text of which every line can be read for itself, without escapes and heredocs.
func lexByLine(source string) ([]line, bool) {
	if !utf8.ValidString(source) || strings.Contains(source, "\uFEFF") {
		return nil, false
	}
	lines := make([]line, 0, strings.Count(source, "\n")+1)
	words := make([]word, 0, len(source)/8) // room for those of all lines
	number := 0
	for s := range strings.Lines(source) {
		number++
		s = strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
		first := len(words)
		for {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
			if s == "" || s[0] == '#' {
				if len(words) > first && strings.Contains(s, `\`) { // Caddy's lexer takes the next line for a part of this
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

// cutWord takes the first word off a line, if it is a plain one.
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

// Render writes the tokens of a block back as text, so that a definition that stands inside a Caddyfile can be carried
// in JSON like one that stands in a file. Lines keep their distance from the first, so that errors name the right one.
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

// renderWord writes a word so that Caddy's lexer reads the same one.
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

// isBareWord reports whether a text can stand without quotes. One that came from an argument of import may not.
func isBareWord(text string) bool {
	return text != "" && !strings.ContainsFunc(text, unicode.IsSpace) && !strings.ContainsAny(text[:1], "\"`#\\") &&
		!strings.HasPrefix(text, "<<") && !strings.HasSuffix(text, `\`) && !strings.Contains(text, `\<`)
}

package adapters

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

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
	tokens, err := caddyfile.Tokenize([]byte(source+"\n"), file)
	if err != nil {
		line := 1
		if n := lexerLine.FindStringSubmatch(err.Error()); n != nil {
			line, _ = strconv.Atoi(n[1])
		}
		return nil, at(line).fail("%s", lexerLine.ReplaceAllString(err.Error(), ""))
	}
	var root statement
	blocks := []*statement{&root}
	for len(tokens) > 0 {
		line := tokens[:1]
		for n := 1; n < len(tokens) && tokens[n].Line <= tokens[n-1].Line+tokens[n-1].NumLineBreaks(); n++ {
			line = tokens[:n+1]
		}
		tokens = tokens[len(line):]
		s := &statement{at: at(line[0].Line)}
		inside := blocks[len(blocks)-1]
		if isBrace(line[0], "}") {
			switch {
			case inside == &root:
				return nil, s.fail("the braces do not match, this one closes nothing")
			case len(line) > 1:
				return nil, s.fail("} stands on a line of its own")
			}
			blocks = blocks[:len(blocks)-1]
			continue
		}
		for i, t := range line {
			switch {
			case isBrace(t, "{") && i > 0 && i == len(line)-1:
				s.opens = true
				continue
			case isBrace(t, "{"), isBrace(t, "}"):
				return nil, s.fail("%s stands in the wrong place: a block is a line that ends in {, its statements line by line, and a line with }", t.Text)
			case !t.Quoted() && strings.Contains(t.Text, "\n"):
				return nil, s.fail("a quote or backtick is not closed")
			}
			s.words = append(s.words, word{t.Text, t.Quoted()})
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

func isBrace(t caddyfile.Token, brace string) bool { return t.Text == brace && !t.Quoted() }

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
		if isBrace(t, "}") {
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
		if isBrace(t, "{") {
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

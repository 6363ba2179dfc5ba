// Package syntax reads the text of an adapter definition as statements: lines of words, some of
// which open a block of further lines. It returns errors with file and line for text that is not
// well-formed, and has the parts of error messages that need no knowledge of the adapter language.
//
// The package does not know which statements a definition may have, and its errors never quote a
// value, because a secret may be in the wrong place. Package adapters calls Parse; caddymodule
// calls Render. It is the only package besides caddymodule that uses Caddy's lexer. All functions
// are safe for concurrent use.
package syntax

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Statement is a line of a definition, with its block if the line opens one. It has at least one
// word.
type Statement struct {
	Place
	Words []Word
	Block []*Statement
	Opens bool
}

// Word is one word of a line. A quoted word is always text; the same word without quotes may be a
// number or a keyword.
type Word struct {
	Text   string
	Quoted bool
}

// Is reports whether a word is a keyword: the same text without quotes.
func (w Word) Is(keyword string) bool { return w.Text == keyword && !w.Quoted }

// Place is the position of a statement.
type Place struct {
	File string
	Line int
}

// Fail returns an error that begins with the place.
func (p Place) Fail(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", p.File, p.Line, fmt.Errorf(format, args...))
}

// Unknown returns the error about a word that is not among the known ones, the most similar first.
// what names the kind of the word.
func (p Place) Unknown(what, word string, known []string) error {
	return p.Fail("%s", suggest.Unknown(what, word, known))
}

// First returns the first word, which names the statement.
func (s *Statement) First() string { return s.Words[0].Text }

// Args returns the words after the first.
func (s *Statement) Args() []Word { return s.Words[1:] }

// One returns the argument of a statement that must have exactly one. what names it in the error.
func (s *Statement) One(what string) (Word, error) {
	if len(s.Words) != 2 || s.Opens {
		return Word{}, s.Fail("%s needs exactly one %s%s", s.First(), what, s.HashHint())
	}
	return s.Words[1], nil
}

// HashHint explains why a line may look empty: # begins a comment.
func (s *Statement) HashHint() string {
	if len(s.Words) == 1 {
		return " (put a value that begins with # in backticks, or it is a comment)"
	}
	return ""
}

// Join writes words as one line, without quotes.
func Join(words []Word) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.Text
	}
	return strings.Join(texts, " ")
}

// maxDepth limits the nesting of blocks.
const maxDepth = 16

// Parse reads the statements of a definition. Words, quotes and comments follow the rules of a
// Caddyfile, because Caddy's own lexer reads them. Blocks follow the rules of Caddy's parser: "{"
// ends a line, and "}" is alone on a line. The parser itself is not used: it expands import and
// {$ENV}, and the line numbers in its errors would be wrong. firstLine is the line number of the
// first line of the text in its file. With a *JSONError, Parse also returns the statements before
// that line.
func Parse(file string, firstLine int, source string) ([]*Statement, error) {
	source = strings.TrimPrefix(source, "\uFEFF")
	at := func(line int) Place { return Place{file, firstLine + line - 1} }
	if before, _, found := strings.Cut(source, "{$"); found {
		return nil, at(1 + strings.Count(before, "\n")).Fail("{$…} is not replaced in a definition, declare an option instead")
	}
	lines, err := lex(source)
	if err != nil {
		line := 1
		if n := lexerLine.FindStringSubmatch(err.Error()); n != nil {
			line, _ = strconv.Atoi(n[1])
		}
		return nil, at(line).Fail("a heredoc is not closed or not well-formed: <<NAME ends a line, then come its lines, and one that is NAME alone")
	}
	root := new(Statement)
	blocks := []*Statement{root}
	for _, line := range lines {
		s := &Statement{Place: at(line.number), Words: line.words}
		inside := blocks[len(blocks)-1]
		if s.isJSON() {
			return root.Block, &JSONError{s}
		}
		if s.Words[0].Is("}") {
			switch {
			case inside == root:
				return nil, s.Fail("the braces do not match, this one closes nothing")
			case len(s.Words) > 1:
				return nil, s.Fail("} must be alone on its line")
			}
			blocks = blocks[:len(blocks)-1]
			continue
		}
		if last := len(s.Words) - 1; last > 0 && s.Words[last].Is("{") {
			s.Opens, s.Words = true, s.Words[:last]
		}
		if err := s.checkWords(); err != nil {
			return nil, err
		}
		inside.Block = append(inside.Block, s)
		if s.Opens {
			if len(blocks) > maxDepth {
				return nil, s.Fail("more than %d nested blocks", maxDepth)
			}
			blocks = append(blocks, s)
		}
	}
	if last := blocks[len(blocks)-1]; last != root {
		if n := contradicting(source, lines); n > 0 {
			return nil, at(n).Fail("is a } missing above? The braces do not match")
		}
		return nil, last.Fail("the braces do not match, one is not closed")
	}
	return root.Block, nil
}

// checkWords refuses braces in the middle of a line, open quotes, and import.
func (s *Statement) checkWords() error {
	for _, w := range s.Words {
		switch {
		case w.Is("{"), w.Is("}"):
			return s.Fail("%s in the wrong place: a block is a line that ends in {, its statements line by line, and a line with }", w.Text)
		case !w.Quoted && strings.Contains(w.Text, "\n"):
			return s.Fail("a quote or backtick is not closed")
		}
	}
	if s.Words[0].Is("import") {
		return s.Fail("import is not allowed in a definition")
	}
	return nil
}

func wordOf(t caddyfile.Token) Word { return Word{t.Text, t.Quoted()} }

package adapters

import (
	"fmt"
	"slices"
	"strings"

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

// parseSyntax reads the statements of a definition with Caddy's own parser, so that braces, quotes and comments are
// those of a Caddyfile. firstLine is the number of the text's first line in its file.
func parseSyntax(file string, firstLine int, source string) ([]*statement, error) {
	if err := checkTokens(file, firstLine, source); err != nil {
		return nil, err
	}
	blocks, err := caddyfile.Parse(file, []byte("definition {\n"+source+"\n}"))
	if err != nil {
		return nil, place{file, firstLine}.fail("%w", err)
	}
	if len(blocks) != 1 {
		return nil, place{file, firstLine}.fail("the definition is empty or holds more than its statements")
	}
	var list []*statement
	for _, segment := range blocks[0].Segments {
		d := caddyfile.NewDispenser(segment)
		for d.Next() {
			list = append(list, readStatement(d, file, firstLine-2))
		}
	}
	return list, nil
}

// checkTokens refuses what Caddy's parser would resolve on its own: other files, the environment, braces that close
// more or less than they open.
func checkTokens(file string, firstLine int, source string) error {
	if line, _, found := strings.Cut(source, "{$"); found {
		return place{file, firstLine + strings.Count(line, "\n")}.fail("{$…} has no place in a definition, write an option")
	}
	tokens, err := caddyfile.Tokenize([]byte(source), file)
	if err != nil {
		return place{file, firstLine}.fail("%w", err)
	}
	depth, last := 0, 0
	for _, t := range tokens {
		at := place{file, firstLine + t.Line - 1}
		switch {
		case t.Quoted():
		case t.Text == "{":
			depth++
		case t.Text == "}":
			depth--
		case t.Text == "import" && t.Line != last:
			return at.fail("import has no place in a definition")
		}
		if depth < 0 {
			return at.fail("the braces do not match, this one closes nothing")
		}
		last = t.Line + t.NumLineBreaks()
	}
	if depth > 0 {
		return place{file, firstLine + max(last-1, 0)}.fail("the braces do not match, one is not closed")
	}
	return nil
}

func readStatement(d *caddyfile.Dispenser, file string, shift int) *statement {
	s := &statement{words: []word{readWord(d)}, at: place{file, d.Line() + shift}}
	for d.NextArg() {
		s.words = append(s.words, readWord(d))
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		s.opens = true
		s.block = append(s.block, readStatement(d, file, shift))
	}
	return s
}

func readWord(d *caddyfile.Dispenser) word {
	return word{text: d.Val(), quoted: d.Token().Quoted()}
}

// Render writes the tokens of a block back as text, line by line, so that a definition that stands inside a
// Caddyfile can be carried in JSON like one that stands in a file.
func Render(tokens []caddyfile.Token) string {
	var b strings.Builder
	depth := 0
	for i, t := range tokens {
		text := t.Text
		if !t.Quoted() && text == "}" {
			depth--
		}
		if i > 0 {
			gap := min(max(t.Line-tokens[i-1].Line-tokens[i-1].NumLineBreaks(), 0), 2)
			if gap == 0 {
				b.WriteByte(' ')
			} else {
				b.WriteString(strings.Repeat("\n", gap))
				b.WriteString(strings.Repeat("\t", max(depth, 0)))
			}
		}
		switch {
		case t.Quoted() && !strings.ContainsAny(text, "\"\\"):
			b.WriteString(`"` + text + `"`)
		case t.Quoted() && !strings.Contains(text, "`"):
			b.WriteString("`" + text + "`")
		case t.Quoted():
			b.WriteString(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
		default:
			b.WriteString(text)
		}
		if !t.Quoted() && text == "{" {
			depth++
		}
	}
	return b.String()
}

// Nearest returns those of the known words that a mistyped one may have meant, best first, at most three.
func Nearest(typed string, known []string) []string {
	type candidate struct {
		word     string
		distance int
	}
	var list []candidate
	for _, k := range known {
		d := distance(strings.ToLower(typed), k)
		if strings.HasPrefix(k, strings.ToLower(typed)) {
			d = 1
		}
		if d <= max(2, len(typed)/3) {
			list = append(list, candidate{k, d})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return a.distance - b.distance })
	var best []string
	for _, c := range list[:min(3, len(list))] {
		best = append(best, c.word)
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// meant adds the nearest known words to an error about an unknown one.
func meant(typed string, known []string) string {
	if near := Nearest(typed, known); len(near) > 0 {
		return ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}

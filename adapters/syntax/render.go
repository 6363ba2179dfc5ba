package syntax

import (
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

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
		if wordOf(t).Is("}") {
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
		if wordOf(t).Is("{") {
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

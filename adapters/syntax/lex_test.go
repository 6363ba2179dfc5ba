package syntax

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzLex compares the fast reading of plain lines with Caddy's lexer.
func FuzzLex(f *testing.F) {
	files, err := filepath.Glob("../providers/*.caddyfile")
	if err != nil || len(files) == 0 {
		f.Fatalf("no definitions: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if _, ok := lexByLine(string(text)); !ok {
			f.Errorf("%s is not read line by line", file)
		}
		f.Add(string(text))
	}
	for _, text := range []string{
		"a \"b c\" `d\\d`\n\n\te # f\ng#h", "a \"b\nc\" d\ne", "a \\\nb", "a <<X\n\tb\n\tX c\nd",
		"a << b\n<<\n", "a\rb\r\nc", "`", "# a \\\nb", "a # \\ \" b\nc", "a \"b\"c \"next\nnext", "a\xff",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fast, ok := lexByLine(text)
		if !ok {
			return
		}
		whole, err := lexWhole(text)
		if err != nil {
			t.Fatalf("read line by line, but: %v", err)
		}
		if strings.Contains(text, "\\") { // in a comment it makes Caddy's lexer lose count of the lines
			for i := range min(len(fast), len(whole)) {
				whole[i].number = fast[i].number
			}
		}
		if !slices.EqualFunc(fast, whole, func(a, b line) bool { return a.number == b.number && slices.Equal(a.words, b.words) }) {
			t.Errorf("line by line %v, as a whole %v", fast, whole)
		}
	})
}

package syntax

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A block that stands in a Caddyfile and its rendering mean the same.
func TestRender(t *testing.T) {
	source := "legacy {\n\t# comment\n\tbase_url https://x\n\n\n\tsend {\n\t\tPOST /\n\t\tjson {\n\t\t\ta \"quo\\\"te # no { comment\"\n\t\t\tb `back\\d \"tick\"`\n" +
		"\t\t\tc \"}\"\n\t\t\td \"two\nlines\"\n\t\t\te \"\"\n\t\t}\n\t}\n\treply text\n\taccepted status 200\n\tid `^(\\d+)$`\n}"
	d := caddyfile.NewTestDispenser(source)
	d.Next()
	segment := d.NextSegment()
	rendered := Render(segment[2 : len(segment)-1])
	read := func(text string) (words [][]Word) {
		list, err := Parse("x", 1, text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var walk func([]*Statement)
		walk = func(list []*Statement) {
			for _, s := range list {
				words = append(words, s.Words)
				walk(s.Block)
			}
		}
		walk(list)
		return words
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(source, "legacy {\n"), "}")
	if diff := cmp.Diff(read(inner), read(rendered)); diff != "" {
		t.Errorf("%s\n%s", diff, rendered)
	}
}

// Words that import inserts have lost their quotes and have the line numbers of another file.
func TestRenderImports(t *testing.T) {
	args := []string{"two words", "<<X", "a\\", "\\<", "#c", "", "plain", "`"}
	source := "(s) {\nw {args[0]}\n}\nsite {\nfirst\n"
	want := [][]string{{"first"}}
	for _, a := range args {
		quote := "`"
		if a == "`" {
			quote = `"`
		}
		source += "import s " + quote + a + quote + "\n"
		want = append(want, []string{"w", a})
	}
	source += "last\n}"
	want = append(want, []string{"last"})
	blocks, err := caddyfile.Parse("x", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var tokens []caddyfile.Token
	for _, s := range blocks[0].Segments {
		tokens = append(tokens, s...)
	}
	list, err := Parse("x", 1, Render(tokens))
	if err != nil {
		t.Fatalf("%v\n%s", err, Render(tokens))
	}
	var got [][]string
	for _, s := range list {
		var line []string
		for _, w := range s.Words {
			line = append(line, w.Text)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, Render(tokens))
	}
}

// Lines of a rendered block keep their distance, so that an error names the line in the Caddyfile.
func TestRenderLines(t *testing.T) {
	for _, before := range []string{
		"", "\n\n\n", "# comment\n# comment\n", "source \"two\nlines\"\n", "source <<X\n\tthree\n\tlines\n\tX\n", "verified \\\n\tdocs \\\n\t2026-11\n",
		"send {\n\n\n\tPOST /\n\n\tform {\n\t\ta \"b\nc\"\n\t}\n\n}\n",
	} {
		source := "\n\ndefine own {\n\n# first\nreply json\n" + before + "optoin x\n}"
		d := caddyfile.NewTestDispenser(source)
		d.Next()
		segment := d.NextSegment()
		inner := segment[3 : len(segment)-1]
		list, err := Parse("Caddyfile", inner[0].Line, Render(inner))
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Count(source[:strings.Index(source, "optoin")], "\n") + 1
		last := list[len(list)-1]
		if err, want := last.Unknown("word", last.First(), []string{"option"}), fmt.Sprintf(`Caddyfile:%d: unknown word "optoin"`, line); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", before, err, want)
		}
	}
}

// Whatever words a block has, the text that Render makes of them has the same, on the same lines.
func TestRenderKeepsWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(
			rapid.StringMatching("[a-z{}<#\"`\\\\ .\n]{0,8}"),
			rapid.SampledFrom([]string{"{", "}", "{}", "<<X", "a\\", "#c", "\\\"", "`\\\"`", "TEXT", "\\<", "import", ""}),
		)
		var source strings.Builder
		var want [][]string
		for range rapid.IntRange(1, 4).Draw(t, "lines") {
			var line []string
			for i := range rapid.IntRange(1, 4).Draw(t, "words") {
				w := word.Draw(t, "word")
				switch {
				case i == 0:
					w = "w" // a line begins with a plain word here
					source.WriteString(w)
				case !strings.Contains(w, "`"):
					source.WriteString(" `" + w + "`")
				case !strings.Contains(w, `\`):
					source.WriteString(` "` + strings.ReplaceAll(w, `"`, `\"`) + `"`)
				default:
					source.WriteString(" <<END\n" + w + "\nEND")
				}
				line = append(line, w)
			}
			source.WriteString(strings.Repeat("\n", rapid.IntRange(1, 3).Draw(t, "breaks")))
			want = append(want, line)
		}
		tokens, err := caddyfile.Tokenize([]byte(source.String()), "x")
		if err != nil {
			t.Fatal(err)
		}
		rendered := Render(tokens)
		list, err := Parse("x", 1, rendered)
		if err != nil {
			t.Fatalf("%v: %q", err, rendered)
		}
		var got [][]string
		for _, s := range list {
			var line []string
			for _, w := range s.Words {
				line = append(line, w.Text)
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q as %q: %s", source.String(), rendered, diff)
		}
	})
}

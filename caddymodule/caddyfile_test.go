package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the adapted JSON behind the Caddyfiles of testdata/caddyfile")

const divider = "\n----------\n"

// TestAdapt compares every Caddyfile of testdata/caddyfile with the JSON, or the error, that stands behind it.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("../testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal("no test data")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, want, _ := strings.Cut(string(data), divider)
			got, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config+"\n"), map[string]any{"filename": "Caddyfile"})
			if strings.HasPrefix(filepath.Base(file), "error-") {
				if *update && err != nil {
					_, message, _ := strings.Cut(err.Error(), "parsing caddyfile tokens for 'acrobits_sms': ")
					if err := os.WriteFile(file, []byte(strings.TrimSpace(config)+divider+message+"\n"), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
					t.Errorf("error %v, want %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range warnings {
				t.Errorf("warning: %s", w.Message)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, got, "", "\t"); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimSpace(config)+divider+pretty.String()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.TrimSpace(want), pretty.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestExamplesAreFormatted keeps the example and the sites beside it as caddy fmt writes them.
func TestExamplesAreFormatted(t *testing.T) {
	files, _ := filepath.Glob("examples/*.caddyfile")
	for _, file := range append(files, "../Caddyfile.example") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(caddyfile.Format(data)), string(data)); diff != "" {
			t.Errorf("%s: run caddy fmt --overwrite\n%s", file, diff)
		}
	}
}

// TestGrammar keeps the grammar of docs/settings.md and the one over UnmarshalCaddyfile the same, and complete.
func TestGrammar(t *testing.T) {
	source, err := os.ReadFile("caddyfile.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "Syntax:\n//\n")
	comment, _, _ := strings.Cut(rest, "//\n// user, ")
	grammar := strings.TrimSpace(regexp.MustCompile(`(?m)^//\t?`).ReplaceAllString(comment, ""))
	_, rest, _ = strings.Cut(string(source), "//\n// user, ")
	repeated, _, _ := strings.Cut(strings.ReplaceAll("user, "+rest, "\n// ", " "), " can be repeated")
	var often []string
	for _, d := range new(Handler).directives() {
		if !regexp.MustCompile(`(?m)^\t` + d.word + `\b`).MatchString(grammar) {
			t.Errorf("the grammar lacks %s", d.word)
		}
		if d.repeats {
			often = append(often, d.word)
		}
	}
	slices.Sort(often)
	said := strings.Split(strings.ReplaceAll(repeated, " and ", ", "), ", ")
	slices.Sort(said)
	if !slices.Equal(often, said) {
		t.Errorf("%q can be repeated, and the comment says %q", often, said)
	}
	page, err := os.ReadFile("../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```caddyfile\n"+grammar+"\n```") {
		t.Errorf("docs/settings.md lacks this grammar:\n%s", grammar)
	}
}

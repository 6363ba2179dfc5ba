package caddymodule

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each defence of SECURITY.md is shown by tests that exist, where it says.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, defended, found := strings.Cut(string(page), "\n| Against | How | Shown by |\n|---|---|---|\n")
	defended, _, closed := strings.Cut(defended, "\n\n")
	if !found || !closed {
		t.Fatal("there is no table of what is defended against")
	}
	test := regexp.MustCompile("`([a-z0-9/.]+) ((?:Test|Fuzz)\\w+)`")
	for row := range strings.Lines(defended) {
		cells := strings.Split(row, " | ")
		if len(cells) != 3 {
			t.Errorf("not three columns: %s", row)
			continue
		}
		shown := test.FindAllStringSubmatch(cells[2], -1)
		if len(shown) == 0 || len(shown) != strings.Count(cells[2], "`")/2 {
			t.Errorf("%s: write each test as `directory TestName`: %s", cells[0], cells[2])
		}
		for _, s := range shown {
			if !hasTest(t, filepath.Join("..", s[1]), s[2]) {
				t.Errorf("%s: there is no %s in %s", cells[0], s[2], s[1])
			}
		}
	}
}

// hasTest reports whether a directory has a test function of this name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}

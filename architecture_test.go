package acrobitssms_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	project = "github.com/caddy-acrobits/caddy-acrobits-sms"
	caddy   = "github.com/caddyserver/caddy/v2"
)

// arrows are the tables of ARCHITECTURE.md that say which package may import which.
type arrows struct {
	layers [][]string          // rooms from top to bottom
	caddy  map[string][]string // packages of Caddy by room
}

// in reports whether a package is a room or below it.
func in(pkg, room string) bool { return pkg == room || strings.HasPrefix(pkg, room+"/") }

// layer finds the layer of the longest room that a package is in, and this room.
func (a *arrows) layer(pkg string) (layer int, room string) {
	layer = -1
	for i, rooms := range a.layers {
		for _, r := range rooms {
			if in(pkg, r) && (layer < 0 || len(r) > len(room)) {
				layer, room = i, r
			}
		}
	}
	return layer, room
}

// forbidden says why a package must not import another one, or is empty.
func (a *arrows) forbidden(from, to string) string {
	if strings.HasPrefix(to, caddy) {
		for room, allowed := range a.caddy {
			for _, pkg := range allowed {
				if in(from, room) && (pkg == "all" || caddy+"/"+pkg == to) {
					return ""
				}
			}
		}
		return "must not import Caddy"
	}
	above, room := a.layer(from)
	below, other := a.layer(to)
	switch {
	case above < 0:
		return "is in no layer"
	case below < 0:
		return "imports what is in no layer"
	case above < below, room == other:
		return ""
	}
	return "imports upwards or sideways"
}

// table returns the cells of a table, the words in backticks in each, by the comment in front of it.
func table(t *testing.T, page, mark string) (rows [][][]string) {
	t.Helper()
	_, rest, found := strings.Cut(page, "<!-- "+mark+" -->\n")
	text, _, closed := strings.Cut(rest, "<!-- /"+mark+" -->")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if !found || !closed || len(lines) < 3 {
		t.Fatalf("ARCHITECTURE.md has no table %s", mark)
	}
	for _, line := range lines[2:] {
		var row [][]string
		for _, cell := range strings.Split(strings.Trim(line, "| "), "|") {
			var words []string
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
				words = append(words, m[1])
			}
			row = append(row, words)
		}
		rows = append(rows, row)
	}
	return rows
}

func readArrows(t *testing.T) *arrows {
	t.Helper()
	data, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	a := &arrows{caddy: map[string][]string{}}
	for _, row := range table(t, string(data), "layers") {
		a.layers = append(a.layers, row[1])
	}
	for _, row := range table(t, string(data), "caddy") {
		a.caddy[row[0][0]] = row[1]
	}
	return a
}

// TestArrows compares the imports of all packages, without their tests, with the tables of ARCHITECTURE.md.
func TestArrows(t *testing.T) {
	a := readArrows(t)
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := path.Dir(filepath.ToSlash(file))
		if layer, _ := a.layer(from); layer < 0 {
			t.Errorf("%s: %s is in no layer of ARCHITECTURE.md", file, from)
		}
		for _, i := range source.Imports {
			to, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if !in(to, project) && !in(to, caddy) {
				continue
			}
			to = strings.TrimPrefix(to, project+"/")
			seen[from+" "+to] = true
			if why := a.forbidden(from, to); why != "" {
				t.Errorf("%s: %s imports %s: it %s", file, from, to, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, rooms := range a.layers {
		for _, room := range rooms {
			if _, err := os.Stat(room); err != nil {
				t.Errorf("ARCHITECTURE.md has a room that does not exist: %s", room)
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d imports are too few", len(seen))
	}
}

// TestArrowsForbid shows that the tables forbid what they are for.
func TestArrowsForbid(t *testing.T) {
	a := readArrows(t)
	for _, arrow := range []struct {
		from, to string
		allowed  bool
	}{
		{"caddymodule", "internal/sms", true},
		{"caddymodule", caddy + "/modules/caddyhttp", true},
		{"internal/store/sqlite", "internal/journal", true},
		{"internal/store/tables", "internal/policy/limit", true},
		{"adapters", "adapters/syntax", true},
		{"adapters", "adapters/wire", true},
		{"adapters/syntax", "adapters", false},
		{"adapters/wire", "adapters", false},
		{"adapters/wire", "adapters/syntax", false},
		{"adapters/syntax", caddy + "/caddyconfig/caddyfile", true},
		{"adapters", caddy + "/caddyconfig/caddyfile", false},
		{"adapters", caddy, false},
		{"internal/delivery", caddy, false},
		{"internal/gateway", caddy + "/modules/caddyhttp", false},
		{"internal/sms", "internal/number", false},
		{"internal/sms", "internal/suggest", false},
		{"internal/delivery", "caddymodule", false},
		{"internal/delivery/routing", "adapters", false},
		{"internal/acrobits/sendmessage", "internal/access/digest", false},
		{"internal/policy/limit", "internal/journal", false},
		{"internal/newroom", "internal/sms", false},
	} {
		if why := a.forbidden(arrow.from, arrow.to); (why == "") != arrow.allowed {
			t.Errorf("%s imports %s: %q", arrow.from, arrow.to, why)
		}
	}
}

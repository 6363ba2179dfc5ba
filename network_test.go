package acrobitssms_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repliesReadIn are the files that make HTTP requests by themselves, and why. All others ask package
// roundtrip, whose replies have a deadline and a bound.
var repliesReadIn = map[string]string{
	"internal/roundtrip/roundtrip.go": "the place where replies become bytes",
	"internal/media/media.go":         "files are written to disk as they come, from public addresses only",
	"internal/media/fetch.go":         "files are written to disk as they come",
	"caddymodule/transport.go":        "passes requests on to the transport of the configuration",
}

// TestRepliesAreReadInOnePlace shows that no other code of the product reads the reply of a server,
// which may send without end, or fall silent after a 101.
func TestRepliesAreReadInOnePlace(t *testing.T) {
	found := map[string]bool{}
	for _, room := range []string{"adapters", "internal", "caddymodule"} {
		err := filepath.WalkDir(room, func(file string, entry fs.DirEntry, err error) error {
			switch file = filepath.ToSlash(file); {
			case err != nil:
				return err
			case file == "internal/e2e":
				return filepath.SkipDir
			case entry.IsDir(), !strings.HasSuffix(file, ".go"), strings.HasSuffix(file, "_test.go"):
				return nil
			}
			source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				return err
			}
			for _, what := range requestsIn(source) {
				if found[file] = true; repliesReadIn[file] == "" {
					t.Errorf("%s uses %s: make the request by roundtrip.Do, which bounds the reply", file, what)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if all := slices.Sorted(maps.Keys(repliesReadIn)); len(found) < len(all) {
		t.Errorf("of %q only %q make requests", all, slices.Sorted(maps.Keys(found)))
	}
}

// requestsIn are the names by which a file makes HTTP requests.
func requestsIn(source *ast.File) (names []string) {
	ast.Inspect(source, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if call, is := n.Fun.(*ast.SelectorExpr); is && (call.Sel.Name == "RoundTrip" || call.Sel.Name == "Do" && isClient(call.X)) {
				names = append(names, "."+call.Sel.Name)
			}
		case *ast.SelectorExpr:
			pkg, is := n.X.(*ast.Ident)
			if is && pkg.Name == "http" && slices.Contains([]string{"Client", "DefaultClient", "Get", "Head", "Post", "PostForm"}, n.Sel.Name) {
				names = append(names, "http."+n.Sel.Name)
			}
		}
		return true
	})
	return names
}

// isClient reports whether an expression is called client.
func isClient(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return strings.HasSuffix(strings.ToLower(x.Name), "client")
	case *ast.SelectorExpr:
		return strings.HasSuffix(strings.ToLower(x.Sel.Name), "client")
	}
	return false
}

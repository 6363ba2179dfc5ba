package tables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The databases have the same migrations and additions; only the type of bytes differs.
func TestSchema(t *testing.T) {
	files, err := filepath.Glob("../sqlite/*/*.sql")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	others, _ := filepath.Glob("../postgres/*/*.sql")
	if len(others) != len(files) {
		t.Errorf("%d files of SQLite, %d of PostgreSQL", len(files), len(others))
	}
	for i, name := range files {
		file, _ := os.ReadFile(name)
		other, err := os.ReadFile(others[i])
		if err != nil || strings.ReplaceAll(string(file), " BLOB", " BYTEA") != string(other) {
			t.Errorf("%s and %s differ, %v", name, others[i], err)
		}
		for statement := range strings.SplitSeq(strings.TrimSuffix(string(file), ";\n"), ";\n") {
			if strings.Contains(statement, ";") || strings.Contains(statement, "--") {
				t.Errorf("%s: a statement must end with a semicolon at the end of a line, and has no comment: %s", name, statement)
			}
		}
	}
}

package caddymodule

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the page about users shows is taken as it stands there.
func TestUsersPage(t *testing.T) {
	page, err := os.ReadFile("users.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("JWT_SECRET", jwtSecret)
	t.Setenv("USERS_KEY", "a-key")
	blocks := regexp.MustCompile("(?s)```(caddyfile|csv|json)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	files := 0
	for _, b := range blocks {
		kind, text := b[1], strings.ReplaceAll(b[2], "$2a$12$…", "a-password-for-johndow")
		block := text
		switch {
		case kind == "json" && strings.HasPrefix(text, "{"): // an answer of a service, which another test gives
			continue
		case kind != "caddyfile":
			files++
			path := filepath.Join(dir, "users."+kind)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			block = "users file " + path
		case strings.Contains(text, "users file"):
			continue
		}
		t.Setenv("USERS_DATABASE", map[bool]string{true: "user:password@tcp(localhost:3306)/db", false: "postgres://localhost/db"}[strings.Contains(text, "sql mysql")])
		if _, err := provision(t, "default_region US\nadapter sandbox\n"+block); err != nil {
			t.Errorf("%s: %v", block, err)
		}
	}
	if len(blocks) < 8 || files != 2 {
		t.Errorf("%d blocks, %d files", len(blocks), files)
	}
}

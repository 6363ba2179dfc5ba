package caddymodule

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// The configuration on the page about the journal is accepted as it is.
func TestJournalPage(t *testing.T) {
	page, err := os.ReadFile("../docs/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	for _, b := range blocks {
		site := b[1] + "http://:80 {\n\tacrobits_sms {\n" + demo + "adapter sandbox\n}\n}\n"
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(site), map[string]any{"filename": "Caddyfile"}); err != nil {
			t.Errorf("%s: %v", b[1], err)
		}
	}
	if len(blocks) == 0 {
		t.Error("no block")
	}
	inline := regexp.MustCompile("`journal ([a-z]+)[^`]*`").FindAllStringSubmatch(string(page), -1)
	if len(inline) < 4 {
		t.Errorf("%d kinds", len(inline))
	}
	for _, kind := range inline {
		if _, err := caddy.GetModule("acrobits_sms.journals." + kind[1]); err != nil {
			t.Error(err)
		}
	}
}

// The pages about users show what is provisioned as it stands there.
func TestUsersPage(t *testing.T) {
	var page []byte
	for _, name := range []string{"users", "fusionpbx", "freepbx-asterisk", "kamailio"} {
		text, err := os.ReadFile("../docs/" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, text...)
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
		case kind == "json" && strings.HasPrefix(text, "{"): // an answer of a service, which another test gives, or a template of the app
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
	if len(blocks) < 14 || files != 2 {
		t.Errorf("%d blocks, %d files", len(blocks), files)
	}
}

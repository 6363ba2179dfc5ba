package caddymodule

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// The tests of this file read all pages: links lead somewhere, blocks are understood, and commands are run or listed.

// pageFiles returns the texts of all pages by their paths from the top of the repository.
func pageFiles(t *testing.T) map[string]string {
	t.Helper()
	pages := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "adapters/*.md", "internal/*.md", "testdata/*.md"} {
		files, err := fs.Glob(os.DirFS(".."), pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Fatal(err)
			}
			pages[file] = string(text)
		}
	}
	return pages
}

// pageBlock is a fenced block of a page, without its indentation.
type pageBlock struct{ page, kind, text string }

var fence = regexp.MustCompile("(?ms)^( *)```([a-z]*)\n(.*?)^ *```$")

func pageBlocks(t *testing.T) (blocks []pageBlock) {
	for page, text := range pageFiles(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			blocks = append(blocks, pageBlock{page, m[2], strings.ReplaceAll("\n"+m[3], "\n"+m[1], "\n")[1:]})
		}
	}
	return blocks
}

func TestReadmeIsShort(t *testing.T) {
	if words := len(strings.Fields(pageFiles(t)["README.md"])); words > 1500 {
		t.Errorf("the README has %d words, at most 1500; docs/ has room", words)
	}
}

// TestPageLinks follows the links inside the repository, to headings too.
func TestPageLinks(t *testing.T) {
	pages := pageFiles(t)
	anchors := make(map[string][]string)
	for page, text := range pages {
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
			anchors[page] = append(anchors[page], strings.ReplaceAll(slug, " ", "-"))
		}
	}
	links := 0
	for page, text := range pages {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, anchor, found := strings.Cut(m[1], "#")
			to := path.Join(path.Dir(page), file)
			if file == "" {
				to = page
			}
			if _, err := os.Stat(filepath.Join("..", to)); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
			} else if found && !slices.Contains(anchors[to], anchor) {
				t.Errorf("%s: %s has no heading %s, it has %v", page, to, anchor, anchors[to])
			}
		}
	}
	if links < 100 {
		t.Errorf("%d links", links)
	}
}

// blockKinds are the kinds of blocks in pages, and how each is checked.
var blockKinds = map[string]string{
	"sh":        "caddymodule TestPageCommands",
	"caddyfile": "caddymodule TestPageCaddyfiles",
	"sql":       "internal/e2e TestUsersOfDatabases",
	"csv":       "caddymodule TestUsersPage",
	"json":      "no: replies and log lines are shortened; the template is in TestReadmeTemplate",
	"xml":       "internal/e2e TestExample",
	"yaml":      "caddymodule TestPageMetrics",
	"ini":       "internal/e2e TestPages",
	"nginx":     "no: nginx is not installed in CI; tried by hand with nginx 1.22, as was the answer on port 80",
	"apache":    "no: Apache is not installed in CI; tried by hand with Apache 2.4.67, as was the answer on port 80",
	"mermaid":   "no: a picture, which GitHub draws",
	"text":      "no: an example of a commit message",
}

func checkHow(t *testing.T, what, how string) {
	t.Helper()
	dir, test, named := strings.Cut(how, " ")
	switch {
	case strings.HasPrefix(how, "no: ") && len(how) > 20:
	case how == ".ci/run":
		script, err := os.ReadFile("../.ci/run")
		if err != nil || !strings.Contains(string(script), what[:min(len(what), len("curl 'http://localhost:8080"))]) {
			t.Errorf("%s: .ci/run does not run it", what)
		}
	case !named || !hasTest(t, filepath.Join("..", dir), test):
		t.Errorf("%s: there is no %s", what, how)
	}
}

// TestPageCommands looks up each command of the pages in testdata/commands.csv, which says what runs it, or why nothing does. Its
// flags exist.
func TestPageCommands(t *testing.T) {
	file, err := os.Open("../testdata/commands.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	known, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	lines := 0
	for _, b := range pageBlocks(t) {
		how, ok := blockKinds[b.kind]
		if !ok {
			t.Errorf("%s has a block of the kind %q, which nothing checks", b.page, b.kind)
			continue
		}
		checkHow(t, b.kind, how)
		if b.kind != "sh" {
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
			line, _, _ = strings.Cut(line, " # ")
			if line = strings.Join(strings.Fields(line), " "); line == "" {
				continue
			}
			lines++
			i := slices.IndexFunc(known, func(c []string) bool { return strings.HasPrefix(line, c[0]) })
			if i < 0 {
				t.Errorf("%s: testdata/commands.csv lacks: %s", b.page, line)
				continue
			}
			used[known[i][0]] = true
			if command, ok := strings.CutPrefix(line, "./caddy "); ok {
				checkCommand(t, b.page, command)
			}
		}
	}
	for _, c := range known[1:] {
		if !used[c[0]] {
			t.Errorf("no page has the command %s", c[0])
		}
		checkHow(t, c[0], c[1])
	}
	if lines < 30 {
		t.Errorf("%d commands", lines)
	}
	for page, text := range pageFiles(t) {
		for _, m := range regexp.MustCompile("`(?:\\./)?caddy ([a-z][^`]*)`").FindAllStringSubmatch(text, -1) {
			checkCommand(t, page, m[1])
		}
	}
}

// checkCommand checks that Caddy has a command with these flags.
func checkCommand(t *testing.T, page, line string) {
	t.Helper()
	words := strings.Fields(line)
	command, ok := caddycmd.Commands()[words[0]]
	if !ok {
		t.Errorf("%s: caddy has no command %s", page, words[0])
		return
	}
	cmd := &cobra.Command{Use: words[0]}
	if command.CobraFunc != nil {
		command.CobraFunc(cmd)
	}
	if command.Flags != nil {
		cmd.Flags().AddGoFlagSet(command.Flags)
	}
	if len(words) > 1 && cmd.HasSubCommands() {
		sub, _, err := cmd.Find(words[1:])
		if err != nil || sub == cmd && words[1] != "…" {
			t.Errorf("%s: there is no caddy %s", page, line)
			return
		}
		cmd = sub
	}
	for _, word := range words[1:] {
		name, _, _ := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(name, "--"):
			if cmd.Flags().Lookup(name[2:]) == nil {
				t.Errorf("%s: caddy %s has no flag %s", page, line, name)
			}
		case strings.HasPrefix(name, "-") && cmd.Flags().ShorthandLookup(name[1:2]) == nil:
			t.Errorf("%s: caddy %s has no flag %s", page, line, name)
		}
	}
}

// TestPageCaddyfiles adapts and provisions the blocks of the pages: as a whole, as global options, or as a part of the directive. The
// definitions of the adapter language are checked by TestLanguagePage of adapters, the grammar by TestGrammar.
func TestPageCaddyfiles(t *testing.T) {
	dir := t.TempDir()
	blocks := pageBlocks(t)
	for _, b := range blocks {
		if strings.HasPrefix(b.text, "# Example SMS\n") {
			if err := os.WriteFile(filepath.Join(dir, "example.caddyfile"), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(b.text, -1) {
			t.Setenv(name[1], "correct-horse-battery-staple-0123456789")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "users.csv"), []byte("name,password\njohndow,correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sites := 0
	for _, b := range blocks {
		text := b.text
		isDefinition := b.page == "docs/adapter-language.md" && strings.Contains(text, "\nsend {")
		isGrammar := b.page == "docs/settings.md" && strings.Contains(text, "<")
		if b.kind != "caddyfile" || isDefinition || isGrammar {
			continue
		}
		switch {
		case !strings.Contains(text, "acrobits_sms"):
			text = "http://:80 {\n\tacrobits_sms {\n" + demo + "adapter sandbox\n" + text + "\n}\n}\n"
		case !strings.Contains(text, "\tadapter "):
			text += "http://:80 {\n\tacrobits_sms {\n" + demo + "adapter sandbox\n}\n}\n"
		}
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": filepath.Join(dir, "Caddyfile")})
		if err != nil {
			t.Errorf("%s: %v\n%s", b.page, err, text)
			continue
		}
		handlers := handlersIn(config)
		if len(handlers) != 1 {
			t.Errorf("%s: %d handlers", b.page, len(handlers))
			continue
		}
		sites++
		if strings.Contains(text, "users sql") { // provisioned by TestUsersPage, with an address that fits
			continue
		}
		var whole struct {
			Apps caddy.ModuleMap `json:"apps"`
		}
		if err := json.Unmarshal(config, &whole); err != nil {
			t.Fatal(err)
		}
		delete(whole.Apps, "http")
		delete(whole.Apps, "tls")
		if !strings.Contains(text, "\treceive") { // its journal may be in a folder that is not here
			whole.Apps = nil
		}
		ctx, err := caddy.ProvisionContext(&caddy.Config{AppsRaw: whole.Apps})
		if err != nil {
			t.Errorf("%s: %v\n%s", b.page, err, text)
			continue
		}
		ctx, cancel := caddy.NewContext(ctx)
		if err := errors.Join(handlers[0].Provision(ctx), handlers[0].Cleanup()); err != nil {
			t.Errorf("%s: %v\n%s", b.page, err, text)
		}
		cancel()
		if whole.Apps != nil && handlers[0].app != nil {
			_ = handlers[0].app.Cleanup()
		}
	}
	if sites < 16 {
		t.Errorf("%d blocks", sites)
	}
}

// TestPageMetrics compares the metrics and admin paths that pages name with those that exist.
func TestPageMetrics(t *testing.T) {
	descriptions := make(chan *prometheus.Desc, 100)
	for _, c := range append(slices.Clone(collectors), attemptDuration, mediaDuration, accountGauges{}) {
		c.Describe(descriptions)
	}
	close(descriptions)
	pages := pageFiles(t)
	exist := []string{}
	for d := range descriptions {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]
		exist = append(exist, name)
		if !strings.Contains(pages["docs/operating.md"], "`"+name+"`") {
			t.Errorf("docs/operating.md lacks %s", name)
		}
	}
	patterns := []string{"/metrics"}
	for _, r := range new(adminAPI).Routes() {
		patterns = append(patterns, r.Pattern)
		if !strings.Contains(pages["docs/operating.md"], "localhost:2019"+r.Pattern) {
			t.Errorf("docs/operating.md lacks %s", r.Pattern)
		}
	}
	for page, text := range pages {
		for _, name := range regexp.MustCompile(`caddy_acrobits_sms_[a-z_]+`).FindAllString(text, -1) {
			if !slices.Contains(exist, name) {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
		for _, m := range regexp.MustCompile(`localhost:2019(/[a-z_]+(?:/[a-z]+/?)?)`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(patterns, m[1]) {
				t.Errorf("%s: there is no admin path %s, there are %v", page, m[1], patterns)
			}
		}
	}
}

// TestSettingsPage looks for each word of the directive in the first column of its page.
func TestSettingsPage(t *testing.T) {
	var words strings.Builder
	for row := range strings.Lines(pageFiles(t)["docs/settings.md"]) {
		if cell, _, found := strings.Cut(strings.TrimPrefix(row, "| "), " |"); found {
			words.WriteString(cell)
		}
	}
	for _, d := range new(Handler).directives() {
		if !strings.Contains(words.String(), "`"+d.word+"`") && !strings.Contains(words.String(), "`"+d.word+" ") {
			t.Errorf("docs/settings.md does not explain %s", d.word)
		}
	}
}

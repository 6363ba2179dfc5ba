//go:build e2e

package e2e

import (
	"encoding/csv"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pageBlocks returns the code blocks of a kind in a page, without their indentation.
func pageBlocks(t *testing.T, page, kind string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^( *)```"+kind+"\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, strings.ReplaceAll("\n"+m[2], "\n"+m[1], "\n")[1:])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s", page, kind)
	}
	return blocks
}

// TestPages follows the pages: it writes the Caddyfile and the secrets of Getting started, starts Caddy as they say, and runs each
// command that testdata/commands.csv gives to this test, with other addresses.
func TestPages(t *testing.T) {
	file, err := os.Open("../../testdata/commands.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	commands, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	p := newProvider(t).plain()
	p.say(201, `{"sid":"SM17","status":"queued"}`)
	dir, address, admin := t.TempDir(), freeAddress(t), freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	logFile := filepath.Join(dir, "sms.log")
	caddyfile := strings.NewReplacer(
		"{\n\tgrace_period", "{\n\tadmin "+admin+"\n\tgrace_period", "/var/log/caddy/sms.log", logFile, "\nsms.example.com {", "\n"+site("http", address)+" {",
		"http://sms.example.com {", "http://plain.example:"+port+" {", "http://, https:// {", "http://other.example:"+port+" {", "adapter twilio {", "adapter twilio {\nbase_url "+p.URL,
	).Replace(pageBlocks(t, "docs/getting-started.md", "caddyfile")[0])
	secrets := pageBlocks(t, "docs/getting-started.md", "ini")[0]
	example := ""
	for _, block := range pageBlocks(t, "docs/adapter-language.md", "caddyfile") {
		if strings.HasPrefix(block, "# Example SMS\n") {
			example = strings.Replace(block, "https://sms.example.com", p.URL, 2)
		}
	}
	for name, text := range map[string]string{"Caddyfile": caddyfile, "secrets.env": secrets, "test.env": secrets, "example.caddyfile": example, "reply.txt": "ERROR no credit"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(binary(t), filepath.Join(dir, "caddy")); err != nil {
		t.Fatal(err)
	}
	env := append(environment(t), "PATH="+os.Getenv("PATH"), "PASSWORD=secret")
	shell := func(line string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env, cmd.Stdin = dir, env, strings.NewReader("correct-horse-battery\n")
		return cmd
	}
	reference, running := "", false
	for _, page := range []string{"docs/getting-started.md", "docs/providers.md", "docs/behind-a-web-server.md", "docs/operating.md", "README.md", "docs/adapter-language.md"} {
		target := "http://" + address
		if page == "docs/adapter-language.md" {
			target = p.URL
			p.do(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK 17")) })
			_ = os.Remove(filepath.Join(dir, "success.json"))
		}
		for _, line := range strings.Split(strings.ReplaceAll(strings.Join(pageBlocks(t, page, "sh"), "\n"), "\\\n", " "), "\n") {
			var how []string
			for _, c := range commands {
				if strings.HasPrefix(strings.Join(strings.Fields(line), " "), c[0]) {
					how = c
					break
				}
			}
			if how == nil || how[1] != "internal/e2e TestPages" {
				continue
			}
			if how[0] == "./caddy run --envfile secrets.env" {
				if !running {
					startCommand(t, shell("exec "+line), address)
					running = true
				}
				continue
			}
			line = strings.NewReplacer("https://sms.example.com", target, "localhost:2019", admin, "8d0c6b0e", reference, "/var/log/caddy/sms.log", logFile,
				"YOUR_NUMBER", "+15551239999", "YOUR_SENDER", "+15550001111").Replace(line)
			out, err := shell(line).CombinedOutput()
			if err != nil || !strings.Contains(string(out), how[2]) {
				t.Errorf("%s: %s\n%v, it does not print %s:\n%s", page, line, err, how[2], out)
			}
			if how[2] == "<sms_id>" {
				var text []byte
				accepted := regexp.MustCompile(`"ts":"20[0-9-]+T[0-9:]+Z".*"outcome":"accepted","reference":"(\w+)"`)
				if !eventually(func() bool { // the line follows the reply
					text, _ = os.ReadFile(logFile)
					return accepted.Match(text)
				}) {
					t.Fatalf("the log:\n%s", text)
				}
				reference = string(accepted.FindSubmatch(text)[1])
			}
		}
	}
}

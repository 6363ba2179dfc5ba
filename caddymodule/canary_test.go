package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(memoryWriter{}) }

// memoryWriter keeps the log of Caddy for a test.
type memoryWriter struct{}

var memoryLog struct {
	sync.Mutex
	bytes.Buffer
}

func (memoryWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.memory", New: func() caddy.Module { return new(memoryWriter) }}
}
func (memoryWriter) String() string                      { return "memory" }
func (memoryWriter) WriterKey() string                   { return "memory" }
func (memoryWriter) OpenWriter() (io.WriteCloser, error) { return memoryWriter{}, nil }
func (memoryWriter) Close() error                        { return nil }
func (memoryWriter) Write(p []byte) (int, error) {
	memoryLog.Lock()
	defer memoryLog.Unlock()
	return memoryLog.Write(p)
}

// takeLog is what was logged since the last call.
func takeLog() string {
	memoryLog.Lock()
	defer memoryLog.Unlock()
	defer memoryLog.Reset()
	return memoryLog.String()
}

// canary is a secret that somebody mistypes into a configuration. It is no name of an environment variable.
const canary = "cAnary7Q9xzZ"

// keepLog has Caddy log into memory.
func keepLog(t *testing.T) caddy.Context {
	t.Helper()
	takeLog()
	logging := &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output": "memory"}`), Level: "DEBUG"}}}}
	ctx, err := caddy.ProvisionContext(&caddy.Config{Logging: logging})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// provisioned loads a configuration as Caddy does, and returns its error and its log.
func provisioned(t *testing.T, adapted []byte) (said string) {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(keepLog(t))
	defer cancel()
	for _, name := range []string{"acrobits_sms", "http"} {
		if config.AppsRaw[name] == nil {
			continue
		}
		if _, err := ctx.LoadModuleByID(name, config.AppsRaw[name]); err != nil {
			said += err.Error() + "\n"
		}
	}
	for line := range strings.Lines(takeLog()) {
		if !strings.Contains(line, `"adjusted config"`) { // Caddy shows the whole configuration, at the level debug
			said += line
		}
	}
	return said
}

// everything is a Caddyfile with all words of this module, whose users and keys are in files.
func everything(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"users.csv": "name,password,from\nzoe,the-password-of-zoe,+15550003333\n",
		"johndow":   "the-password-of-johndow",
		"sms.db":    "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("../testdata/caddyfile/everything.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	config, _, _ := strings.Cut(string(data), divider)
	return strings.NewReplacer("/var/lib/caddy/sms.db", filepath.Join(dir, "sms.db"), "/etc/caddy/users.csv", filepath.Join(dir, "users.csv"),
		"/run/secrets/johndow", filepath.Join(dir, "johndow"), "		default_region US\n", `		users jwt {
			jwks https://id.example.com/jwks.json
			audience sms
			issuer id.example.com
			user sub
		}
		users sql postgres postgres://sms:word@localhost/users {
			query "SELECT name, password FROM users WHERE name = {user}"
			realm sms
			timeout 1s
			cache 1m
			stale 1m
		}
		default_region US
		allow GB premium
		deny +4470
		lockout 10 5m
		digest
		realm sms
		public_url https://sms.example.com/texts
		services {
			send /texts/send
		}
		pictures mms_or_link {
			from mmmsg.acrobits.net http://files.example.com:8080
			max_size 10MiB
			keep 7d
			space 500MB
		}
`, "dial_timeout 1s\n", `dial_timeout 1s
			forward_proxy_url http://proxy:word@127.0.0.1:3128/x
			tls_server_name api.example.com
`).Replace(config)
}

// No error and no line of the log repeats a secret that is mistyped, whatever word or value of a Caddyfile it takes the place of,
// stands behind or sticks to.
func TestCanaryInCaddyfile(t *testing.T) {
	for _, name := range []string{"JOHNDOW_PASSWORD", "JOHNDOW_TOKEN", "SECOND", "USERS_KEY", "SID", "TOKEN", "SOMEBODY", "NUMBER", "LEGACY_KEY"} {
		t.Setenv(name, "+15550009999")
	}
	t.Setenv("SOMEBODY", "second")
	config := everything(t)
	if said := provisioned(t, adapt(t, config)); strings.Contains(said, `"error"`) || strings.Contains(said, "loading") {
		t.Fatalf("the configuration itself: %s", said)
	}
	tokens, err := caddyfile.Tokenize([]byte(config), "Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for i, token := range tokens {
		if token.Text == "{" || token.Text == "}" || token.Text == "acrobits_sms" || token.Text == ":8080" || isName(tokens, i) {
			continue
		}
		for _, form := range []string{canary, token.Text + "=" + canary, token.Text + ":" + canary, token.Text + " " + canary, token.Text + canary, "postgres://u:a@" + canary + "@h/d"} {
			tried++
			adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(withToken(tokens, i, form)), map[string]any{"filename": "Caddyfile"})
			said := fmt.Sprint(err)
			if err == nil {
				said = provisioned(t, adapted)
			}
			if strings.Contains(said, canary) {
				t.Errorf("line %d, %s in the place of %s: %s", token.Line, form, token.Text, lineWith(said, canary))
			}
		}
	}
	if tried < 1000 {
		t.Errorf("%d places", tried)
	}
}

func adapt(t *testing.T, config string) []byte {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	return adapted
}

// isName reports whether a token is a name that the operator chooses, and that the log shows: of a user, of an adapter, of a
// definition.
func isName(tokens []caddyfile.Token, i int) bool {
	return i > 0 && tokens[i].Line == tokens[i-1].Line && slices.Contains([]string{"user", "as", "define"}, tokens[i-1].Text)
}

// withToken writes a Caddyfile with another text in the place of a token.
func withToken(tokens []caddyfile.Token, at int, text string) string {
	var b strings.Builder
	line := 1
	for i, token := range tokens {
		for ; line < token.Line; line++ {
			b.WriteByte('\n')
		}
		switch {
		case i == at:
			b.WriteString(" " + text)
		case token.Quoted() || strings.ContainsAny(token.Text, " \t#"):
			b.WriteString(" `" + token.Text + "`")
		default:
			b.WriteString(" " + token.Text)
		}
	}
	return b.String() + "\n"
}

// lineWith is the line of a text that has a word.
func lineWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

// The same for the members and values of JSON.
func TestCanaryInJSON(t *testing.T) {
	for _, name := range []string{"JOHNDOW_PASSWORD", "JOHNDOW_TOKEN", "SECOND", "USERS_KEY", "SID", "TOKEN", "SOMEBODY", "NUMBER", "LEGACY_KEY"} {
		t.Setenv(name, "+15550009999")
	}
	t.Setenv("SOMEBODY", "second")
	var config any
	if err := json.Unmarshal(adapt(t, everything(t)), &config); err != nil {
		t.Fatal(err)
	}
	tried := 0
	try := func(place string) {
		tried++
		raw, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if said := provisioned(t, raw); strings.Contains(said, canary) {
			t.Errorf("%s: %s", place, lineWith(said, canary))
		}
	}
	var walk func(value any, place string, inside bool)
	walk = func(value any, place string, inside bool) {
		switch v := value.(type) {
		case map[string]any:
			inside = inside || v["handler"] == "acrobits_sms" || v["journal"] != nil
			for name, item := range v {
				if _, is := item.(string); inside && is && name != "handler" && !isShown(place, name) {
					for _, form := range []any{canary, "a=" + canary, 7, []any{canary}, map[string]any{canary: canary}} {
						v[name] = form
						try(place + "." + name)
					}
				}
				v[name] = item
				if inside && name != "handler" {
					delete(v, name)
					v[canary] = item
					try(place + "." + name + ", the name")
					delete(v, canary)
					v[name] = item
				}
				walk(item, place+"."+name, inside)
			}
		case []any:
			for i, item := range v {
				if _, is := item.(string); inside && is {
					v[i] = canary
					try(fmt.Sprintf("%s[%d]", place, i))
					v[i] = item
				}
				walk(item, place+"[]", inside)
			}
		}
	}
	walk(config, "", false)
	if tried < 200 {
		t.Errorf("%d places", tried)
	}
}

// isShown reports whether a value is a name that the log shows.
func isShown(place, name string) bool {
	return name == "name" && (strings.HasSuffix(place, "users[]") || strings.HasSuffix(place, "adapters[]") || strings.HasSuffix(place, "definitions[]")) || name == "file"
}

// The same for files of users.
func TestCanaryInUsersFile(t *testing.T) {
	rows := [][]string{{"name", "password", "token", "from", "group", "region", "allow", "deny"}, {"zoe", "the-password-of-zoe", "", "+15550003333", "sales", "US", "GB", "+4470"}}
	try := func(place, text string) {
		path := filepath.Join(t.TempDir(), "users.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		config := ":8080 {\nacrobits_sms {\nusers file " + path + "\ndefault_region US\nadapter sandbox\n}\n}\n"
		if said := provisioned(t, adapt(t, config)); strings.Contains(said, canary) {
			t.Errorf("%s: %s", place, lineWith(said, canary))
		}
	}
	for _, divider := range []string{",", ";", "\t"} {
		for y, row := range rows {
			for x, cell := range row {
				for _, form := range []string{canary, cell + "=" + canary, cell + " " + canary, cell + canary, "{env." + canary + "}", "env." + canary, `"` + canary, "$6$" + canary + "$x", strings.ToUpper(cell) + divider + canary, "\xff" + canary} {
					changed := [][]string{slices.Clone(rows[0]), slices.Clone(rows[1])}
					changed[y][x] = form
					try(fmt.Sprintf("row %d, column %d, %s", y, x, form), strings.Join(changed[0], divider)+"\n"+strings.Join(changed[1], divider)+"\n")
				}
			}
		}
	}
	const list = `[{"name": "zoe", "passwords": ["the-password-of-zoe"], "from": ["+15550003333"], "region": "US", "limits": ["5 messages per day"]}]`
	for i := range list {
		if list[i] == '"' || list[i] == '[' || list[i] == ':' {
			try(list[:i], list[:i]+canary+list[i:])
			try(list[:i], list[:i+1]+canary+list[i+1:])
		}
	}
}

package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// warnings are the lines of a level or above of the log that a handler writes while it is provisioned.
func warnings(t *testing.T, block string) (lines []map[string]any) {
	t.Helper()
	said := provisioned(t, adapt(t, ":8080 {\nacrobits_sms {\n"+block+"\n}\n}\n"))
	for line := range strings.Lines(said) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			t.Fatalf("an error: %s", line)
		}
		if fields["level"] == "warn" {
			lines = append(lines, fields)
		}
	}
	return lines
}

// Numbers without a country are refused where default_region is not set. If all numbers to send from are of one country, that may
// be an oversight.
func TestRegionWarning(t *testing.T) {
	t.Setenv("PASSWORD", "correct horse battery")
	user := func(name, more string) string {
		return "user " + name + " {\npassword {env.PASSWORD}\n" + more + "\n}\n"
	}
	for _, c := range []struct{ name, block, want string }{
		{"one country", user("ann", "from +12125550101") + user("bob", "from +13105550101"), "default_region US"},
		{"short codes beside", user("ann", "from 12345 ACME +12125550101"), "default_region US"},
		{"another country", user("ann", "from +442079460123"), "default_region GB"},
		{"two countries", user("ann", "from +12125550101") + user("bob", "from +442079460123"), ""},
		{"a region of its own", user("ann", "region US\nfrom 2125550101"), ""},
		{"one without", user("ann", "region US\nfrom 2125550101") + user("bob", "from +13105550101"), "default_region US"},
		{"set", user("ann", "from +12125550101") + "default_region US\n", ""},
		{"no numbers", user("ann", "allow US"), ""},
	} {
		got := ""
		for _, line := range warnings(t, c.block+"adapter sandbox") {
			if write, is := line["write"].(string); is {
				got += write
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A file of users, and one of a secret, that every user of the machine may read draws a warning, but not if it is in memory.
func TestReadableFilesWarn(t *testing.T) {
	restore := inMemoryFile
	t.Cleanup(func() { inMemoryFile = restore })
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, mode := range []os.FileMode{0o600, 0o400, 0o640, 0o644, 0o604, 0o602} {
		for _, memory := range []bool{false, true} {
			inMemoryFile = func(string) bool { return memory }
			list := write("users.csv", "name,password\nzoe,the-password-of-zoe\n", mode)
			password := write("password", "correct horse battery", mode)
			key := write("key", "a-long-secret-of-32-bytes-or-more-abc", mode)
			want := 0
			if mode&0o006 != 0 && !memory {
				want = 5
			}
			exposed := map[any]bool{}
			for _, line := range warnings(t, "users file "+list+"\nuser ann {\npassword {file."+password+"}\ntoken {file."+key+"}\n}\nusers jwt {\nsecret {file."+key+"}\naudience any\n}\n"+
				"users http https://users.example.com {\nheader X-Key {file."+key+"}\n}\ndefault_region US\nadapter telnyx {\napi_key {file."+key+"}\n}") {
				if strings.Contains(line["msg"].(string), "may read") {
					exposed[fmt.Sprint(line["file"], line["option"])] = true
				}
			}
			if want == 5 {
				want = 6
			}
			if len(exposed) != want {
				t.Errorf("%o, in memory %t: %v, want %d", mode, memory, exposed, want)
			}
		}
	}
}

// A file in /run/secrets is on a file system in memory, where there is one.
func TestInMemory(t *testing.T) {
	if isInMemory("/proc/self/status") || isInMemory("/no/such/file") {
		t.Error("/proc is no tmpfs")
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return // not Linux
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "tmpfs" && !isInMemory(f[1]) {
			t.Errorf("%s is a tmpfs", f[1])
		}
	}
}

// http:// to this machine draws no warning, to others one.
func TestClearTextWarning(t *testing.T) {
	t.Setenv("PASSWORD", "correct horse battery")
	for host, want := range map[string]int{
		"127.0.0.1:9000": 0, "127.0.1.1": 0, "[::1]:9000": 0, "localhost": 0, "LOCALHOST:9000": 0, "sms.localhost": 0, "localhost.": 0, "localhost.localdomain:8080": 0,
		"users.example.com": 2, "203.0.113.5": 2, "localhost.example.com": 2, "127.0.0.1.example.com": 2,
	} {
		got := 0
		for _, line := range warnings(t, "user ann {\npassword {env.PASSWORD}\n}\ndefault_region US\nusers http http://"+host+"/check\nadapter kannel {\nbase_url http://"+host+"\nusername {env.PASSWORD}\npassword {env.PASSWORD}\n}") {
			if strings.Contains(line["msg"].(string), "http") {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d warnings, want %d", host, got, want)
		}
	}
}

// try prints the request and nothing else, also if it reads a configuration, and takes base_url as every option.
func TestTryPrintsOnlyTheRequest(t *testing.T) {
	t.Setenv("PASSWORD", "correct horse battery")
	t.Chdir(t.TempDir())
	const config = ":8080 {\nacrobits_sms {\nuser ann {\npassword {env.PASSWORD}\n}\ndefault_region US\nadapter kannel {\nbase_url https://kannel.example.com/\nusername u\npassword {env.PASSWORD}\n}\n}\n}\n"
	adapted := adapt(t, config)
	for name, text := range map[string]string{"Caddyfile": config, "other.caddyfile": config, "config.json": string(adapted), "sms.conf": config} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, cancel := caddy.NewContext(keepLog(t))
	defer cancel()
	run := func(args ...string) (string, error) {
		var out strings.Builder
		cmd := tryCommand()
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(append([]string{"kannel", "--to", "+15551231234"}, args...))
		err := cmd.Execute()
		_, request, _ := strings.Cut("\n"+out.String(), "segment\n") // behind the line that counts them
		return request, err
	}
	for _, args := range [][]string{nil, {"--config", "Caddyfile"}, {"--config", "other.caddyfile"}, {"--config", "config.json"}, {"--config", "sms.conf", "--adapter", "caddyfile"}} {
		out, err := run(args...)
		if err != nil || !strings.HasPrefix(out, "GET https://kannel.example.com/cgi-bin/sendsms?") {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	if out, err := run("-o", "base_url=http://10.0.0.5:13013/x"); err != nil || !strings.HasPrefix(out, "GET http://10.0.0.5:13013/x/cgi-bin/sendsms?") {
		t.Errorf("%v %s", err, out)
	}
	if log := takeLog(); log != "" {
		t.Errorf("the log: %s", log)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "cAnary7Q9xzZ"}, "--option: write name=value"},
		{[]string{"-o", "pasword"}, `--option "pasword": write name=value`},
		{[]string{"-o", "cAnary7Q9xzZ=x"}, "adapter kannel: unknown option; known options: "},
		{[]string{"-o", "base_url=cAnary7Q9xzZ"}, "base_url must begin with https:// or http:// and a host"},
		{[]string{"--adapter", "cAnary7Q9xzZ", "--config", "Caddyfile"}, "unknown config adapter; known config adapters: "},
		{[]string{"--envfile", "cAnary7Q9xzZ"}, "--envfile: no such file or directory"},
		{[]string{"--envfile", "secrets.env"}, `--envfile "secrets.env": no such file or directory`},
		{[]string{"--define", "cAnary7Q9xzZ"}, "--define: no such file or directory"},
		{[]string{"--config", "cAnary7Q9xzZ"}, "--config: no such file or directory"},
		{[]string{"--to", "cAnary7Q9xzZ"}, "invalid recipient; write it as +15551231234"},
		{[]string{"--to", "1.5555E+10"}, `invalid recipient "1.5555E+10"; write it as +15551231234`},
		{[]string{"--from", "cAnary7Q9xzZ"}, "invalid sender; write it as +15551231234"},
		{[]string{"--region", "cAnary7Q9xzZ"}, "default_region: unknown country; write two capital letters such as US"},
	} {
		if _, err := run(c.args...); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
}

// Errors of Caddy's transport lose the values of its configuration, and of URLs all but scheme and host.
func TestTransportErrors(t *testing.T) {
	t.Setenv("PROXY", "http://proxy:cAnary7Q9xzZ@10.0.0.5:3128/cAnary7Q9xzZ")
	for transport, want := range map[string]string{
		`{"protocol": "cAnary7Q9xzZ"}`:                                                                  "transport: unknown protocol; known protocols: http",
		`{"protocol": "http", "cAnary7Q9xzZ": 1}`:                                                       `json: unknown field "…"`,
		`{"protocol": "http", "dial_timeout": "cAnary7Q9xzZ"}`:                                          "invalid duration",
		`{"protocol": "http", "forward_proxy_url": "http://proxy:cAnary7Q9xzZ@[10.0.0.5/cAnary7Q9xzZ"}`: "http://…",
		`{"protocol": "http", "tls": {"ca": {"provider": "cAnary7Q9xzZ"}}}`:                             "unknown module: tls.ca_pool.source.…",
		`"cAnary7Q9xzZ"`: "transport: write an object",
		`{"protocol": "http", "keep_alive": "cAnary7Q9xzZ"}`: "transport: keep_alive takes an object",
	} {
		h := new(Handler)
		err := json.Unmarshal([]byte(`{"users": [{"name": "ann", "passwords": ["x"]}], "default_region": "US", "adapters": [{"definition": "sandbox"}], "transport": `+transport+`}`), h)
		if err == nil {
			_, err = start(t, h)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %s", transport, err, want)
		}
	}
	got := withoutValues(fmt.Errorf(`proxy "http://proxy:cAnary7Q9xzZ@10.0.0.5:3128/cAnary7Q9xzZ": refused`), []string{"{env.PROXY}"})
	if got.Error() != `proxy "http://10.0.0.5": refused` {
		t.Error(got)
	}
}

// The advice to use https:// is not for an operator who tries the site on the same machine.
func TestClearTextHint(t *testing.T) {
	for _, c := range []struct {
		remote, host, forwarded string
		want                    bool
	}{
		{"127.0.0.1:50000", "localhost:8080", "", false},
		{"127.0.0.1:50000", "127.0.0.1:8080", "", false},
		{"[::1]:50000", "[::1]:8080", "", false},
		{"[::1]:50000", "sms.localhost", "", false},
		{"127.0.0.1:50000", "sms.example.com", "", true}, // a proxy on this machine
		{"127.0.0.1:50000", "localhost:8080", "203.0.113.5", true},
		{"203.0.113.5:50000", "localhost:8080", "", true},
		{"203.0.113.5:50000", "sms.example.com", "", true},
		{"not an address", "localhost", "", true},
	} {
		s := newSite(t, demo+"adapter sandbox")
		r := get(credential + "to=5551231234&body=hi")
		r.RemoteAddr, r.Host = c.remote, c.host
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		s.send(t, r)
		hinted := false
		for _, e := range s.log.TakeAll() {
			hinted = hinted || e.ContextMap()["hint"] == "http"
		}
		if hinted != c.want {
			t.Errorf("%v: %t", c, hinted)
		}
	}
}

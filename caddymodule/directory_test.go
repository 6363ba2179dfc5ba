package caddymodule

import (
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseUsers(t *testing.T) {
	ann := &User{Name: "ann", Passwords: []string{"p,w second"}, From: []string{"+15550001111", "ACME"}}
	bob := &User{Name: "bob@example.com", Tokens: []string{"t"}, Groups: []string{"sales", "it"}, Allow: []string{"GB"}, Deny: []string{"+4470"}}
	for name, c := range map[string]struct {
		text string
		want []*User
		err  string
	}{
		"json":               {`[{"name":"ann","passwords":["p,w second"],"from":["+15550001111","ACME"]},{"name":"bob@example.com","tokens":["t"],"groups":["sales","it"],"allow":["GB"],"deny":["+4470"]}]`, []*User{ann, bob}, ""},
		"csv":                {"name,password,token,from,group,region,allow,deny\nann,\"p,w second\",,+15550001111 ACME,,,,\r\nbob@example.com,,t,,sales it,,GB,+4470\n", []*User{ann, bob}, ""},
		"other columns":      {"\uFEFFtoken,name\nt,carl\n", []*User{{Name: "carl", Tokens: []string{"t"}}}, ""},
		"empty":              {"", nil, "line 1: write the names of the columns: name,password,token,from,group,region,allow,deny"},
		"no name":            {"ann,secret\n", nil, "line 1: write the names"},
		"misspelled":         {"name,pasword\n", nil, `not "pasword", did you mean password`},
		"twice":              {"name,name\n", nil, "name appears twice"},
		"too few":            {"name,token\nann,t\nbob\n", nil, "line 3: wrong number of fields; there are 2 columns"},
		"quotes":             {"name,token\nann,t\"x\n", nil, "line 2: "},
		"broken json":        {"[\n{\"name\":\"ann\",\n\"passwords\":[\"canary\n]}]", nil, "line 3: this is no list of users"},
		"another json":       {"{\"users\":[]}", nil, "line 1: this is no list"},
		"unknown member":     {"[\n{\"name\":\"ann\",\"canary\":\"x\"}]", nil, "line 2 or before: a user has name, passwords, tokens, from, groups, region, limits, allow and deny"},
		"wrong type":         {"[\n\n{\"name\":\"ann\",\"passwords\":\"canary\"}]", nil, `line 3: passwords is a list of texts: ["…"]`},
		"a number in a list": {"[{\"name\":\"ann\",\"passwords\":[1]}]", nil, `line 1: passwords is a list of texts`},
		"a list for a text":  {"[{\"name\":[\"canary\"]}]", nil, `line 1: name is a text`},
		"something behind":   {"[] canary", nil, "this is no list"},
	} {
		got, err := parseUsers([]byte(c.text))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v, want %s", name, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

// A file may hold thousands of users.
func TestThousandsOfUsers(t *testing.T) {
	var text strings.Builder
	text.WriteString("name,password,from\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "user%d,the-password-of-%d,+1555%07d\n", i, i, i)
	}
	path := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "default_region US\nadapter sandbox\nusers file "+path)
	for _, i := range []int{0, 5000, 9999} {
		if w := s.send(t, get(fmt.Sprintf("user=user%d&password=the-password-of-%d&to=5551231234&body=hi&from=%%2B1555%07d", i, i, i))); w.Code != 200 {
			t.Errorf("user %d: %d", i, w.Code)
		}
	}
}

// Users of a file send beside those of the configuration, with their own numbers and destinations, as soon as they stand
// in it; one who is taken out sends no more.
func TestUserFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.csv")
	version := time.Now()
	write := func(text string) {
		if err := os.WriteFile(path, []byte("name,password,from,allow\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		version = version.Add(time.Second)
		if err := os.Chtimes(path, version, version); err != nil {
			t.Fatal(err)
		}
	}
	write("ann,{env.HOME},+15550007777,GB\n") // no placeholder here
	s := newSite(t, demo+"adapter sandbox\nusers file "+path)
	ask := func(credential, to string) int { return s.send(t, get(credential+"&body=hi&to="+to)).Code }
	ann := "username=ann&password={env.HOME}"
	synctest.Test(t, func(t *testing.T) { // for its clock
		for _, c := range []struct {
			credential, to string
			want           int
		}{
			{strings.TrimSuffix(credential, "&"), "5551231234", 200},
			{ann, "5551231234", 200},
			{ann + "&from=%2B15550007777", "%2B447400123456", 200},
			{ann + "&from=%2B15550001111", "5551231234", 403}, // another's number
			{ann, "%2B4915112345678", 403},
			{"username=ann&password=wrong", "5551231234", 401},
			{"username=bob&password=12345678", "5551231234", 401},
		} {
			if got := ask(c.credential, c.to); got != c.want {
				t.Errorf("%s to %s: %d, want %d", c.credential, c.to, got, c.want)
			}
		}
		if line := s.events()[1]; line["user"] != "ann" || line["from"] != "+155•••7777" {
			t.Errorf("sent by %s from %s", line["user"], line["from"])
		}
		write("bob,12345678,+15550008888,\n")
		time.Sleep(2 * time.Second)
		if ask(ann, "5551231234") != 401 || ask("username=bob&password=12345678", "5551231234") != 200 {
			t.Error("a change of the file does not count")
		}
		write("bob,12345678,nonsense!,\n")
		time.Sleep(2 * time.Second)
		s.log.TakeAll()
		if ask("username=bob&password=12345678", "5551231234") != 200 {
			t.Error("a version that cannot be read counts")
		}
	})
	write("bob,12345678,nonsense!,\n")
	if _, err := provision(t, demo+"adapter sandbox\nusers file "+path); err == nil || !strings.Contains(err.Error(), "user 1 of the file: what stands in from cannot be read") {
		t.Errorf("a broken file at the start: %v", err)
	}
	write("")
	if _, err := provision(t, demo+"adapter sandbox\nusers file "+path); err == nil || !strings.Contains(err.Error(), "there is no user in it") {
		t.Errorf("an empty file: %v", err)
	}
	for block, want := range map[string]string{
		"users file /dev/null":   "no regular file",
		"users":                  "users file PATH",
		"users file":             "users file PATH",
		"users nowhere x":        "nowhere",
		"users file /no/such.db": "no such file",
	} {
		if _, err := provision(t, demo+"adapter sandbox\n"+block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", block, err, want)
		}
	}
}

// Thousands of users are read in a moment.
func BenchmarkUserFile(b *testing.B) {
	text := "name,password,from\n"
	for i := range 10_000 {
		text += fmt.Sprintf("user%d,a-long-password-%d,+1555%07d\n", i, i, i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if list, err := parseUsers([]byte(text)); err != nil || len(list) != 10_000 {
			b.Fatal(err)
		}
	}
}

// An operator's service says who may send, from which numbers and to where. When it is down, nobody is admitted, and nothing
// is sent.
func TestUserService(t *testing.T) {
	t.Setenv("USERS_KEY", "canary-key")
	var down atomic.Bool
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ User, Password, Token string }
		err := json.NewDecoder(r.Body).Decode(&asked)
		switch {
		case down.Load() || err != nil || r.Header.Get("X-Key") != "canary-key":
			w.WriteHeader(http.StatusInternalServerError)
		case asked.User == "ann" && asked.Password == "12345678", asked.Token == "a-token-for-ann":
			_, _ = io.WriteString(w, `{"allowed": true, "user": "ann", "from": ["+15550007777"], "allow": ["GB"]}`)
		case asked.User == "gb":
			_, _ = io.WriteString(w, `{"allowed": true, "user": "gb", "from": ["+447400654321"], "region": "GB", "limits": ["1 messages per minute"]}`)
		case asked.User == "wrong" && asked.Password == "12345678":
			_, _ = io.WriteString(w, `{"allowed": true, "user": "wrong", "from": ["canary nonsense!"]}`)
		default:
			_, _ = io.WriteString(w, `{"allowed": false}`)
		}
	}))
	defer service.Close()
	s := newSite(t, demo+"adapter sandbox\nusers http "+service.URL+" {\nheader X-Key {env.USERS_KEY}\ntimeout 2s\ncache 1m\nstale 1h\n}")
	for _, c := range []struct {
		query string
		want  int
	}{
		{credential + "to=5551231234&body=hi", 200},
		{"username=ann&password=12345678&to=5551231234&body=hi", 200},
		{"token=a-token-for-ann&to=%2B447400123456&body=hi", 200},
		{"username=ann&password=12345678&from=%2B15550001111&to=5551231234&body=hi", 403},
		{"username=ann&password=12345678&to=%2B4915112345678&body=hi", 403},
		{"username=gb&password=12345678&to=07400123456&body=hi", 200}, // in his region
		{"username=gb&password=12345678&to=07400123457&body=hi", 429}, // by his limit
		{"username=ann&password=wrong&to=5551231234&body=hi", 401},
		{"username=wrong&password=12345678&to=5551231234&body=hi", 500},
	} {
		if w := s.send(t, get(c.query)); w.Code != c.want {
			t.Errorf("%s: %d %s, want %d", c.query, w.Code, w.Body, c.want)
		}
	}
	down.Store(true)
	if w := s.send(t, get("username=ann&password=12345678&to=5551231234&body=hi")); w.Code != 200 {
		t.Errorf("remembered: %d", w.Code)
	}
	w := s.send(t, get("username=bob&password=12345678&to=5551231234&body=hi"))
	if r := read(t, w); w.Code != 500 || r.Message != "User names cannot be checked just now. Nothing was sent." {
		t.Errorf("down: %d %q", w.Code, r.Message)
	}
	if w := s.send(t, get(credential+"to=5551231234&body=hi")); w.Code != 200 {
		t.Errorf("a user of the configuration, while the service is down: %d", w.Code)
	}
	for _, line := range s.events() {
		if strings.Contains(fmt.Sprint(line), "canary") {
			t.Errorf("a secret is logged: %v", line)
		}
	}
	for block, want := range map[string]string{
		"users http":                                       "users http URL",
		"users http https://a:b@x.example":                 "header Authorization",
		"users http https://x.example {\nheader \"X Y\" z": "is no header",
		"users http users.example.com":                     "write the URL of your service",
		"users http https://x.example {\nttl 5s":           `not "ttl"`,
		"users http https://x.example {\nheader X":         "header NAME VALUE",
		"users http https://x.example {\ncache soon":       "cache takes a duration",
		"users http https://x.example/{env.NOT_SET}":       "NOT_SET is not set",
	} {
		if strings.Contains(block, "{\n") {
			block += "\n}"
		}
		if _, err := provision(t, demo+"adapter sandbox\n"+block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", block, err, want)
		}
	}
}

// What a service said outlives a reload, as the new configuration reads it; other headers, or a shorter time for which it
// counts, ask anew.
func TestUserServiceReload(t *testing.T) {
	t.Setenv("OLD_KEY", "canary-old-key")
	t.Setenv("NEW_KEY", "canary-new-key")
	var asked atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), "12345678") {
			_, _ = io.WriteString(w, `{"allowed": false, "user": "ann"}`)
			return
		}
		_, _ = io.WriteString(w, `{"allowed": true, "user": "ann"}`)
	}))
	defer service.Close()
	block := demo + "adapter sandbox\nusers http " + service.URL + " {\nheader X-Key {env.OLD_KEY}\n}"
	right, wrong := "username=ann&password=12345678&body=hi&to=", "username=ann&password=wrong&body=hi&to=5551231234"
	before := newSite(t, block)
	for range 2 {
		before.send(t, get(right+"5551231234"))
		before.send(t, get(wrong))
	}
	for _, c := range []struct {
		what, old, new, query string
		status                int
		asked                 int32
	}{
		{"the same", "", "", right + "5551231234", 200, 2},
		{"a wrong password", "", "", wrong, 401, 2},
		{"other destinations", "adapter", "deny US\nadapter", right + "5551231234", 403, 2},
		{"another region", "default_region US", "default_region GB\nallow US", right + "07400123456", 200, 2},
		{"a shorter time", "header", "cache 1ns\nheader", right + "5551231234", 200, 3},
		{"after it", "", "", right + "5551231234", 200, 3},
		{"another key", "OLD_KEY", "NEW_KEY", right + "5551231234", 200, 4},
		{"another address", service.URL, service.URL + "/other", right + "5551231234", 200, 5},
	} {
		s := newSite(t, strings.Replace(block, c.old, c.new, 1))
		if w := s.send(t, get(c.query)); w.Code != c.status || asked.Load() != c.asked {
			t.Errorf("%s: %d %s after %d questions, want %d after %d", c.what, w.Code, w.Body, asked.Load(), c.status, c.asked)
		}
	}
	keys := 0
	answers.Range(func(key, _ any) bool {
		keys++
		if sum, is := key.([sha256.Size]byte); !is || strings.Contains(string(sum[:]), "canary") {
			t.Errorf("a key is %v", key)
		}
		return true
	})
	if keys != 3 {
		t.Errorf("%d services, want 3", keys)
	}
}

// slowly is a body of which the rest comes when it is told to.
type slowly struct {
	io.Reader
	wait func()
}

func (s *slowly) Read(p []byte) (int, error) {
	s.wait()
	return s.Reader.Read(p)
}

// A request that is on its way when the configuration is replaced has all that it needs until it is done.
func TestRequestOutlivesReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE users (name, password); INSERT INTO users VALUES ('ann', 'plain-password')"); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "users sql sqlite "+path+" {\nquery `SELECT name, password FROM users WHERE name = {user}`\n}\ndefault_region US\nadapter sandbox")
	r := post("application/x-www-form-urlencoded", "")
	r.Body = io.NopCloser(&slowly{strings.NewReader("user=ann&password=plain-password&to=5551231234&body=ok"), sync.OnceFunc(s.stop)})
	if w := s.send(t, r); w.Code != 200 {
		t.Errorf("%d %s, the log says %v", w.Code, w.Body, s.events())
	}
	if w := s.send(t, post("application/x-www-form-urlencoded", "user=ann&password=plain-password&to=5551231234&body=late")); w.Code != 500 {
		t.Errorf("after the last: %d", w.Code)
	}
}

// The path of a SQLite database is relative to the Caddyfile, other addresses stay as they are.
func TestAddressOfUsers(t *testing.T) {
	here, err := filepath.Abs("users.db")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"sqlite users.db": here, "sqlite /var/users.db": "/var/users.db", "sqlite {env.USERS}": "{env.USERS}", "mysql sms@tcp(localhost:3306)/sms": "sms@tcp(localhost:3306)/sms",
	} {
		s := new(UserSQL)
		err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser("sql " + address + " {\nquery `SELECT name, password FROM users WHERE name = {name}`\n}"))
		if err != nil || s.Address != want {
			t.Errorf("%s is %s, want %s (%v)", address, s.Address, want, err)
		}
	}
}

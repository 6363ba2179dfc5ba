package caddymodule

import (
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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
		"json":                {`[{"name":"ann","passwords":["p,w second"],"from":["+15550001111","ACME"]},{"name":"bob@example.com","tokens":["t"],"groups":["sales","it"],"allow":["GB"],"deny":["+4470"]}]`, []*User{ann, bob}, ""},
		"csv":                 {"name,password,token,from,group,region,allow,deny\nann,\"p,w second\",,+15550001111 ACME,,,,\r\nbob@example.com,,t,,sales it,,GB,+4470\n", []*User{ann, bob}, ""},
		"other columns":       {"\uFEFFtoken,name\nt,carl\n", []*User{{Name: "carl", Tokens: []string{"t"}}}, ""},
		"empty":               {"", nil, "line 1: write the names of the columns: name,password,token,from,group,region,allow,deny"},
		"no name":             {"ann,secret\n", nil, "line 1: write the names"},
		"misspelled":          {"name,pasword\n", nil, `line 1: column 2: unknown column "pasword", did you mean password? known columns: password, `},
		"twice":               {"name,name\n", nil, "line 1: the column name appears twice"},
		"too few":             {"name,token\nann,t\nbob\n", nil, "line 3: wrong number of fields; there are 2 columns"},
		"quotes":              {"name,token\nann,t\"x\n", nil, "line 2: "},
		"broken json":         {"[\n{\"name\":\"ann\",\n\"passwords\":[\"canary\n]}]", nil, "line 3: this is no list of users"},
		"another json":        {"{\"users\":[]}", nil, "line 1: this is no list"},
		"unknown member":      {"[\n{\"name\":\"ann\",\"canary\":\"x\"}]", nil, "line 2 or before: unknown member; known members: name, passwords, tokens, from, groups, region, limits, allow, deny"},
		"wrong type":          {"[\n\n{\"name\":\"ann\",\"passwords\":\"canary\"}]", nil, `line 3: passwords is a list of texts: ["…"]`},
		"a number in a list":  {"[{\"name\":\"ann\",\"passwords\":[1]}]", nil, `line 1: passwords is a list of texts`},
		"a list for a text":   {"[{\"name\":[\"canary\"]}]", nil, `line 1: name is a text`},
		"something behind":    {"[] canary", nil, "this is no list"},
		"member with a value": {"[{\"name\":\"ann\",\"password\":\"canary\"}]", nil, `unknown member "password", did you mean passwords?`},
		"second user":         {"[{\"name\":\"ann\",\"tokens\":[\"t\"]},\n {\"name\":\"\",\"tokens\":[\"canary\"]}]", nil, "line 2: name is empty"},

		"username":            {"username,token\nann,t\n", []*User{{Name: "ann", Tokens: []string{"t"}}}, ""},
		"name and username":   {"name,username\n", nil, "line 1: the column name appears twice"},
		"semicolons":          {"name;password;from\nann;canary;+15550001111\n", nil, `line 1: columns are separated by ";"; separate them by commas: name,password,token,from,group,region,allow,deny`},
		"tabs":                {"username\tpassword\n", nil, `line 1: columns are separated by "\t"; separate them by commas: name,`},
		"capitals":            {"Name,Password\n", nil, `line 1: write name in lower case, not "Name"`},
		"capitals of another": {"Username,password\n", nil, `line 1: write username in lower case, not "Username"`},
		"another column":      {"name,extension\n", nil, "line 1: column 2: unknown column; known columns: name, password, token, from, group, region, allow, deny"},
		"a secret on top":     {"ann,canary\n", nil, "line 1: write the names of the columns: name,password"},
		"a secret among":      {"name,canary\n", nil, "line 1: column 2: unknown column; known columns: name, password"},
		"no name for one":     {"name,,from\n", nil, "line 1: column 2 has no name; known columns: name,"},
		"name is missing":     {"password,from\n", nil, "line 1: the column name is missing; known columns: name,"},
		"UTF-16":              {"\xff\xfen\x00a\x00m\x00e\x00", nil, "line 1: the file is UTF-16; save it as UTF-8"},
		"UTF-16 unmarked":     {"n\x00a\x00m\x00e\x00", nil, "line 1: the file is UTF-16; save it as UTF-8"},
		"Latin-1":             {"name,password\nann,x\nj\xfcrgen,canary\n", nil, "line 3: the file is not UTF-8; save it as UTF-8"},
		"environment":         {"name,password\nann,x\nbob,{env.BOB}\n", nil, "line 3: password: placeholders are not replaced in a users file; write a hash, made by: caddy acrobits-sms hash"},
		"file":                {"name,token\nann,{file./run/secrets/ann}\n", nil, "line 2: token: placeholders are not replaced in a users file; write the value itself"},
		"no braces":           {"name,password\nann,env.ANN\n", nil, "line 2: password: placeholders are not replaced"},
		"of a Caddyfile":      {"name,password\nann,{$CANARY}\n", nil, "line 2: password: placeholders are not replaced in a users file"},
		"with a default":      {"name,password\nann,{$CANARY:canary}\n", nil, "line 2: password: placeholders are not replaced in a users file"},
		"of a shell":          {"name,token\nann,${CANARY}\n", nil, "line 2: token: placeholders are not replaced in a users file"},
		"a dollar":            {"name,password\nann,$canary\n", []*User{{Name: "ann", Passwords: []string{"$canary"}}}, ""},
		"a bare quote":        {"name,password\nann,can\"ary\n", nil, "line 2: a quotation mark is not closed, or is inside a field"},
		"a quote left open":   {"name,password\nann,x\nbob,\"canary\n", nil, "a quotation mark is not closed, or is inside a field"},
		"from of environment": {"name,token,from\nann,t,{env.ANN}\n", nil, "line 2: from: placeholders are not replaced"},
		"json environment":    {"[{\"name\":\"ann\",\n\"passwords\":[\"{env.ANN}\"]}]", nil, "line 1: password: placeholders are not replaced"},
		"md5 crypt":           {"name,password\nann,$1$canary12$hN5YQjyCk2Xb0uGYyXlVA/\n", nil, "line 2: password: this kind of password hash is not supported, only bcrypt"},
		"sha256 crypt":        {"name,password\nann,$5$canary12$Jf2mVm8bUOvFhGj3iQ0kZ\n", nil, "line 2: password: this kind of password hash is not supported"},
		"sha512 crypt":        {"\nname,password\n\nann,$6$canary12$Jf2mVm8bUOvFhGj3iQ0kZ\n", nil, "line 4: password: this kind of password hash is not supported"},
		"apache":              {"name,password\nann,$apr1$canary12$Jf2mVm8bUOvFhGj3iQ0kZ\n", nil, "line 2: password: this kind of password hash is not supported"},
		"argon2i":             {"name,password\nann,\"$argon2i$v=19$m=65536,t=2,p=1$canary$canary\"\n", nil, "line 2: password: this kind of password hash is not supported"},
		"ldap":                {"name,password\nann,{SSHA}canarycanarycanarycanary\n", nil, "line 2: password: this kind of password hash is not supported"},
		"dollars":             {"name,password\nann,$100$canary\n", []*User{{Name: "ann", Passwords: []string{"$100$canary"}}}, ""},
		"no name in a row":    {"name,token\nann,t\n,canary\n", nil, "line 3: name is empty"},
		"a name twice":        {"name,token\nann,t\nbob,u\nann,canary\n", nil, "line 4: line 2 has the same name"},
	} {
		list, err := parseUsers([]byte(c.text))
		var got []*User
		for _, u := range list {
			got = append(got, u.User)
		}
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

// Numbers, destinations and regions of a file are read when the file is opened: errors name the line, and the value if
// it can be no secret.
func TestUserFileRefuses(t *testing.T) {
	for row, want := range map[string]string{
		"ann,t,1.5555E+10,,":                     `line 3: from: invalid number "1.5555E+10", which a spreadsheet has changed; format the column as text and write numbers as +15551234567`,
		`ann,t,"1,5555E+10",,`:                   "line 3: from: invalid number, which a spreadsheet has changed;",
		"ann,t,15550001111.0,,":                  `line 3: from: invalid number "15550001111.0", which a spreadsheet has changed;`,
		"ann,t,2E+11,,":                          `line 3: from: invalid number "2E+11", which a spreadsheet has changed;`,
		"ann,t,+1 (555) 000-1111,,":              "line 3: from: blanks divide numbers; write +15550001111",
		"ann,t,+1\u00a0555\u00a0000\u00a01111,,": "line 3: from: blanks divide numbers; write +15550001111",
		"ann,t,12,,":                             `line 3: from: invalid number, short code or sender ID "12"; write numbers as +15551234567`,
		"ann,t,canary!,,":                        "line 3: from: invalid number, short code or sender ID; write numbers as +15551234567",
		"ann,t,,canary,":                         "line 3: region: unknown country; write two capital letters such as US",
		"ann,t,,UK,":                             `line 3: region: unknown country "UK", did you mean GB?`,
		"ann,t,,,canary":                         "line 3: allow: unknown destination; write a country such as US",
		"ann,t,,,44":                             `line 3: allow: unknown destination "44", did you mean +44?`,
		"canary,,,,":                             "line 3: no password and no token",
		"bob,first-token-of-all,,,":              "line 3: a token is empty, too long, or another user's too",
		"Zoe@X.example,canary,,,\nZoe@x.example,canary2,,,": "line 4: another user has this name",
	} {
		path := filepath.Join(t.TempDir(), "users.csv")
		if err := os.WriteFile(path, []byte("name,token,from,region,allow\nzoe,first-token-of-all,,,\n"+row+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := provision(t, "default_region US\nadapter sandbox\nusers file "+path)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("users file %q: %s", path, want)) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", row, err, want)
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
	write("ann,the-password-of-ann,+15550007777,GB\n")
	s := newSite(t, demo+"adapter sandbox\nusers file "+path)
	ask := func(credential, to string) int { return s.send(t, get(credential+"&body=hi&to="+to)).Code }
	ann := "username=ann&password=the-password-of-ann"
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
	if _, err := provision(t, demo+"adapter sandbox\nusers file "+path); err == nil || !strings.Contains(err.Error(), "line 2: from: invalid number, short code or sender ID; write") {
		t.Errorf("a broken file at the start: %v", err)
	}
	write("")
	if _, err := provision(t, demo+"adapter sandbox\nusers file "+path); err == nil || !strings.Contains(err.Error(), "there is no user in it") {
		t.Errorf("an empty file: %v", err)
	}
	for block, want := range map[string]string{
		"users file /dev/null":    "no regular file",
		"users":                   "users file PATH",
		"users file":              "users file PATH",
		"users nowhere x":         "unknown source; known sources: file, http, jwt, sql",
		"users file /no/such.db":  "users file: no such file",
		"users file /no/such.csv": `users file "/no/such.csv": no such file`,
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
		{"username=gb&password=12345678&to=07400123456&body=hi", 200}, // in the user's region
		{"username=gb&password=12345678&to=07400123457&body=hi", 429}, // by the user's limit
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
		"users http https://x.example {\nheader \"X Y\" z": "a header has an invalid name or value",
		"users http users.example.com":                     "write the URL of your service",
		"users http https://x.example {\nttl 5s":           "unknown word; known words: header, timeout, cache, stale",
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

// Cached replies of a user service outlive a reload, and the new configuration reads them anew. With other headers, or a shorter
// cache time, the service is asked again.
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
	for key := range sharedState.All() {
		if key := key.(stateKey); key.kind == answers.name {
			keys++
			if sum, is := key.key.([sha256.Size]byte); !is || strings.Contains(string(sum[:]), "canary") {
				t.Errorf("a key is %v", key)
			}
		}
	}
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
	if _, err := db.Exec("CREATE TABLE users (name, password); INSERT INTO users VALUES ('ann', 'plain-password'), ('bob', 'plain-password')"); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "users sql sqlite "+path+" {\nquery `SELECT name, password FROM users WHERE name = {user}`\n}\ndefault_region US\nadapter sandbox")
	r := post("application/x-www-form-urlencoded", "")
	r.Body = io.NopCloser(&slowly{strings.NewReader("user=ann&password=plain-password&to=5551231234&body=ok"), sync.OnceFunc(s.stop)})
	if w := s.send(t, r); w.Code != 200 {
		t.Errorf("%d %s, the log says %v", w.Code, w.Body, s.events())
	}
	if w := s.send(t, post("application/x-www-form-urlencoded", "user=bob&password=plain-password&to=5551231234&body=late")); w.Code != 500 { // the database is closed
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

// The log tells the operator of faults in a user's data or an app's settings; a wrong password is none.
func TestWhyDenied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE users (name, domain, password, caller_id); INSERT INTO users VALUES ('ann', 'example.com', 'plain-password', '+15550001111'), " +
		"('bob', 'example.com', 'plain-password', '${outbound_caller_id_number}'), ('cyd', 'example.com', 'plain-password', '0000'), ('dan', 'example.com', 'plain-password', '')"); err != nil {
		t.Fatal(err)
	}
	query := "query `SELECT name || '@' || domain AS name, password, caller_id AS \"from\" FROM users WHERE name = {name} AND domain = {domain}`\n"
	for _, region := range []string{"default_region US", "allow US"} {
		s := newSite(t, demoUsers+"users sql sqlite "+path+" {\n"+query+"}\nlockout off\n"+region+"\nadapter sandbox")
		for _, c := range []struct{ user, password, bearer, status, detail string }{
			{"ann@example.com", "plain-password", "", "200", ""},
			{"ann@example.com:5060", "plain-password", "", "200", ""},
			{"ann", "plain-password", "", "401", "the app sent no domain, the query asks for one"},
			{"ann@example.org", "plain-password", "", "401", ""},
			{"ann@example.com", "wrong", "", "401", ""},
			{"bob@example.com", "plain-password", "", "403", "from: invalid number"},
			{"bob@example.com", "wrong", "", "401", ""},
			{"cyd@example.com", "plain-password", "", "403", "from: invalid number"},
			{"dan@example.com", "plain-password", "", "200", ""},
			{"ann@example.com", "", "wrong-token", "401", "the app sent a Bearer token, and the user has only a password"},
			{"passer", "", "wrong-token", "401", "the app sent a Bearer token, and the user has only a password"},
			{"tokener", "", "wrong-token", "401", ""},
			{"", "", "wrong-token", "401", "no user has the Bearer token"},
			{"passer", "wrong", "", "401", ""},
		} {
			r := post("application/x-www-form-urlencoded", url.Values{"username": {c.user}, "password": {c.password}, "to": {"+15551231234"}, "body": {"hi"}}.Encode())
			if c.bearer != "" {
				r.Header.Set("Authorization", "Bearer "+c.bearer)
			}
			w := s.send(t, r)
			events := s.events()
			detail, _ := events[len(events)-1]["detail"].(string)
			if fmt.Sprint(w.Code) != c.status || c.detail == "" && detail != "" && c.status != "200" || !strings.HasPrefix(detail, c.detail) || strings.Contains(detail, "outbound") {
				t.Errorf("%s, %s: %+v: %d %q", region, w.Body, c, w.Code, detail)
			}
			if c.status == "403" && read(t, w).Message != "Your number is not set up for texting" {
				t.Errorf("%+v: told %s", c, w.Body)
			}
		}
	}
}

const demoUsers = "user passer {\npassword passers-password\nfrom +15550002222\n}\nuser tokener {\ntoken tokeners-token-1\nfrom +15550003333\n}\n"

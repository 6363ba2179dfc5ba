package caddymodule

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

// roundTripper answers requests in place of a server.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Wherever users are, an unknown name, a wrong password and a user who is locked cost the same number of slow hashes, or of
// questions to a service, and each answer leaves at the next multiple of 250 ms. None is held up by others that wait.
func TestEqualWork(t *testing.T) {
	const annHash = "$2a$04$KyyUQb/p/O1mp3Zb50uHn.zOQqH.H3e7.cUYuTaBSGXESh251gRF2"
	dir := t.TempDir()
	file, lite := filepath.Join(dir, "users.csv"), filepath.Join(dir, "users.db")
	if err := os.WriteFile(file, []byte("name,password\nann,"+annHash+"\nbob,plain-password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", lite)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE users (name, password); INSERT INTO users VALUES ('ann', ?), ('bob', 'plain-password')", annHash); err != nil {
		t.Fatal(err)
	}
	token := func(user, secret, audience string) string {
		return "token=" + jwtOf(t, secret, map[string]any{"sub": user, "aud": audience, "exp": time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix()})
	}
	var asked atomic.Int64
	service := roundTripper(func(r *http.Request) (*http.Response, error) {
		asked.Add(1)
		time.Sleep(300 * time.Millisecond)
		body, _ := io.ReadAll(r.Body)
		answer := `{"allowed": false}`
		switch question := string(body); {
		case strings.Contains(question, "ann-password"):
			answer = `{"allowed": true, "user": "ann"}`
		case strings.Contains(question, `"ann"`):
			answer = `{"allowed": false, "user": "ann"}`
		}
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(answer))}, nil
	})
	blocks := "user ann {\npassword " + annHash + "\n}\nuser bob {\npassword plain-password\n}"
	tables := "users sql sqlite " + lite + " {\nquery `SELECT name, password FROM users WHERE name = {user}`\n}"
	for name, c := range map[string]struct {
		block string
		work  int64
		takes time.Duration
	}{
		"user blocks": {blocks, 1, denialDelay},
		"users file":  {"users file " + file, 1, denialDelay},
		"users http":  {"users http https://users.example.com/", 1, 2 * denialDelay},
		"users jwt":   {"users jwt {\nsecret `" + jwtSecret + "`\naudience sms\n}", 0, denialDelay},
		"users sql":   {tables, 1, denialDelay},
		"two of them": {blocks + "\n" + tables, 2, denialDelay},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.block+"\ndefault_region US\nadapter sandbox")
			if name == "users http" {
				s.gateway.Users.(*users.Service).Transport = service
			}
			from := 0
			send := func(what string) int {
				from++
				return s.guess(t, fmt.Sprintf("10.0.%d.%d", from>>8, from&255), what).Code
			}
			send("username=zoe&password=wrong") // opens what is kept open
			s.denialDelay = denialDelay
			credential := func(user, password string) string {
				switch {
				case name != "users jwt":
					return "username=" + user + "&password=" + password
				case user == "nobody":
					return token(user, strings.ToUpper(jwtSecret), "sms")
				case password == "ann-password":
					return token(user, jwtSecret, "sms")
				}
				return token(user, jwtSecret, "another")
			}
			synctest.Test(t, func(t *testing.T) {
				costs := func(what, credential string) {
					t.Helper()
					work, began := users.SlowHashes.Load()+asked.Load(), time.Now()
					status := send(credential)
					took := time.Since(began)
					if work = users.SlowHashes.Load() + asked.Load() - work; status != 401 || work != c.work || took != c.takes {
						t.Errorf("%s: %d after %s and %d hashes or questions, want 401 after %s and %d", what, status, took, work, c.takes, c.work)
					}
				}
				costs("unknown user, before anybody else", credential("nobody", "wrong"))
				costs("wrong password", credential("ann", "wrong"))
				costs("wrong password of a user without a hash", credential("bob", "wrong"))
				costs("unknown user", credential("nobody", "wrong-again"))
				var wg sync.WaitGroup
				for i := range 48 {
					query, began := credential([]string{"ann", "bob"}[i%2], fmt.Sprint("guess", i)), time.Now()
					address := fmt.Sprintf("10.1.0.%d", i)
					wg.Go(func() {
						if w := s.guess(t, address, query); w.Code != 401 || time.Since(began) != c.takes {
							t.Errorf("one of many: %d after %s, want 401 after %s", w.Code, time.Since(began), c.takes)
						}
					})
				}
				wg.Wait()
				costs("wrong password, locked", credential("ann", "wrong-too"))
				costs("right password without a hash, locked", credential("bob", "plain-password"))
				costs("right password, locked", credential("ann", "ann-password"))
				time.Sleep(time.Minute)
				costs("right password, locked, once more", credential("ann", "ann-password"))
				if name := s.log.All()[s.log.Len()-1].ContextMap()["claimed_user"]; name != "ann" {
					t.Errorf("the last one was not of ann, but of %v", name)
				}
			})
		})
	}
}

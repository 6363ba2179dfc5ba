//go:build e2e

package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/crypto/bcrypt"
)

// slowHash is of no password that is sent here.
const slowHash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

// slowService knows ann, and hurries if it does not know somebody.
func slowService(w http.ResponseWriter, r *http.Request) {
	var question struct{ User, Password string }
	_ = json.NewDecoder(r.Body).Decode(&question)
	if question.User != "ann" {
		_, _ = io.WriteString(w, `{"allowed": false}`)
		return
	}
	_ = bcrypt.CompareHashAndPassword([]byte(slowHash), []byte(question.Password))
	_, _ = io.WriteString(w, `{"allowed": false, "user": "ann"}`)
}

// tokenOf makes a token of ann's.
func tokenOf(t *testing.T, secret, audience string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: "ann", Audience: jwt.Audience{audience}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// The time of a refusal does not tell what was wrong. TIMING is how many of each class are sent, 1000 in the long run; in
// the short one a busy machine is given more room.
func TestTimeOfRefusals(t *testing.T) {
	count, most := 12, 40*time.Millisecond
	if n, err := strconv.Atoi(os.Getenv("TIMING")); err == nil {
		count, most = n, 5*time.Millisecond
	}
	address := freeAddress(t)
	service := newProvider(t).plain()
	service.do(slowService)
	const secret = "a-secret-of-more-than-thirty-two-bytes"
	file := write(t, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	servers {
		trusted_proxies static 127.0.0.1/32
	}
}
%s {
	bind 127.0.0.1
	acrobits_sms /http {
		users http %s
		default_region US
		adapter sandbox
	}
	acrobits_sms /jwt {
		users jwt {
			secret   %s
			audience sms
		}
		default_region US
		adapter sandbox
	}
	acrobits_sms /sql {
		users sql sqlite {$USERS_DATABASE} {
			query "SELECT name, password FROM users WHERE name = {user}"
		}
		default_region US
		adapter sandbox
	}
	acrobits_sms * {
		user plain {
			password a-plain-password
			token    a-token-of-plain
		}
		user slow {
			password %s
		}
		user locked {
			password another-password
		}
		users file users.csv
		default_region US
		digest
		adapter sandbox
	}
}
`, site("http", address), service.URL, secret, slowHash))
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "users.csv"), []byte("name,password\nfiled,"+slowHash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tables := filepath.Join(filepath.Dir(file), "users.db")
	db, err := sql.Open("sqlite", tables)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE users (name, password); INSERT INTO users VALUES ('slow', ?), ('plain', 'a-plain-password')", slowHash); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	start(t, file, address, "USERS_DATABASE="+tables)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	from := 0
	ask := func(path string, what url.Values, header string, network int) time.Duration {
		what.Set("to", "5551231234")
		what.Set("body", "hi")
		r, err := http.NewRequest(http.MethodPost, "http://"+address+path, nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		r.URL.RawQuery = what.Encode()
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", network>>16, network>>8&255, network&255))
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		began := time.Now()
		resp, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		took := time.Since(began)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%v: %d", what, resp.StatusCode)
		}
		return took
	}
	as := func(user, password string) url.Values {
		return url.Values{"username": {user}, "password": {password}}
	}
	var wg sync.WaitGroup
	for i := range 24 { // from now on, even the right password is refused in a network that the user never logged in from
		wg.Go(func() { ask("/", as("locked", "wrong"), "", 1<<20+i) })
	}
	wg.Wait()
	token := func(token string) url.Values { return url.Values{"token": {token}} }
	classes := []struct {
		name, path string
		what       url.Values
		header     string
	}{
		{"plain, wrong password", "/", as("plain", "wrong"), ""},
		{"slow hash, wrong password", "/", as("slow", "wrong"), ""},
		{"user of a file, wrong password", "/", as("filed", "wrong"), ""},
		{"locked, wrong password", "/", as("locked", "wrong"), ""},
		{"locked, right password", "/", as("locked", "another-password"), ""},
		{"unknown user", "/", as("nobody", "wrong"), ""},
		{"unknown token", "/", token("wrong"), ""},
		{"no credential", "/", url.Values{}, ""},
		{"answer that is none", "/", url.Values{}, `Digest username="plain", realm="sms", nonce="x", uri="/", response="x"`},
		{"http: wrong password", "/http", as("ann", "wrong"), ""},
		{"http: unknown user", "/http", as("nobody", "wrong"), ""},
		{"jwt: another audience", "/jwt", token(tokenOf(t, secret, "mail")), ""},
		{"jwt: another secret", "/jwt", token(tokenOf(t, strings.ToUpper(secret), "sms")), ""},
		{"jwt: no token", "/jwt", token("wrong"), ""},
		{"sql: unknown user", "/sql", as("nobody", "wrong"), ""},
		{"sql: slow hash, wrong password", "/sql", as("slow", "wrong"), ""},
		{"sql: plain, wrong password", "/sql", as("plain", "wrong"), ""},
	}
	medians := make(map[string]time.Duration)
	for _, c := range classes {
		times := make([]time.Duration, count)
		for worker := range 2 {
			wg.Go(func() {
				for i := worker; i < count; i += 2 {
					what := url.Values{}
					for name, values := range c.what {
						what[name] = values
					}
					if what.Get("password") == "wrong" { // each another, so that no answer is remembered
						what.Set("password", fmt.Sprint("wrong", i))
					}
					times[i] = ask(c.path, what, c.header, from+i)
				}
			})
		}
		wg.Wait()
		from += count
		slices.Sort(times)
		medians[c.name] = times[count/2]
		t.Logf("%-32s median %.1f ms, from %.1f to %.1f", c.name, float64(times[count/2])/1e6, float64(times[0])/1e6, float64(times[count-1])/1e6)
		if times[0] < 250*time.Millisecond {
			t.Errorf("%s: an answer after %s", c.name, times[0])
		}
	}
	for name, median := range medians {
		if apart := median - medians["unknown user"]; apart.Abs() > most {
			t.Errorf("%s: %s apart from an unknown user", name, apart)
		}
	}
}

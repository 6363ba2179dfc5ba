package users

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func TestParseQuery(t *testing.T) {
	dollar := func(n int) string { return fmt.Sprintf("$%d", n) }
	for text, want := range map[string]string{
		"SELECT 1 WHERE a = {user}":                              "SELECT 1 WHERE a = $1",
		"SELECT 1 WHERE a={name} AND b = lower({domain})":        "SELECT 1 WHERE a=$1 AND b = lower($2)",
		"SELECT '{1,2}', \"a{b\" WHERE {user} IN (a, b, {user})": "SELECT '{1,2}', \"a{b\" WHERE $1 IN (a, b, $2)",
		"SELECT 'it''s' WHERE a = {user}":                        "SELECT 'it''s' WHERE a = $1",
		"SELECT 1 WHERE a = '{user}'":                            "take the quotes away",
		"SELECT 1 WHERE a = \"{name}\"":                          "take the quotes away",
		"SELECT 1 WHERE a LIKE '%{user}%'":                       "take the quotes away",
		"SELECT 1 WHERE a = {usr}":                               `unknown hole "usr", did you mean user? known holes: user, name, domain`,
		"SELECT 1 WHERE a = {env.X}":                             "unknown hole; known holes: domain, name, user",
		"SELECT 1":                                               "the query asks for nobody",
		"SELECT 1 WHERE a = {domain}":                            "the query asks for nobody",
		"SELECT 1 WHERE a = ?":                                   "a ? of its own",
		"SELECT 'a WHERE a = {user}":                             "take the quotes away",
		"SELECT {user} 'a":                                       "a ' of the query is not closed",
	} {
		q, err := ParseQuery(text, dollar)
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && q.text != want {
			t.Errorf("%s: %+v, %v, want %s", text, q, err, want)
		}
	}
	q, err := ParseQuery("{domain} {user} {name}", dollar)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]any{
		"ann":                       {"", "ann", "ann"},
		" ann@Example.COM@qrcode ":  {"example.com", "ann@example.com", "ann"},
		"x' OR 1=1; --@example.com": {"example.com", "x' OR 1=1; --@example.com", "x' OR 1=1; --"},
	} {
		if got := q.arguments(name); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// newSQL makes a table of users and what asks it.
func newSQL(t testing.TB, query string) (*SQL, *sql.DB, *[]string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "users.db"))
	if err != nil {
		t.Fatal(err)
	}
	sum := func(b []byte) string { return hex.EncodeToString(b) }
	m, s, l := md5.Sum([]byte("ann:example.com:12345678")), sha1.Sum([]byte("ann:example.com:12345678")), sha256.Sum256([]byte("ann:example.com:12345678"))
	for _, row := range [][]any{
		{"plain", "12345678", nil, nil, "+15550001111, ACME", "GB"}, {"bcrypt", hashed(t, "12345678"), nil, nil, nil, nil}, {"argon", argon, nil, nil, nil, nil},
		{"sha1", "7c222fb2927d828af22f592134e8932480637c0d", nil, nil, nil, nil}, {"two", "12345678", nil, nil, nil, nil}, {"two", "87654321", nil, nil, nil, nil},
		{"md5@x", nil, sum(m[:]), "example.com", nil, nil}, {"ha-sha1@x", nil, sum(s[:]), "example.com", nil, nil}, {"ha-sha256@x", nil, strings.ToUpper(sum(l[:])), nil, nil, nil},
		{"none", nil, nil, nil, nil, nil}, {"empty", "", "", "", "", ""}, {"broken", nil, "xyz", nil, nil, nil}, {"nonsense", "12345678", nil, nil, "no number", nil},
	} {
		if _, err := db.Exec("CREATE TABLE IF NOT EXISTS users (name, password, ha1, realm, numbers, allow)"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)", row...); err != nil {
			t.Fatal(err)
		}
	}
	var reports []string
	var mu sync.Mutex
	q, err := ParseQuery(query, func(int) string { return "?" })
	if err != nil {
		t.Fatal(err)
	}
	u := &SQL{DB: db, Query: q, Realm: "example.com", Timeout: 5 * time.Second, Keep: time.Minute, Stale: time.Hour,
		Read: func(r Row) (Account, error) {
			if slices.Contains(r.From, "number") {
				return Account{}, errors.New("from")
			}
			var numbers []sms.Number
			for _, n := range r.From {
				numbers = append(numbers, sms.Number{Value: n, Kind: sms.Phone})
			}
			return Account{User: User{Name: r.User, Groups: r.Groups, Numbers: numbers}, Passwords: r.Passwords}, nil
		},
		Unencodable: func(err error) bool { return strings.Contains(err.Error(), "overflow") },
		Report:      func(err error) { mu.Lock(); defer mu.Unlock(); reports = append(reports, err.Error()) },
	}
	u.Start()
	t.Cleanup(func() { _ = u.Release() })
	return u, db, &reports
}

const allColumns = `SELECT name, password, ha1, realm, numbers AS "from", allow FROM users WHERE name = {user} OR name = {name} || '@x' AND {domain} = 'example.com'`

func TestSQL(t *testing.T) {
	u, _, reports := newSQL(t, allColumns)
	for range 2 { // and from memory
		for _, c := range []struct{ name, secret, want string }{
			{"plain", "12345678", "plain"}, {"plain", "7c222fb2927d828af22f592134e8932480637c0d", "plain"}, {"plain", "1234567", "denied plain"}, {"plain@example.com@qr", "12345678", "denied"},
			{"bcrypt", "12345678", "bcrypt"}, {"bcrypt", "wrong", "denied bcrypt"}, {"argon", "12345678", "argon"}, {"argon", "wrong", "denied argon"},
			{"sha1", "12345678", "sha1"}, {"two", "12345678", "two"}, {"two", "87654321", "two"}, {"two", "wrong", "denied two"},
			{"none", "", "denied"}, {"none", "x", "denied"}, {"empty", "", "denied"}, {"empty", "x", "denied"}, {"nobody", "12345678", "denied"},
			{"", "12345678", "denied"}, {"plain' --", "12345678", "denied"}, {"plain\x00", "12345678", "denied"}, {"\xff", "x", "denied"}, {strings.Repeat("x", 5000), "x", "denied"}, {"plain", strings.Repeat("x", 5000), "denied"},
			{"broken", "xyz", "unavailable"}, {"nonsense", "12345678", "unavailable"},
		} {
			if got := told(u, c.name, c.secret); got != c.want {
				t.Errorf("%.30q %.30q: %s, want %s", c.name, c.secret, got, c.want)
			}
		}
	}
	if n := len(*reports); n != 4 || !strings.Contains((*reports)[0], "user broken: an HA1 has") || !strings.Contains((*reports)[1], "user nonsense: from") {
		t.Errorf("reports: %q", *reports)
	}
	user, err := u.Authenticate(t.Context(), Credential{User: "plain", Secret: sms.Hide("12345678")})
	if err != nil || len(user.Numbers) != 2 || user.Numbers[1].Value != "ACME" {
		t.Errorf("%+v, %v", user, err)
	}
	for proof, right := range map[proof]bool{"12345678": true, "decoy": false} {
		if _, err := u.Authenticate(t.Context(), Credential{User: "plain", Proof: proof}); (err == nil) != right {
			t.Errorf("proof of %s: %v", proof, err)
		}
	}
	for name, want := range map[string]string{"plain": "plain", "nobody": ""} {
		if found, err := u.Find(name); err != nil || (found != nil) != (want != "") || found != nil && found.Name != want {
			t.Errorf("by name: %+v, %v, want %q", found, err, want)
		}
	}
	if _, err := (Chain{u}).Find("broken"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a row that makes no sense, by name: %v", err)
	}
}

// Hashes of user:realm:password, with the name as the app sends it or without its domain.
func TestSQLHA1(t *testing.T) {
	u, _, _ := newSQL(t, `SELECT name, ha1, realm FROM users WHERE name = 'md5@x' AND {user} = 'ann@example.com' OR name = 'ha-sha1@x' AND {user} = 'ann' OR name = 'ha-sha256@x' AND {domain} = 'y'`)
	for name, want := range map[string]string{"ann@example.com": "md5@x", "ann": "ha-sha1@x", "ann@y": "ha-sha256@x"} {
		if got := told(u, name, "12345678"); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got := told(u, name, "87654321"); got != "denied "+want {
			t.Errorf("%s with a wrong password: %s", name, got)
		}
	}
}

// A query result with a fault admits nobody, and the fault is reported.
func TestSQLQueries(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT name, password, 'x' AS alow FROM users WHERE name = {user}":                                       `the query: unknown column "alow", did you mean allow?`,
		"SELECT name, password, password FROM users WHERE name = {user}":                                          "the query gives the column password twice",
		"SELECT password FROM users WHERE name = {user}":                                                          "has to give name",
		"SELECT 'plain' AS name, '12345678' AS password FROM users a, users b WHERE {user} <> ''":                 "more than 64 rows",
		"SELECT 'plain' AS name, '12345678' AS password, allow FROM users WHERE name = {user} OR name = 'bcrypt'": "the rows differ in allow",
		"SELECT name FROM users WHERE name = {user}":                                                              "password or ha1",
		"SELECT name, password FROM users WHERE {user} <> ''":                                                     "more than one user",
		"SELECT name, password FROM missing WHERE name = {user}":                                                  "no answer",
		"SELECT 'plain' AS name, rowid || 'x' AS password FROM users WHERE {user} <> ''":                          "more than 4 secrets",
		"SELECT name, abs(-9223372036854775808) AS password FROM users WHERE name = {user}":                       "refuses the query",
	} {
		u, _, reports := newSQL(t, query)
		for range 3 {
			if got := told(u, "plain", "12345678"); got != "unavailable" {
				t.Errorf("%s: %s", query, got)
			}
		}
		if len(*reports) != 1 || !strings.Contains((*reports)[0], want) {
			t.Errorf("%s: %q, want %s once", query, *reports, want)
		}
	}
}

// A name that the database cannot write is nobody's. Where it fails over one that it can write, the
// query is at fault.
func TestSQLUnwritable(t *testing.T) {
	u, _, reports := newSQL(t, "SELECT name, abs(-9223372036854775808) AS password FROM users WHERE {user} <> ''")
	for name, want := range map[string]string{"мария": "denied", "plain": "unavailable"} {
		if got := told(u, name, "12345678"); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if len(*reports) != 1 || !strings.Contains((*reports)[0], "refuses the query") {
		t.Errorf("reports: %q", *reports)
	}
}

// A row that was changed counts when what is remembered is too old; a query that takes too long
// ends, and what was known goes on for a while.
func TestSQLChanges(t *testing.T) {
	u, db, reports := newSQL(t, `SELECT name, password FROM users WHERE name = {user} AND (name <> 'slow' OR (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c) > 0)`)
	u.Keep, u.Timeout = 20*time.Millisecond, 500*time.Millisecond
	wait := func(name, secret, want string) {
		t.Helper()
		end := time.Now().Add(10 * time.Second)
		for got := ""; got != want; {
			if got = told(u, name, secret); got != want && time.Now().After(end) {
				t.Fatalf("%s %s: %s, want %s", name, secret, got, want)
			}
		}
	}
	wait("bcrypt", "12345678", "bcrypt")
	if _, err := db.Exec("UPDATE users SET password = ? WHERE name = 'bcrypt'", hashed(t, "new")); err != nil {
		t.Fatal(err)
	}
	wait("bcrypt", "new", "bcrypt")
	wait("bcrypt", "12345678", "denied bcrypt")
	if _, err := db.Exec("INSERT INTO users (name, password) VALUES ('slow', 'x')"); err != nil {
		t.Fatal(err)
	}
	wait("bcrypt", "new", "bcrypt")
	if got := told(u, "slow", "x"); got != "unavailable" || len(*reports) != 1 || !strings.Contains((*reports)[0], "took too long") {
		t.Errorf("a slow query: %s, %q", got, *reports)
	}
	began := time.Now()
	if got := told(u, "nobody", "x"); got != "unavailable" || time.Since(began) > 200*time.Millisecond {
		t.Errorf("while it is left alone: %s after %s", got, time.Since(began))
	}
	wait("bcrypt", "new", "bcrypt") // stale
	for _, secret := range []string{"wrong", "12345678"} {
		for name, u := range map[string]Users{"alone": u, "in a chain": Chain{u, u}} {
			_, err := u.Authenticate(t.Context(), Credential{User: "bcrypt", Secret: sms.Hide(secret)})
			var denied *DeniedError
			if !errors.Is(err, ErrUnavailable) || !errors.As(err, &denied) || denied.Name != "bcrypt" {
				t.Errorf("%s, a wrong password while the database gives no answer: %v", name, err)
			}
		}
	}
	wait("plain", "12345678", "plain")
	if u.found.Down() {
		t.Error("the database gives no answer any more")
	}
	if _, err := u.Authenticate(t.Context(), Credential{User: "bcrypt", Secret: sms.Hide("wrong")}); errors.Is(err, ErrUnavailable) {
		t.Error("a wrong password when the database is back:", err)
	}
}

// Many who come at once ask once for each name.
func TestSQLFlood(t *testing.T) {
	u, _, _ := newSQL(t, allColumns)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if got := told(u, []string{"plain", "bcrypt", "nobody"}[i%3], "12345678"); got != []string{"plain", "bcrypt", "denied"}[i%3] {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	if n := u.DB.Stats().OpenConnections; n > 8 {
		t.Errorf("%d connections", n)
	}
}

// An unknown name costs the hashes of the costliest account that was seen.
func TestSQLEqualWork(t *testing.T) {
	u, _, _ := newSQL(t, allColumns)
	told(u, "bcrypt", "wrong")
	count := 0
	u.decoy.Store(&[]hash{counting{&count}})
	if told(u, "nobody", "wrong"); count != 1 {
		t.Errorf("%d hashes for an unknown name, want 1", count)
	}
	if told(u, "plain", "wrong"); count != 2 {
		t.Errorf("%d hashes for one with a plain password, want 1 more", count)
	}
}

// A user may have a number in each of several rows.
func TestSQLRows(t *testing.T) {
	u, _, reports := newSQL(t, `SELECT 'ann' AS name, '12345678' AS password, numbers AS "from" FROM users WHERE {user} <> '' AND name IN ('plain', 'bcrypt', 'argon')`)
	user, err := u.Authenticate(t.Context(), Credential{User: "ann", Secret: sms.Hide("12345678")})
	if err != nil || len(user.Numbers) != 2 || user.Numbers[0].Value != "+15550001111" {
		t.Errorf("%+v, %v, %q", user, err, *reports)
	}
}

package database

import (
	"errors"
	"strings"
	"testing"
)

// An address that cannot be read is told by an example, and a file of it that cannot be read by its
// path. Neither repeats the password.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ kind, address, want string }{
		{"postgres", "postgres://sms:canary@localhost:port/db", "such as postgres://user:password@localhost/fusionpbx"},
		{"postgres", "postgres://sms:canary@localhost/db?sslmode=verify-full&sslrootcert=/no/such/ca.pem", `a file "/no/such/ca.pem" that cannot be read: no such file`},
		{"postgres", "postgres://sms:canary@localhost/db?sslmode=verify-full&sslrootcert=canary", "a file that cannot be read: no such file"},
		{"postgres", "postgres://u:a@canary@localhost/db", "an @, /, ? or # in its password; write them as %40, %2F, %3F and %23"},
		{"postgres", "postgresql://u:12/canary@localhost/db", "an @, /, ? or #"},
		{"postgres", "postgres://u:12?canary@localhost/db", "an @, /, ? or #"},
		{"postgres", "postgres://u:12#canary@localhost/db", "an @, /, ? or #"},
		{"postgres", "host=u:canary@localhost user=sms", "an @, /, ? or #"},
		{"mysql", "sms:canary@localhost/db", "such as user:password@tcp(localhost:3306)/kamailio"},
		{"mysql", "sms:canary@tcp(localhost:3306)/db?tls=/etc/ca.pem", "such as user:password@tcp"},
		{"sqlite", "", "such as /var/lib"},
	} {
		for _, k := range Kinds {
			if k.Name != c.kind {
				continue
			}
			if _, err := k.Open(c.address); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s %s: %v, want %s", c.kind, c.address, err, c.want)
			}
		}
	}
}

// The words of drivers lose every part of the address, however short, and nothing else.
func TestRedact(t *testing.T) {
	for _, c := range []struct{ kind, address, said, want string }{
		{"postgres", "postgres://sms:c%40nary@db.example.com:5432/fusionpbx", "failed to connect to `user=sms database=fusionpbx`: hostname resolving error: lookup db.example.com: no such host (c@nary)",
			"failed to connect to `user=… database=…`: hostname resolving error: lookup …: no such host (…)"},
		{"postgres", "host=one.example,two.example user=u dbname=d password=p", "u: cannot reach one.example or two.example; put d and p up", "…: cannot reach … or …; put … and … up"},
		{"mysql", "sms:c@nary@tcp(10.0.0.5:3306)/kamailio", "Error 1045 (28000): Access denied for user 'sms'@'10.0.0.5' to 10.0.0.5:3306/kamailio (c@nary)", "Error 1045 (28000): Access denied for user '…'@'…' to …/… (…)"},
		{"sqlite", "/var/lib/users.db", "unable to open database file /var/lib/users.db (14)", "unable to open database file … (14)"},
	} {
		for _, k := range Kinds {
			if k.Name != c.kind {
				continue
			}
			if got := k.Redact(c.address, errors.New(c.said)); got.Error() != c.want {
				t.Errorf("%s: %v, want %s", c.address, got, c.want)
			}
		}
	}
}

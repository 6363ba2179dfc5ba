package database

import (
	"strings"
	"testing"
)

// An address that cannot be read is told by an example, and a file of it that cannot be read by its path. Neither repeats the
// password.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ kind, address, want string }{
		{"postgres", "postgres://sms:canary@localhost:port/db", "such as postgres://user:password@localhost/fusionpbx"},
		{"postgres", "postgres://sms:canary@localhost/db?sslmode=verify-full&sslrootcert=/no/such/ca.pem", "a file that cannot be read: open /no/such/ca.pem: no such file"},
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

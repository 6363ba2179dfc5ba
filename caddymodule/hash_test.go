package caddymodule

import (
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// What the command prints is a password of a user.
func TestHashCommand(t *testing.T) {
	run := func(stdin string, args ...string) (string, error) {
		var out strings.Builder
		cmd := hashCommand()
		cmd.SetIn(strings.NewReader(stdin))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append([]string{}, args...)) // nil would be those of the test
		err := cmd.Execute()
		return out.String(), err
	}
	for _, args := range [][]string{nil, {"--algorithm", "argon2id"}} {
		out, err := run("correct horse\r\n", args...)
		if err != nil || strings.Count(out, "\n") != 1 {
			t.Fatalf("%v: %q %v", args, out, err)
		}
		l, err := users.NewList([]users.Account{{User: users.User{Name: "ann"}, Passwords: []string{strings.TrimSpace(out)}}})
		if err != nil {
			t.Fatal(err)
		}
		for secret, right := range map[string]bool{"correct horse": true, "correct horse ": false, strings.TrimSpace(out): false} {
			if _, err := l.Authenticate(t.Context(), users.Credential{User: "ann", Secret: sms.Hide(secret)}); (err == nil) != right {
				t.Errorf("%v: %q: %v", args, secret, err)
			}
		}
	}
	for _, c := range [][]string{{""}, {"\n"}, {strings.Repeat("x", 73)}, {"x", "--algorithm", "md5"}, {"x", "y"}} {
		if out, err := run(c[0], c[1:]...); err == nil || strings.Contains(out, "$2") {
			t.Errorf("%q: %q", c, out)
		}
	}
}

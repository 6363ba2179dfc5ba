package users

import (
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// People are found by every name that apps send for them, and by no other.
func TestNames(t *testing.T) {
	l, err := NewList([]Account{
		{User: User{Name: "ann"}, Passwords: []string{"password-of-ann"}},
		{User: User{Name: "bob@Example.com"}, Passwords: []string{"password-of-bob"}},
		{User: User{Name: "bob@example.org"}, Passwords: []string{"password-of-bob"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]string{
		"ann": "ann", " ann ": "ann", "ann@example.com": "ann", "ann@example.com@qrcode": "ann", "ann@": "ann",
		"Ann": "", "an": "", "x@ann": "", "@ann": "", "ann x": "",
		"bob@example.com": "bob@Example.com", "bob@EXAMPLE.com ": "bob@Example.com", "bob@example.com@login": "bob@Example.com",
		"bob@example.com:5060": "bob@Example.com", "bob@EXAMPLE.com:443@login": "bob@Example.com", "ann@10.0.0.1:5060": "ann", "ann@[::1]:5060": "ann",
		"bob@example.com:": "", "bob@example.com:x": "", "bob@example.net:5060": "",
		"bob@example.org": "bob@example.org", "bob": "", "bob@example.net": "", "Bob@example.com": "", "@": "", "@@": "",
	} {
		secret := "password-of-bob"
		if want == "ann" || want == "" && sent != "bob" {
			secret = "password-of-ann"
		}
		for kind, c := range map[string]Credential{"password": {User: sent, Secret: sms.Hide(secret)}, "proof": {User: sent, Proof: proof(secret)}} {
			user, err := l.Authenticate(t.Context(), c)
			if (err == nil) != (want != "") || err == nil && (user.Name != want || !user.MatchesName(sent)) {
				t.Errorf("%q by %s: %v, %v, want %q", sent, kind, user, err, want)
			}
		}
	}
	for sent, want := range map[string]string{"ann": "ann", " ann@EXAMPLE.com": "ann@example.com", "ann@example.com@qrcode": "ann@example.com", "ann@example.com:5060": "ann@example.com", "ann@[2001:db8::1]:5060": "ann@[2001:db8::1]", "ann@::1": "ann@::1"} {
		if got := userAndDomain(sent); got != want {
			t.Errorf("a service gets %q for %q, want %q", got, sent, want)
		}
	}
	if _, err := NewList([]Account{{User: User{Name: "x@A"}, Passwords: []string{"a"}}, {User: User{Name: "x@a"}, Passwords: []string{"a"}}}); err == nil {
		t.Error("one name in two writings belongs to two users")
	}
}

// proof is made by the password that it is.
type proof string

func (p proof) Verify(password string) bool { return password == string(p) }
func (p proof) VerifyHA1(string) bool       { return false }

// A proof is held against plain passwords only.
func TestProofs(t *testing.T) {
	l, err := NewList([]Account{
		{User: User{Name: "ann"}, Passwords: []string{"first", "second"}, Tokens: []string{"a-token"}},
		{User: User{Name: "bob"}, Passwords: []string{hashed(t, "first")}},
		{User: User{Name: "eve"}, Tokens: []string{"her-token"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user  string
		proof proof
		right bool
	}{
		"first": {"ann", "first", true}, "second": {"ann", "second", true}, "wrong": {"ann", "third", false}, "token": {"ann", "a-token", false},
		"hash": {"bob", "first", false}, "decoy": {"bob", "decoy", false}, "no password": {"eve", "decoy", false}, "nobody": {"zoe", "decoy", false}, "no name": {"", "first", false},
	} {
		user, err := l.Authenticate(t.Context(), Credential{User: c.user, Proof: c.proof, Secret: sms.Hide("first")})
		if (err == nil) != c.right || err == nil && user.Name != c.user {
			t.Errorf("%s: %v, %v", name, user, err)
		}
	}
	if n := l.WithoutProof(); n != 1 {
		t.Errorf("%d users cannot be proven, want bob alone", n)
	}
}

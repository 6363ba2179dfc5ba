package users

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// argon is "12345678" with little memory, so that the tests are fast.
const argon = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$hkeyZmhQXOyBa5Pnyk+nkQml/UcJ9D8R9SVD+fP12B8"

func hashed(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func list(t testing.TB) *List {
	t.Helper()
	l, err := NewList([]Account{
		{User: User{Name: "plain"}, Passwords: []string{"12345678", "second secret"}},
		{User: User{Name: "bcrypt"}, Passwords: []string{hashed(t, "12345678")}},
		{User: User{Name: "argon"}, Passwords: []string{argon}},
		{User: User{Name: "token"}, Tokens: []string{"a+token"}},
		{User: User{Name: "sha1"}, Passwords: []string{"7c222fb2927d828af22f592134e8932480637c0d"}},
		{User: User{Name: "both"}, Passwords: []string{"p w"}, Tokens: []string{"another token"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAuthenticate(t *testing.T) {
	l := list(t)
	for _, c := range []struct{ user, secret, want string }{
		{"plain", "12345678", "plain"},
		{"plain", "second secret", "plain"},
		{"plain", "7c222fb2927d828af22f592134e8932480637c0d", "plain"}, // what %sha1(...)% sends
		{"sha1", "7c222fb2927d828af22f592134e8932480637c0d", "sha1"},
		{"sha1", "12345678", "sha1"},
		{"bcrypt", "12345678", "bcrypt"},
		{"argon", "12345678", "argon"},
		{"", "a+token", "token"},
		{"", "a token", "token"}, // the template lost the plus
		{"token", "a+token", "token"},
		{"+15550001111", "a+token", "token"}, // a caller ID beside the token
		{"both", "p w", "both"},
		{"both", "another token", "both"},

		{"plain", "wrong", ""},
		{"sha1", "wrong", ""},
		{"sha1", "7C222FB2927D828AF22F592134E8932480637C0D", ""},
		{"sha1", "74faedc4a4bca10b6a1e5b2f0c1f6f6ff7ce3f65", ""}, // any other
		{"bcrypt", "7c222fb2927d828af22f592134e8932480637c0d", ""},
		{"", "7c222fb2927d828af22f592134e8932480637c0d", ""},
		{"plain", "", ""},
		{"plain", "1234567", ""},
		{"plain", "123456789", ""},
		{"plain", "12345678 ", ""},
		{"Plain", "12345678", ""},
		{"nobody", "12345678", ""},
		{"", "12345678", ""}, // a password is no token
		{"plain", "a+token", ""},
		{"nobody", "a+token", ""},
		{"bcrypt", "wrong", ""},
		{"bcrypt", hashed(t, "12345678"), ""},
		{"argon", argon, ""},
		{"", "", ""},
		{"plain", strings.Repeat("x", maxSecret+1), ""},
	} {
		for range 2 { // right and wrong answers stay what they are when asked again
			user, err := l.Authenticate(t.Context(), Credential{User: c.user, Secret: sms.Hide(c.secret)})
			switch {
			case c.want == "" && (user != nil || !errors.Is(err, ErrDenied)):
				t.Errorf("%q %q: got %v, %v, want it denied", c.user, c.secret, user, err)
			case c.want != "" && (err != nil || user.Name != c.want):
				t.Errorf("%q %q: got %v, %v, want %s", c.user, c.secret, user, err, c.want)
			}
		}
	}
}

// A right password opens the cache for itself and for nothing else.
func TestRightThenWrong(t *testing.T) {
	l := list(t)
	rapid.Check(t, func(t *rapid.T) {
		if _, err := l.Authenticate(context.Background(), Credential{User: "bcrypt", Secret: sms.Hide("12345678")}); err != nil {
			t.Fatal(err)
		}
		user, secret := rapid.String().Draw(t, "user"), rapid.String().Draw(t, "secret")
		for _, c := range []Credential{
			{User: "bcrypt", Secret: sms.Hide(secret)}, {User: "bcrypt1", Secret: sms.Hide("2345678")}, {User: user, Secret: sms.Hide("12345678")}, {User: "bcryp", Secret: sms.Hide("t12345678")},
		} {
			isCalled := func(name string) bool { return (&User{Name: name}).MatchesName(c.User) }
			if c.Secret.Reveal() == "12345678" && slices.ContainsFunc([]string{"bcrypt", "plain", "argon"}, isCalled) {
				continue
			}
			if u, err := l.Authenticate(context.Background(), c); err == nil {
				t.Fatalf("%q %q is %s", c.User, c.Secret.Reveal(), u.Name)
			}
		}
	})
}

func TestVerifiedIsRemembered(t *testing.T) {
	l := list(t)
	right := Credential{User: "bcrypt", Secret: sms.Hide("12345678")}
	if _, err := l.Authenticate(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	count := 0
	l.accounts["bcrypt"].hashed[0] = counting{&count}
	l.decoy.Store(&[]hash{counting{&count}})
	if _, err := l.Authenticate(t.Context(), right); err != nil || count != 0 {
		t.Errorf("%v after %d hashes, want none", err, count)
	}
}

type counting struct{ n *int }

func (c counting) matches(string) bool { *c.n++; return false }
func (counting) work() float64         { return 1 }

// An unknown name costs as many slow hashes as a known one.
func TestEqualWork(t *testing.T) {
	l := list(t)
	count := 0
	l.decoy.Store(&[]hash{counting{&count}})
	for _, name := range []string{"bcrypt", "argon"} {
		l.accounts[name].hashed = []hash{counting{&count}}
	}
	for _, name := range []string{"bcrypt", "argon", "plain", "token", "nobody"} {
		count = 0
		if _, err := l.Authenticate(t.Context(), Credential{User: name, Secret: sms.Hide("wrong")}); err == nil || count != 1 {
			t.Errorf("%s: %v after %d hashes, want 1", name, err, count)
		}
	}
	for _, name := range []string{"both", "plain"} { // of whom one has this password
		count = 0
		c := Credential{User: name, Secret: sms.Hide("p w"), LockedOut: func(name string) bool { return name == "both" }}
		if user, err := l.Authenticate(t.Context(), c); (user != nil) != (name == "both") || (err == nil) != (user != nil) || count != 2 {
			t.Errorf("%s, doubted: %v, %v after %d hashes, want 2", name, user, err, count)
		}
	}
}

// Where hashes differ in number or cost, an unknown name costs as much as the costliest, and the
// operator can be told.
func TestUnevenWork(t *testing.T) {
	costly, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost+2)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewList([]Account{
		{User: User{Name: "cheap"}, Passwords: []string{hashed(t, "12345678")}},
		{User: User{Name: "costly"}, Passwords: []string{string(costly)}},
		{User: User{Name: "plain"}, Passwords: []string{"12345678"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !l.HasMixedHashCosts() || workOf(l.costliest()) != workOf(l.accounts["costly"].hashed) {
		t.Errorf("uneven %t, a decoy of %v", l.HasMixedHashCosts(), workOf(l.costliest()))
	}
	l, err = NewList([]Account{{User: User{Name: "a"}, Passwords: []string{hashed(t, "x")}}, {User: User{Name: "b"}, Passwords: []string{hashed(t, "y")}}})
	if err != nil || l.HasMixedHashCosts() {
		t.Errorf("%v, equal hashes are uneven", err)
	}
}

// A denied login names the user for the log, if the name is known.
func TestDeniedNames(t *testing.T) {
	l := list(t)
	for user, want := range map[string]string{"plain": "plain", "bcrypt": "bcrypt", "nobody": "", "": ""} {
		_, err := l.Authenticate(t.Context(), Credential{User: user, Secret: sms.Hide("wrong")})
		var denied *DeniedError
		if !errors.Is(err, ErrDenied) || errors.As(err, &denied) != (want != "") || denied != nil && denied.Name != want || err.Error() != ErrDenied.Error() {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// Guessing leaves a processor to others, however many lists of users there are. The end of a request
// ends its wait.
func TestHashesAreBounded(t *testing.T) {
	if n := slowHashes.slots; n > 1 && n >= runtime.GOMAXPROCS(0) {
		t.Errorf("%d hashes at once, on %d processors", n, runtime.GOMAXPROCS(0))
	}
	l := list(t)
	for range slowHashes.slots {
		if err := slowHashes.acquire(t.Context(), netip.Prefix{}, false, 0); err != nil {
			t.Fatal(err)
		}
		defer slowHashes.release()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Authenticate(ctx, Credential{User: "bcrypt", Secret: sms.Hide("12345678")}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestNewListRefuses(t *testing.T) {
	for name, accounts := range map[string][]Account{
		"no name":      {{Passwords: []string{"x"}}},
		"blank":        {{User: User{Name: "x "}, Passwords: []string{"x"}}},
		"no secret":    {{User: User{Name: "x"}}},
		"empty secret": {{User: User{Name: "x"}, Passwords: []string{""}}},
		"empty token":  {{User: User{Name: "x"}, Tokens: []string{""}}},
		"twice":        {{User: User{Name: "x"}, Passwords: []string{"x"}}, {User: User{Name: "x"}, Passwords: []string{"y"}}},
		"one token":    {{User: User{Name: "x"}, Tokens: []string{"t"}}, {User: User{Name: "y"}, Tokens: []string{"t"}}},
		"cut bcrypt":   {{User: User{Name: "x"}, Passwords: []string{"$2a$10$short"}}},
		"bad argon2":   {{User: User{Name: "x"}, Passwords: []string{"$argon2id$v=19$m=64$x"}}},
		"huge argon2":  {{User: User{Name: "x"}, Passwords: []string{strings.Replace(argon, "m=64", "m=4194304", 1)}}},
		"no salt":      {{User: User{Name: "x"}, Passwords: []string{"$argon2id$v=19$m=64,t=1,p=1$$hkeyZmhQXOyBa5Pnyk+nkQml/UcJ9D8R9SVD+fP12B8"}}},
	} {
		if _, err := NewList(accounts); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "short") || strings.Contains(err.Error(), "hkey") {
			t.Errorf("%s: the error repeats the secret: %v", name, err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	l := list(b)
	for _, name := range []string{"plain", "bcrypt"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c := Credential{User: name, Secret: sms.Hide("12345678")}
			for b.Loop() {
				if _, err := l.Authenticate(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

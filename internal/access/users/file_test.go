package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// lines reads a file of NAME PASSWORD lines.
func lines(data []byte) (*List, error) {
	var accounts []Account
	for line := range bytes.Lines(data) {
		name, password, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		if !ok {
			return nil, errors.New("broken")
		}
		accounts = append(accounts, Account{User: User{Name: name}, Passwords: []string{password}})
	}
	return NewList(accounts)
}

// A changed file counts, a broken or missing one changes nothing; each version is reported once.
func TestFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	var reports []string
	report := func(err error) {
		if err == nil {
			reports = append(reports, "read")
		} else {
			reports = append(reports, "kept")
		}
	}
	now, version := time.Now(), 0
	write := func(text string) {
		version++
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path+".new", now, now.Add(time.Duration(version)*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFile(path, lines, report); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	write("ann 12345678\nbroken")
	if _, err := OpenFile(path, lines, report); err == nil {
		t.Error("a broken file is opened")
	}
	write("ann 12345678")
	f, err := OpenFile(path, lines, report)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		change   func()
		ann, bob bool
		report   string
	}{
		{func() {}, true, false, ""},
		{func() { write("ann 12345678\nbob 12345678") }, true, true, "read"},
		{func() {}, true, true, ""},
		{func() { write("bob 12345678\nbro") }, true, true, "kept"},
		{func() {}, true, true, ""},
		{func() { os.Remove(path) }, true, true, "kept"},
		{func() {}, true, true, ""},
		{func() { write("bob 12345678") }, false, true, "read"},
		{func() { write("ann 12345678") }, true, false, "read"}, // as long as before
	} {
		step.change()
		reports = nil
		for range 3 {
			f.next = time.Time{} // a second later
			f.reloadIfChanged(now)
		}
		for name, want := range map[string]bool{"ann": step.ann, "bob": step.bob} {
			if user, err := f.Authenticate(t.Context(), Credential{User: name, Secret: sms.Hide("12345678")}); (err == nil) != want || want && user.Name != name {
				t.Errorf("step %d: %s: %v", i, name, err)
			}
		}
		if got := strings.Join(reports, " "); got != step.report {
			t.Errorf("step %d: %q is reported, want %q", i, got, step.report)
		}
	}
}

// A lookup while the file changes is answered from the old version or from the new one.
func TestFileUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	write := func(n int) {
		if err := os.WriteFile(path+".new", fmt.Appendf(nil, "ann 12345678\nuser%d 12345678", n), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	f, err := OpenFile(path, lines, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				f.reloadIfChanged(time.Now().Add(time.Hour))
				if _, err := f.Authenticate(t.Context(), Credential{User: "ann", Secret: sms.Hide("12345678")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 50 {
		write(n)
	}
	wg.Wait()
}

// All are asked; only a wrong credential goes on to the next.
func TestChain(t *testing.T) {
	first, err := lines([]byte("ann 12345678\nboth 11111111"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := lines([]byte("bob 12345678\nboth 22222222"))
	if err != nil {
		t.Fatal(err)
	}
	c := Chain{first, second}
	for _, ask := range []struct{ name, secret, denied string }{
		{"ann", "12345678", ""}, {"bob", "12345678", ""}, {"both", "11111111", ""}, {"both", "22222222", ""},
		{"ann", "x", "ann"}, {"bob", "x", "bob"}, {"nobody", "12345678", "?"},
	} {
		user, err := c.Authenticate(t.Context(), Credential{User: ask.name, Secret: sms.Hide(ask.secret)})
		var named *DeniedError
		switch {
		case ask.denied == "" && (err != nil || user.Name != ask.name),
			ask.denied != "" && (user != nil || !errors.Is(err, ErrDenied)),
			ask.denied != "" && errors.As(err, &named) != (ask.denied != "?"),
			named != nil && named.Name != ask.denied:
			t.Errorf("%s %s: %v %v", ask.name, ask.secret, user, err)
		}
	}
	down := errors.New("down")
	if _, err := (Chain{failing{down}, first}).Authenticate(t.Context(), Credential{User: "ann", Secret: sms.Hide("12345678")}); !errors.Is(err, down) || errors.Is(err, ErrDenied) {
		t.Errorf("one that is down: %v", err)
	}
	for name, known := range map[string]bool{"ann": true, "nobody": false} {
		user, err := Chain{first, failing{down}}.Authenticate(t.Context(), Credential{User: name, Secret: sms.Hide("x")})
		var named *DeniedError
		if user != nil || !errors.Is(err, down) || !errors.Is(err, ErrDenied) || errors.As(err, &named) != known {
			t.Errorf("%s is wrong in the first, and the second is down: %v", name, err)
		}
	}
}

// A user who was authenticated elsewhere is the user of exactly that name, and no other user whom an
// app could name so.
func TestChainFind(t *testing.T) {
	first, err := lines([]byte("ann 12345678\nbob@Example.com 12345678"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := lines([]byte("ann@example.com 12345678"))
	if err != nil {
		t.Fatal(err)
	}
	c := Chain{first, second}
	for name, want := range map[string]string{
		"ann": "ann", " ann ": "ann", "ann@example.com": "ann@example.com", "ann@EXAMPLE.com": "ann@example.com", "bob@example.COM": "bob@Example.com",
		"ann@evil.example": "", "ann@example.com@suffix": "", "ann@": "", "Ann": "", "bob": "", "": "",
	} {
		got := ""
		user, err := c.Find(name)
		if user != nil {
			got = user.Name
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", name, got, err, want)
		}
	}
}

type failing struct{ err error }

func (f failing) Authenticate(context.Context, Credential) (*User, error) { return nil, f.err }

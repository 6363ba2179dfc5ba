package users

import (
	"context"
	"errors"
	"strings"
)

// maxSecret bounds a secret, in bytes; longer ones are denied.
const maxSecret = 1024

// Account is a user as configured.
type Account struct {
	User
	// Passwords are valid together with the user's name. Each is a plain text, its SHA-1 in
	// lower-case hexadecimal, or a bcrypt or argon2id hash. For a plain text the app may send
	// its SHA-1 instead, and for a SHA-1 the plain text, because apps can be set to send
	// either.
	Passwords []string
	// Tokens are plain texts that are valid without a name.
	Tokens []string
	// HA1 are hashes of user:realm:password, as telephone systems store them.
	HA1 []HA1
	// ExternalAuth allows an account without password and token, because an earlier handler may
	// authenticate the user.
	ExternalAuth bool
}

// List contains users in memory. A wrong credential costs the same work for every name, known or
// not.
type List struct {
	checker
	accounts map[string]*account
	tokens   map[digest]*User
}

var _ Users = (*List)(nil)

// NewList makes a list. Names and tokens must be unique; each account needs a password or a token
// unless ExternalAuth is set.
func NewList(accounts []Account) (*List, error) {
	l := &List{accounts: make(map[string]*account), tokens: make(map[digest]*User)}
	l.start()
	for i, a := range accounts {
		if err := l.add(a); err != nil {
			return nil, &AccountError{i, a.Name, err}
		}
	}
	return l, nil
}

// AccountError is the error of NewList for one invalid account.
type AccountError struct {
	Index int
	name  string
	Err   error
}

func (e *AccountError) Error() string { return "user " + e.name + ": " + e.Err.Error() }

func (e *AccountError) Unwrap() error { return e.Err }

func (l *List) add(a Account) error {
	if _, twice := l.accounts[foldDomain(a.Name)]; twice {
		return errors.New("another user has this name")
	}
	if len(a.Passwords)+len(a.Tokens) == 0 && !a.ExternalAuth {
		return errors.New("no password and no token")
	}
	entry, err := l.newAccount(a)
	if err != nil {
		return err
	}
	l.accounts[foldDomain(a.Name)] = entry
	for _, t := range a.Tokens {
		d := l.key.Digest(aSecret, "", t)
		if _, twice := l.tokens[d]; twice || t == "" || len(t) > maxSecret {
			return errors.New("a token is empty, too long, or another user's too")
		}
		l.tokens[d] = entry.user
	}
	return nil
}

// HasMixedHashCosts reports whether wrong passwords take longer for some names than for others:
// their hashes differ in number or cost.
func (l *List) HasMixedHashCosts() bool {
	for _, entry := range l.accounts {
		if n := len(entry.hashed); n > 0 && workOf(entry.hashed) != workOf(l.costliest()) {
			return true
		}
	}
	return false
}

// WithoutProof implements ProofSupport: a slow hash cannot verify a proof.
func (l *List) WithoutProof() (count int) {
	for _, entry := range l.accounts {
		if len(entry.passwords) == 0 && len(entry.hashed) > 0 {
			count++
		}
	}
	return count
}

// Authenticate implements Users. A blank in the secret also counts as a +, because templates that
// do not escape a + turn it into a blank.
func (l *List) Authenticate(ctx context.Context, c Credential) (*User, error) {
	secret := c.Secret.Reveal()
	if len(c.User) > maxSecret {
		return nil, ErrDenied
	}
	if c.Proof != nil {
		entry, _ := l.find(c.User)
		return entry.verifyProof(c.Proof)
	}
	if secret == "" || len(secret) > maxSecret {
		return nil, ErrDenied
	}
	return c.tryForms(func(secret string) (*User, error) { return l.try(ctx, &c, secret) })
}

// Find implements Finder.
func (l *List) Find(name string) (*User, error) {
	entry, _ := l.find(name)
	return entry.user, nil
}

// find returns the account of a name, or an empty account if there is none.
func (l *List) find(name string) (entry *account, known bool) {
	if entry, known = l.accounts[name]; known {
		return entry, true
	}
	for _, n := range namesOf(name) {
		if entry, known = l.accounts[n]; known {
			return entry, true
		}
	}
	return new(account), false
}

func (l *List) try(ctx context.Context, c *Credential, secret string) (*User, error) {
	name := c.User
	if name == "" {
		if user := l.tokens[l.key.Digest(aSecret, "", secret)]; user != nil {
			return user, nil
		}
		return nil, ErrDenied
	}
	entry, known := l.find(name)
	var alone digest
	if len(l.tokens) > 0 {
		// A token needs no name, but templates may send the user's name or a caller ID beside it.
		alone = l.key.Digest(aSecret, "", secret)
		owner := l.tokens[alone]
		if owner != nil && (owner == entry.user || !known && strings.ContainsAny(name[:1], "+0123456789")) {
			return owner, nil
		}
	}
	return l.check(ctx, c, entry, name, secret, alone)
}

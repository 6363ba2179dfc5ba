package users

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// maxSecret is how many bytes of a secret are looked at; longer ones are denied.
const maxSecret = 1024

// longestWait is how long a credential waits for others that are being checked.
const longestWait = 10 * time.Second

// Account is a user as configured.
type Account struct {
	User
	// Passwords are right together with the user's name: plain texts, their SHA-1 in lower-case hexadecimal, or bcrypt or
	// argon2id hashes. Of a plain text its SHA-1 is right too, and the other way round: apps can be set to send it.
	Passwords []string
	// Tokens are right without a name: plain texts.
	Tokens []string
	// HA1 are hashes of user:realm:password, as telephone systems store them.
	HA1 []HA1
	// Elsewhere is set if somebody else may prove who the user is, so that he needs no password and no token.
	Elsewhere bool
}

// List holds users in memory. It answers a wrong credential after the same work for every name, known or not.
type List struct {
	checker
	accounts map[string]*account
	tokens   map[digest]*User
}

var _ Users = (*List)(nil)

// NewList makes a list. Names and tokens have to be unique, and every account needs a password or a token.
func NewList(accounts []Account) (*List, error) {
	l := &List{accounts: make(map[string]*account), tokens: make(map[digest]*User)}
	l.start()
	for _, a := range accounts {
		if _, twice := l.accounts[foldDomain(a.Name)]; twice {
			return nil, fmt.Errorf("user %s is there twice", a.Name)
		}
		if len(a.Passwords)+len(a.Tokens) == 0 && !a.Elsewhere {
			return nil, fmt.Errorf("user %s has no password and no token", a.Name)
		}
		entry, err := l.entry(a)
		if err != nil {
			return nil, err
		}
		l.accounts[foldDomain(a.Name)] = entry
		for _, t := range a.Tokens {
			d := l.key.Digest(aSecret, "", t)
			if _, twice := l.tokens[d]; twice || t == "" || len(t) > maxSecret {
				return nil, fmt.Errorf("a token of user %s is empty, too long, or another user's too", a.Name)
			}
			l.tokens[d] = entry.user
		}
	}
	return l, nil
}

// Uneven reports whether wrong passwords take longer for some names than for others: their hashes differ in number or
// cost.
func (l *List) Uneven() bool {
	for _, entry := range l.accounts {
		if n := len(entry.hashed); n > 0 && workOf(entry.hashed) != workOf(l.costliest()) {
			return true
		}
	}
	return false
}

// Unprovable implements Provable: only a plain password can be held against a proof.
func (l *List) Unprovable() (count int) {
	for _, entry := range l.accounts {
		if len(entry.known) == 0 && len(entry.hashed) > 0 {
			count++
		}
	}
	return count
}

// Authenticate implements Users. A blank in the secret also counts as a +, which templates lose on the way.
func (l *List) Authenticate(ctx context.Context, c Credential) (*User, error) {
	secret := c.Secret.Reveal()
	if len(c.User) > maxSecret {
		return nil, ErrDenied
	}
	if c.Proof != nil {
		entry, _ := l.find(c.User)
		return entry.prove(c.Proof)
	}
	if secret == "" || len(secret) > maxSecret {
		return nil, ErrDenied
	}
	return c.tries(func(secret string) (*User, error) { return l.try(ctx, &c, secret) })
}

// Find implements Finder.
func (l *List) Find(name string) (*User, error) {
	entry, _ := l.find(name)
	return entry.user, nil
}

// find finds the account that a name stands for, or an empty one.
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
		// A token needs no name. Beside one there may be the user's own, or a caller ID that templates call from.
		alone = l.key.Digest(aSecret, "", secret)
		owner := l.tokens[alone]
		if owner != nil && (owner == entry.user || !known && strings.ContainsAny(name[:1], "+0123456789")) {
			return owner, nil
		}
	}
	return l.check(ctx, c, entry, name, secret, alone)
}

package users

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
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
	// Elsewhere is set if somebody else may prove who the user is, so that he needs no password and no token.
	Elsewhere bool
}

// List holds users in memory. It answers a wrong credential after the same work for every name, known or not.
type List struct {
	digester
	accounts map[string]*account
	tokens   map[digest]*User
	decoy    []hash // the hashes of the costliest account, tried where a name has none or cheaper ones of its own
	verified *recent.Table[digest, *User]
	slots    chan struct{}
}

type account struct {
	user   *User
	known  []sms.Hidden // plain passwords, for proofs
	plain  []digest
	hashed []hash
}

// holds reports by 1 whether one of the plain passwords has the digest.
func (a *account) holds(d digest) (right int) {
	for i := range a.plain {
		right |= subtle.ConstantTimeCompare(d[:], a.plain[i][:])
	}
	return right
}

type digest [sha256.Size]byte

var _ Users = (*List)(nil)

// NewList makes a list. Names and tokens have to be unique, and every account needs a password or a token.
func NewList(accounts []Account) (*List, error) {
	l := &List{
		accounts: make(map[string]*account),
		tokens:   make(map[digest]*User),
		verified: recent.NewTable[digest, *User](4096),
		slots:    make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	if _, err := rand.Read(l.digester[:]); err != nil {
		return nil, err
	}
	for _, a := range accounts {
		user := a.User
		if user.Name == "" || strings.TrimSpace(user.Name) != user.Name {
			return nil, fmt.Errorf("%q is not a user name", user.Name)
		}
		if _, twice := l.accounts[foldDomain(user.Name)]; twice {
			return nil, fmt.Errorf("user %s is there twice", user.Name)
		}
		if len(a.Passwords)+len(a.Tokens) == 0 && !a.Elsewhere {
			return nil, fmt.Errorf("user %s has no password and no token", user.Name)
		}
		entry := &account{user: &user}
		l.accounts[foldDomain(user.Name)] = entry
		for _, p := range a.Passwords {
			h, hashed, err := parseHash(p)
			switch {
			case err != nil:
				return nil, fmt.Errorf("the password hash of user %s: %w", user.Name, err)
			case p == "" || len(p) > maxSecret:
				return nil, fmt.Errorf("the password of user %s is empty or longer than %d bytes", user.Name, maxSecret)
			case hashed:
				entry.hashed = append(entry.hashed, h)
			default:
				entry.plain = append(entry.plain, l.of(aSecret, "", p), l.of(aSecret, "", sha1Of(p)))
				entry.known = append(entry.known, sms.Hide(p))
			}
		}
		if workOf(entry.hashed) > workOf(l.decoy) {
			l.decoy = entry.hashed
		}
		for _, t := range a.Tokens {
			d := l.of(aSecret, "", t)
			if _, twice := l.tokens[d]; twice || t == "" || len(t) > maxSecret {
				return nil, fmt.Errorf("a token of user %s is empty, too long, or another user's too", user.Name)
			}
			l.tokens[d] = &user
		}
	}
	return l, nil
}

// Uneven reports whether wrong passwords take longer for some names than for others: their hashes differ in number or
// cost.
func (l *List) Uneven() bool {
	for _, entry := range l.accounts {
		if n := len(entry.hashed); n > 0 && workOf(entry.hashed) != workOf(l.decoy) {
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

// sha1Of is what the app sends for %sha1(%account[password]%)%.
// https://faq.acrobits.net/set-up-your-own-sms-web-service
func sha1Of(secret string) string {
	sum := sha1.Sum([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// digester is a key of this process, so that digests are worth nothing elsewhere.
type digester [32]byte

// of is the HMAC (https://www.rfc-editor.org/rfc/rfc2104) of what kind of secret it is, a name and the secret, with their
// lengths, so that no two of them look alike. crypto/hmac makes the same, but allocates for each.
func (d *digester) of(kind kind, name, secret string) digest {
	var buf [384]byte
	inner, outer := buf[:sha256.BlockSize], [sha256.BlockSize + sha256.Size]byte{}
	for i := range sha256.BlockSize {
		inner[i], outer[i] = 0x36, 0x5c
	}
	subtle.XORBytes(inner, inner, d[:])
	subtle.XORBytes(outer[:], outer[:], d[:])
	inner = binary.LittleEndian.AppendUint64(append(inner, byte(kind)), uint64(len(name)))
	sum := sha256.Sum256(append(append(inner, name...), secret...))
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

// kind tells what a digest is of.
type kind byte

const (
	aSecret   kind = iota // alone: a plain password or a token
	aLogin                // a name and a password that its hash was found to fit
	aQuestion             // what a service is asked
	aToken                // a JSON Web Token
)

// Authenticate implements Users. A blank in the secret also counts as a +, which templates lose on the way.
func (l *List) Authenticate(ctx context.Context, c Credential) (*User, error) {
	secret := c.Secret.Reveal()
	if len(c.User) > maxSecret {
		return nil, ErrDenied
	}
	if c.Proof != nil {
		return l.prove(c.User, c.Proof)
	}
	if secret == "" || len(secret) > maxSecret {
		return nil, ErrDenied
	}
	user, err := l.try(ctx, c.User, secret)
	if errors.Is(err, ErrDenied) && strings.Contains(secret, " ") {
		return l.try(ctx, c.User, strings.ReplaceAll(secret, " ", "+"))
	}
	return user, err
}

// Find implements Finder.
func (l *List) Find(name string) *User {
	entry, _ := l.find(name)
	return entry.user
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

// prove finds out whether a password of the user made the proof.
func (l *List) prove(name string, p Proof) (*User, error) {
	entry, known := l.find(name)
	list := entry.known
	if len(list) == 0 {
		list = []sms.Hidden{sms.Hide("decoy")}
	}
	right := false
	for _, password := range list {
		right = p.ProvenBy(password.Reveal()) || right
	}
	switch {
	case !known:
		return nil, ErrDenied
	case !right || len(entry.known) == 0:
		return nil, &DeniedError{entry.user.Name}
	}
	return entry.user, nil
}

func (l *List) try(ctx context.Context, name, secret string) (*User, error) {
	if name == "" {
		if user := l.tokens[l.of(aSecret, "", secret)]; user != nil {
			return user, nil
		}
		return nil, ErrDenied
	}
	entry, known := l.find(name)
	var login digest
	if len(entry.hashed) > 0 {
		login = l.of(aLogin, name, secret)
		if user, ok := l.verified.Get(login); ok {
			return user, nil
		}
	}
	own := l.of(aSecret, "", secret)
	right := entry.holds(own)
	if right == 0 {
		right = entry.holds(l.of(aSecret, "", sha1Of(secret)))
	}
	if right == 1 {
		return entry.user, nil
	}
	// A token needs no name. Beside one there may be the user's own, or a caller ID that templates call from.
	if owner := l.tokens[own]; owner != nil && (owner == entry.user || !known && strings.ContainsAny(name[:1], "+0123456789")) {
		return owner, nil
	}
	var denied error = ErrDenied
	if known {
		denied = &DeniedError{entry.user.Name}
	}
	if l.decoy == nil {
		return nil, denied
	}
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, h := range entry.hashed {
		if h.matches(secret) {
			l.verified.Put(login, entry.user)
			return entry.user, nil
		}
	}
	if workOf(entry.hashed) < workOf(l.decoy) {
		for _, h := range l.decoy {
			h.matches(secret)
		}
	}
	return nil, denied
}

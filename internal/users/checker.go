package users

import (
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// checker compares secrets with what is known of them, after the same work for every name.
type checker struct {
	key      keyed.Key
	decoy    atomic.Pointer[[]hash] // the hashes of the costliest account, tried where a name has none or cheaper ones of its own
	guess    []hash                 // its stand-in until an account with hashes was seen
	verified *recent.Table[digest, *User]
}

// slots are taken by those who compute slow hashes, of all users together: one processor is left for everybody else.
var slots = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))

func (k *checker) start() {
	k.key, k.verified = keyed.NewKey(), recent.NewTable[digest, *User](4096)
}

// costliest are the hashes of the costliest account so far.
func (k *checker) costliest() []hash {
	if decoy := k.decoy.Load(); decoy != nil {
		return *decoy
	}
	return k.guess
}

// SlowHashes counts the slow hashes that were computed: by it a test compares what names cost.
var SlowHashes atomic.Int64

// compute computes a slow hash.
func compute(h hash, secret string) bool {
	SlowHashes.Add(1)
	return h.matches(secret)
}

type account struct {
	user   *User
	known  []sms.Hidden // plain passwords, for proofs
	plain  []digest
	ha1    []HA1
	hashed []hash
}

// remembered reports whether a right secret is remembered, because it takes long to find it right.
func (a *account) remembered() bool {
	return len(a.hashed)+len(a.ha1) > 0 || slices.ContainsFunc(a.known, func(p sms.Hidden) bool { return len(p.Reveal()) == 2*sha1.Size })
}

// holds reports by 1 whether one of the plain passwords has the digest.
func (a *account) holds(d digest) (right int) {
	for i := range a.plain {
		right |= subtle.ConstantTimeCompare(d[:], a.plain[i][:])
	}
	return right
}

// entry makes an account ready to be compared with.
func (k *checker) entry(a Account) (*account, error) {
	if a.Name == "" || strings.TrimSpace(a.Name) != a.Name {
		return nil, fmt.Errorf("%q is not a user name", a.Name)
	}
	user := a.User
	entry := &account{user: &user, ha1: a.HA1}
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
			entry.plain = append(entry.plain, k.key.Digest(aSecret, "", p), k.key.Digest(aSecret, "", sha1Of(p)))
			entry.known = append(entry.known, sms.Hide(p))
		}
	}
	for len(entry.hashed) > 0 {
		decoy := k.decoy.Load()
		if decoy != nil && workOf(entry.hashed) <= workOf(*decoy) || k.decoy.CompareAndSwap(decoy, &entry.hashed) {
			break
		}
	}
	return entry, nil
}

// denied says that a credential of the account is wrong.
func (a *account) denied() error {
	if a.user == nil {
		return ErrDenied
	}
	return &DeniedError{a.user.Name}
}

// prove finds out whether a password of the account made the proof. An empty account has none.
func (a *account) prove(p Proof) (*User, error) {
	list := a.known
	if len(list) == 0 {
		list = []sms.Hidden{sms.Hide("decoy")}
	}
	right := false
	for _, password := range list {
		right = p.ProvenBy(password.Reveal()) || right
	}
	right = right && len(a.known) > 0
	for _, h := range a.ha1 {
		right = p.ProvenByHA1(h.Sum) || right
	}
	if !right || a.user == nil {
		return nil, a.denied()
	}
	return a.user, nil
}

// check finds out whether a secret is that of the account, under the name that the app sent. An empty account has none. alone is
// the digest of the secret, if it was made already.
func (k *checker) check(ctx context.Context, c *Credential, entry *account, name, secret string, alone digest) (*User, error) {
	var login digest
	doubted, decoy := c.doubts(entry.user), k.costliest()
	if entry.remembered() {
		login = k.key.Digest(aLogin, name, secret)
		if user, ok := k.verified.Get(login); ok && user == entry.user && !doubted {
			return user, nil
		}
	}
	if alone == (digest{}) {
		alone = k.key.Digest(aSecret, "", secret)
	}
	right := entry.holds(alone)
	if right == 0 {
		right = entry.holds(k.key.Digest(aSecret, "", sha1Of(secret)))
	}
	for _, h := range entry.ha1 {
		right |= h.holds(name, secret)
	}
	if right == 1 && entry.remembered() {
		k.verified.Put(login, entry.user)
	}
	switch {
	case right == 1 && (!doubted || decoy == nil):
		return entry.user, nil
	case decoy == nil:
		return nil, entry.denied()
	}
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, h := range entry.hashed {
		if compute(h, secret) {
			k.verified.Put(login, entry.user)
			if right = 1; !doubted {
				return entry.user, nil
			}
		}
	}
	if workOf(entry.hashed) < workOf(decoy) {
		for _, h := range decoy {
			compute(h, secret)
		}
	}
	if right == 1 {
		return entry.user, nil
	}
	return nil, entry.denied()
}

// digest is of a secret, and what kind of secret that is.
type digest = keyed.Digest

// The kinds of secrets that digests are of.
const (
	aSecret   = "secret"   // alone: a plain password or a token
	aLogin    = "login"    // a name and a password that was found to be right
	aQuestion = "question" // what a service is asked
	aToken    = "token"    // a JSON Web Token
)

// sha1Of is what the app sends for %sha1(%account[password]%)%.
// https://faq.acrobits.net/set-up-your-own-sms-web-service
func sha1Of(secret string) string {
	sum := sha1.Sum([]byte(secret))
	return hex.EncodeToString(sum[:])
}

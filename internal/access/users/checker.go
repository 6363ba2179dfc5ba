package users

import (
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// checker checks secrets. It does the same work for every name, so that the time does not reveal
// which names exist.
type checker struct {
	key          mac.Key
	decoy        atomic.Pointer[[]hash] // the hashes of the costliest account, computed for names without hashes or with cheaper hashes
	defaultDecoy []hash                 // replaces decoy until an account with hashes was added
	verified     *cache.Table[digest, *User]
	queue        *hashQueue
	times        times
}

func (k *checker) start() {
	k.key, k.verified, k.queue = mac.NewKey(), cache.NewTable[digest, *User](4096), slowHashes
}

// costliest returns the hashes of the costliest account so far.
func (k *checker) costliest() []hash {
	if decoy := k.decoy.Load(); decoy != nil {
		return *decoy
	}
	return k.defaultDecoy
}

// SlowHashes counts the slow hashes that were computed. Tests use it to compare the cost of names.
var SlowHashes atomic.Int64

// compute computes a slow hash.
func compute(h hash, secret string) bool {
	SlowHashes.Add(1)
	return h.matches(secret)
}

type account struct {
	user      *User
	token     bool         // the account has a token
	passwords []sms.Hidden // plain passwords, for proofs
	digests   []digest
	ha1       []HA1
	hashed    []hash
}

// cacheable reports whether right secrets of the account are cached, because checking them is slow.
func (a *account) cacheable() bool {
	return len(a.hashed)+len(a.ha1) > 0 || slices.ContainsFunc(a.passwords, func(p sms.Hidden) bool { return len(p.Reveal()) == 2*sha1.Size })
}

// matches returns 1 if a plain password of the account has the digest, otherwise 0.
func (a *account) matches(d digest) (right int) {
	for i := range a.digests {
		right |= subtle.ConstantTimeCompare(d[:], a.digests[i][:])
	}
	return right
}

// newAccount prepares an account for checks.
func (k *checker) newAccount(a Account) (*account, error) {
	if a.Name == "" || strings.TrimSpace(a.Name) != a.Name {
		return nil, errors.New("the name is empty, or a blank is at its end")
	}
	user := a.User
	entry := &account{user: &user, token: len(a.Tokens) > 0, ha1: a.HA1}
	for _, p := range a.Passwords {
		h, hashed, err := parseHash(p)
		switch {
		case err != nil:
			return nil, fmt.Errorf("password: %w", err)
		case p == "" || len(p) > maxSecret:
			return nil, fmt.Errorf("a password is empty or longer than %d bytes", maxSecret)
		case hashed:
			entry.hashed = append(entry.hashed, h)
		default:
			entry.digests = append(entry.digests, k.key.Digest(aSecret, "", p), k.key.Digest(aSecret, "", sha1Of(p)))
			entry.passwords = append(entry.passwords, sms.Hide(p))
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

// denied returns the error for a wrong credential of the account.
func (a *account) denied() error {
	if a.user == nil {
		return ErrDenied
	}
	return &DeniedError{Name: a.user.Name, NoToken: !a.token}
}

// verifyProof returns the user if the proof was computed from a password of the account. An empty
// account has no password.
func (a *account) verifyProof(p Proof) (*User, error) {
	list := a.passwords
	if len(list) == 0 {
		list = []sms.Hidden{sms.Hide("decoy")}
	}
	right := false
	for _, password := range list {
		right = p.Verify(password.Reveal()) || right
	}
	right = right && len(a.passwords) > 0
	for _, h := range a.ha1 {
		right = p.VerifyHA1(h.Sum) || right
	}
	if !right || a.user == nil {
		return nil, a.denied()
	}
	return a.user, nil
}

// check returns the user if the secret is one of the account's. name is the name that the app sent.
// An empty account has no secret. alone is the digest of the secret if the caller has computed it.
func (k *checker) check(ctx context.Context, c *Credential, entry *account, name, secret string, alone digest) (*User, error) {
	var login digest
	doubted, decoy := c.lockedOut(entry.user), k.costliest()
	if entry.cacheable() {
		login = k.key.Digest(aLogin, name, secret)
		if user, ok := k.verified.Get(login); ok && user == entry.user && !doubted {
			return user, nil
		}
	}
	if alone == (digest{}) {
		alone = k.key.Digest(aSecret, "", secret)
	}
	right := entry.matches(alone)
	if right == 0 {
		right = entry.matches(k.key.Digest(aSecret, "", sha1Of(secret)))
	}
	for _, h := range entry.ha1 {
		right |= h.matches(name, secret)
	}
	if right == 1 && entry.cacheable() {
		k.verified.Put(login, entry.user)
	}
	switch {
	case right == 1 && (!doubted || decoy == nil):
		return entry.user, nil
	case decoy == nil:
		return nil, entry.denied()
	}
	if err := k.queue.acquire(ctx, c.From, c.fromKnownNetwork(entry.user), k.times.mean()); err != nil {
		return nil, err
	}
	defer k.queue.release()
	if k.compare(entry, secret, decoy, doubted) {
		right = 1
		k.verified.Put(login, entry.user)
		if !doubted {
			k.queue.refund(c.From)
		}
	}
	if right == 1 {
		return entry.user, nil
	}
	return nil, entry.denied()
}

// compare reports whether a secret matches a hash of the account. For a wrong secret it takes as
// long as computing the decoy, whatever hashes the account has. If the queue is long and the result
// is known, compare sleeps for that time instead of computing. The result is known if the account
// has no hash, or if doubted is set and even a right secret is denied.
func (k *checker) compare(entry *account, secret string, decoy []hash, doubted bool) (right bool) {
	began, imitated, imitates := time.Now(), time.Duration(0), false
	if k.queue.isLong() {
		imitated, imitates = k.times.sample()
	}
	if !imitates || !doubted {
		for _, h := range entry.hashed {
			if compute(h, secret) {
				if right = true; !doubted {
					return true
				}
			}
		}
	}
	work, whole := workOf(entry.hashed), workOf(decoy)
	switch {
	case imitates && (doubted || work < whole):
		time.Sleep(imitated - time.Since(began))
		return right
	case work < whole:
		for _, h := range decoy {
			compute(h, secret)
		}
	}
	if work == 0 || work >= whole {
		k.times.record(time.Since(began))
	}
	return right
}

// digest is a keyed digest of a secret and its kind.
type digest = mac.Digest

// The kinds of digests.
const (
	aSecret   = "secret"   // a plain password or a token, without a name
	aLogin    = "login"    // a name and a password that were checked and are right
	aQuestion = "question" // a name and a secret that a service checks
	aToken    = "token"    // a JSON Web Token
)

// sha1Of returns the value that the app sends for %sha1(%account[password]%)%.
// https://faq.acrobits.net/set-up-your-own-sms-web-service
func sha1Of(secret string) string {
	sum := sha1.Sum([]byte(secret))
	return hex.EncodeToString(sum[:])
}

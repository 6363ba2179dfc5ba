// Package digest lets apps prove that they know a password without saying it: HTTP Digest of
// https://www.rfc-editor.org/rfc/rfc7616, as Acrobits apps do it where the operator sets genericSmsSendAuthUsername.
package digest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	"github.com/icholy/digest"
)

// lifetime is how long a nonce is good, for as many requests as come. Nothing is remembered of it.
const lifetime = 5 * time.Minute

// algorithms are those that are offered. MD5 is the first, because apps may know no other, and take the first.
var algorithms = []struct {
	name string
	hash func() hash.Hash
}{{"MD5", md5.New}, {"SHA-256", sha256.New}}

// Realm makes challenges and checks the answers. It is safe for concurrent use.
type Realm struct {
	name string
	key  []byte
}

// key signs nonces. It is that of the process, so that those given before a reload stay good.
var key = []byte(rand.Text())

// NewRealm makes a realm. The name is shown to people, and part of what is hashed.
func NewRealm(name string) (*Realm, error) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return nil, fmt.Errorf("realm: %q has to be of ASCII letters, digits and signs other than \" and \\", name)
	}
	return &Realm{name, key}, nil
}

// Challenges are the WWW-Authenticate headers that ask for an answer. stale says that the last
// one was to a nonce that is not good, https://www.rfc-editor.org/rfc/rfc7616#section-3.3.
func (r *Realm) Challenges(stale bool, now time.Time) (headers []string) {
	nonce := r.nonce(now)
	for _, a := range algorithms {
		c := digest.Challenge{Realm: r.name, Nonce: nonce, Stale: stale, Algorithm: a.name, QOP: []string{"auth"}}
		headers = append(headers, c.String())
	}
	return headers
}

// nonce is the time, signed.
func (r *Realm) nonce(now time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(append(b, r.sign(b)...))
}

func (r *Realm) sign(b []byte) []byte {
	h := hmac.New(sha256.New, r.key)
	h.Write(b)
	h.Write([]byte(r.name))
	return h.Sum(nil)[:16]
}

// isFresh reports whether a nonce is ours and not too old.
func (r *Realm) isFresh(nonce string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 24 || !hmac.Equal(r.sign(b[:8]), b[8:]) {
		return false
	}
	age := now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(b))))
	return age > -lifetime && age < lifetime
}

// Answer is what an app says instead of its password.
type Answer struct {
	// User is the name that was hashed, as the app wrote it.
	User string
	// Stale is set if the nonce is not good, or no longer: the app has to answer a new challenge.
	Stale bool

	given  digest.Credentials
	method string
	hash   func() hash.Hash
}

// IsAnswer reports whether an Authorization header holds an answer.
func IsAnswer(header string) bool { return digest.IsDigest(header) }

// errAnswer says that an answer is none to our challenge. What it holds is nobody's business.
var errAnswer = errors.New("not an answer to our challenge")

// Read reads an answer from an Authorization header. target is the request's as it came over the wire.
func (r *Realm) Read(header, method, target string, now time.Time) (*Answer, error) {
	given, err := digest.ParseCredentials(header)
	if err != nil || given.Realm != r.name || given.URI != target || given.Userhash || given.Username == "" || given.Nonce == "" {
		return nil, errAnswer
	}
	switch given.QOP {
	case "auth":
		if given.Cnonce == "" || given.Nc < 1 {
			return nil, errAnswer
		}
	case "": // as in https://www.rfc-editor.org/rfc/rfc2069
	default:
		return nil, errAnswer
	}
	a := &Answer{User: given.Username, Stale: !r.isFresh(given.Nonce, now), given: *given, method: method}
	for _, offered := range algorithms {
		if strings.EqualFold(given.Algorithm, offered.name) || given.Algorithm == "" && offered.name == "MD5" {
			a.hash = offered.hash
			return a, nil
		}
	}
	return nil, errAnswer
}

// ProvenBy reports whether the answer was made with the password.
func (a *Answer) ProvenBy(password string) bool {
	h := a.hash()
	_, _ = fmt.Fprintf(h, "%s:%s:%s", a.given.Username, a.given.Realm, password)
	return a.ProvenByHA1(hex.EncodeToString(h.Sum(nil)))
}

// ProvenByHA1 reports whether the answer was made with the hash of user:realm:password, in lower-case hexadecimal, as
// telephone systems store it: of MD5 or SHA-256, whichever the answer is made of.
func (a *Answer) ProvenByHA1(ha1 string) bool {
	if len(ha1) != 2*a.hash().Size() {
		return false
	}
	challenge := digest.Challenge{Realm: a.given.Realm, Nonce: a.given.Nonce, Algorithm: a.given.Algorithm}
	if a.given.QOP != "" {
		challenge.QOP = []string{a.given.QOP}
	}
	want, err := digest.Digest(&challenge, digest.Options{
		Method: a.method, URI: a.given.URI, Count: a.given.Nc, Cnonce: a.given.Cnonce, Username: a.given.Username, A1: ha1,
	})
	return err == nil && subtle.ConstantTimeCompare([]byte(want.Response), []byte(strings.ToLower(a.given.Response))) == 1
}

// Package digest implements the server side of HTTP Digest authentication
// (https://www.rfc-editor.org/rfc/rfc7616). Acrobits apps use it if the operator sets
// genericSmsSendAuthUsername.
//
// It never stores a password. It keeps no state of nonces, so that a response can be replayed
// within the lifetime of its nonce. Package gateway parses responses, package users verifies them.
// A Realm is safe for concurrent use.
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

// lifetime is the time for which a nonce is valid, for any number of requests.
const lifetime = 5 * time.Minute

// algorithms are offered in this order. MD5 is first, because apps may use the first algorithm and
// support no other.
var algorithms = []struct {
	name string
	hash func() hash.Hash
}{{"MD5", md5.New}, {"SHA-256", sha256.New}}

// Realm makes challenges and parses the responses. It is safe for concurrent use.
type Realm struct {
	name string
	key  []byte
}

// key signs nonces. The key is the same for the whole process, so that nonces stay valid over a
// reload.
var key = []byte(rand.Text())

// NewRealm makes a realm. Apps may show the name to people. It is part of the hashed text.
func NewRealm(name string) (*Realm, error) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return nil, fmt.Errorf("realm: %q has to be of ASCII letters, digits and signs other than \" and \\", name)
	}
	return &Realm{name, key}, nil
}

// Challenges returns the WWW-Authenticate headers that ask for a response. stale is set if the last
// response had an invalid or expired nonce, https://www.rfc-editor.org/rfc/rfc7616#section-3.3.
func (r *Realm) Challenges(stale bool, now time.Time) (headers []string) {
	nonce := r.nonce(now)
	for _, a := range algorithms {
		c := digest.Challenge{Realm: r.name, Nonce: nonce, Stale: stale, Algorithm: a.name, QOP: []string{"auth"}}
		headers = append(headers, c.String())
	}
	return headers
}

// nonce returns the signed time.
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

// isFresh reports whether this process signed the nonce and the nonce has not expired.
func (r *Realm) isFresh(nonce string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 24 || !hmac.Equal(r.sign(b[:8]), b[8:]) {
		return false
	}
	age := now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(b))))
	return age > -lifetime && age < lifetime
}

// Response is the Authorization header of an app. It proves that the app knows the password.
type Response struct {
	// User is the name that was hashed, as the app wrote it.
	User string
	// Stale is set if the nonce is invalid or has expired. The app must then respond to a new
	// challenge.
	Stale bool

	given  digest.Credentials
	method string
	hash   func() hash.Hash
}

// errResponse is returned for a header that does not respond to our challenge. The error quotes
// nothing of the header.
var errResponse = errors.New("not an answer to our challenge")

// ParseResponse reads an Authorization header. target is the request target as received.
func (r *Realm) ParseResponse(header, method, target string, now time.Time) (*Response, error) {
	given, err := digest.ParseCredentials(header)
	if err != nil || given.Realm != r.name || given.URI != target || given.Userhash || given.Username == "" || given.Nonce == "" {
		return nil, errResponse
	}
	switch given.QOP {
	case "auth":
		if given.Cnonce == "" || given.Nc < 1 {
			return nil, errResponse
		}
	case "": // as in https://www.rfc-editor.org/rfc/rfc2069
	default:
		return nil, errResponse
	}
	a := &Response{User: given.Username, Stale: !r.isFresh(given.Nonce, now), given: *given, method: method}
	for _, offered := range algorithms {
		if strings.EqualFold(given.Algorithm, offered.name) || given.Algorithm == "" && offered.name == "MD5" {
			a.hash = offered.hash
			return a, nil
		}
	}
	return nil, errResponse
}

// Verify reports whether the response was computed from the password.
func (a *Response) Verify(password string) bool {
	h := a.hash()
	_, _ = fmt.Fprintf(h, "%s:%s:%s", a.given.Username, a.given.Realm, password)
	return a.VerifyHA1(hex.EncodeToString(h.Sum(nil)))
}

// VerifyHA1 reports whether the response was computed from the hash of user:realm:password, in
// lower-case hexadecimal. The hash must be of the algorithm of the response.
func (a *Response) VerifyHA1(ha1 string) bool {
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

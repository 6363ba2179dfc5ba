package users

import (
	"crypto"
	_ "crypto/md5"    // crypto.MD5
	_ "crypto/sha1"   // crypto.SHA1
	_ "crypto/sha256" // crypto.SHA256
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
)

// HA1 is the hash of user:realm:password in hexadecimal, computed by MD5 (32 digits), SHA-1 (40) or
// SHA-256 (64).
// https://www.rfc-editor.org/rfc/rfc7616#section-3.4.2
type HA1 struct{ Sum, Realm string }

// ParseHA1 checks the digits of a hash and returns it in lower case.
func ParseHA1(sum, realm string) (HA1, error) {
	if b, err := hex.DecodeString(sum); err != nil || algorithms[len(b)] == 0 {
		return HA1{}, errors.New("an HA1 has 32, 40 or 64 hexadecimal digits")
	}
	return HA1{strings.ToLower(sum), realm}, nil
}

// algorithms maps the length of an HA1 hash in bytes to its hash function.
var algorithms = map[int]crypto.Hash{16: crypto.MD5, 20: crypto.SHA1, 32: crypto.SHA256}

// matches returns 1 if the hash was made from the secret and any of the forms of the app's name
// that namesOf lists, otherwise 0.
func (h HA1) matches(name, secret string) (right int) {
	for _, n := range namesOf(name) {
		sum := algorithms[len(h.Sum)/2].New()
		sum.Write([]byte(n + ":" + h.Realm + ":" + secret))
		right |= subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum.Sum(nil))), []byte(h.Sum))
	}
	return right
}

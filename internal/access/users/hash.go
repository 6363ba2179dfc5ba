package users

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// maxArgonMemory bounds the memory that computing one hash uses, in KiB.
const maxArgonMemory = 256 << 10

// hash is a password hash that is slow on purpose.
type hash interface {
	matches(secret string) bool
	// work returns the cost of matches in rounds of bcrypt.
	work() float64
}

// workOf returns the cost of computing all hashes of a list, in rounds of bcrypt.
func workOf(list []hash) (sum float64) {
	for _, h := range list {
		sum += h.work()
	}
	return sum
}

// parseHash reads a bcrypt or argon2id hash; hashed is false for anything else, which is a plain
// password.
func parseHash(s string) (h hash, hashed bool, err error) {
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		if _, err := bcrypt.Cost([]byte(s)); err != nil {
			return nil, true, errors.New("this is not a whole bcrypt hash, it has 60 characters")
		}
		return bcryptHash(s), true, nil
	case strings.HasPrefix(s, "$argon2id$"):
		h, err := parseArgon2id(s)
		return h, true, err
	case otherHash.MatchString(s):
		return nil, true, errors.New("this kind of password hash is not supported, only bcrypt ($2a$, $2b$, $2y$) and argon2id; make one by: caddy acrobits-sms hash")
	}
	return nil, false, nil
}

// otherHash matches password hashes of unsupported kinds: those of crypt
// (https://manpages.debian.org/crypt.5) and of LDAP directories.
var otherHash = regexp.MustCompile(`^(?:\$(?:1|2|2x|3|5|6|7|y|gy|md5|sha1|sha256|sha512|apr1|argon2i|argon2d|scrypt|pbkdf2[\w-]*|P|H)[$,]|\{(?:CRYPT|MD5|SMD5|SHA|SSHA|SHA256|SSHA256|SHA512|SSHA512|PBKDF2[\w-]*|ARGON2)\}|pbkdf2_sha(?:1|256|512)\$)`)

// CheckPassword refuses unsupported hashes, which would otherwise count as plain passwords, and
// incomplete hashes.
func CheckPassword(s string) error {
	_, _, err := parseHash(s)
	return err
}

// MakeHash hashes a password with bcrypt or argon2id.
func MakeHash(algorithm, password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case len(password) > maxSecret, algorithm == "bcrypt" && len(password) > 72:
		return "", errors.New("the password is too long: bcrypt takes 72 bytes, argon2id 1024")
	case algorithm == "bcrypt":
		h, err := bcrypt.GenerateFromPassword([]byte(password), 12)
		return string(h), err
	case algorithm == "argon2id":
		// OWASP recommends these parameters.
		// https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
		h := argon2idHash{memory: 19 << 10, time: 2, threads: 1, salt: make([]byte, 16)}
		if _, err := rand.Read(h.salt); err != nil {
			return "", err
		}
		h.sum = argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, 32)
		encode := base64.RawStdEncoding.EncodeToString
		return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads, encode(h.salt), encode(h.sum)), nil
	}
	return "", fmt.Errorf("there is no algorithm %q, write bcrypt or argon2id", algorithm)
}

type bcryptHash []byte

func (h bcryptHash) matches(secret string) bool {
	return len(secret) <= 72 && bcrypt.CompareHashAndPassword(h, []byte(secret)) == nil
}

func (h bcryptHash) work() float64 {
	cost, _ := bcrypt.Cost(h) // parseHash has checked the cost
	return float64(uint64(1) << cost)
}

type argon2idHash struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

// parseArgon2id reads the PHC form $argon2id$v=19$m=KiB,t=passes,p=threads$salt$hash.
// https://github.com/P-H-C/phc-string-format
func parseArgon2id(s string) (hash, error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, errors.New("an argon2id hash looks like $argon2id$v=19$m=47104,t=1,p=1$salt$hash")
	}
	var h argon2idHash
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return nil, errors.New("an argon2id hash names m, t and p, in this order")
	}
	if h.memory == 0 || h.memory > maxArgonMemory || h.time == 0 || h.time > 64 || h.threads == 0 {
		return nil, fmt.Errorf("argon2id takes 1 to %d KiB of memory, 1 to 64 passes and at least 1 thread", maxArgonMemory)
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(part[4]); err != nil || len(h.salt) < 8 {
		return nil, errors.New("the salt of the argon2id hash is not base64 of at least 8 bytes")
	}
	if h.sum, err = base64.RawStdEncoding.DecodeString(part[5]); err != nil || len(h.sum) < 16 {
		return nil, errors.New("the last part of the argon2id hash is not base64 of at least 16 bytes")
	}
	return &h, nil
}

func (h *argon2idHash) matches(secret string) bool {
	sum := argon2.IDKey([]byte(secret), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// A round of bcrypt takes about as long as a pass of argon2id over 77 KiB.
func (h *argon2idHash) work() float64 { return float64(h.memory) * float64(h.time) / 77 }

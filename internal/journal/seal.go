package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// sealedPrefix is the prefix of a stored id that only the journal can read. The keyed hash of the
// id follows, by which a message is found, then a colon and the encrypted id.
const sealedPrefix = "sealed:"

// hashSize is the number of stored bytes of the keyed hash.
const hashSize = 16

func isSealed(id string) bool { return strings.HasPrefix(id, sealedPrefix) }

// IDHash is the keyed hash under which a private id is stored.
func (j *Journal) IDHash(id string) string {
	digest := j.store.Secret().Digest("id", id)
	return hex.EncodeToString(digest[:hashSize])
}

// seal encrypts an id with the journal's secret.
func (j *Journal) seal(id sms.Hidden) string {
	box := j.cipher
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(id.Reveal())+box.Overhead())
	_, _ = rand.Read(nonce) // never fails, https://pkg.go.dev/crypto/rand#Read
	sealed := box.Seal(nonce, nonce, []byte(id.Reveal()), nil)
	return sealedPrefix + j.IDHash(id.Reveal()) + ":" + base64.RawURLEncoding.EncodeToString(sealed)
}

// unseal decrypts an id. The result is empty if the id is not sealed, or was sealed with another
// secret.
func (j *Journal) unseal(stored string) sms.Hidden {
	rest, sealed := strings.CutPrefix(stored, sealedPrefix)
	if !sealed {
		return sms.Hidden{}
	}
	_, text, _ := strings.Cut(rest, ":")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	box := j.cipher
	if err != nil || len(raw) < box.NonceSize() {
		return sms.Hidden{}
	}
	id, err := box.Open(nil, raw[:box.NonceSize()], raw[box.NonceSize():], nil)
	if err != nil {
		return sms.Hidden{}
	}
	return sms.Hide(string(id))
}

// newCipher makes the cipher of private ids. It derives the cipher's key from the store's secret.
func newCipher(secret *mac.Key) cipher.AEAD {
	key := secret.Digest("seal")
	block, err := aes.NewCipher(key[:])
	if err == nil {
		var c cipher.AEAD
		if c, err = cipher.NewGCM(block); err == nil {
			return c
		}
	}
	panic(err) // the key has the right size
}

// ShownIDs are the provider's ids for logs and operators. A private id is replaced by the
// reference.
func (e *Entry) ShownIDs() []string {
	var shown []string
	for _, id := range e.IDs {
		if isSealed(id) {
			id = e.Reference
		}
		shown = append(shown, id)
	}
	return shown
}

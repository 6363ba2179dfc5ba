// Package mac makes keyed digests (HMAC-SHA256) of lists of texts: keys of duplicates, names of
// networks, users and limits.
//
// A digest tells nothing about its texts to anybody who does not have the key, and no two lists
// have the same digest. A Key is safe for concurrent use.
package mac

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// Key is the secret of digests.
type Key [sha256.BlockSize / 2]byte

// Digest is the HMAC-SHA256 of some texts (https://www.rfc-editor.org/rfc/rfc2104).
type Digest [sha256.Size]byte

// NewKey makes a random key.
func NewKey() (k Key) {
	_, _ = rand.Read(k[:]) // never fails, https://pkg.go.dev/crypto/rand#Read
	return k
}

// Digest makes the digest of a list of texts. Their lengths are part of it, so that no two lists
// are alike. crypto/hmac makes the same, but allocates each time.
func (k *Key) Digest(texts ...string) Digest {
	var buf [512]byte
	inner, outer := buf[:sha256.BlockSize], [sha256.BlockSize + sha256.Size]byte{}
	for i := range sha256.BlockSize {
		inner[i], outer[i] = 0x36, 0x5c
	}
	subtle.XORBytes(inner, inner, k[:])
	subtle.XORBytes(outer[:], outer[:], k[:])
	for _, text := range texts {
		inner = append(binary.AppendUvarint(inner, uint64(len(text))), text...)
	}
	sum := sha256.Sum256(inner)
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

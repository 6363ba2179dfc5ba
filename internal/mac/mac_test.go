package mac

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A digest is that of crypto/hmac over the texts with their lengths.
func TestDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		texts := rapid.SliceOf(rapid.String()).Draw(t, "texts")
		h := hmac.New(sha256.New, k[:])
		for _, text := range texts {
			h.Write(append(binary.AppendUvarint(nil, uint64(len(text))), text...))
		}
		if d := k.Digest(texts...); !hmac.Equal(d[:], h.Sum(nil)) {
			t.Errorf("%x, want %x", d, h.Sum(nil))
		}
	})
}

// Where one text ends and the next begins makes a difference, and so does the key.
func TestDistinct(t *testing.T) {
	k, other := NewKey(), NewKey()
	seen := make(map[Digest]bool)
	for _, texts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"", "ab"}, {"ab", ""}, {strings.Repeat("a", 600)}} {
		seen[k.Digest(texts...)], seen[other.Digest(texts...)] = true, true
	}
	if len(seen) != 16 {
		t.Errorf("%d digests of 16", len(seen))
	}
}

func TestAllocations(t *testing.T) {
	k := NewKey()
	body := strings.Repeat("a", 160)
	if n := testing.AllocsPerRun(100, func() { k.Digest("johndow", "+15550001111", body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

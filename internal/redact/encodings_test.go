package redact

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestAppendDecoded compares the decoder with those of the standard library, for runs of any
// length.
func TestAppendDecoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "plain")
		for i, written := range []string{
			base64.RawStdEncoding.EncodeToString(plain), base64.RawURLEncoding.EncodeToString(plain),
			base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(plain),
			strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(plain)),
			hex.EncodeToString(plain), strings.ToUpper(hex.EncodeToString(plain)),
		} {
			e := &encodings[i/2]
			if got := e.appendDecoded(nil, written); !bytes.Equal(got, plain) {
				t.Fatalf("%q is %q, want %q", written, got, plain)
			}
			for cut := range min(len(written), 8) { // a run that ends within a byte
				got := e.appendDecoded(nil, written[:len(written)-cut])
				if want := plain[:(len(written)-cut)*int(e.bits)/8]; !bytes.Equal(got, want) {
					t.Fatalf("%q without its last %d letters is %q, want %q", written, cut, got, want)
				}
			}
		}
	})
}

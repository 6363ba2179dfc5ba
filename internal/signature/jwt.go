package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

var hmacAlgorithms = []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}

// claims are what the tokens of providers say about a request.
type claims struct {
	jwt.Claims
	URLHash     string `json:"url_hash"`
	PayloadHash string `json:"payload_hash"`
}

// read checks the token's own signature and returns its claims.
func read(token, key string) (c claims, err error) {
	if token == "" {
		return c, ErrMissing
	}
	parsed, err := jwt.ParseSigned(token, hmacAlgorithms)
	if err != nil || parsed.Claims(padded(key), &c) != nil {
		return c, ErrInvalid
	}
	return c, nil
}

// padded returns a key for HMAC. The library refuses keys shorter than the hash, but customers choose
// shorter ones. HMAC itself pads keys with zeros, so that the sums are the same.
// https://www.rfc-editor.org/rfc/rfc2104#section-2
func padded(key string) []byte {
	return append([]byte(key), make([]byte, max(sha512.Size-len(key), 0))...)
}

// hashes reports whether a claim is the hash of the data.
func hashes(claim string, data []byte) bool {
	sum := sha256.Sum256(data)
	return subtle.ConstantTimeCompare([]byte(strings.ToLower(claim)), []byte(hex.EncodeToString(sum[:]))) == 1
}

// messagebird signs a token that contains the hashes of address and body, and is valid for a minute.
// https://developers.messagebird.com/api/#verifying-http-requests
func messagebird(r *Request, key string, now time.Time) error {
	c, err := read(r.Header.Get("MessageBird-Signature-JWT"), key)
	switch {
	case err != nil:
		return err
	case c.Issuer != "MessageBird" || c.ID == "" || c.NotBefore == nil || c.Expiry == nil || !hashes(c.URLHash, []byte(r.URL)):
		return ErrInvalid
	case len(r.Body) == 0 && c.PayloadHash != "", len(r.Body) > 0 && !hashes(c.PayloadHash, r.Body):
		return ErrInvalid
	case now.Before(c.NotBefore.Time().Add(-time.Second)), now.After(c.Expiry.Time().Add(time.Second)):
		return ErrTime
	}
	return nil
}

// vonageJWT signs a token that contains the hash of the body. Where the token has no hash, the body
// is not signed, so the path has to be secret too.
// https://developer.vonage.com/en/getting-started/concepts/webhooks
func vonageJWT(r *Request, key string, now time.Time) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ErrMissing
	}
	c, err := read(token, key)
	switch {
	case err != nil:
		return err
	case c.PayloadHash != "" && !hashes(c.PayloadHash, r.Body):
		return ErrInvalid
	case c.Expiry != nil && now.After(c.Expiry.Time().Add(time.Second)):
		return ErrTime
	}
	return nil
}

package users

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const (
	// maxJWT is the maximum size of a token in bytes.
	maxJWT = 8 << 10

	// leeway is the tolerated difference between clocks.
	leeway = 30 * time.Second

	// keepJWT bounds the time for which a verified token is cached.
	keepJWT = 5 * time.Minute
)

// JWT authenticates by JSON Web Tokens (https://www.rfc-editor.org/rfc/rfc7519) that the operator
// issues to phones. It is safe for concurrent use.
type JWT struct {
	// Secret verifies HS256 tokens. If it is empty, tokens are RS256 or ES256, and Keys returns
	// their keys.
	Secret sms.Hidden
	Keys   Keys
	// Audience must be among the audiences of a token, and Issuer must be its issuer. An empty
	// value accepts any.
	Audience, Issuer string
	// Claim is the name of the claim that names the user.
	Claim string
	// Read makes a user from the claims of a token.
	Read func(Answer) (*User, error)
	// Report is called with the reason if a token with a valid signature is denied. The reason
	// quotes nothing of the token but the user's name.
	Report func(user, why string)

	digests  mac.Key
	admitted *cache.Table[digest, jwtAdmission]
}

type jwtAdmission struct {
	user  *User
	until time.Time
	keys  any // the keys that verified the token
}

var _ Users = (*JWT)(nil)

// Start prepares for use.
func (j *JWT) Start() {
	j.admitted = cache.NewTable[digest, jwtAdmission](cacheSize)
	j.digests = mac.NewKey()
}

// WithoutProof implements ProofSupport: tokens are not used with proofs.
func (*JWT) WithoutProof() int { return 0 }

// Authenticate implements Users. The app may send the user's name or a caller ID together with the
// token.
func (j *JWT) Authenticate(ctx context.Context, c Credential) (*User, error) {
	token := c.Secret.Reveal()
	if c.Proof != nil || len(token) > maxJWT || strings.Count(token, ".") != 2 {
		return nil, ErrDenied
	}
	user, err := j.userOf(ctx, token, time.Now())
	if err != nil {
		return nil, err
	}
	if c.User != "" && !user.MatchesName(c.User) && !strings.ContainsAny(c.User[:1], "+0123456789") {
		return nil, &DeniedError{Name: user.Name}
	}
	return user, nil
}

func (j *JWT) userOf(ctx context.Context, token string, now time.Time) (*User, error) {
	id := j.digests.Digest(aToken, "", token)
	var keys *KeySet
	if j.Secret.Empty() {
		var err error
		if keys, err = j.Keys.Get(ctx, "", now); err != nil {
			return nil, err
		}
	}
	if a, ok := j.admitted.Get(id); ok && now.Before(a.until) && a.keys == any(keys) {
		return a.user, nil
	}
	user, expiry, err := j.verify(ctx, token, now)
	if err == nil {
		if until := now.Add(keepJWT); expiry.After(until) {
			expiry = until
		}
		j.admitted.Put(id, jwtAdmission{user, expiry, keys})
	}
	return user, err
}

// verify checks a token and returns its user and expiry. The key decides the algorithm, never the
// token alone.
func (j *JWT) verify(ctx context.Context, token string, now time.Time) (*User, time.Time, error) {
	algorithms := []jose.SignatureAlgorithm{jose.HS256}
	if j.Secret.Empty() {
		algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}
	}
	t, err := jwt.ParseSigned(token, algorithms)
	if err != nil || len(t.Headers) != 1 {
		return nil, now, ErrDenied
	}
	key := any([]byte(j.Secret.Reveal()))
	if j.Secret.Empty() {
		keys, err := j.Keys.Get(ctx, t.Headers[0].KeyID, now)
		if err != nil {
			return nil, now, err
		}
		if key = keys.find(t.Headers[0].KeyID, t.Headers[0].Algorithm); key == nil {
			return nil, now, ErrDenied
		}
	}
	var std jwt.Claims
	var all map[string]json.RawMessage
	if t.Claims(key, &std, &all) != nil {
		return nil, now, ErrDenied
	}
	var answer Answer
	denied := func(why string) (*User, time.Time, error) {
		j.Report(answer.User, why)
		if answer.User == "" {
			return nil, now, ErrDenied
		}
		return nil, now, &DeniedError{Name: answer.User}
	}
	if json.Unmarshal(all[j.Claim], &answer.User) != nil || answer.User == "" {
		return denied("the claim that names the user is missing, or no text")
	}
	expected := jwt.Expected{Issuer: j.Issuer, Time: now}
	if j.Audience != "" {
		expected.AnyAudience = jwt.Audience{j.Audience}
	}
	if std.Expiry == nil {
		return denied("it never expires; write exp")
	}
	switch err := std.ValidateWithLeeway(expected, leeway); {
	case errors.Is(err, jwt.ErrExpired):
		return denied("it has expired")
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return denied("it is not good yet")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return denied("it is for another audience")
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return denied("it is of another issuer")
	case err != nil:
		return denied("it is not valid")
	}
	for claim, into := range map[string]*[]string{
		"from": &answer.From, "allow": &answer.Allow, "deny": &answer.Deny, "groups": &answer.Groups, "limits": &answer.Limits,
		"receive": &answer.Receive,
	} {
		if *into, err = texts(all[claim]); err != nil {
			return denied(claim + " is no text and no list of texts")
		}
	}
	if region := all["region"]; region != nil && json.Unmarshal(region, &answer.Region) != nil {
		return denied("region is no text")
	}
	user, err := j.Read(answer)
	if err != nil {
		return denied(err.Error())
	}
	return user, std.Expiry.Time().Add(leeway), nil
}

// texts reads a claim that is a text or a list of texts.
func texts(claim json.RawMessage) (list []string, err error) {
	if claim == nil {
		return nil, nil
	}
	var one string
	if json.Unmarshal(claim, &one) == nil {
		return []string{one}, nil
	}
	err = json.Unmarshal(claim, &list)
	return list, err
}

// KeySet contains public keys that verify tokens.
type KeySet struct{ keys []jose.JSONWebKey }

// ParseKeys reads a JWKS (https://www.rfc-editor.org/rfc/rfc7517#section-5). It ignores keys of
// other kinds than RSA of 2048 bits or more and P-256. It refuses a private or symmetric key,
// because anybody who can read the file could make tokens.
func ParseKeys(data []byte) (*KeySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &set) != nil || len(set.Keys) == 0 {
		return nil, errors.New(`this is no JWKS, such as {"keys": [{"kty": "RSA", "kid": "…", "n": "…", "e": "AQAB"}]}`)
	}
	s := new(KeySet)
	for i, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil {
			continue
		}
		switch key := k.Key.(type) {
		case *rsa.PublicKey:
			if key.N.BitLen() >= 2048 {
				s.keys = append(s.keys, k)
			}
		case *ecdsa.PublicKey:
			if key.Curve == elliptic.P256() {
				s.keys = append(s.keys, k)
			}
		case *rsa.PrivateKey, *ecdsa.PrivateKey, []byte:
			return nil, fmt.Errorf("key %d of the JWKS is secret; only public keys belong there", i+1)
		}
	}
	if len(s.keys) == 0 {
		return nil, errors.New("the JWKS has no key for RS256 (of 2048 bits or more) or ES256 (P-256)")
	}
	return s, nil
}

// find returns the key with an id for an algorithm, nil if there is none. If the set has a single
// key, a token without an id is checked with that key.
func (s *KeySet) find(id, algorithm string) any {
	for _, k := range s.keys {
		if k.KeyID != id && (id != "" || len(s.keys) > 1) || k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != algorithm {
			continue
		}
		_, isRSA := k.Key.(*rsa.PublicKey)
		if isRSA == (algorithm == string(jose.RS256)) {
			return k.Key
		}
	}
	return nil
}

// has reports whether a key has the id.
func (s *KeySet) has(id string) bool {
	for _, k := range s.keys {
		if k.KeyID == id {
			return true
		}
	}
	return id == ""
}

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

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const (
	// maxJWT is how many bytes a token has at most.
	maxJWT = 8 << 10

	// leeway is how far clocks may be apart.
	leeway = 30 * time.Second

	// keepJWT is how long a token that was found right is not looked at again.
	keepJWT = 5 * time.Minute
)

// JWT knows users by the JSON Web Tokens (https://www.rfc-editor.org/rfc/rfc7519) that an operator gives to phones. It is
// safe for concurrent use.
type JWT struct {
	// Secret is right for HS256. Without it Keys are asked for the key of an id, for RS256 and ES256.
	Secret sms.Hidden
	Keys   Keys
	// Audience has to be among those of a token, and Issuer has to be its issuer; empty if any may.
	Audience, Issuer string
	// Claim names the user.
	Claim string
	// Read makes a user of what a token says.
	Read func(Answer) (*User, error)
	// Report is told why a token is denied whose signature is right. It quotes nothing of the token but the user's name.
	Report func(user, why string)

	digests  keyed.Key
	admitted *recent.Table[digest, jwtAdmission]
}

type jwtAdmission struct {
	user  *User
	until time.Time
	keys  any // those that it was found right with
}

var _ Users = (*JWT)(nil)

// Start makes it ready.
func (j *JWT) Start() {
	j.admitted = recent.NewTable[digest, jwtAdmission](mostAnswers)
	j.digests = keyed.NewKey()
}

// Unprovable implements Provable: a token is no password.
func (*JWT) Unprovable() int { return 0 }

// Authenticate implements Users. Beside a token may stand its user's name, or a caller ID.
func (j *JWT) Authenticate(ctx context.Context, c Credential) (*User, error) {
	token := c.Secret.Reveal()
	if c.Proof != nil || len(token) > maxJWT || strings.Count(token, ".") != 2 {
		return nil, ErrDenied
	}
	user, err := j.userOf(ctx, token, time.Now())
	if err != nil {
		return nil, err
	}
	if c.User != "" && !user.IsCalled(c.User) && !strings.ContainsAny(c.User[:1], "+0123456789") {
		return nil, &DeniedError{user.Name}
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

// verify finds out whose token it is and until when it is good. Which algorithm counts is said by the key, never by the
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
		return nil, now, &DeniedError{answer.User}
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
	for claim, into := range map[string]*[]string{"from": &answer.From, "allow": &answer.Allow, "deny": &answer.Deny, "groups": &answer.Groups, "limits": &answer.Limits} {
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

// texts reads a claim of one text or several.
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

// KeySet are public keys for tokens.
type KeySet struct{ keys []jose.JSONWebKey }

// ParseKeys reads a JWKS (https://www.rfc-editor.org/rfc/rfc7517#section-5). Keys of other kinds than those that are
// needed are left out; a private or symmetric one is refused, because whoever can read the file could make tokens.
func ParseKeys(data []byte) (*KeySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &set) != nil || len(set.Keys) == 0 {
		return nil, errors.New(`this is no JWKS, such as {"keys": [{"kty": "RSA", "kid": "…", "n": "…", "e": "AQAB"}]}`)
	}
	s := new(KeySet)
	for _, raw := range set.Keys {
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
			return nil, fmt.Errorf("key %q of the JWKS is secret; only public keys belong there", k.KeyID)
		}
	}
	if len(s.keys) == 0 {
		return nil, errors.New("the JWKS has no key for RS256 (of 2048 bits or more) or ES256 (P-256)")
	}
	return s, nil
}

// find finds the key of an id that is for an algorithm, nil if there is none. A token without an id is checked by the only
// key there is.
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

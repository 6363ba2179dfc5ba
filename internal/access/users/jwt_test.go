package users

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const jwtSecret = "a secret of more than thirty-two bytes"

var (
	rsaKey, otherRSA = sync.OnceValue(newRSA(2048)), sync.OnceValue(newRSA(2048))
	ecKey            = sync.OnceValue(func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func newRSA(bits int) func() *rsa.PrivateKey {
	return func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return k
	}
}

// signed makes a token.
func signed(t testing.TB, algorithm jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	options := new(jose.SignerOptions).WithType("JWT")
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signature.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func jwks(t testing.TB, keys ...jose.JSONWebKey) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func public(kid string, key any) jose.JSONWebKey { return jose.JSONWebKey{KeyID: kid, Key: key} }

// stored are keys that never change.
type stored struct{ *KeySet }

func (s stored) Get(context.Context, string, time.Time) (*KeySet, error) { return s.KeySet, nil }

func newJWT(t testing.TB, secret string, keys Keys) *JWT {
	t.Helper()
	j := &JWT{Secret: sms.Hide(secret), Keys: keys, Audience: "sms", Issuer: "https://id.example.com", Claim: "sub", Read: func(a Answer) (*User, error) {
		if len(a.From) > 0 && a.From[0] == "nonsense" {
			return nil, errors.New("from")
		}
		return &User{Name: a.User, Groups: a.Groups, Region: a.Region}, nil
	}, Report: func(string, string) {}}
	j.Start()
	return j
}

// claims are right ones, but for the changes; a nil takes one away.
func claims(changes map[string]any) map[string]any {
	all := map[string]any{"sub": "ann", "aud": "sms", "iss": "https://id.example.com", "exp": time.Now().Add(time.Hour).Unix(), "groups": []string{"sales"}}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// told says what becomes of a token: a name, denied, denied NAME or unavailable.
func told(u Users, user, token string) string {
	found, err := u.Authenticate(context.Background(), Credential{User: user, Secret: sms.Hide(token)})
	var denied *DeniedError
	switch {
	case err == nil:
		return found.Name
	case found != nil:
		return "a user and an error"
	case errors.As(err, &denied):
		return "denied " + denied.Name
	case errors.Is(err, ErrDenied):
		return "denied"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	}
	return err.Error()
}

func TestJWT(t *testing.T) {
	keys, err := ParseKeys([]byte(jwks(t, public("r", &rsaKey().PublicKey), public("e", &ecKey().PublicKey),
		jose.JSONWebKey{KeyID: "enc", Use: "enc", Key: &rsaKey().PublicKey}, jose.JSONWebKey{KeyID: "ps", Algorithm: "PS256", Key: &rsaKey().PublicKey})))
	if err != nil {
		t.Fatal(err)
	}
	byKeys, bySecret := newJWT(t, "", stored{keys}), newJWT(t, jwtSecret, nil)
	hour := func(n int) int64 { return time.Now().Add(time.Duration(n) * time.Hour).Unix() }
	hs := func(changes map[string]any) string {
		return signed(t, jose.HS256, []byte(jwtSecret), "", claims(changes))
	}
	good := signed(t, jose.RS256, rsaKey(), "r", claims(nil))
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := public("r", &rsaKey().PublicKey).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	payload := strings.Split(good, ".")[1]
	none := func(alg string) string { return encode(`{"alg":"`+alg+`"}`) + "." + payload + "." }
	flipped := func(token string, at int) string {
		b := []byte(token)
		b[at] ^= 1
		return string(b)
	}
	for name, c := range map[string]struct {
		jwt         *JWT
		user, token string
		want        string
	}{
		"HS256":                   {bySecret, "", hs(nil), "ann"},
		"RS256":                   {byKeys, "", good, "ann"},
		"ES256":                   {byKeys, "", signed(t, jose.ES256, ecKey(), "e", claims(nil)), "ann"},
		"list of audiences":       {bySecret, "", hs(map[string]any{"aud": []string{"mail", "sms"}}), "ann"},
		"his name":                {bySecret, "ann", hs(nil), "ann"},
		"his name and a domain":   {bySecret, "ann@example.com", hs(nil), "ann"},
		"a caller ID":             {bySecret, "+15551234567", hs(nil), "ann"},
		"clock a little late":     {bySecret, "", hs(map[string]any{"exp": time.Now().Add(-20 * time.Second).Unix()}), "ann"},
		"another's name":          {bySecret, "bob", hs(nil), "denied ann"},
		"HS256 for keys":          {byKeys, "", hs(nil), "denied"},
		"RS256 for a secret":      {bySecret, "", good, "denied"},
		"public key as secret":    {byKeys, "", signed(t, jose.HS256, der, "r", claims(nil)), "denied"},
		"PEM of it":               {byKeys, "", signed(t, jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "r", claims(nil)), "denied"},
		"JWK of it":               {byKeys, "", signed(t, jose.HS256, key, "r", claims(nil)), "denied"},
		"HS512":                   {bySecret, "", signed(t, jose.HS512, []byte(jwtSecret+jwtSecret), "", claims(nil)), "denied"},
		"PS256":                   {byKeys, "", signed(t, jose.PS256, rsaKey(), "r", claims(nil)), "denied"},
		"key for another use":     {byKeys, "", signed(t, jose.RS256, rsaKey(), "enc", claims(nil)), "denied"},
		"key for another alg":     {byKeys, "", signed(t, jose.RS256, rsaKey(), "ps", claims(nil)), "denied"},
		"ES256 with an RSA key":   {byKeys, "", signed(t, jose.ES256, ecKey(), "r", claims(nil)), "denied"},
		"no kid among several":    {byKeys, "", signed(t, jose.RS256, rsaKey(), "", claims(nil)), "denied"},
		"unknown kid":             {byKeys, "", signed(t, jose.RS256, rsaKey(), "x", claims(nil)), "denied"},
		"kid that is a path":      {byKeys, "", signed(t, jose.RS256, rsaKey(), "../../dev/null", claims(nil)), "denied"},
		"wrong key":               {byKeys, "", signed(t, jose.RS256, otherRSA(), "r", claims(nil)), "denied"},
		"wrong secret":            {bySecret, "", signed(t, jose.HS256, []byte(strings.ToUpper(jwtSecret)), "", claims(nil)), "denied"},
		"none":                    {byKeys, "", none("none"), "denied"},
		"None":                    {byKeys, "", none("None"), "denied"},
		"NONE for a secret":       {bySecret, "", none("NONE"), "denied"},
		"no alg":                  {bySecret, "", encode(`{}`) + "." + payload + ".", "denied"},
		"own key in the header":   {byKeys, "", encode(`{"alg":"RS256","jwk":`+string(key)+`}`) + good[strings.Index(good, "."):], "denied"},
		"key at an address":       {byKeys, "", encode(`{"alg":"RS256","kid":"r","jku":"https://evil.example.com"}`) + good[strings.Index(good, "."):], "denied"},
		"expired":                 {bySecret, "", hs(map[string]any{"exp": hour(-1)}), "denied ann"},
		"no exp":                  {bySecret, "", hs(map[string]any{"exp": nil}), "denied ann"},
		"exp is a text":           {bySecret, "", hs(map[string]any{"exp": "tomorrow"}), "denied"},
		"not yet":                 {bySecret, "", hs(map[string]any{"nbf": hour(1)}), "denied ann"},
		"issued tomorrow":         {bySecret, "", hs(map[string]any{"iat": hour(24)}), "denied ann"},
		"another audience":        {bySecret, "", hs(map[string]any{"aud": "mail"}), "denied ann"},
		"no audience":             {bySecret, "", hs(map[string]any{"aud": nil}), "denied ann"},
		"another issuer":          {bySecret, "", hs(map[string]any{"iss": "https://id.example.org"}), "denied ann"},
		"no issuer":               {bySecret, "", hs(map[string]any{"iss": nil}), "denied ann"},
		"no sub":                  {bySecret, "", hs(map[string]any{"sub": nil}), "denied"},
		"empty sub":               {bySecret, "", hs(map[string]any{"sub": ""}), "denied"},
		"sub is a number":         {bySecret, "", hs(map[string]any{"sub": 7}), "denied"},
		"sub is a list":           {bySecret, "", hs(map[string]any{"sub": []string{"ann"}}), "denied"},
		"from makes no sense":     {bySecret, "", hs(map[string]any{"from": "nonsense"}), "denied ann"},
		"from is an object":       {bySecret, "", hs(map[string]any{"from": map[string]string{"a": "b"}}), "denied ann"},
		"deny is a number":        {bySecret, "", hs(map[string]any{"deny": 7}), "denied ann"},
		"region is a list":        {bySecret, "", hs(map[string]any{"region": []string{"US"}}), "denied ann"},
		"changed header":          {byKeys, "", flipped(good, 5), "denied"},
		"changed payload":         {byKeys, "", flipped(good, strings.Index(good, ".")+9), "denied"},
		"changed signature":       {byKeys, "", flipped(good, len(good)-9), "denied"},
		"cut":                     {byKeys, "", good[:len(good)-4], "denied"},
		"no signature":            {byKeys, "", good[:strings.LastIndex(good, ".")+1], "denied"},
		"four parts":              {byKeys, "", good + ".x", "denied"},
		"too long":                {bySecret, "", hs(map[string]any{"x": strings.Repeat("x", maxJWT)}), "denied"},
		"no token":                {bySecret, "ann", "12345678", "denied"},
		"three dots of nothing":   {bySecret, "", "a.b.c", "denied"},
		"a document, not compact": {byKeys, "", `{"payload":"a.b.c"}`, "denied"},
	} {
		for range 2 { // and again, from memory
			if got := told(c.jwt, c.user, c.token); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	}
	user, err := bySecret.Authenticate(t.Context(), Credential{Secret: sms.Hide(hs(map[string]any{"region": "GB"}))})
	if err != nil || len(user.Groups) != 1 || user.Groups[0] != "sales" || user.Region != "GB" {
		t.Errorf("the user is %+v, %v", user, err)
	}
	if _, err := bySecret.Authenticate(t.Context(), Credential{User: "ann", Secret: sms.Hide(hs(nil)), Proof: proof("x")}); err == nil {
		t.Error("a token beside a proof counts")
	}
}

// A twice named claim is none: which of them would count?
func TestJWTClaimTwice(t *testing.T) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(jwtSecret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign([]byte(`{"sub":"ann","sub":"bob","aud":"sms","iss":"https://id.example.com","exp":99999999999}`))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signature.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if got := told(newJWT(t, jwtSecret, nil), "", token); got != "denied" {
		t.Errorf("%s, want it denied", got)
	}
}

// A cached token is not accepted after it has expired.
func TestJWTExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJWT(t, jwtSecret, nil)
		token := signed(t, jose.HS256, []byte(jwtSecret), "", claims(map[string]any{"exp": time.Now().Add(90 * time.Second).Unix()}))
		for _, c := range []struct {
			after time.Duration
			want  string
		}{{0, "ann"}, {119 * time.Second, "ann"}, {2 * time.Second, "denied ann"}} {
			time.Sleep(c.after)
			if got := told(j, "", token); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		}
	})
}

func TestParseKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this machine makes no small keys")
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":     {"-----BEGIN PUBLIC KEY-----", "this is no JWKS"},
		"no keys":     {`{"keys": []}`, "this is no JWKS"},
		"one key":     {string(must(public("r", &rsaKey().PublicKey).MarshalJSON())), "this is no JWKS"},
		"private":     {jwks(t, public("r", rsaKey())), `key 1 of the JWKS is secret`},
		"private EC":  {jwks(t, public("e", ecKey())), "is secret"},
		"symmetric":   {jwks(t, public("s", []byte("canary"))), "is secret"},
		"too small":   {jwks(t, public("r", &small.PublicKey)), "no key for RS256"},
		"other curve": {jwks(t, public("e", &p384.PublicKey)), "no key for RS256"},
		"unknown":     {`{"keys": [{"kty": "OKP", "crv": "X25519", "x": "AAAA"}, {"kty": "new"}]}`, "no key for RS256"},
	} {
		if _, err := ParseKeys([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	keys, err := ParseKeys([]byte(`{"keys": [{"kty": "new"}, ` + string(must(public("", &ecKey().PublicKey).MarshalJSON())) + `]}`))
	if err != nil || keys.find("", "ES256") == nil || keys.find("x", "ES256") != nil || keys.find("", "RS256") != nil {
		t.Errorf("a key beside an unknown one: %v", err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// A new file of keys counts at once; one that makes no sense changes nothing.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenKeyFile(path, nil); err == nil {
		t.Error("there is no file, and no error")
	}
	write(jwks(t, public("a", &rsaKey().PublicKey)))
	var reports []error
	file, err := OpenKeyFile(path, func(err error) { reports = append(reports, err) })
	if err != nil {
		t.Fatal(err)
	}
	j := newJWT(t, "", file)
	first, second := signed(t, jose.RS256, rsaKey(), "a", claims(nil)), signed(t, jose.RS256, otherRSA(), "b", claims(nil))
	step := func(text string, wantFirst, wantSecond string) {
		t.Helper()
		write(text)
		file.next = time.Time{} // a second later
		if got := told(j, "", first); got != wantFirst {
			t.Errorf("the first key: %s, want %s", got, wantFirst)
		}
		if got := told(j, "", second); got != wantSecond {
			t.Errorf("the second key: %s, want %s", got, wantSecond)
		}
	}
	step(jwks(t, public("a", &rsaKey().PublicKey)), "ann", "denied")
	step(jwks(t, public("a", &rsaKey().PublicKey), public("b", &otherRSA().PublicKey)), "ann", "ann")
	step("broken", "ann", "ann")
	step(jwks(t, public("b", &otherRSA().PublicKey)), "denied", "ann")
	if failed := 0; len(reports) > 0 {
		for _, err := range reports {
			if err != nil {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d failures are reported, want 1: %v", failed, reports)
		}
	}
}

// keyServer answers for a JWKS.
type keyServer struct {
	asked  atomic.Int32
	answer func() (status int, cacheControl, body string)
	err    error
	takes  time.Duration
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	select {
	case <-time.After(s.takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	status, cacheControl, body := s.answer()
	return &http.Response{StatusCode: status, Header: http.Header{"Cache-Control": {cacheControl}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func TestKeyURL(t *testing.T) {
	a, b := public("a", &rsaKey().PublicKey), public("b", &otherRSA().PublicKey)
	synctest.Test(t, func(t *testing.T) {
		s := &keyServer{err: errors.New("down")}
		var reports []error
		j := newJWT(t, "", &KeyURL{Transport: s, URL: "https://id.example.com/jwks.json", Report: func(err error) { reports = append(reports, err) }})
		first := func() string { return told(j, "", signed(t, jose.RS256, rsaKey(), "a", claims(nil))) }
		second := func() string { return told(j, "", signed(t, jose.RS256, otherRSA(), "b", claims(nil))) }
		says := func(status int, cacheControl, body string) func() (int, string, string) {
			return func() (int, string, string) { return status, cacheControl, body }
		}
		for i, c := range []struct {
			after  time.Duration
			change func()
			ask    func() string
			want   string
			asked  int32
		}{
			{0, func() {}, first, "unavailable", 1},
			{30 * time.Second, func() { s.err, s.answer = nil, says(200, "max-age=600", jwks(t, a)) }, first, "unavailable", 1},
			{31 * time.Second, func() {}, first, "ann", 2},
			{time.Second, func() {}, second, "denied", 2},
			{time.Minute, func() {}, second, "denied", 3},
			{time.Second, func() { s.answer = says(200, "", jwks(t, a, b)) }, second, "denied", 3},
			{time.Minute, func() {}, second, "ann", 4},
			{time.Minute, func() { s.answer = says(200, "", jwks(t, b)) }, first, "ann", 4},
			{time.Hour, func() {}, first, "denied", 5},
			{2 * time.Hour, func() { s.answer = says(500, "", "") }, second, "ann", 6},
			{2 * time.Minute, func() { s.answer = says(200, "", "garbage") }, second, "ann", 7},
			{2 * time.Minute, func() { s.answer = says(200, "", strings.Repeat(" ", maxKeys+1)) }, second, "ann", 8},
			{2 * time.Minute, func() { s.takes = time.Minute }, second, "ann", 9},
			{24 * time.Hour, func() {}, second, "unavailable", 10},
			{2 * time.Minute, func() { s.takes, s.answer = 0, says(200, "", jwks(t, b)) }, second, "ann", 11},
		} {
			time.Sleep(c.after)
			c.change()
			if got := c.ask(); got != c.want || s.asked.Load() != c.asked {
				t.Errorf("step %d: %s after %d questions, want %s after %d", i, got, s.asked.Load(), c.want, c.asked)
			}
		}
		if len(reports) != 6 {
			t.Errorf("%d reports: %v", len(reports), reports)
		}
	})
}

// Many who come at once ask once; who has a known key does not wait for one that is not.
func TestKeyURLFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := jwks(t, public("a", &rsaKey().PublicKey))
		s := &keyServer{takes: time.Second, answer: func() (int, string, string) { return 200, "", text }}
		j := newJWT(t, "", &KeyURL{Transport: s, URL: "https://id.example.com/jwks.json", Report: func(error) {}})
		good, unknown := signed(t, jose.RS256, rsaKey(), "a", claims(nil)), signed(t, jose.RS256, rsaKey(), "b", claims(nil))
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if got := told(j, "", good); got != "ann" {
					t.Error(got)
				}
			})
		}
		wg.Wait()
		if n := s.asked.Load(); n != 1 {
			t.Errorf("%d questions, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		wg.Go(func() { told(j, "", unknown) })
		synctest.Wait()
		began := time.Now()
		if got := told(j, "", good); got != "ann" || time.Since(began) > 0 {
			t.Errorf("%s after %s", got, time.Since(began))
		}
		wg.Wait()
	})
}

// FuzzJWT finds no token that is right without the key.
func FuzzJWT(f *testing.F) {
	keys, err := ParseKeys([]byte(jwks(f, public("r", &rsaKey().PublicKey))))
	if err != nil {
		f.Fatal(err)
	}
	byKeys, bySecret := newJWT(f, "", stored{keys}), newJWT(f, jwtSecret, nil)
	f.Add(signed(f, jose.RS256, otherRSA(), "r", claims(nil)))
	f.Add(signed(f, jose.HS256, []byte("another secret of that many bytes"), "", claims(nil)))
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + ".e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		for _, j := range []*JWT{byKeys, bySecret} {
			if got := told(j, "", token); !strings.HasPrefix(got, "denied") {
				t.Errorf("%q: %s", token, got)
			}
		}
	})
}

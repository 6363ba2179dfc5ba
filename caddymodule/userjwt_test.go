package caddymodule

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/go-jose/go-jose/v4"
)

const jwtSecret = "a secret of more than thirty-two bytes"

func jwtOf(t *testing.T, secret string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A token says who sends, and from which number; without a right one the provider receives nothing.
func TestJWTUsers(t *testing.T) {
	t.Setenv("JWT_SECRET", jwtSecret)
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "users jwt {\nsecret {env.JWT_SECRET}\naudience sms\n}")
	exp := time.Now().Add(time.Hour).Unix()
	right := map[string]any{"sub": "ann@example.com", "aud": "sms", "exp": exp, "from": "+15550007777", "limits": "2 messages per minute"}
	token := jwtOf(t, jwtSecret, right)
	bearer := get(sendTo)
	bearer.Header.Set("Authorization", "Bearer "+token)
	for name, r := range map[string]*http.Request{"bearer": bearer, "parameter": get(sendTo + "&username=ann@example.com&token=" + token)} {
		w := s.send(t, r)
		if lines := s.events(); w.Code != 200 || p.count.Swap(0) != 1 || lines[0]["user"] != "ann@example.com" || lines[0]["from"] != "+155•••7777" {
			t.Errorf("%s: %d %s %v", name, w.Code, w.Body, lines)
		}
	}
	if w := s.send(t, get(sendTo+"&token="+token)); w.Code != 429 {
		t.Errorf("a third message of two: %d", w.Code)
	}
	for name, query := range map[string]string{
		"another's number": "token=" + token + "&from=%2B15550001111",
		"another's name":   "username=johndow&token=" + token,
		"expired":          "token=" + jwtOf(t, jwtSecret, map[string]any{"sub": "bob", "aud": "sms", "exp": exp - 7200, "from": "+15550007777"}),
		"another audience": "token=" + jwtOf(t, jwtSecret, map[string]any{"sub": "bob", "aud": "mail", "exp": exp}),
		"another secret":   "token=" + jwtOf(t, strings.ToUpper(jwtSecret), right),
		"a bad number":     "token=" + jwtOf(t, jwtSecret, map[string]any{"sub": "bob", "aud": "sms", "exp": exp, "from": "canary number"}),
		"a bad limit":      "token=" + jwtOf(t, jwtSecret, map[string]any{"sub": "bob", "aud": "sms", "exp": exp, "limits": "canary limit"}),
		"cut":              "token=" + token[:len(token)-2],
		"twice":            "token=" + token + "&token=" + token + "x",
		"as a password":    "username=johndow&password=" + token,
		"very long":        "token=" + token + strings.Repeat("x", 100<<10),
	} {
		w := s.send(t, get(sendTo+"&"+query))
		if w.Code/100 == 2 || p.count.Swap(0) != 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, e := range s.log.All() {
		if text, _ := json.Marshal(e.ContextMap()); strings.Contains(string(text)+e.Message, "canary") || strings.Contains(string(text), token[:20]) {
			t.Errorf("the log says %s %s", e.Message, text)
		}
	}
}

func TestJWTConfig(t *testing.T) {
	t.Setenv("JWT_SECRET", jwtSecret)
	for block, want := range map[string]string{
		"":                               "either secret",
		"audience sms":                   "either secret",
		"secret x\njwks y\naudience sms": "either secret",
		"secret x":                       "write audience NAME",
		"secret x\nsecret y":             "secret appears twice",
		"secret short\naudience sms":     "at least 32 bytes",
		"secert x":                       "did you mean secret",
		"jwks http://a.example.com/x\naudience sms":         "https:// URL of a JWKS",
		"jwks ftp://a.example.com/x\naudience sms":          "https:// URL of a JWKS",
		"jwks https://me:canary@example.com/\naudience sms": "https:// URL of a JWKS",
		"jwks /does/not/exist.json\naudience sms":           `jwks "/does/not/exist.json": no such file or directory; write the path`,
		"secret {env.NOT_SET}\naudience sms":                "NOT_SET is not set",
	} {
		if _, err := provision(t, demo+"adapter sandbox\nusers jwt {\n"+block+"\n}"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %s", block, err, want)
		}
	}
	for _, block := range []string{"secret {env.JWT_SECRET}\naudience any\nissuer x\nuser name", "jwks https://id.example.com/jwks.json\naudience sms", "jwks http://localhost:1/x\naudience sms"} {
		if _, err := provision(t, "default_region US\nadapter sandbox\nusers jwt {\n"+block+"\n}"); err != nil { // no network is needed
			t.Errorf("%q: %v", block, err)
		}
	}
	// A path is relative to the Caddyfile.
	d := caddyfile.NewTestDispenser("jwt {\njwks keys.json\naudience sms\n}")
	u := new(UserJWT)
	if err := u.UnmarshalCaddyfile(d); err != nil || !filepath.IsAbs(u.JWKS) || filepath.Base(u.JWKS) != "keys.json" {
		t.Errorf("%q, %v", u.JWKS, err)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(`{"keys": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := provision(t, demo+"adapter sandbox\nusers jwt {\njwks "+path+"\naudience sms\n}"); err == nil || !strings.Contains(err.Error(), "this is no JWKS") {
		t.Errorf("a file without keys: %v", err)
	}
}

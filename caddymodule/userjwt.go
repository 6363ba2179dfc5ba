package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// UserJWT admits users by the JSON Web Tokens that an operator's provisioning gives to each phone. A token is signed by
// HS256 with `secret`, or by RS256 or ES256 with a key of `jwks`, and needs `exp`. Its claims `from`, `groups`, `limits`, `allow`
// and `deny`, each a text or a list of texts, and `region` are as in a handler's `users`. A name that an app sends beside it has to be the token's user, or
// a caller ID.
type UserJWT struct {
	// Secret signs by HS256, of at least 32 bytes, best a placeholder such as `{env.JWT_SECRET}`. Either it or JWKS is
	// required.
	Secret string `json:"secret,omitempty"`

	// JWKS is where the public keys are: the path of a file, which is read again when it has changed, or an https URL, which
	// is fetched when the first token comes and then as its `Cache-Control` says, every 5 minutes to 24 hours, by
	// default every hour. Fetched keys count for 24 hours more while the server gives no answer. RSA keys have 2048 bits or
	// more, EC keys are of P-256.
	JWKS string `json:"jwks,omitempty"`

	// Audience has to be in a token's `aud`, so that tokens for other services send nothing. Required; `any` admits
	// all.
	Audience string `json:"audience,omitempty"`

	// Issuer has to be a token's `iss`. Default: any.
	Issuer string `json:"issuer,omitempty"`

	// User is the claim that names the user. Default: `sub`.
	User string `json:"user,omitempty"`

	keys      users.Keys
	transport *http.Transport
	tokens    *users.JWT
}

// CaddyModule returns the Caddy module information.
func (UserJWT) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.acrobits_sms.users.jwt",
		New: func() caddy.Module { return new(UserJWT) },
	}
}

// Provision implements caddy.Provisioner. It opens no connection.
func (t *UserJWT) Provision(ctx caddy.Context) error {
	if err := t.check(); err != nil {
		return err
	}
	repl, log := caddy.NewReplacer(), ctx.Logger()
	values := make(map[string]string)
	for name, value := range map[string]string{"secret": t.Secret, "jwks": t.JWKS, "audience": t.Audience, "issuer": t.Issuer} {
		if value == "" {
			continue
		}
		var err error
		if values[name], err = resolve(repl, value); err != nil {
			return fmt.Errorf("users jwt: %s: %w", name, err)
		}
	}
	if t.Secret != "" {
		if isLiteral(t.Secret) {
			log.Warn(literalSecret, zap.String("option", "secret"))
		}
		if len(values["secret"]) < 32 { // https://www.rfc-editor.org/rfc/rfc7518#section-3.2
			return errors.New("users jwt: the secret of HS256 has at least 32 bytes, such as those of: openssl rand -base64 32")
		}
	} else if err := t.openKeys(values["jwks"], log); err != nil {
		return fmt.Errorf("users jwt: %w", err)
	}
	if values["audience"] == "any" {
		values["audience"] = ""
	}
	t.tokens = &users.JWT{
		Secret: sms.Hide(values["secret"]), Keys: t.keys, Audience: values["audience"], Issuer: values["issuer"], Claim: cmp.Or(t.User, "sub"),
		Report: func(user, why string) {
			log.Warn("a token is signed right and denied all the same", zap.String("user", user), zap.String("why", why))
		},
	}
	t.tokens.Start()
	return nil
}

// openKeys reads the file of keys, or makes ready to fetch them.
func (t *UserJWT) openKeys(source string, log *zap.Logger) error {
	if !strings.Contains(source, "://") {
		file, err := users.OpenKeyFile(source, func(err error) {
			if err != nil {
				log.Error("the file of keys cannot be read, so those of its last version stay", zap.String("file", source), zap.Error(err))
			} else {
				log.Info("read the file of keys", zap.String("file", source))
			}
		})
		if err != nil {
			return fmt.Errorf("jwks %s: %w", source, err)
		}
		t.keys = file
		return nil
	}
	u, err := parseKeysURL(source)
	if err != nil {
		return err
	}
	t.transport = http.DefaultTransport.(*http.Transport).Clone()
	t.keys = &users.KeyURL{
		Transport: t.transport, URL: source,
		Report: func(err error) {
			log.Error("the keys that sign tokens cannot be fetched", zap.String("host", u.Host), zap.Error(err))
		},
	}
	return nil
}

// parseKeysURL reads the address of keys.
func parseKeysURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u)) {
		return nil, errors.New("write the path or the https:// URL of a JWKS, such as https://id.example.com/jwks.json; http:// is for this machine only")
	}
	return u, nil
}

// check reports what must not be missing.
func (t *UserJWT) check() error {
	switch {
	case (t.Secret == "") == (t.JWKS == ""):
		return errors.New("users jwt: write either secret {env.JWT_SECRET} or jwks with a file or an https:// URL")
	case t.Audience == "":
		return errors.New("users jwt: write audience NAME, as in the tokens' aud, or audience any for tokens of every service")
	}
	return nil
}

// Cleanup implements caddy.CleanerUpper.
func (t *UserJWT) Cleanup() error {
	if t.transport != nil {
		t.transport.CloseIdleConnections()
	}
	return nil
}

// UnmarshalCaddyfile sets the directory up from Caddyfile tokens. A path is relative to the Caddyfile. Syntax:
//
//	jwt {
//		secret   <secret>
//		jwks     <path>|<url>
//		audience <name>|any
//		issuer   <name>
//		user     <claim>
//	}
//
// Either secret or jwks is required, and audience.
func (t *UserJWT) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	at := *d
	if d.NextArg() {
		return d.Err("write: users jwt { … }")
	}
	known := []string{"secret", "jwks", "audience", "issuer", "user"}
	into := map[string]*string{"secret": &t.Secret, "jwks": &t.JWKS, "audience": &t.Audience, "issuer": &t.Issuer, "user": &t.User}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		field := into[word]
		switch {
		case field == nil:
			return d.Errf("users jwt has %s, not %q%s", strings.Join(known, ", "), word, adapters.Meant(word, known))
		case *field != "":
			return d.Errf("%s appears twice", word)
		}
		if err := oneArg(d, field); err != nil {
			return err
		}
	}
	var err error
	switch {
	case t.JWKS == "" || !isLiteral(t.JWKS):
	case strings.Contains(t.JWKS, "://"):
		_, err = parseKeysURL(t.JWKS)
	case !filepath.IsAbs(t.JWKS): // made absolute, since the server that loads the configuration may run elsewhere
		t.JWKS, err = filepath.Abs(filepath.Join(filepath.Dir(at.File()), t.JWKS))
	}
	if err == nil {
		err = t.check()
	}
	return wrap(&at, err)
}

func (t *UserJWT) open(read readUser) (users.Users, error) {
	t.tokens.Read = func(a users.Answer) (*users.User, error) {
		account, _, err := read(userOf(a))
		return &account.User, discreet(err)
	}
	return t.tokens, nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*UserJWT)(nil)
	_ caddy.CleanerUpper    = (*UserJWT)(nil)
	_ caddyfile.Unmarshaler = (*UserJWT)(nil)
	_ directory             = (*UserJWT)(nil)
)

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

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// UserJWT authenticates users by JSON Web Tokens that the operator's provisioning gives to each
// phone. A token is signed by HS256 with `secret`, or by RS256 or ES256 with a key of `jwks`, and
// needs `exp`. Its claims `from`, `groups`, `limits`, `allow` and `deny`, each a string or a list
// of strings, and `region` are as in a handler's `users`. A user name in the request must be the
// token's user or a caller ID.
type UserJWT struct {
	// Secret is the key of HS256 of at least 32 bytes, preferably a placeholder such as
	// `{env.JWT_SECRET}`. Either Secret or JWKS is required.
	Secret string `json:"secret,omitempty"`

	// JWKS is the source of the public keys: the path of a file, which is read again after a change,
	// or an https URL, which is fetched on the first token and then as its `Cache-Control` says, every
	// 5 minutes to 24 hours, by default every hour. While the server does not reply, fetched keys
	// remain valid for 24 hours more. RSA keys must have at least 2048 bits, EC keys must be on P-256.
	JWKS string `json:"jwks,omitempty"`

	// Audience must be in a token's `aud`, so that tokens for other services are not accepted. `any`
	// accepts all. Required.
	Audience string `json:"audience,omitempty"`

	// Issuer must be a token's `iss`. Default: any.
	Issuer string `json:"issuer,omitempty"`

	// User is the claim with the user name. Default: `sub`.
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
	for name, value := range map[string]string{
		"secret": t.Secret, "jwks": t.JWKS, "audience": t.Audience, "issuer": t.Issuer,
	} {
		if value == "" {
			continue
		}
		var err error
		if values[name], err = resolve(repl, value); err != nil {
			return fmt.Errorf("users jwt: %s: %w", name, err)
		}
	}
	if t.Secret != "" {
		warnExposedSecret(log, t.Secret, zap.String("option", "users jwt secret"))
		if len(values["secret"]) < 32 { // https://www.rfc-editor.org/rfc/rfc7518#section-3.2
			return errors.New("users jwt: the secret of HS256 must have at least 32 bytes; make one with: openssl rand -base64 32")
		}
	} else if err := t.openKeys(values["jwks"], log); err != nil {
		return fmt.Errorf("users jwt: %w", err)
	}
	if values["audience"] == "any" {
		values["audience"] = ""
	}
	t.tokens = &users.JWT{
		Secret: sms.Hide(values["secret"]), Keys: t.keys,
		Audience: values["audience"], Issuer: values["issuer"], Claim: cmp.Or(t.User, "sub"),
		Report: func(user, why string) {
			log.Warn("token with a valid signature denied", zap.String("user", user), zap.String("why", why))
		},
	}
	t.tokens.Start()
	return nil
}

// openKeys reads the file of keys, or prepares to fetch them.
func (t *UserJWT) openKeys(source string, log *zap.Logger) error {
	if !strings.Contains(source, "://") {
		file, err := users.OpenKeyFile(source, func(err error) {
			if err != nil {
				log.Error("cannot read the file of keys; keeping the previous version", zap.String("file", source), zap.Error(err))
			} else {
				log.Info("read the file of keys", zap.String("file", source))
			}
		})
		if err != nil {
			return fmt.Errorf("jwks%s: %w; write the path of a file or an https:// URL",
				suggest.QuotePath(source, ".json", ".jwks"), withoutPath(err))
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
			log.Error("cannot fetch the keys of tokens", zap.String("host", u.Host), zap.Error(err))
		},
	}
	return nil
}

// parseKeysURL parses the URL of keys.
func parseKeysURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u)) {
		return nil, errors.New("write the path or the https:// URL of a JWKS, such as https://id.example.com/jwks.json; http:// is for this machine only")
	}
	return u, nil
}

// check reports missing options.
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

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. A path is relative to the Caddyfile. Syntax:
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
	into := map[string]*string{
		"secret": &t.Secret, "jwks": &t.JWKS, "audience": &t.Audience, "issuer": &t.Issuer, "user": &t.User,
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		field := into[word]
		switch {
		case field == nil:
			return unknownWord(d, inUsers, known)
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
		if _, err = parseKeysURL(t.JWKS); err != nil {
			err = fmt.Errorf("users jwt: jwks: %w", err)
		}
	case !filepath.IsAbs(t.JWKS): // see relativeToCaddyfile
		t.JWKS, err = filepath.Abs(filepath.Join(filepath.Dir(at.File()), t.JWKS))
	}
	if err == nil {
		err = t.check()
	}
	return wrap(&at, err)
}

func (t *UserJWT) open(read accountReader) (users.Users, error) {
	t.tokens.Read = func(a users.Answer) (*users.User, error) {
		account, _, err := read(userFromAnswer(a))
		return &account.User, err
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

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (t *UserJWT) UnmarshalJSON(data []byte) error {
	type plain UserJWT
	return decodeStrict(data, (*plain)(t))
}

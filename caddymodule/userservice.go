package caddymodule

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// UserService asks a service of the operator's who may send. It gets a POST of JSON with `user` and `password`, or with
// `token` where an app sends no name, and answers 200 with JSON: `allowed`, true or false; of one who is allowed `user`, always in
// the same writing, by which he is counted and logged, and `from`, `groups`, `region`, `limits`, `allow` and `deny` as in a handler's `users`; of a known
// user whose password is wrong `user` too, for the log and the lockout. 401 and 403 deny. Any other answer, and none, admits
// nobody.
type UserService struct {
	// URL is the service's address. It may hold placeholders such as `{env.USERS_KEY}`.
	URL string `json:"url"`

	// Headers are sent along. Values may be placeholders.
	Headers map[string]string `json:"headers,omitempty"`

	// Timeout is for the whole of an answer. Default: `5s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Cache is for how long an answer that admits somebody counts, over reloads too while URL and Headers stay the same.
	// One that denies counts for 10 seconds. Default: `5m`.
	Cache caddy.Duration `json:"cache,omitempty"`

	// Stale is for how long thereafter it still counts while the service cannot be reached, is too slow or answers 5xx.
	// Default: `0`.
	Stale caddy.Duration `json:"stale,omitempty"`

	service   *users.Service
	transport *http.Transport
	taken     taken // what was said, which this shares with others
}

// The default times.
const (
	defaultUsersTimeout = 5 * time.Second
	defaultUsersCache   = 5 * time.Minute
)

// CaddyModule returns the Caddy module information.
func (UserService) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.acrobits_sms.users.http",
		New: func() caddy.Module { return new(UserService) },
	}
}

// Provision implements caddy.Provisioner. It opens no connection.
func (s *UserService) Provision(ctx caddy.Context) error {
	repl, log := caddy.NewReplacer(), ctx.Logger()
	address, err := resolve(repl, s.URL)
	if err != nil {
		return fmt.Errorf("users http: %w", err)
	}
	u, err := parseServiceURL(address)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !isLoopback(u) {
		log.Warn("passwords go over http:// to the service that knows the users; use https://", zap.String("host", u.Host))
	}
	for name := range u.Query() {
		if isLiteral(s.URL) && adapters.Secretive(name) {
			log.Warn(literalSecret, zap.String("option", "users http"))
			break
		}
	}
	if s.Timeout < 0 || s.Cache < 0 || s.Stale < 0 {
		return errors.New("users http: times are not negative")
	}
	header := http.Header{"User-Agent": {"caddy-acrobits-sms"}}
	for name, value := range s.Headers {
		resolved, err := resolve(repl, value)
		if err != nil {
			return fmt.Errorf("users http: header %s: %w", name, err)
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(resolved) {
			return fmt.Errorf("users http: %q is no header, or its value cannot be one", name)
		}
		if isLiteral(value) && adapters.Secretive(name) {
			log.Warn(literalSecret, zap.String("option", "header "+name))
		}
		header.Set(name, resolved)
	}
	s.transport = http.DefaultTransport.(*http.Transport).Clone()
	s.transport.MaxConnsPerHost = 64
	s.transport.MaxIdleConnsPerHost = 64
	s.service = &users.Service{
		Transport: s.transport, URL: address, Header: header,
		Timeout: cmp.Or(time.Duration(s.Timeout), defaultUsersTimeout),
		Keep:    cmp.Or(time.Duration(s.Cache), defaultUsersCache),
		Stale:   time.Duration(s.Stale),
		Report: func(err error) {
			log.Error("the service that knows the users gives no answer", zap.String("host", u.Host), zap.Error(err))
		},
		Answers: take(&s.taken, answers, sha256.Sum256(fmt.Appendf(nil, "%q %q", address, header)), users.NewAnswers),
	}
	s.service.Start()
	return nil
}

// isLoopback reports whether an address is one of this machine.
func isLoopback(u *url.URL) bool {
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}

// parseServiceURL reads the address of a service.
func parseServiceURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("users http: write the URL of your service, such as https://users.example.com/check; credentials go into header Authorization")
	}
	return u, nil
}

// Cleanup implements caddy.CleanerUpper.
func (s *UserService) Cleanup() error {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return s.taken.release()
}

// UnmarshalCaddyfile sets the directory up from Caddyfile tokens. Syntax:
//
//	http <url> {
//		header  <name> <value>
//		timeout <duration>
//		cache   <duration>
//		stale   <duration>
//	}
func (s *UserService) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.Next(); !d.AllArgs(&s.URL) {
		return d.Err("write: users http URL")
	}
	if isLiteral(s.URL) {
		if _, err := parseServiceURL(s.URL); err != nil {
			return d.WrapErr(err)
		}
	}
	known := []string{"header", "timeout", "cache", "stale"}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch word := d.Val(); word {
		case "header":
			var name, value string
			if !d.AllArgs(&name, &value) {
				return d.Err("write: header NAME VALUE")
			}
			if s.Headers == nil {
				s.Headers = make(map[string]string)
			}
			s.Headers[name] = value
		case "timeout":
			err = durationArg(d, &s.Timeout)
		case "cache":
			err = durationArg(d, &s.Cache)
		case "stale":
			err = durationArg(d, &s.Stale)
		default:
			err = d.Errf("users http has %s, not %q%s", strings.Join(known, ", "), word, adapters.Meant(word, known))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *UserService) open(read readUser) (users.Users, error) {
	s.service.Read = func(a users.Answer) (*users.User, error) {
		account, _, err := read(userOf(a))
		return &account.User, discreet(err)
	}
	return s.service, nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*UserService)(nil)
	_ caddy.CleanerUpper    = (*UserService)(nil)
	_ caddyfile.Unmarshaler = (*UserService)(nil)
	_ directory             = (*UserService)(nil)
)

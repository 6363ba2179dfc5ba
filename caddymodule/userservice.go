package caddymodule

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

// UserService authenticates users by an HTTP service of the operator. Each request is a POST of
// JSON with `user` and `password`, or with `token` if the app sends no name. The service replies
// 200 with JSON: `allowed`, true or false; for an allowed user `user`, always in the same spelling,
// under which they are counted and logged, and optionally `from`, `groups`, `region`, `limits`,
// `allow` and `deny` as in a handler's `users`. For a known user with a wrong password it may reply
// `user` too, for the log and the lockout. 401 and 403 deny. Any other reply, or none, refuses the
// message.
type UserService struct {
	// URL is the service's URL. It may contain placeholders such as `{env.USERS_KEY}`.
	URL string `json:"url"`

	// Headers are headers of each request. Values may be placeholders.
	Headers map[string]string `json:"headers,omitempty"`

	// Timeout limits a request, including the body of the reply. Default: `5s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Cache is how long a reply that allows a user is cached, across reloads too if URL and Headers
	// stay the same. A reply that denies is cached for 10 seconds. Default: `5m`.
	Cache caddy.Duration `json:"cache,omitempty"`

	// Stale is how much longer a cached reply is used while the service is unreachable, too slow or
	// replies 5xx. Default: `0`.
	Stale caddy.Duration `json:"stale,omitempty"`

	service   *users.Service
	transport *http.Transport
	resources resources // the cached replies, shared with other configurations
}

// Defaults.
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
		log.Warn("passwords are sent to the user service without encryption; use https://", zap.String("host", u.Host))
	}
	for name := range u.Query() {
		if isLiteral(s.URL) && adapters.Secretive(name) {
			log.Warn(literalSecretWarning, zap.String("option", "users http"))
			break
		}
	}
	if s.Timeout < 0 || s.Cache < 0 || s.Stale < 0 {
		return errors.New("users http: durations must not be negative")
	}
	header, err := s.header(repl, log)
	if err != nil {
		return err
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
			log.Error("user service does not reply", zap.String("host", u.Host), zap.Error(err))
		},
		Answers: acquireShared(&s.resources, answers,
			sha256.Sum256(fmt.Appendf(nil, "%q %q", address, header)), users.NewAnswerCache),
	}
	s.service.Start()
	return nil
}

// header returns the headers of requests with placeholders replaced.
func (s *UserService) header(repl *caddy.Replacer, log *zap.Logger) (http.Header, error) {
	header := http.Header{"User-Agent": {"caddy-acrobits-sms"}}
	for name, value := range s.Headers {
		resolved, err := resolve(repl, value)
		if err != nil {
			return nil, fmt.Errorf("users http: header %s: %w", name, err)
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(resolved) {
			return nil, errors.New("users http: a header has an invalid name or value")
		}
		if !isLiteral(value) || adapters.Secretive(name) {
			warnExposedSecret(log, value, zap.String("option", "users http header "+name))
		}
		header.Set(name, resolved)
	}
	return header, nil
}

// isLoopback reports whether the host is this machine.
// https://www.rfc-editor.org/rfc/rfc6761#section-6.3
func isLoopback(u *url.URL) bool { return adapters.IsLoopback(u.Hostname()) }

// parseServiceURL parses the URL of a service.
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
	return s.resources.release()
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
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
			err = unknownWord(d, inUsers, known)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *UserService) open(read accountReader) (users.Users, error) {
	s.service.Read = func(a users.Answer) (*users.User, error) {
		account, _, err := read(userFromAnswer(a))
		return &account.User, err
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

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (s *UserService) UnmarshalJSON(data []byte) error {
	type plain UserService
	return decodeStrict(data, (*plain)(s))
}

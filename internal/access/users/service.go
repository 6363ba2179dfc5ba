package users

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

// ErrUnavailable is returned if a credential cannot be checked now.
var ErrUnavailable = errors.New("the service that knows the users gives no answer")

const (
	// maxAnswerSize is the maximum size of an answer in bytes.
	maxAnswerSize = 64 << 10

	// keepDenied is the time for which a denial is cached.
	keepDenied = 10 * time.Second

	// cacheSize bounds the entries of each cache.
	cacheSize = 1 << 14

	// pause is the time without requests after a service or database did not answer.
	pause = 3 * time.Second
)

// noAnswer is the error if a service or database could not be asked, or could not answer.
func noAnswer(err error) error { return &cache.Failure{Err: err, Pause: pause} }

// Service authenticates by a web service of the operator. It is safe for concurrent use. If the
// service fails, only users that it admitted within Keep and Stale are admitted.
type Service struct {
	Transport http.RoundTripper
	URL       string
	Header    http.Header
	// Timeout bounds one request and its whole answer.
	Timeout time.Duration
	// Keep is the time for which an admission is valid. Stale is the additional time for which
	// it is used while the service does not answer.
	Keep, Stale time.Duration
	// Read makes a user from an answer that admits one.
	Read func(Answer) (*User, error)
	// Report is called with the error if there was no usable answer. The error contains nothing
	// of a credential.
	Report func(error)
	// Answers caches the answers. Several Services may share the cache, such as those before
	// and after a reload.
	Answers *AnswerCache

	users    *cache.Table[*Answer, *User] // the users that Read made from answers
	failures throttledReport
}

// AnswerCache contains the answers of a service. It is safe for concurrent use.
type AnswerCache struct {
	digests mac.Key
	answers *cache.Remote[digest, verdict]
}

// NewAnswerCache makes an empty cache.
func NewAnswerCache() *AnswerCache {
	denies := func(v verdict) bool { return v.denied != nil }
	return &AnswerCache{mac.NewKey(), cache.NewRemote[digest](cacheSize, denies)}
}

// verdict is an answer that admits a user, or the error for a credential that was denied.
type verdict struct {
	answer *Answer
	denied error
}

// Answer is the answer of a service. An answer with unknown members is refused, because a
// misspelled member may be a restriction.
type Answer struct {
	Allowed *bool    `json:"allowed"`
	User    string   `json:"user"`
	From    []string `json:"from"`
	Allow   []string `json:"allow"`
	Deny    []string `json:"deny"`
	Groups  []string `json:"groups"`
	Region  string   `json:"region"`
	Limits  []string `json:"limits"`
	Receive []string `json:"receive"`
}

var _ Users = (*Service)(nil)

// Start prepares for use.
func (s *Service) Start() { s.users = cache.NewTable[*Answer, *User](cacheSize) }

// question is the request to the service. Without a user the secret is a token.
type question struct {
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
}

// Authenticate implements Users. As in a List, a blank in the secret also counts as a +, and the
// app may send a caller ID together with a token. Authenticate ignores the end of the context, so
// that a client that disconnects early is still counted.
func (s *Service) Authenticate(_ context.Context, c Credential) (*User, error) {
	secret := c.Secret.Reveal()
	if c.Proof != nil || secret == "" || len(secret) > maxSecret || len(c.User) > maxSecret {
		return nil, ErrDenied
	}
	names, secrets := []string{userAndDomain(c.User)}, []string{secret}
	if c.User != "" && strings.ContainsAny(c.User[:1], "+0123456789") {
		names = append(names, "")
	}
	if strings.Contains(secret, " ") {
		secrets = append(secrets, strings.ReplaceAll(secret, " ", "+"))
	}
	denied := ErrDenied
	var doubted *User
	for _, name := range names {
		for _, secret := range secrets {
			user, err := s.try(&c, name, secret)
			switch {
			case err == nil && (doubted != nil || c.lockedOut(user)):
				doubted = cmp.Or(doubted, user)
			case !errors.Is(err, ErrDenied):
				return user, err
			}
			if named := (*DeniedError)(nil); errors.As(err, &named) {
				denied = err
			}
		}
	}
	if doubted != nil {
		return doubted, nil
	}
	return nil, denied
}

// WithoutProof implements ProofSupport: the service compares passwords itself.
func (s *Service) WithoutProof() int { return -1 }

// try uses a cached answer, or asks the service. For a user who is locked out, an admission is
// cached no longer than a denial.
func (s *Service) try(c *Credential, name, secret string) (*User, error) {
	lifetime := func(v verdict) (fresh, stale time.Duration) {
		if v.denied != nil {
			return keepDenied, 0
		}
		user, err := s.userOf(v.answer)
		switch {
		case err != nil:
			return 0, 0
		case c.lockedOut(user):
			fresh = min(s.Keep, keepDenied)
			return fresh, s.Keep + s.Stale - fresh
		}
		return s.Keep, s.Stale
	}
	key := s.Answers.digests.Digest(aQuestion, name, secret)
	v, err := s.Answers.answers.Get(context.Background(), key, lifetime, func() (verdict, error) { return s.answer(name, secret) })
	switch {
	case err != nil:
		return nil, ErrUnavailable
	case v.denied != nil:
		return nil, v.denied
	}
	return s.userOf(v.answer)
}

// userOf returns the user of an answer, which another Service with other settings may have got.
func (s *Service) userOf(a *Answer) (*User, error) {
	if user, ok := s.users.Get(a); ok {
		return user, nil
	}
	user, err := s.Read(*a)
	if err == nil {
		s.users.Put(a, user)
	}
	return user, err
}

// answer asks the service.
func (s *Service) answer(name, secret string) (v verdict, err error) {
	defer func() {
		if p := recover(); p != nil { // the message of the panic may contain a secret
			err = fmt.Errorf("panic: %T", p)
		}
		if err != nil {
			s.failures.Report(err, s.Report)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	answer, err := s.ask(ctx, name, secret)
	if err == nil {
		_, err = s.userOf(&answer)
	}
	if errors.Is(err, ErrDenied) {
		return verdict{denied: err}, nil
	}
	return verdict{answer: &answer}, err
}

// ask sends one request. Errors contain nothing of the credential and nothing of the address, which
// may contain a secret.
func (s *Service) ask(ctx context.Context, name, secret string) (a Answer, err error) {
	q := question{User: name, Password: secret}
	if name == "" {
		q = question{Token: secret}
	}
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return a, errors.New("the address is no URL")
	}
	r.Header = s.Header.Clone()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	reply, err := roundtrip.Do(s.Transport, r, nil, maxAnswerSize)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return a, noAnswer(err)
	}
	switch {
	case reply.Err != nil && reply.Err != roundtrip.ErrTooLong:
		return a, noAnswer(errors.New("it broke off"))
	case reply.Status >= 500:
		return a, noAnswer(fmt.Errorf("status %d", reply.Status))
	case reply.Status == http.StatusUnauthorized, reply.Status == http.StatusForbidden:
		return a, ErrDenied
	case reply.Status != http.StatusOK:
		return a, fmt.Errorf("the answer has status %d, not 200", reply.Status)
	case reply.Err != nil:
		return a, errors.New("the answer is too long")
	}
	d := json.NewDecoder(bytes.NewReader(reply.Body))
	d.DisallowUnknownFields()
	if d.Decode(&a) != nil || d.More() || a.Allowed == nil {
		return a, errors.New(`the answer is no JSON object with "allowed", true or false, and perhaps "user", "from", "groups", "region", "limits", "allow", "deny"`)
	}
	switch {
	case !*a.Allowed && a.User != "":
		return a, &DeniedError{Name: a.User}
	case !*a.Allowed:
		return a, ErrDenied
	case a.User == "":
		// The name in the request is no replacement: a user with several spellings of the
		// name would become several users.
		return a, errors.New(`the answer names no "user"`)
	}
	return a, nil
}

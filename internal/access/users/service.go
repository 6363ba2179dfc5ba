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
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

// ErrUnavailable is returned if a credential cannot be checked now.
var ErrUnavailable = errors.New("the service that knows the users gives no answer")

const (
	// maxAnswer is the maximum size of an answer in bytes.
	maxAnswer = 64 << 10

	// keepDenied is the time for which a denial is cached.
	keepDenied = 10 * time.Second

	// mostAnswers bounds the entries of each cache.
	mostAnswers = 1 << 14
)

// pause is the time without requests after a service or database did not answer.
const pause = 3 * time.Second

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

	read     *cache.Table[*admission, *User] // the users that Read made from admissions
	asking   singleflight.Group
	failures throttledReport
}

// AnswerCache contains the answers of a service. It is safe for concurrent use.
type AnswerCache struct {
	digests  mac.Key
	admitted *cache.Table[digest, *admission]
	denied   *cache.Table[digest, denial]
	down     atomic.Pointer[time.Time] // the service is not asked before this time
}

// NewAnswerCache makes an empty cache.
func NewAnswerCache() *AnswerCache {
	a := &AnswerCache{admitted: cache.NewTable[digest, *admission](mostAnswers), denied: cache.NewTable[digest, denial](mostAnswers)}
	a.digests = mac.NewKey()
	return a
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
}

// admission is an answer that admits a user, and the time when it arrived. The caller of remembered
// decides for how long it is valid.
type admission struct {
	answer Answer
	at     time.Time
}

type denial struct {
	err   error
	until time.Time
}

var _ Users = (*Service)(nil)

// Start prepares for use.
func (s *Service) Start() { s.read = cache.NewTable[*admission, *User](mostAnswers) }

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

// try uses a cached answer, or asks the service. Concurrent calls for the same credential share one
// answer. For a user who is locked out, an admission is cached no longer than a denial.
func (s *Service) try(c *Credential, name, secret string) (*User, error) {
	key, now := s.Answers.digests.Digest(aQuestion, name, secret), time.Now()
	if user := s.remembered(key, now.Add(-s.Keep)); user != nil && (!c.lockedOut(user) || s.remembered(key, now.Add(-keepDenied)) != nil) {
		return user, nil
	}
	if d, ok := s.Answers.denied.Get(key); ok && now.Before(d.until) {
		return nil, d.err
	}
	user, err, _ := s.asking.Do(string(key[:]), func() (user any, err error) {
		defer func() {
			if p := recover(); p != nil { // the message of the panic may contain a secret
				s.failures.Report(fmt.Errorf("panic: %T", p), s.Report)
				user, err = (*User)(nil), ErrUnavailable
			}
		}()
		return s.answer(key, name, secret)
	})
	return user.(*User), err
}

// remembered returns the user that a cached answer admits, nil if no such answer arrived after the
// given time.
func (s *Service) remembered(key digest, after time.Time) *User {
	a, _ := s.Answers.admitted.Get(key)
	if a == nil || !a.at.After(after) {
		return nil
	}
	user, ok := s.read.Get(a)
	if !ok { // another Service with other settings may have asked
		var err error
		if user, err = s.Read(a.answer); err != nil {
			return nil
		}
		s.read.Put(a, user)
	}
	return user
}

// answer asks the service and caches the answer.
func (s *Service) answer(key digest, name, secret string) (*User, error) {
	var answer Answer
	var user *User
	err := errNoAnswer
	if down := s.Answers.down.Load(); down == nil || !time.Now().Before(*down) {
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		if answer, err = s.ask(ctx, name, secret); err == nil {
			user, err = s.Read(answer)
		}
		if err != nil && !errors.Is(err, ErrDenied) {
			s.failures.Report(err, s.Report)
		}
		if errors.Is(err, errNoAnswer) {
			until := time.Now().Add(pause)
			s.Answers.down.Store(&until)
		}
	}
	now := time.Now()
	switch {
	case err == nil:
		a := &admission{answer, now}
		s.read.Put(a, user)
		s.Answers.admitted.Put(key, a)
		s.Answers.denied.Put(key, denial{})
		return user, nil
	case errors.Is(err, ErrDenied):
		s.Answers.denied.Put(key, denial{err, now.Add(keepDenied)})
		s.Answers.admitted.Put(key, nil)
		return nil, err
	case errors.Is(err, errNoAnswer):
		if user := s.remembered(key, now.Add(-s.Keep-s.Stale)); user != nil {
			return user, nil
		}
	}
	return nil, ErrUnavailable
}

// errNoAnswer is returned if the service or database could not be asked, or could not answer.
var errNoAnswer = errors.New("no answer")

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
	reply, err := roundtrip.Do(s.Transport, r, nil, maxAnswer)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return a, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	switch {
	case reply.Err != nil && reply.Err != roundtrip.ErrTooLong:
		return a, fmt.Errorf("%w: it broke off", errNoAnswer)
	case reply.Status >= 500:
		return a, fmt.Errorf("%w: status %d", errNoAnswer, reply.Status)
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

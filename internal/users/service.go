package users

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
)

// ErrUnavailable says that nobody can tell now whether a credential is right.
var ErrUnavailable = errors.New("the service that knows the users gives no answer")

const (
	// maxAnswer is how many bytes an answer has at most.
	maxAnswer = 64 << 10

	// keepDenied is how long a denial is remembered.
	keepDenied = 10 * time.Second

	// mostAnswers bounds what is remembered.
	mostAnswers = 1 << 14
)

// Service asks an operator's own service who may send. It is safe for concurrent use. Whatever goes wrong, nobody is
// admitted, but for those it knew a short while ago.
type Service struct {
	Transport http.RoundTripper
	URL       string
	Header    http.Header
	// Timeout is for an answer as a whole.
	Timeout time.Duration
	// Keep is how long an admission counts, Stale how much longer if the service gives no answer.
	Keep, Stale time.Duration
	// Read makes a user of an answer that admits one.
	Read func(answer []byte, name string) (*User, error)
	// Report is told why there was no answer. Nothing of a credential is in it.
	Report func(error)

	digests digester
	known   *recent.Table[digest, remembered]
	asking  singleflight.Group
}

// remembered is an answer: a user, or a denial if there is none.
type remembered struct {
	user   *User
	denied error
	until  time.Time
	stale  time.Time
}

var _ Users = (*Service)(nil)

// Start makes the service ready.
func (s *Service) Start() error {
	s.known = recent.NewTable[digest, remembered](mostAnswers)
	_, err := rand.Read(s.digests[:])
	return err
}

// question is what the service is asked. Without a user the secret is a token.
type question struct {
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
}

// Authenticate implements Users.
func (s *Service) Authenticate(ctx context.Context, c Credential) (*User, error) {
	secret := c.Secret.Reveal()
	if secret == "" || len(secret) > maxSecret || len(c.User) > maxSecret {
		return nil, ErrDenied
	}
	key := s.digests.of(c.User, secret)
	old, ok := s.known.Get(key)
	if ok && time.Now().Before(old.until) {
		return old.user, old.denied
	}
	// All who ask the same share one answer, so that it does not depend on who hangs up.
	answer := s.asking.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout)
		defer cancel()
		user, err := s.ask(ctx, c.User, secret)
		if err != nil && !errors.Is(err, ErrDenied) {
			s.Report(err)
			return nil, ErrUnavailable
		}
		r := remembered{user: user, denied: err, until: time.Now().Add(keepDenied)}
		if err == nil {
			r.until = time.Now().Add(s.Keep)
			r.stale = r.until.Add(s.Stale)
		}
		s.known.Put(key, r)
		return r, nil
	})
	select {
	case got := <-answer:
		if got.Err == nil {
			r := got.Val.(remembered)
			return r.user, r.denied
		}
		if old.user != nil && time.Now().Before(old.stale) {
			return old.user, nil
		}
		return nil, ErrUnavailable
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask gets one answer. Errors hold nothing of the credential, nor of the address, which may have a secret in it.
func (s *Service) ask(ctx context.Context, name, secret string) (*User, error) {
	q := question{User: name, Password: secret}
	if name == "" {
		q = question{Token: secret}
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address is no URL")
	}
	r.Header = s.Header.Clone()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	reply, err := s.Transport.RoundTrip(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, err
	}
	defer reply.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(reply.Body, maxAnswer+1))
	if err != nil {
		return nil, errors.New("the answer broke off")
	}
	var verdict struct {
		Allowed *bool  `json:"allowed"`
		User    string `json:"user"`
	}
	switch broken := json.Unmarshal(answer, &verdict) != nil || verdict.Allowed == nil; {
	case reply.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer has status %d, not 200", reply.StatusCode)
	case len(answer) > maxAnswer:
		return nil, errors.New("the answer is too long")
	case broken:
		return nil, errors.New(`the answer is no JSON object with "allowed": true or false`)
	case !*verdict.Allowed && verdict.User != "":
		return nil, &DeniedError{verdict.User}
	case !*verdict.Allowed:
		return nil, ErrDenied
	}
	if name == "" || verdict.User != "" {
		name = verdict.User
	}
	if name == "" {
		return nil, errors.New(`the answer to a token names no "user"`)
	}
	return s.Read(answer, name)
}

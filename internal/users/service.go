package users

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
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

// pause is how long a service that gave no answer is left alone.
const pause = 3 * time.Second

// Service asks an operator's own service who may send. It is safe for concurrent use. Whatever goes wrong, nobody is
// admitted, but for those it knew a short while ago.
type Service struct {
	Transport http.RoundTripper
	URL       string
	Header    http.Header
	// Timeout is for an answer as a whole.
	Timeout time.Duration
	// Keep is how long an admission counts, Stale how much longer while the service gives no answer.
	Keep, Stale time.Duration
	// Read makes a user of an answer that admits one.
	Read func(Answer) (*User, error)
	// Report is told why there was no answer. Nothing of a credential is in it.
	Report func(error)
	// Answers are what it said. Several that ask the same service, as over a reload, may share them.
	Answers *Answers

	read   *recent.Table[*admission, *User] // what Read made of them
	asking singleflight.Group
	teller teller
}

// Answers are what a service said. They are safe for concurrent use.
type Answers struct {
	digests  keyed.Key
	admitted *recent.Table[digest, *admission]
	denied   *recent.Table[digest, denial]
	down     atomic.Pointer[time.Time] // until when the service is left alone
}

// NewAnswers remembers nothing yet.
func NewAnswers() *Answers {
	a := &Answers{admitted: recent.NewTable[digest, *admission](mostAnswers), denied: recent.NewTable[digest, denial](mostAnswers)}
	a.digests = keyed.NewKey()
	return a
}

// Answer is what a service says. Members that it does not have are refused: a misspelled one may be a restriction.
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

// admission is an answer that admits somebody, and when it came. For how long it counts is said by whoever asks.
type admission struct {
	answer Answer
	at     time.Time
}

type denial struct {
	err   error
	until time.Time
}

var _ Users = (*Service)(nil)

// Start makes the service ready.
func (s *Service) Start() { s.read = recent.NewTable[*admission, *User](mostAnswers) }

// question is what the service is asked. Without a user the secret is a token.
type question struct {
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
}

// Authenticate implements Users. As in a List, a blank in the secret also counts as a +, and beside a token may stand a
// caller ID. It does not end with the context, so that nobody guesses by hanging up before it is known that he was wrong.
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
			case err == nil && (doubted != nil || c.doubts(user)):
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

// Unprovable implements Provable: the service compares passwords itself.
func (s *Service) Unprovable() int { return -1 }

// try answers from memory, or asks. All who ask the same at once share one answer. One that is doubted counts no longer than a
// denial.
func (s *Service) try(c *Credential, name, secret string) (*User, error) {
	key, now := s.Answers.digests.Digest(aQuestion, name, secret), time.Now()
	if user := s.remembered(key, now.Add(-s.Keep)); user != nil && (!c.doubts(user) || s.remembered(key, now.Add(-keepDenied)) != nil) {
		return user, nil
	}
	if d, ok := s.Answers.denied.Get(key); ok && now.Before(d.until) {
		return nil, d.err
	}
	user, err, _ := s.asking.Do(string(key[:]), func() (user any, err error) {
		defer func() {
			if p := recover(); p != nil { // its words may be anything
				s.teller.tell(fmt.Errorf("panic: %T", p), s.Report)
				user, err = (*User)(nil), ErrUnavailable
			}
		}()
		return s.answer(key, name, secret)
	})
	return user.(*User), err
}

// remembered is the user whom an answer admits that came after a time, nil if there is none.
func (s *Service) remembered(key digest, after time.Time) *User {
	a, _ := s.Answers.admitted.Get(key)
	if a == nil || !a.at.After(after) {
		return nil
	}
	user, ok := s.read.Get(a)
	if !ok { // somebody else asked, whose settings may be others
		var err error
		if user, err = s.Read(a.answer); err != nil {
			return nil
		}
		s.read.Put(a, user)
	}
	return user
}

// answer asks and remembers.
func (s *Service) answer(key digest, name, secret string) (*User, error) {
	var answer Answer
	var user *User
	err := errSilent
	if down := s.Answers.down.Load(); down == nil || !time.Now().Before(*down) {
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		if answer, err = s.ask(ctx, name, secret); err == nil {
			user, err = s.Read(answer)
		}
		if err != nil && !errors.Is(err, ErrDenied) {
			s.teller.tell(err, s.Report)
		}
		if errors.Is(err, errSilent) {
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
	case errors.Is(err, errSilent):
		if user := s.remembered(key, now.Add(-s.Keep-s.Stale)); user != nil {
			return user, nil
		}
	}
	return nil, ErrUnavailable
}

// errSilent says that the service could not be asked, or could not answer.
var errSilent = errors.New("no answer")

// ask gets one answer. Errors hold nothing of the credential, nor of the address, which may have a secret in it.
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
	reply, err := s.Transport.RoundTrip(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return a, fmt.Errorf("%w: %w", errSilent, err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxAnswer+1))
	switch {
	case err != nil:
		return a, fmt.Errorf("%w: it broke off", errSilent)
	case reply.StatusCode >= 500:
		return a, fmt.Errorf("%w: status %d", errSilent, reply.StatusCode)
	case reply.StatusCode == http.StatusUnauthorized, reply.StatusCode == http.StatusForbidden:
		return a, ErrDenied
	case reply.StatusCode != http.StatusOK:
		return a, fmt.Errorf("the answer has status %d, not 200", reply.StatusCode)
	case len(text) > maxAnswer:
		return a, errors.New("the answer is too long")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&a) != nil || d.More() || a.Allowed == nil {
		return a, errors.New(`the answer is no JSON object with "allowed", true or false, and perhaps "user", "from", "groups", "region", "limits", "allow", "deny"`)
	}
	switch {
	case !*a.Allowed && a.User != "":
		return a, &DeniedError{a.User}
	case !*a.Allowed:
		return a, ErrDenied
	case a.User == "":
		// The name that was asked for is not his: who is known by many writings of a name would be many.
		return a, errors.New(`the answer names no "user"`)
	}
	return a, nil
}

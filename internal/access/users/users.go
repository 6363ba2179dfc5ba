// Package users authenticates the senders of messages: users of the configuration, of files, of an
// operator's web service or SQL database, and bearers of JSON Web Tokens.
//
// It never admits anybody on an error, and no error, log line or response time may reveal which
// names exist. Package gateway calls Authenticate; caddymodule builds the implementations. All of
// them are safe for concurrent use.
package users

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// ErrDenied is returned for every wrong credential, whatever is wrong with it.
var ErrDenied = errors.New("credential denied")

// DeniedError is an ErrDenied with the name of the user. It is for the log; the sender must not see
// it.
type DeniedError struct {
	Name string
	// NoToken is set if the user has a password and no token.
	NoToken bool
}

// Error returns the same text for every name.
func (*DeniedError) Error() string { return ErrDenied.Error() }

// Is reports whether err is ErrDenied.
func (*DeniedError) Is(err error) bool { return err == ErrDenied }

// ErrNoDomain is an ErrDenied for a name without a domain if the query needs a domain. It is for
// the log.
var ErrNoDomain = fmt.Errorf("%w: no domain", ErrDenied)

// Credential is what the app sent to authenticate. Without a user the secret is a token. A proof
// replaces the secret.
type Credential struct {
	User   string
	Secret sms.Hidden
	Proof  Proof
	// LockedOut reports whether a user is denied even with a right secret. It is nil if nobody
	// is locked out. The check then takes as long as that of a wrong secret.
	LockedOut func(user string) bool
	// From is the network of the sender, the zero Prefix if it is unknown.
	From netip.Prefix
	// KnownNetwork reports whether a user has logged in from that network before. It is nil if
	// no networks are known.
	KnownNetwork func(user string) bool
}

// fromKnownNetwork reports whether the user has logged in from the network before. u may be nil,
// because another directory of the chain may contain the name.
func (c *Credential) fromKnownNetwork(u *User) bool {
	return c.KnownNetwork != nil && (u != nil && c.KnownNetwork(u.Name) || slices.ContainsFunc(namesOf(c.User), c.KnownNetwork))
}

func (c *Credential) lockedOut(u *User) bool {
	return u != nil && c.LockedOut != nil && c.LockedOut(u.Name)
}

// tryForms tries the secret. If the secret is denied and contains blanks, it tries again with + for
// each blank, because templates that do not escape a + turn it into a blank.
func (c *Credential) tryForms(try func(secret string) (*User, error)) (*User, error) {
	secret := c.Secret.Reveal()
	user, err := try(secret)
	if !strings.Contains(secret, " ") || !errors.Is(err, ErrDenied) && !c.lockedOut(user) {
		return user, err
	}
	if again, err := try(strings.ReplaceAll(secret, " ", "+")); user == nil {
		return again, err
	}
	return user, err
}

// Proof is computed from the password without containing it, such as a response of HTTP Digest.
type Proof interface {
	// Verify reports whether the proof was computed from the password.
	Verify(password string) bool
	// VerifyHA1 reports whether the proof was computed from the hash of user:realm:password, given
	// in lower-case hexadecimal.
	VerifyHA1(ha1 string) bool
}

// Finder is implemented by Users that can look up users by name. The lookup serves users that an
// earlier handler has authenticated.
type Finder interface {
	// Find returns the user that the name matches, nil if no user matches. The error is
	// ErrUnavailable.
	Find(name string) (*User, error)
}

// ProofSupport is implemented by Users that may contain users without a secret for a Proof.
type ProofSupport interface {
	// WithoutProof returns the number of users without a secret for proofs, negative for all users.
	WithoutProof() int
}

// User is a user who may send messages.
type User struct {
	Name string
	// Numbers are the numbers that the user may send from. The first is the default. If the
	// list is empty, the provider chooses.
	Numbers []sms.Number
	// NumberProblem is the reason why the user's number is invalid. If it is set, the user
	// cannot send.
	NumberProblem string
	// Groups are the groups of the user.
	Groups []string
	// Region is the country of numbers without a country code, empty for the default.
	Region string
	// Limits bound how much the user may send, nil for the default.
	Limits []limit.Rule
	// Destinations is the policy for the user's recipients, nil for the default.
	Destinations *destination.Policy
	// Receive are the numbers whose messages the user fetches. They need not be among Numbers.
	Receive []sms.Number
}

// MaySendFrom reports whether the number is one of the user's.
func (u *User) MaySendFrom(n sms.Number) bool {
	for _, own := range u.Numbers {
		if own == n {
			return true
		}
	}
	return false
}

// Users authenticates. Implementations fail closed: a credential is right or the error is not nil.
type Users interface {
	// Authenticate returns the user, ErrDenied for a wrong credential, ErrUnavailable or ErrBusy.
	Authenticate(ctx context.Context, c Credential) (*User, error)
}

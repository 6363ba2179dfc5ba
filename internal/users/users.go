// Package users tells who sends, and from which numbers he may.
package users

import (
	"context"
	"errors"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// ErrDenied is the answer to every credential that is not right, whatever is wrong with it.
var ErrDenied = errors.New("credential denied")

// DeniedError is an ErrDenied of which it is known whose name was used. It is for the log: who sent the credential is told
// nothing of it.
type DeniedError struct{ Name string }

// Error says the same for every name.
func (*DeniedError) Error() string { return ErrDenied.Error() }

// Is makes it an ErrDenied.
func (*DeniedError) Is(err error) bool { return err == ErrDenied }

// Credential is what the app sent to say who it is. Without a user the secret is a token. A proof takes the secret's place.
type Credential struct {
	User   string
	Secret sms.Hidden
	Proof  Proof
	// Doubted reports whether even a right secret of a user will not count, nil if all do. To find it right takes as long then
	// as to find it wrong.
	Doubted func(user string) bool
}

func (c *Credential) doubts(u *User) bool { return u != nil && c.Doubted != nil && c.Doubted(u.Name) }

// tries tries the secret, and unless that decides, what it was if its blanks are + that a template lost.
func (c *Credential) tries(try func(secret string) (*User, error)) (*User, error) {
	secret := c.Secret.Reveal()
	user, err := try(secret)
	if !strings.Contains(secret, " ") || !errors.Is(err, ErrDenied) && !c.doubts(user) {
		return user, err
	}
	if again, err := try(strings.ReplaceAll(secret, " ", "+")); user == nil {
		return again, err
	}
	return user, err
}

// Proof is what only somebody who knows the password can make, such as an answer of HTTP Digest.
type Proof interface {
	// ProvenBy reports whether the password made it.
	ProvenBy(password string) bool
	// ProvenByHA1 reports whether a password made it of which only the hash of user:realm:password is known, in lower-case
	// hexadecimal.
	ProvenByHA1(ha1 string) bool
}

// Finder is implemented by Users that know them by name alone, for whoever was authenticated elsewhere.
type Finder interface {
	// Find returns the user that an app may call so, nil if there is nobody, or ErrUnavailable.
	Find(name string) (*User, error)
}

// Provable is implemented by Users of whom some have no secret that a Proof can be held against.
type Provable interface {
	// Unprovable is how many these are, negative if they are all.
	Unprovable() int
}

// User is somebody who may send.
type User struct {
	Name string
	// Numbers are those he may send from; the first is the default. Without any the provider chooses.
	Numbers []sms.Number
	// Groups are those that he is in.
	Groups []string
	// Region is the country of numbers that he writes without one, empty for what is everybody's.
	Region string
	// Limits are how much he may send, nil for what everybody may.
	Limits []limit.Rule
	// Destinations are where he may send to, nil for what everybody may.
	Destinations *destination.Policy
}

// May reports whether the user may send from the number.
func (u *User) May(n sms.Number) bool {
	for _, own := range u.Numbers {
		if own == n {
			return true
		}
	}
	return false
}

// Users authenticates. Implementations fail closed: a credential is right or the error is not nil.
type Users interface {
	// Authenticate returns the user, ErrDenied for a wrong credential, ErrUnavailable or the context's error.
	Authenticate(ctx context.Context, c Credential) (*User, error)
}

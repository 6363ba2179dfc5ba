package users

import (
	"cmp"
	"context"
	"errors"
	"strings"
)

// Chain tries several directories in order. If a directory is unavailable, the next one is not
// tried: the unavailable directory may deny the user for a reason.
type Chain []Users

// Authenticate implements Users. Every directory checks a credential that is wrong or locked out,
// so that the response time does not reveal which directory contains the name. If a directory is
// unavailable after another one has denied the credential, the error joins both errors.
func (c Chain) Authenticate(ctx context.Context, credential Credential) (*User, error) {
	var denied error
	var doubted *User
	for _, u := range c {
		user, err := u.Authenticate(ctx, credential)
		switch {
		case err == nil && doubted == nil && !credential.lockedOut(user):
			return user, nil
		case err == nil:
			doubted, err = cmp.Or(doubted, user), &DeniedError{Name: user.Name}
		case !errors.Is(err, ErrDenied), errors.Is(err, ErrUnavailable):
			return nil, errors.Join(err, denied)
		}
		if named := (*DeniedError)(nil); denied == nil || denied == ErrDenied || errors.As(err, &named) {
			denied = err
		}
	}
	if doubted != nil {
		return doubted, nil
	}
	return nil, cmp.Or(denied, ErrDenied)
}

// Find implements Finder. Unlike names from an app, the name is complete: johndow of another domain
// is another user. Blanks around it and the case of the domain make no difference.
func (c Chain) Find(name string) (*User, error) {
	for _, u := range c {
		if finder, ok := u.(Finder); ok {
			user, err := finder.Find(name)
			if err != nil || user != nil && foldDomain(user.Name) == foldDomain(strings.TrimSpace(name)) {
				return user, err
			}
		}
	}
	return nil, nil
}

package users

import (
	"cmp"
	"context"
	"errors"
	"strings"
)

// Chain asks several in turn. What one cannot answer at all is not asked of the next: he may be denied there for a reason.
type Chain []Users

// Authenticate implements Users. A credential that is wrong or doubted is tried by all, so that it takes the same work whoever
// knows the name. If one gives no answer, and it was wrong or doubted for one before, the error is both.
func (c Chain) Authenticate(ctx context.Context, credential Credential) (*User, error) {
	var denied error
	var doubted *User
	for _, u := range c {
		user, err := u.Authenticate(ctx, credential)
		switch {
		case err == nil && doubted == nil && !credential.doubts(user):
			return user, nil
		case err == nil:
			doubted, err = cmp.Or(doubted, user), &DeniedError{user.Name}
		case !errors.Is(err, ErrDenied), errors.Is(err, ErrUnavailable):
			return nil, errors.Join(err, denied)
		}
		if named := (*DeniedError)(nil); denied == nil || errors.As(err, &named) {
			denied = err
		}
	}
	if doubted != nil {
		return doubted, nil
	}
	return nil, cmp.Or(denied, ErrDenied)
}

// Find implements Finder. Unlike an app, whoever says the name means it whole: johndow of another domain is another person.
// Blanks around it and the case of the domain make no difference.
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

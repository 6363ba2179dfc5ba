package users

import (
	"cmp"
	"context"
	"errors"
)

// Chain asks several in turn. What one cannot answer at all is not asked of the next: he may be denied there for a reason.
type Chain []Users

// Authenticate implements Users. A credential that is wrong or doubted is tried by all, so that it takes the same work whoever
// knows the name.
func (c Chain) Authenticate(ctx context.Context, credential Credential) (*User, error) {
	denied := ErrDenied
	var doubted *User
	for _, u := range c {
		user, err := u.Authenticate(ctx, credential)
		switch {
		case err == nil && (doubted != nil || credential.doubts(user)):
			doubted = cmp.Or(doubted, user)
		case err == nil || !errors.Is(err, ErrDenied):
			return user, err
		}
		if named := (*DeniedError)(nil); errors.As(err, &named) {
			denied = err
		}
	}
	if doubted != nil {
		return doubted, nil
	}
	return nil, denied
}

// Find implements Finder.
func (c Chain) Find(name string) (*User, error) {
	for _, u := range c {
		if finder, ok := u.(Finder); ok {
			if user, err := finder.Find(name); user != nil || err != nil {
				return user, err
			}
		}
	}
	return nil, nil
}

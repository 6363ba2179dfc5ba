package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

func init() {
	caddy.RegisterModule(UserFile{})
	caddy.RegisterModule(UserService{})
	caddy.RegisterModule(UserJWT{})
	caddy.RegisterModule(UserSQL{})
}

// directory is what guests in the namespace http.acrobits_sms.users are: users that an operator has elsewhere.
// Guests can only be of this package.
type directory interface {
	// open begins to answer.
	open(read readUser) (users.Users, error)
}

// readUser makes an account of a user as he is written, and says which of his secrets are weak.
type readUser func(*User) (account users.Account, weak []string, err error)

// userOf is a user as others tell of him.
func userOf(a users.Answer) *User {
	return &User{Name: a.User, From: a.From, Groups: a.Groups, Region: a.Region, Limits: a.Limits, Allow: a.Allow, Deny: a.Deny}
}

// discreet leaves out what stands where a number or a destination should: in data from elsewhere it may be a secret that
// slipped into the wrong place.
func discreet(err error) error {
	var option *optionError
	if errors.As(err, &option) {
		return fmt.Errorf("what stands in %s cannot be read: write %s", option.name, howToWrite[option.name])
	}
	return err
}

// howToWrite says what to write for each option.
var howToWrite = map[string]string{
	"region":        "two capital letters such as US",
	"limits":        "lines such as 5 messages per minute",
	"from":          "numbers as +15551234567, or others with a region",
	"allow or deny": "countries such as GB, beginnings such as +4420, or words such as short_codes",
}

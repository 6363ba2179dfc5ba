package caddymodule

import (
	"errors"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

func init() {
	caddy.RegisterModule(UserFile{})
	caddy.RegisterModule(UserService{})
	caddy.RegisterModule(UserJWT{})
	caddy.RegisterModule(UserSQL{})
}

// directory is implemented by the modules of the namespace http.acrobits_sms.users, which look up
// users outside of the configuration. Only this package can implement it.
type directory interface {
	// open returns the users. It is called once, after Provision.
	open(read accountReader) (users.Users, error)
}

// accountReader returns the account of a configured user, and the options of weak secrets.
type accountReader func(*User) (account users.Account, weak []string, err error)

// readWithoutNumber returns the account of a user of a database, where telephone systems store any
// text as caller ID. A user with an unusable number can log in, but every message is refused with
// the reason.
func readWithoutNumber(read accountReader, u *User) (users.Account, error) {
	account, _, err := read(u)
	var from fromError
	if !errors.As(err, &from) {
		return account, err
	}
	without := *u
	without.From, without.Allow = nil, append([]string{"all"}, u.Allow...) // else no country may be allowed
	account, _, err = read(&without)
	account.NumberProblem = from.Error()
	return account, err
}

// userFromAnswer returns the user that a service, a token or a database describes.
func userFromAnswer(a users.Answer) *User {
	u := &User{
		Name: a.User, From: a.From, Groups: a.Groups, Region: a.Region,
		Limits: a.Limits, Allow: a.Allow, Deny: a.Deny, Receive: a.Receive,
	}
	if len(u.Receive) == 0 { // from may be a caller ID that others have too
		u.Receive = []string{receiveOff}
	}
	return u
}

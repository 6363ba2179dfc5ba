package gateway

import (
	"errors"
	"net/netip"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// authenticate finds the user who sends. A sender without a valid credential always gets the same
// refusal, so that it does not reveal what is wrong.
func (s *send) authenticate() error {
	s.CredentialCheckedAt = time.Now()
	if s.req.UpstreamUser != "" {
		return s.findUpstreamUser()
	}
	answered := s.Digest != nil && !s.req.DigestResponse.Empty()
	if s.req.Secret.Empty() && !answered {
		return refuseBecause(s.req.UnknownParameters(), sms.Unauthorized, sms.NoCredential)
	}
	queue := s.LoginQueues.Of(s.req.Network)
	if !queue.Acquire(s.ctx) {
		return s.refuseUnchecked()
	}
	defer queue.Release()
	s.CredentialCheckedAt = time.Now()
	if wait := s.Guard.RetryAfter(s.req.Network, s.CredentialCheckedAt); wait > 0 {
		refusal := sms.RefuseAs(sms.Limited, sms.LockedOut)
		refusal.RetryAfter = wait
		return refusal
	}
	user, err := s.identify(answered)
	if err == nil && s.login(user) {
		return nil
	}
	return s.deny(user, err)
}

// findUpstreamUser accepts a user whom an earlier handler has authenticated. The name must match a
// user exactly.
func (s *send) findUpstreamUser() error {
	user, err := s.ByName.Find(s.req.UpstreamUser)
	switch {
	case err != nil:
		return sms.RefuseAs(sms.Internal, sms.UsersUnavailable)
	case user == nil:
		s.ClaimedUser = s.req.UpstreamUser
		return sms.Refuse(sms.Unauthorized)
	}
	s.User = user
	return nil
}

// deny counts a failed login, and returns the refusal. If the credential is right but the user is
// locked for the network, user is set and err is nil. The sender must not be able to tell this case
// from a wrong credential.
func (s *send) deny(user *users.User, err error) error {
	wrong := errors.Is(err, users.ErrDenied) // other directories may have been unavailable or busy
	guessed := ""                            // user name whose password was wrong
	var denied *users.DeniedError
	switch {
	case err == errStale:
		return sms.RefuseAs(sms.Unauthorized, sms.StaleAnswer)
	case err == nil:
		s.ClaimedUser, wrong = user.Name, true
	case errors.As(err, &denied):
		s.ClaimedUser, guessed = denied.Name, denied.Name
	}
	detail := s.whyDenied(denied, err)
	if wrong {
		if guessed != "" {
			guessed = s.lockoutName(guessed)
		}
		s.Guard.RecordFailure(s.req.Network, guessed, time.Now())
	}
	switch {
	case errors.Is(err, users.ErrBusy) && !errors.Is(err, users.ErrUnavailable):
		if !wrong { // else it is wrong for some directories, and unchecked by others
			return s.refuseUnchecked()
		}
		return tooBusy()
	case !wrong || errors.Is(err, users.ErrUnavailable): // or an error that no directory should return
		return refuseBecause(detail, sms.Internal, sms.UsersUnavailable)
	}
	return refuseBecause(detail, sms.Unauthorized, "")
}

// whyDenied returns a detail for the operator if the app's settings are wrong, not the password.
func (s *send) whyDenied(denied *users.DeniedError, err error) string {
	switch {
	case errors.Is(err, users.ErrNoDomain):
		return "the app sent no domain, the query asks for one"
	case !s.req.Bearer:
	case denied != nil && denied.NoToken:
		return "the app sent a Bearer token, and the user has only a password"
	case s.req.User == "":
		return "no user has the Bearer token that the app sent; a password needs a user name beside it"
	}
	return ""
}

// login admits a user with a valid credential, unless the user is locked for the network.
func (s *send) login(user *users.User) bool {
	name, network := s.lockoutName(user.Name), s.req.Network
	s.knowsNetwork(user.Name) // loads a login from before a restart into Guard
	ok, save := s.Guard.Admit(network, name, time.Now())
	if !ok {
		return false
	}
	s.User, s.LoggedIn = user, true
	if save {
		s.saveLogin = func(stored bool) {
			if !stored || s.journal.SaveLogin(name, network, s.Message.Received) != nil {
				s.Guard.MarkUnsaved(network, name) // the next message tries to save it again
			}
		}
	}
	return true
}

// refuseUnchecked refuses a credential without a check, because too many others are being checked.
// The refusal counts as half a wrong credential.
func (s *send) refuseUnchecked() error {
	s.Guard.RecordUnchecked(s.req.Network, time.Now())
	return tooBusy()
}

// tooBusy is the refusal while too many credentials are being checked.
func tooBusy() error {
	refusal := sms.Refuse(sms.Limited)
	refusal.RetryAfter = retryLater
	return refusal
}

// lockoutName is the name under which the lockout counts a user's failures.
func (g *Gateway) lockoutName(user string) string { return string(g.BillingKey[:]) + user }

// lockoutName is that of the gateway, made once for each user that a request names in a row.
func (s *send) lockoutName(user string) string {
	if s.lockoutKey == "" || s.lockoutUser != user {
		s.lockoutUser, s.lockoutKey = user, s.Gateway.lockoutName(user)
	}
	return s.lockoutKey
}

// lockedOut reports whether a user is locked for the network of the request.
func (s *send) lockedOut(user string) bool {
	return !s.knowsNetwork(user) && s.Guard.LockedOut(s.req.Network, s.lockoutName(user), time.Now())
}

func (s *send) knowsNetwork(user string) bool {
	return s.knowsName(s.lockoutName(user), s.req.Network)
}

// KnowsNetwork reports whether a user logged in from a network in the last 30 days. It includes
// logins before a restart.
func (g *Gateway) KnowsNetwork(user string, network netip.Prefix) bool {
	return g.knowsName(g.lockoutName(user), network)
}

func (g *Gateway) knowsName(name string, network netip.Prefix) bool {
	return g.Guard.IsKnown(network, name, time.Now(), func() time.Time { return g.Journal.LastLogin(name, network) })
}

// errStale says that an answer is to a challenge that is too old, or not ours. Nobody learns
// whether the answer is right, since that is not counted.
var errStale = errors.New("stale")

// identify finds the user by the credential in the request. If the request has both a Digest
// response and a password, it checks the Digest response.
func (s *send) identify(answered bool) (*users.User, error) {
	c := users.Credential{User: s.req.User, Secret: s.req.Secret, From: s.req.Network, LockedOut: s.lockedOut, KnownNetwork: s.knowsNetwork}
	if !answered {
		return s.Users.Authenticate(s.ctx, c)
	}
	answer, err := s.Digest.ParseResponse(s.req.DigestResponse.Reveal(), s.req.Method, s.req.Target, s.Message.Received)
	switch {
	case err != nil:
		return nil, users.ErrDenied
	case answer.Stale:
		return nil, errStale
	}
	c.User, c.Proof = answer.User, answer
	return s.Users.Authenticate(s.ctx, c)
}

package caddymodule

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// authenticate finds out who sends. Whoever does not prove it is told the same, whatever is wrong.
func (x *exchange) authenticate() error {
	x.looked = time.Now()
	if x.Authenticated {
		if name := x.inFront(); name != "" {
			user, err := x.byName.Find(name)
			switch {
			case err != nil:
				return sms.RefuseAs(sms.Internal, sms.UsersUnknown)
			case user == nil:
				x.claimed = name
				return sms.Refuse(sms.Unauthorized)
			}
			x.user = user
			return nil
		}
	}
	answered := x.digest != nil && !x.request.Answer.Empty()
	if x.request.Secret.Empty() && !answered {
		return sms.RefuseAs(sms.Unauthorized, sms.NoCredential)
	}
	from := x.network()
	line := x.turns.Of(from)
	if !line.Take(x.r.Context()) {
		return crowded()
	}
	defer line.Done()
	x.looked = time.Now()
	if x.guard != nil {
		if wait := x.guard.Blocked(from, x.looked); wait > 0 {
			refusal := sms.RefuseAs(sms.Limited, sms.LockedOut)
			refusal.RetryAfter = wait
			return refusal
		}
	}
	user, err := x.identify(answered)
	if err == nil && (x.guard == nil || x.guard.Admit(from, x.lockName(user.Name), time.Now())) {
		x.user = user
		return nil
	}
	wrong := errors.Is(err, users.ErrDenied) // perhaps not for all who were to be asked
	guessed := ""                            // whose password was wrong
	var denied *users.DeniedError
	switch {
	case err == errStale:
		return sms.RefuseAs(sms.Unauthorized, sms.StaleAnswer)
	case err == nil: // right, but while others guess it is not believed, and the network can tell in no way
		x.claimed, wrong = user.Name, true
	case errors.As(err, &denied):
		x.claimed, guessed = denied.Name, denied.Name
	}
	if wrong && x.guard != nil {
		if guessed != "" {
			guessed = x.lockName(guessed)
		}
		x.guard.Failed(from, guessed, time.Now())
	}
	switch {
	case errors.Is(err, users.ErrUnavailable):
		return sms.RefuseAs(sms.Internal, sms.UsersUnknown)
	case !wrong, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled): // too many others are being checked
		return crowded()
	}
	return sms.Refuse(sms.Unauthorized)
}

// crowded says that too many others are being checked.
func crowded() error {
	refusal := sms.Refuse(sms.Limited)
	refusal.RetryAfter = retryLater
	return refusal
}

// inFront is the user whom a handler in front of this one has authenticated.
func (x *exchange) inFront() string {
	repl, _ := x.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl == nil {
		return ""
	}
	name, _ := repl.GetString("http.auth.user.id")
	return name
}

// lockName tells users of one name apart whose messages others pay for, as limits do.
func (x *exchange) lockName(user string) string { return string(x.payer[:]) + user }

// doubted reports whether a user is locked for whoever sends this.
func (x *exchange) doubted(user string) bool {
	return x.guard != nil && x.guard.Doubts(x.network(), x.lockName(user), time.Now())
}

// errStale says that an answer is to a challenge that is too old, or not ours. Whether it is right was not looked at, so that
// nobody can find out without its being counted.
var errStale = errors.New("stale")

// identify finds the user by what the app sent. An answer to a challenge comes before a password.
func (x *exchange) identify(answered bool) (*users.User, error) {
	c := users.Credential{User: x.request.User, Secret: x.request.Secret, Doubted: x.doubted}
	if !answered {
		return x.users.Authenticate(x.r.Context(), c)
	}
	method, _, target := x.original()
	answer, err := x.digest.Read(x.request.Answer.Reveal(), method, target, x.message.Received)
	switch {
	case err != nil:
		return nil, users.ErrDenied
	case answer.Stale:
		return nil, errStale
	}
	c.User, c.Proof = answer.User, answer
	return x.users.Authenticate(x.r.Context(), c)
}

// network is where the request comes from, by Caddy's rules for trusted proxies.
func (x *exchange) network() netip.Prefix {
	ip, _ := caddyhttp.GetVar(x.r.Context(), caddyhttp.ClientIPVarKey).(string)
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}
	}
	return lockout.NetworkOf(a)
}

// challenge asks for an answer of HTTP Digest, if there was no credential or the answer was too old.
func (x *exchange) challenge(r sms.Receipt) {
	if x.isChallenge(r) {
		x.w.Header()["Www-Authenticate"] = x.digest.Challenges(r.Refusal.Variant == sms.StaleAnswer, time.Now())
	}
}

func (x *exchange) isChallenge(r sms.Receipt) bool {
	return x.digest != nil && r.Refusal != nil && (r.Refusal.Variant == sms.NoCredential || r.Refusal.Variant == sms.StaleAnswer)
}

// waitForStep waits, so that the time of an answer does not tell what was wrong: from when a credential was looked at, since before
// that the sender himself says how long it takes. A stranger who asks with no credential learns nothing that stealth hides.
func (x *exchange) waitForStep(r sms.Receipt) {
	if x.step <= 0 || x.Stealth && r.Refusal.Variant == sms.NoCredential {
		return
	}
	timer := time.NewTimer(x.step - time.Since(x.looked)%x.step)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	}
}

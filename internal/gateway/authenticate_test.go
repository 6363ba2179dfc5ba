package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	httpdigest "github.com/icholy/digest"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/digest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A credential proves the user, or nothing is sent and nothing is claimed.
func TestAuthenticate(t *testing.T) {
	denying := func(err error) func(*fixture) {
		return func(f *fixture) { f.users.instead = func(users.Credential) (*users.User, error) { return nil, err } }
	}
	bearer := func(r *Request) { r.Bearer = true }
	for name, c := range map[string]struct {
		set     func(*fixture)
		request changes
		want    string
		user    string // or who is claimed to send, if it is refused
		login   bool
		detail  string
	}{
		"a right password proves the user":                {want: "accepted", user: "ann", login: true},
		"a request without a credential is asked for one": {request: changes{without}, want: "refused unauthorized.no_credential"},
		"a name alone is no credential": {request: changes{func(r *Request) { r.Secret = sms.Hidden{} }},
			want: "refused unauthorized.no_credential"},
		"an answer is no credential while digest is off": {request: changes{without, func(r *Request) { r.DigestResponse = sms.Hide("Digest x") }},
			want: "refused unauthorized.no_credential"},
		"a wrong password tells the operator whose it is": {request: changes{guessing}, want: "refused unauthorized", user: "ann"},
		"an unknown name may be anything and is not told": {request: changes{by("zoe")}, want: "refused unauthorized"},
		"a token where the user has a password has a hint": {denying(&users.DeniedError{Name: "ann", NoToken: true}), changes{bearer},
			"refused unauthorized", "ann", false, "the app sent a Bearer token, and the user has only a password"},
		"a token of nobody has a hint": {request: changes{by(""), bearer},
			want: "refused unauthorized", detail: "no user has the Bearer token that the app sent; a password needs a user name beside it"},
		"a wrong token of a user has none": {request: changes{guessing, bearer},
			want: "refused unauthorized", user: "ann"},
		"a name that lacks its domain has a hint": {denying(users.ErrNoDomain), nil,
			"refused unauthorized", "", false, "the app sent no domain, the query asks for one"},
		"users that cannot be asked admit nobody": {set: denying(users.ErrUnavailable), want: "refused internal.users_unknown"},
		"so do they if others find the credential wrong": {set: denying(errors.Join(users.ErrDenied, users.ErrUnavailable)),
			want: "refused internal.users_unknown"},
		"too many at once are turned away": {set: denying(users.ErrBusy), want: "refused limited"},
		"so are they if others find the credential wrong": {set: denying(errors.Join(&users.DeniedError{Name: "ann"}, users.ErrBusy)),
			want: "refused limited", user: "ann"},
		"an unexpected error admits nobody":          {set: denying(errors.New("x")), want: "refused internal.users_unknown"},
		"an upstream user needs no credential":       {request: changes{without, upstream("ann")}, want: "accepted", user: "ann"},
		"an upstream user comes before a credential": {request: changes{upstream("bob")}, want: "accepted", user: "bob"},
		"an upstream user who is unknown is refused": {request: changes{upstream("zoe")},
			want: "refused unauthorized", user: "zoe"},
		"an upstream user is refused if nobody can be found": {func(f *fixture) { f.users.away = true }, changes{upstream("ann")},
			"refused internal.users_unknown", "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if c.set != nil {
				c.set(f)
			}
			sent := 0
			if c.want == "accepted" {
				sent = 1
			}
			r := f.send(t, c.request...)
			f.check(t, "the request", r, c.want, sent)
			user := r.ClaimedUser
			if r.User != nil {
				user = r.User.Name
			}
			if user != c.user || (r.User != nil) != (sent == 1) || r.LoggedIn != c.login || r.Claimed != (sent == 1) || r.Result.Detail != c.detail {
				t.Errorf("user %v, claimed to be %q, logged in %t, message claimed %t, detail %q", r.User, r.ClaimedUser, r.LoggedIn, r.Claimed, r.Result.Detail)
			}
			if c.want == "refused limited" && r.Result.Refusal.RetryAfter != time.Minute {
				t.Errorf("try again after %s", r.Result.Refusal.RetryAfter)
			}
			if r.CredentialCheckedAt.IsZero() || r.Message.ID == "" || r.Message.Reference != r.Message.ID[:8] {
				t.Errorf("checked at %s, id %q, reference %q", r.CredentialCheckedAt, r.Message.ID, r.Message.Reference)
			}
		})
	}
}

// answer makes a request that answers a challenge with a password.
func answer(t *testing.T, challenge, password string) func(*Request) {
	t.Helper()
	c, err := httpdigest.ParseChallenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	made, err := httpdigest.Digest(c, httpdigest.Options{Method: "POST", URI: "/send", Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return func(r *Request) { without(r); r.DigestResponse = sms.Hide(made.String()) }
}

func TestDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		realm, err := digest.NewRealm("sms.example.com")
		if err != nil {
			t.Fatal(err)
		}
		old := realm.Challenges(false, time.Now())[0]
		time.Sleep(time.Hour)
		fresh := realm.Challenges(false, time.Now())[0]
		elsewhere := func(r *Request) { r.Target = "/other" }
		for name, c := range map[string]struct {
			request changes
			want    string
		}{
			"a right answer proves the user":              {changes{answer(t, fresh, "ann-password")}, "accepted"},
			"an answer comes before a password":           {changes{answer(t, fresh, "guess"), func(r *Request) { by("ann")(r) }}, "refused unauthorized"},
			"a wrong answer is refused":                   {changes{answer(t, fresh, "guess")}, "refused unauthorized"},
			"an answer counts for its address alone":      {changes{answer(t, fresh, "ann-password"), elsewhere}, "refused unauthorized"},
			"a right answer that is stale is asked again": {changes{answer(t, old, "ann-password")}, "refused unauthorized.stale_answer"},
			"a wrong answer that is stale, too":           {changes{answer(t, old, "guess")}, "refused unauthorized.stale_answer"},
			"a password is accepted as well":              {nil, "accepted"},
			"no credential is asked for one":              {changes{without}, "refused unauthorized.no_credential"},
		} {
			f := newFixture(t)
			f.Digest, f.Guard = realm, lockout.NewGuard(lockout.Settings{Count: 1, Window: time.Minute})
			for range 3 { // a wrong one is counted, a stale one is not
				r := f.send(t, c.request...)
				if c.want == "refused unauthorized" && said(r) == "refused limited.locked_out" {
					break
				}
				if got := said(r); got != c.want || r.Result.Outcome == sms.Refused && r.User != nil {
					t.Errorf("%s: %s, want %s", name, got, c.want)
				}
			}
			locked := f.Guard.RetryAfter(home, time.Now()) > 0
			if locked != (c.want == "refused unauthorized") {
				t.Errorf("%s: locked out %t", name, locked)
			}
		}
	})
}

func TestLockout(t *testing.T) {
	guarded := func(t *testing.T, count int) *fixture {
		f := newFixture(t)
		f.Guard = lockout.NewGuard(lockout.Settings{Count: count, Window: 5 * time.Minute})
		return f
	}
	t.Run("a network is locked out before the next credential is looked at", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := guarded(t, 2)
			for range 3 {
				f.check(t, "guess", f.send(t, guessing), "refused unauthorized", 0)
			}
			r := f.send(t)
			f.check(t, "right", r, "refused limited.locked_out", 0)
			if wait := r.Result.Refusal.RetryAfter; wait != 5*time.Minute || f.users.asked != 3 {
				t.Errorf("try again after %s, %d credentials were looked at", wait, f.users.asked)
			}
			f.check(t, "another network", f.send(t, from(elsewhere(1))), "accepted", 1)
			f.check(t, "an upstream user", f.send(t, upstream("ann")), "accepted", 2)
			time.Sleep(5 * time.Minute)
			f.check(t, "after the wait", f.send(t), "accepted", 3)
		})
	})
	for name, c := range map[string]struct {
		request func(*Request)
		err     error
		times   int
		locked  bool
	}{
		"no credential is no guess":                       {without, nil, 9, false},
		"users that cannot be asked are no guess":         {guessing, users.ErrUnavailable, 9, false},
		"one guess too many locks out":                    {guessing, users.ErrDenied, 2, true},
		"not one less":                                    {guessing, users.ErrDenied, 1, false},
		"a guess counts though others could not be asked": {guessing, errors.Join(users.ErrDenied, users.ErrUnavailable), 2, true},
		"a credential turned away counts by half":         {guessing, users.ErrBusy, 3, true},
		"and no more":                                     {guessing, users.ErrBusy, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := guarded(t, 1)
			f.users.instead = func(users.Credential) (*users.User, error) { return nil, c.err }
			for range c.times {
				f.send(t, c.request)
			}
			f.users.instead = nil
			if locked := said(f.send(t)) == "refused limited.locked_out"; locked != c.locked {
				t.Errorf("locked out %t", locked)
			}
		})
	}
	t.Run("a user is locked outside known networks alone and not told so", func(t *testing.T) {
		f := guarded(t, 10)
		f.check(t, "at home", f.send(t), "accepted", 1)
		for i := range 21 {
			f.send(t, from(elsewhere(i)), guessing)
		}
		f.check(t, "at home", f.send(t), "accepted", 2)
		r := f.send(t, from(elsewhere(99)))
		f.check(t, "elsewhere", r, "refused unauthorized", 2)
		if r.ClaimedUser != "ann" || r.User != nil {
			t.Errorf("user %v, claimed %q", r.User, r.ClaimedUser)
		}
		f.check(t, "a user with another name", f.send(t, by("bob"), from(elsewhere(99))), "accepted", 3)
		other := f.beside(func(g *Gateway) { g.BillingKey = [32]byte{1} })
		other.check(t, "of the same name whose messages others pay for", other.send(t, from(elsewhere(99))), "accepted", 4)
	})
	t.Run("a known network stays known after a restart", func(t *testing.T) {
		f := guarded(t, 10)
		f.send(t).SaveLogin()
		if !f.KnowsNetwork("ann", home) || f.KnowsNetwork("ann", elsewhere(1)) || f.KnowsNetwork("bob", home) {
			t.Error("the wrong networks are known")
		}
		f.Guard = lockout.NewGuard(lockout.Default)
		for i := range 21 {
			f.send(t, from(elsewhere(i)), guessing)
		}
		f.check(t, "at home", f.send(t), "accepted", 2)
		f.check(t, "elsewhere", f.send(t, from(elsewhere(99))), "refused unauthorized", 2)
	})
	t.Run("a login is saved with the next message if this one could not", func(t *testing.T) {
		f := guarded(t, 10)
		f.send(t, to("12")).SaveLogin() // which has not shown that the journal can be written
		if !f.journal.LastLogin(f.lockoutName("ann"), home).IsZero() {
			t.Error("it is saved at once")
		}
		f.send(t).SaveLogin()
		if f.journal.LastLogin(f.lockoutName("ann"), home).IsZero() {
			t.Error("it is not saved")
		}
	})
	t.Run("a credential whose turn does not come is turned away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := guarded(t, 10)
			f.users.instead = func(users.Credential) (*users.User, error) {
				time.Sleep(time.Minute)
				return nil, users.ErrDenied
			}
			for range 4 {
				go f.Send(t.Context(), message(guessing))
			}
			synctest.Wait()
			began := time.Now()
			f.check(t, "behind four", f.send(t), "refused limited", 0)
			if waited := time.Since(began); waited != 10*time.Second {
				t.Errorf("it waited %s", waited)
			}
			gone, hangUp := context.WithCancel(t.Context())
			hangUp()
			f.check(t, "hung up", f.sendUnheard(t, gone), "refused limited", 0)
			time.Sleep(time.Minute)
			f.users.instead = nil
			f.check(t, "later", f.send(t), "accepted", 1)
		})
	})
}

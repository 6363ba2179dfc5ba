package caddymodule

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// reply writes and flushes the reply to the app.
func (x *sendRequest) reply() (s sent) {
	response := x.response
	r := &response.Result
	if r.Cause() == sms.Unauthorized || r.Refusal != nil && r.Refusal.Variant == sms.UsersUnavailable {
		x.delayDenial()
	}
	if x.isChallenge() {
		x.w.Header()["Www-Authenticate"] = x.gateway.Digest.Challenges(r.Refusal.Variant == sms.StaleAnswer, time.Now())
	}
	if response.User == nil && !x.Stealth {
		x.w.Header().Del("Server") // hide the software from unauthenticated clients
	}
	if x.body.Unread() && x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close") // else net/http reads the rest of the body before it sends the reply
	}
	sentence := x.sentence()
	x.replied = replying
	var err error
	switch {
	case r.Outcome == sms.Accepted:
		err = x.accept()
	case x.Stealth && response.User == nil:
		x.w.WriteHeader(http.StatusNotFound)
	default:
		err = x.replier.Refuse(x.w, x.Form, r.Refusal.Cause.Status(), sentence, r.Refusal.RetryAfter)
	}
	x.replied = hasReplied
	// Flush last: an app that closes the connection after reading the reply has received it.
	s.acknowledged = err == nil && x.r.Context().Err() == nil && x.flush() == nil
	s.took = time.Since(x.received)
	return s
}

// sentence returns the message that the user of the app sees. It is empty if the message was
// accepted.
func (x *sendRequest) sentence() string {
	switch r := &x.response.Result; {
	case r.Outcome == sms.Accepted:
		return ""
	case r.Refusal.Words != "":
		return r.Refusal.Words
	default:
		return x.sentences.lookup(x.r, r.Refusal, x.response.Message.Reference)
	}
}

// flush sends the reply before the journal, the log and subscribers to events, so that the app need
// not wait for them. Without a user there is nothing to wait for.
func (x *sendRequest) flush() error {
	if x.response.User == nil {
		return nil
	}
	err := http.NewResponseController(x.w).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// isChallenge reports whether the reply is a challenge of HTTP Digest: the request had no
// credential, or an answer to an expired challenge.
func (x *sendRequest) isChallenge() bool { return x.challenges(&x.response.Result) }

func (h *Handler) challenges(r *sms.Result) bool {
	return h.gateway.Digest != nil && r.Refusal != nil &&
		(r.Refusal.Variant == sms.NoCredential || r.Refusal.Variant == sms.StaleAnswer)
}

// denialDelay rounds the response time of failed logins up to multiples of 250 ms, so that it does
// not reveal which user names exist.
const denialDelay = 250 * time.Millisecond

// delayDenial waits until the response time of a failed login is a multiple of denialDelay. The
// time starts with the check of the credential: before that, the client decides how long the
// request takes. Requests without a credential are not delayed in stealth mode: their reply must
// look like any other 404.
func (x *sendRequest) delayDenial() {
	if x.denialDelay <= 0 || x.Stealth && x.response.Result.Refusal.Variant == sms.NoCredential {
		return
	}
	timer := time.NewTimer(x.denialDelay - time.Since(x.response.CredentialCheckedAt)%x.denialDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	}
}

package delivery

import "github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"

// Log stores how much of a message was sent.
type Log interface {
	// Sent returns the adapter that sent parts of the message before, the split that it used, and
	// the number of accepted parts. The number is 0 if the message is new.
	Sent() (adapter string, split sms.Split, accepted int)
	// ProviderID is the provider's id of the first accepted part, empty if that id is private.
	ProviderID() string
	// Part stores that one more part was accepted.
	Part(adapter, id string, split sms.Split)
	// Attempt is called before each request to a provider. After the call, a crash leaves the
	// outcome of the message unknown.
	Attempt()
	// PrivateID is the provider's id of the first accepted part, if only the phone may learn it.
	// PrivatePart is Part with such an id.
	PrivateID() sms.Hidden
	PrivatePart(adapter string, id sms.Hidden, split sms.Split)
}

// Untracked is the log of a message that is sent once and never resumed.
type Untracked struct {
	id        *sms.Result
	attempted bool
}

// Attempt implements Log.
func (u *Untracked) Attempt() { u.attempted = true }

// Attempted reports whether Attempt was called.
func (u *Untracked) Attempted() bool { return u.attempted }

// Sent implements Log.
func (u *Untracked) Sent() (adapter string, split sms.Split, accepted int) { return "", split, 0 }

// ProviderID implements Log.
func (u *Untracked) ProviderID() string { return u.id.ID }

// PrivateID implements Log.
func (u *Untracked) PrivateID() sms.Hidden { return u.id.PrivateID }

// Part implements Log.
func (u *Untracked) Part(_, id string, _ sms.Split) {
	if u.id == nil {
		u.id = &sms.Result{ID: id}
	}
}

// PrivatePart implements Log.
func (u *Untracked) PrivatePart(_ string, id sms.Hidden, _ sms.Split) {
	if u.id == nil {
		u.id = &sms.Result{PrivateID: id}
	}
}

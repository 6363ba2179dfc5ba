package gateway

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Fetch authenticates a user and returns the messages after the cursors. The page is empty if the
// request is refused.
func (g *Gateway) Fetch(ctx context.Context, req Request, received, sent string) (r *Response, page inbox.Page) {
	r = g.useInbox(ctx, req, func(b *inbox.Inbox, user *users.User) (err error) {
		page, err = b.Fetch(&inbox.Poll{
			User: user.Name, Numbers: values(user.Receive), Device: req.InstallID, Received: received, Sent: sent,
		})
		return err
	})
	return r, page
}

// AddDevice authenticates a user and adds a device for pushes. A report without a token only
// authenticates.
func (g *Gateway) AddDevice(ctx context.Context, req Request, d inbox.Device) *Response {
	return g.useInbox(ctx, req, func(b *inbox.Inbox, user *users.User) error {
		if err := b.Authenticated(user.Name, values(user.Receive)); err != nil || d.Token.Empty() {
			return err
		}
		d.User = user.Name
		return b.AddDevice(&d)
	})
}

// RemoveDevice authenticates a user and removes a device.
func (g *Gateway) RemoveDevice(ctx context.Context, req Request, selector string) *Response {
	return g.useInbox(ctx, req, func(b *inbox.Inbox, user *users.User) error {
		return b.RemoveDevice(user.Name, selector)
	})
}

// useInbox authenticates a user as Send does, and calls work.
func (g *Gateway) useInbox(ctx context.Context, req Request, work func(*inbox.Inbox, *users.User) error) *Response {
	s := &send{Gateway: g, Response: Response{Message: newMessage(req.Received)}, ctx: ctx, req: req}
	defer s.recover()
	s.Result = refused(sms.Refuse(sms.Internal)) // of a panic
	if err := s.callInbox(work); err != nil {
		s.Result = refused(err)
	} else {
		s.Result = sms.Result{Outcome: sms.Accepted}
	}
	return &s.Response
}

func (s *send) callInbox(work func(*inbox.Inbox, *users.User) error) error {
	if err := s.authenticate(); err != nil {
		return err
	}
	if err := s.acquireJournal(); err != nil {
		return s.inboxFailed(err)
	}
	if s.journal.Blocked(s.User.Name, s.req.Host) {
		return sms.RefuseAs(sms.Held, sms.UserBlocked)
	}
	if err := work(s.Inbox(), s.User); err != nil {
		return s.inboxFailed(err)
	}
	s.stored = true
	return nil
}

// inboxFailed is the refusal after an error of the store.
func (s *send) inboxFailed(err error) error {
	s.Journal.NoteFailure()
	return refuseBecause(err.Error(), sms.Internal, sms.JournalUnavailable)
}

// setDefaultSender sets the sender of a message for which the app may name none: the number of the
// user that the recipient last texted, or else the first.
func (s *send) setDefaultSender() error {
	own := s.User.Numbers
	if len(own) > 0 {
		s.Message.From = own[0]
	}
	if s.hasInbox = s.Inbox != nil; !s.hasInbox {
		return nil
	}
	if err := s.acquireJournal(); err != nil {
		return s.inboxFailed(err)
	}
	b := s.Inbox()
	if err := b.Authenticated(s.User.Name, values(s.User.Receive)); err != nil {
		return s.inboxFailed(err)
	}
	if len(own) < 2 || s.req.Sender != "" && !s.User.MatchesName(s.req.Sender) {
		return nil
	}
	var both []string
	for _, n := range own {
		if slices.Contains(s.User.Receive, n) {
			both = append(both, n.Value)
		}
	}
	number, err := b.ReplyNumber(s.User.Name, both, s.Message.To)
	if err != nil {
		return s.inboxFailed(err)
	}
	if i := slices.IndexFunc(own, func(n sms.Number) bool { return n.Value == number }); i >= 0 {
		s.Message.From = own[i]
	}
	return nil
}

// makeItem stores a message that was sent, or may have been, in the inbox. After an error the
// message stays accepted: the provider has it.
func (s *send) makeItem(r *sms.Result) {
	if s.Inbox == nil || r.Outcome == sms.Refused || s.Message.From.IsZero() {
		return
	}
	m := s.Message
	m.ID = s.claim.FirstID()
	if s.Kind == sendmessage.File { // other devices get what the app has sent
		m.Body, m.ContentType = s.req.Body, attachment.ContentType
	}
	out := inbox.Outgoing{
		Message: &m, Source: s.source(r.Adapter), Adapter: r.Adapter, IDs: s.claim.IDs(),
		Unknown: r.Outcome == sms.OutcomeUnknown,
	}
	var err error
	if s.Item, err = s.Inbox().Sent(&out); err != nil {
		s.Journal.NoteFailure()
	}
}

// findItem finds the item of the first message for a duplicate. It makes the item if the process of
// the first message ended before.
func (s *send) findItem(r *sms.Result) {
	if s.Inbox == nil || r.Outcome != sms.Accepted {
		return
	}
	var err error
	if s.Item, err = s.Inbox().SentID(s.claim.FirstID()); err != nil {
		s.Journal.NoteFailure()
	} else if s.Item == 0 {
		s.makeItem(r)
	}
}

// source identifies the account of an adapter.
func (s *send) source(adapter string) inbox.Source {
	for i := range s.Deliverer.Routes {
		if a := s.Deliverer.Routes[i].Adapter; a.Name == adapter {
			return SourceOf(a)
		}
	}
	return inbox.Source{}
}

// SourceOf identifies the account of an adapter. A new secret makes no other account, or else
// receipts would not find their messages.
func SourceOf(a *adapters.Adapter) inbox.Source {
	key := a.BillingKey()
	return inbox.Source{Account: hex.EncodeToString(key[:])}
}

// PhoneID returns the id that the phone gets. With an inbox it is the id of the item, because an id
// of the provider would be taken for a cursor.
func (r *Response) PhoneID() string {
	switch {
	case r.Item > 0:
		return r.Item.String()
	case r.hasInbox:
		return ""
	}
	return r.Result.PhoneID()
}

func values(numbers []sms.Number) (list []string) {
	for _, n := range numbers {
		list = append(list, n.Value)
	}
	return list
}

// PushScope says what a push may tell.
type PushScope uint8

// The scopes. With NoPush the push is dropped, with NoDevice the device too.
const (
	NoPush PushScope = iota
	NoDevice
	FixedWord
	WithText
)

// A device of a user who cannot be looked up by name gets texts for trustLogin after the last login,
// and pushes for keepDevice.
const (
	trustLogin = 7 * 24 * time.Hour
	keepDevice = 30 * 24 * time.Hour
)

// PushScope looks up the user of a push again: the user may have been removed, or may have lost the
// number. An error means that the directory is not available.
func (g *Gateway) PushScope(p *inbox.Push, now time.Time) (PushScope, error) {
	user, err := g.ByName.Find(p.User)
	switch since := now.Sub(p.LastLogin); {
	case err != nil:
		return NoPush, err
	case user != nil && !slices.Contains(values(user.Receive), p.Item.Number):
		return NoPush, nil
	case user != nil:
		return WithText, nil
	case !g.UnlistedUsers || since >= keepDevice:
		return NoDevice, nil
	case since >= trustLogin:
		return FixedWord, nil
	}
	return WithText, nil
}

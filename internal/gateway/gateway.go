// Package gateway handles a message from the app's request to the result: it authenticates the
// sender, checks whether they may send, claims the message in the journal, and sends it through the
// adapters.
//
// It knows neither Caddy nor an HTTP server, and never writes to a log. Package caddymodule makes
// one Gateway for each handler and calls it for each request that it could decode. A Gateway is
// safe for concurrent use; a Response belongs to one request.
package gateway

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/digest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/burst"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// Gateway sends the messages of its users. Its fields must not change while it is in use.
type Gateway struct {
	// Users check credentials.
	Users users.Users
	// ByName finds users whom an earlier handler has authenticated.
	ByName users.Finder
	// Digest checks the responses of HTTP Digest; nil if Digest is off.
	Digest *digest.Realm
	// Guard counts wrong credentials. LoginQueues bound the concurrent checks of credentials from
	// one network.
	Guard       *lockout.Guard
	LoginQueues *lockout.Queues

	// Region is the default country of numbers, such as US. If it is empty, numbers without a
	// country are refused.
	Region string
	// Numbers parses the recipients.
	Numbers *number.Cache
	// Destinations apply to users without destinations of their own, Limits to users without limits
	// of their own.
	Destinations *destination.Policy
	Limits       []limit.Rule
	// BillingKey is a digest of the account that pays. Limits, bursts and lockouts are counted
	// under it. So two users with the same name are counted separately if different accounts pay
	// for them.
	BillingKey [32]byte
	// Bursts detects messages that look like fraud; nil if the check is off.
	Bursts *burst.Detector
	// Paused reports whether sending is paused.
	Paused func() bool

	// Journal is where messages are claimed.
	Journal Journal
	// Options are the journal's settings for this site.
	Options journal.Options
	// Deliverer hands the messages to the adapters.
	Deliverer *delivery.Deliverer
	// Pictures sends pictures and files; nil if they are refused.
	Pictures *Pictures

	// Inbox returns the inbox of the site. It is called only while the journal is acquired; nil if
	// receiving is off.
	Inbox func() *inbox.Inbox
	// UnlistedUsers is set if there are users that ByName cannot find: those of a service or with a
	// JSON Web Token.
	UnlistedUsers bool
}

// Journal gives access to a journal, and opens it on first use.
type Journal interface {
	// Acquire returns the journal, and opens it if necessary. The caller must release it.
	Acquire() (*journal.Journal, error)
	// LastLogin is the time when a user last logged in from a network, the zero Time if it is not
	// known. It never waits for the journal to be opened.
	LastLogin(user string, network netip.Prefix) time.Time
	// NoteFailure counts an error of the journal.
	NoteFailure()
}

// Request is a decoded request of an app.
type Request struct {
	*sendmessage.Request
	// Received is the time when the request arrived.
	Received time.Time
	// Host is the host to which the app sends. Site is the host without its port, and the path.
	Host, Site string
	// Network is the app's network, under which failed logins are counted.
	Network netip.Prefix
	// UpstreamUser is the user whom an earlier handler has authenticated, empty if there is none.
	UpstreamUser string
	// Method and Target are those of the request line. The response of HTTP Digest is computed from
	// them.
	Method, Target string
	// MediaURL is the address below which providers and recipients fetch files. It is not used if
	// Gateway.Pictures is nil.
	MediaURL string
}

// Response is the result of a request. The caller must call Close.
type Response struct {
	// User is nil if the sender is not authenticated. ClaimedUser is then the name in the request,
	// if any.
	User        *users.User
	ClaimedUser string
	// LoggedIn is set if the gateway checked the credential, not an earlier handler.
	LoggedIn bool
	// CredentialCheckedAt is the time when the check of the credential began, the zero Time if
	// there was no check.
	CredentialCheckedAt time.Time

	Kind    sendmessage.Kind
	Message sms.Message
	Result  sms.Result
	// Claimed is set if the message was claimed in the journal, or is a duplicate in it.
	Claimed bool
	// SharedID is set if the app uses the same id for different texts.
	SharedID bool
	// Item is the id of the accepted message in the inbox, 0 if it has none.
	Item inbox.ID
	// Panic is set if the code panicked. The Result then says whether the message may have been
	// sent.
	Panic *Panic

	journal   *journal.Journal // held until Close
	claim     *journal.Claim
	hasInbox  bool
	stored    bool // the inbox has accepted a change
	saveLogin func(stored bool)
	discard   func() // removes files that nobody will fetch, nil if there are none
}

// Panic is a recovered panic.
type Panic struct {
	Value any
	Stack []byte
}

// Refused is the response to a request that could not be decoded, or was refused before Send.
func Refused(received time.Time, err error) *Response {
	return &Response{Message: newMessage(received), Result: refused(err)}
}

// newMessage makes a message that has only an id, a reference and the time.
func newMessage(received time.Time) sms.Message {
	id := newID()
	return sms.Message{ID: id, Reference: id[:8], Received: received}
}

// newID makes a random UUID. It need not be unpredictable, so a fast generator is enough.
func newID() string {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40 // version 4, https://www.rfc-editor.org/rfc/rfc9562#section-5.4
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// refused makes the result of a refusal.
func refused(err error) sms.Result {
	var refusal *sms.Refusal
	if !errors.As(err, &refusal) {
		refusal = sms.Refuse(sms.Internal)
	}
	return sms.Result{Outcome: sms.Refused, Refusal: refusal, Detail: refusal.Detail}
}

// send is the state of one request.
type send struct {
	*Gateway
	Response
	ctx      context.Context
	req      Request
	transfer attachment.Transfer // the pictures and files of a message of the kind File
	opened   atomic.Bool         // an adapter has read the bytes of a file

	lockoutUser, lockoutKey string // of the last call of lockoutName
}

// Send handles a request: it authenticates the sender, classifies the request, checks the numbers,
// and sends the message. The context ends when the app closes its connection. A message whose
// delivery has begun is sent all the same.
func (g *Gateway) Send(ctx context.Context, req Request) *Response {
	s := &send{Gateway: g, Response: Response{Message: newMessage(req.Received)}, ctx: ctx, req: req}
	s.run()
	return &s.Response
}

func (s *send) run() {
	defer s.recover()
	for _, step := range [...]func(*send) error{(*send).authenticate, (*send).classify, (*send).admit} {
		if err := step(s); err != nil {
			s.Result = refused(err)
			return
		}
	}
	if !s.IsMessage() {
		s.Result = sms.Result{Outcome: sms.Accepted}
		return
	}
	s.Result = s.deliver()
}

// recover ends the claim of a message after a panic.
func (s *send) recover() {
	p := recover()
	if p == nil {
		return
	}
	s.Fail()
	s.Panic = &Panic{Value: p, Stack: debug.Stack()}
	s.endClaim()
}

// endClaim ends the claim of a message after a panic, which may have come from the journal itself. If
// it cannot be ended, duplicates of the message wait for a result and are told that it is unknown.
func (s *send) endClaim() {
	defer func() { _ = recover() }()
	if s.claim != nil && s.claim.Won() && !s.claim.Ended() {
		s.claim.End(s.Result)
	}
}

// Fail sets the result of a request whose handling panicked. If a request to a provider has begun,
// the message may have been sent.
func (r *Response) Fail() {
	r.Panic, r.Result = nil, refused(sms.Refuse(sms.Internal))
	if r.claim != nil && r.claim.Attempted() {
		r.Result = sms.Result{Refusal: sms.Refuse(sms.Unconfirmed)}
	}
}

func (s *send) classify() (err error) {
	s.Kind, err = s.req.Classify()
	if s.Kind == sendmessage.File && s.Pictures != nil {
		return s.readTransfer()
	}
	return err
}

// IsMessage reports whether the request is a text or files, and not a notice.
func (r *Response) IsMessage() bool { return r.Kind == sendmessage.Text || r.Kind == sendmessage.File }

// admit fills the message: it parses the numbers, and checks whether the user may use the sender
// and may send to the recipient.
func (s *send) admit() error {
	if !s.IsMessage() {
		return nil
	}
	m, req := &s.Message, &s.req
	m.Site, m.User, m.Groups, m.Body = req.Site, s.User.Name, s.User.Groups, req.Body
	m.ContentType, m.Disposition, m.Smart, m.InstallID = cmp.Or(req.ContentType, "text/plain"), req.Disposition, req.Smart, req.InstallID
	if s.Kind == sendmessage.File {
		m.Body, m.ContentType, m.FilesDigest = s.caption(), "text/plain", s.transfer.Identity()
	}
	if s.User.NumberProblem != "" {
		return refuseBecause(s.User.NumberProblem, sms.SenderNotAllowed, sms.NoOwnNumber)
	}
	if err := s.readRecipients(); err != nil {
		return err
	}
	region := s.region()
	if err := s.setDefaultSender(); err != nil {
		return err
	}
	if req.Sender != "" && !s.User.MatchesName(req.Sender) {
		from, ok := number.Sender(req.Sender, region)
		m.From = from // the log shows the requested sender
		if !ok || !s.User.MaySendFrom(from) {
			return sms.Refuse(sms.SenderNotAllowed)
		}
	}
	if refusal := s.destinations().Check(m.To, m.From, region); refusal != nil {
		return refusal
	}
	return nil
}

// readRecipients parses the recipient. The app may send it in several fields, which must agree.
func (s *send) readRecipients() error {
	region := s.region()
	for i, raw := range s.req.To {
		to, ok := s.Numbers.Recipient(raw, region)
		if !ok {
			to, ok = number.Unlisted(raw)
			ok = ok && s.destinations().AllowsPrefix(to)
		}
		switch {
		case !ok && region == "":
			return refuseBecause("numbers without a country need default_region", sms.InvalidRecipient, "")
		case !ok:
			return sms.Refuse(sms.InvalidRecipient)
		case i > 0 && to != s.Message.To:
			return sms.RefuseAs(sms.BadRequest, sms.SeveralRecipients)
		}
		s.Message.To = to
	}
	return nil
}

// refuseBecause makes a refusal with a detail for the operator.
func refuseBecause(detail string, cause sms.Cause, variant sms.Variant) *sms.Refusal {
	refusal := sms.RefuseAs(cause, variant)
	refusal.Detail = detail
	return refusal
}

// destinations are the destinations that the user may send to.
func (s *send) destinations() *destination.Policy { return cmp.Or(s.User.Destinations, s.Destinations) }

// region is the default country of the user's numbers.
func (s *send) region() string { return cmp.Or(s.User.Region, s.Region) }

// deliver sends the message, unless it is a duplicate. A duplicate is not charged to the limits.
func (s *send) deliver() sms.Result {
	m := &s.Message
	if s.Kind == sendmessage.File {
		if refusal := s.preview(); refusal != nil {
			return refused(refusal)
		}
	} else {
		m.Segments = s.segments(m)
	}
	result, err := s.begin()
	if err != nil {
		s.Journal.NoteFailure()
		return refused(refuseBecause(err.Error(), sms.Internal, sms.JournalUnavailable))
	}
	s.Claimed, s.SharedID = true, s.claim.NoID()
	if !s.claim.Won() {
		s.findItem(&result)
		return result
	}
	if err := s.checkMaySend(); err != nil {
		result = refused(err)
		s.claim.Abandon(result)
		return result
	}
	if s.Kind == sendmessage.File {
		result = s.deliverFiles()
	} else {
		result = s.Deliverer.Deliver(s.ctx, m, s.claim)
	}
	s.claim.End(result)
	s.makeItem(&result)
	return result
}

// segments is the largest number of segments that a message may have.
func (s *send) segments(m *sms.Message) int {
	n := text.Segments(m.Body.Reveal())
	if n > 1 { // an adapter may split it into more segments
		n = max(n, s.Deliverer.Segments(m))
	}
	return n
}

// begin claims the message, or returns the result of the first message if this one is a duplicate.
func (s *send) begin() (result sms.Result, err error) {
	if err = s.acquireJournal(); err != nil {
		return result, err
	}
	s.claim, result, err = s.journal.Begin(s.ctx, s.Deliverer.End(&s.Message), &s.Message, s.Options)
	if err == nil {
		s.Message.ID, s.Message.Reference = s.claim.ID(), s.claim.Reference()
	}
	return result, err
}

// acquireJournal acquires the journal until Close, if the request has not done so before.
func (s *send) acquireJournal() (err error) {
	if s.journal == nil {
		s.journal, err = s.Journal.Acquire()
	}
	return err
}

// replyTimeout is the shortest time that apps wait for a reply.
const replyTimeout = 20 * time.Second

// Acknowledge notes that the phone has received the reply. took is the time until the reply was
// sent; a reply later than replyTimeout is not acknowledged. After an acknowledgement, the same
// text without an app id is a new message.
func (r *Response) Acknowledge(took time.Duration) {
	if r.claim != nil && took <= replyTimeout {
		r.claim.ReplyAcknowledged()
	}
}

// SaveLogin stores that the user logged in from the network, so that the network is known after a
// restart. The caller may call it after the reply.
func (r *Response) SaveLogin() {
	if r.saveLogin != nil {
		r.saveLogin(r.claim != nil || r.stored) // a claimed message shows that the journal accepts changes
	}
}

// Close releases the journal, and removes the files of a message that was not sent.
func (r *Response) Close() {
	if r == nil {
		return
	}
	if r.journal != nil {
		r.journal.Release()
	}
	if r.discard != nil {
		r.discard()
	}
}

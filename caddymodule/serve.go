package caddymodule

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/burst"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// exchange is one request on its way.
type exchange struct {
	*Handler
	w http.ResponseWriter
	r *http.Request

	request *sendmessage.Request
	kind    sendmessage.Kind
	user    *users.User
	claimed string    // the name of a user whose credential was wrong
	looked  time.Time // when the credential was looked at
	message sms.Message
	// exceeded is the limit that the message would break, if it does.
	exceeded string
	segments int
	detail   string           // for the operator
	held     *journal.Journal // until the reply is written
	turn     *journal.Turn
	outcome  sms.Receipt
	replied  replied
	// delivered says that the phone has the answer, as far as anybody can know, took when it had it.
	delivered bool
	took      time.Duration
}

// replied says how far the reply has come.
type replied uint8

const (
	notReplied replied = iota
	replying
	hasReplied
)

// unread stands for a request of which nothing is known.
var unread sendmessage.Request

// ServeHTTP implements caddyhttp.MiddlewareHandler. It returns nil for everything that was answered, because Caddy
// logs the whole address of requests that fail, passwords and all.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	x := &exchange{Handler: h, w: w, r: r, request: &unread}
	h.traffic.enter()
	defer h.traffic.leave()
	x.message.Received, x.message.ID = time.Now(), newID()
	x.message.Reference = x.message.ID[:8]
	defer x.release()
	defer x.rescue()
	x.reply(x.receipt())
	return nil
}

// newID makes a random UUID. It is no secret, so the system need not be asked for randomness each time.
func newID() string {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40 // version 4, https://www.rfc-editor.org/rfc/rfc9562#section-5.4
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// receipt takes the request through all steps.
func (x *exchange) receipt() sms.Receipt {
	for _, step := range [...]func(*exchange) error{
		(*exchange).decode,
		(*exchange).authenticate,
		(*exchange).classify,
		(*exchange).admit,
	} {
		if err := step(x); err != nil {
			r := refused(err)
			r.Detail = x.detail
			return r
		}
	}
	if x.kind != sendmessage.Text {
		return sms.Receipt{Outcome: sms.Accepted}
	}
	return x.deliver()
}

func (x *exchange) decode() (err error) {
	x.request, err = x.decoder.Decode(x.r)
	if x.request.SecretInHeader || x.request.SecretInURL && !x.AccessLog {
		caddyhttp.SetVar(x.r.Context(), caddyhttp.LogSkipVar, true)
	}
	return err
}

func (x *exchange) classify() (err error) {
	x.kind, err = x.request.Classify()
	x.hint()
	return err
}

// admit makes the message: it reads the numbers, binds the sender to the user, and asks whether he may send there.
func (x *exchange) admit() error {
	if x.kind != sendmessage.Text {
		return nil
	}
	m, req := &x.message, x.request
	m.Site, m.User, m.Groups, m.Body = x.site(), x.user.Name, x.user.Groups, req.Body
	m.ContentType, m.Disposition, m.Smart, m.InstallID = req.ContentType, req.Disposition, req.Smart, req.InstallID
	if m.ContentType == "" {
		m.ContentType = "text/plain"
	}
	region := x.region()
	for i, raw := range req.To {
		to, ok := x.numbers.Recipient(raw, region)
		if !ok {
			if region == "" {
				x.detail = "numbers without a country need default_region"
			}
			return sms.Refuse(sms.InvalidRecipient)
		}
		if i > 0 && to != m.To {
			return sms.RefuseAs(sms.BadRequest, sms.SeveralRecipients)
		}
		m.To = to
	}
	if len(x.user.Numbers) > 0 {
		m.From = x.user.Numbers[0]
	}
	if req.Sender != "" && !x.user.IsCalled(req.Sender) {
		from, ok := number.Sender(req.Sender, region)
		m.From = from // the log says what was asked for
		if !ok || !x.user.May(from) {
			return sms.Refuse(sms.SenderNotAllowed)
		}
	}
	policy := x.policy
	if x.user.Destinations != nil {
		policy = x.user.Destinations
	}
	if refusal := policy.Check(m.To, m.From, region); refusal != nil {
		return refusal
	}
	return nil
}

// site is the address that the app sends to. A port is that of one of several Caddys as likely as not.
func (x *exchange) site() string {
	host := x.r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, path, _ := x.original()
	return strings.TrimSuffix(strings.ToLower(host), ".") + path
}

// original is what the request was before any rewrite.
func (x *exchange) original() (method, path, target string) {
	if original, ok := x.r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.Method, original.URL.Path, original.RequestURI
	}
	return x.r.Method, x.r.URL.Path, x.r.RequestURI
}

// region is the country of numbers without one.
func (x *exchange) region() string { return cmp.Or(x.user.Region, x.DefaultRegion) }

// retryLater is when to try again where nobody knows.
const retryLater = time.Minute

// mayLeave asks whether the message may be sent now. One of which a part went out was counted then.
func (x *exchange) mayLeave() error {
	if paused.Load() {
		refusal := sms.Refuse(sms.Held)
		refusal.RetryAfter = retryLater
		return refusal
	}
	if x.segments = text.Segments(x.message.Body.Reveal()); x.segments > 1 { // it may be cut into more
		x.segments = max(x.segments, x.deliverer.Segments(&x.message))
	}
	if _, _, accepted := x.turn.Sent(); accepted > 0 {
		return nil
	}
	return x.count()
}

// count takes the message off what may still be sent.
func (x *exchange) count() error {
	m, now := &x.message, time.Now()
	country := destination.Country(m.To, x.region())
	if refusal := x.seeBurst(country, now); refusal != nil {
		return refusal
	}
	limits := x.limits
	if x.user.Limits != nil {
		limits = x.user.Limits
	}
	if len(limits) == 0 {
		return nil
	}
	claim := limit.Claim{Payer: x.payer, Rules: limits, Use: limit.Use{
		User: m.User, Sender: m.From.Value, Country: country, Segments: x.segments,
	}}
	if err := x.held.Count(&claim); err != nil {
		x.journal.noteFailure()
		x.detail = err.Error()
		return sms.RefuseAs(sms.Internal, sms.JournalAway)
	}
	over := claim.Exceeded
	if over == nil {
		return nil
	}
	x.exceeded = over.Rule.String()
	if over.Wait == 0 {
		return sms.RefuseAs(sms.TooLong, sms.TextTooLong, "length", strconv.Itoa(x.segments), "unit", "segments", "limit", strconv.Itoa(over.Rule.Most))
	}
	refusal := sms.RefuseAs(sms.Limited, sms.OverLimit, "minutes", strconv.Itoa(int((over.Wait+time.Minute-1)/time.Minute)))
	refusal.RetryAfter = over.Wait
	return refusal
}

// seeBurst refuses what belongs to a burst as fraud makes them.
func (x *exchange) seeBurst(country string, now time.Time) error {
	if x.watch == nil || x.message.To.Kind != sms.Phone {
		return nil
	}
	kind, wait := x.watch.See(x.message.User, x.message.To.Value, country, now)
	var variant sms.Variant
	switch kind {
	case burst.None:
		return nil
	case burst.Countries:
		variant = sms.ManyCountries
	case burst.Run:
		variant = sms.NumbersInARow
	}
	refusal := sms.RefuseAs(sms.Held, variant)
	refusal.RetryAfter = wait
	return refusal
}

// deliver sends the message, unless it came before: then it is not counted either.
func (x *exchange) deliver() sms.Receipt {
	receipt, err := x.claim()
	if err != nil {
		x.journal.noteFailure()
		return sms.Receipt{Outcome: sms.Refused, Refusal: sms.RefuseAs(sms.Internal, sms.JournalAway), Detail: err.Error()}
	}
	if !x.turn.Mine() {
		return receipt
	}
	if err := x.mayLeave(); err != nil {
		receipt = refused(err)
		receipt.Detail = x.detail
		x.turn.Abandon(receipt)
		return receipt
	}
	receipt = x.deliverer.Deliver(x.r.Context(), &x.message, x.turn)
	x.turn.End(receipt)
	return receipt
}

// claim writes down that the message is about to be sent, or finds out what became of it when it came before.
func (x *exchange) claim() (receipt sms.Receipt, err error) {
	if x.held, err = x.journal.hold(); err != nil {
		return receipt, err
	}
	x.turn, receipt, err = x.held.Begin(x.r.Context(), x.deliverer.End(&x.message), &x.message, x.terms)
	return receipt, err
}

// release ends the use of the journal.
func (x *exchange) release() {
	if x.held != nil {
		x.held.Release()
	}
}

func refused(err error) sms.Receipt {
	var refusal *sms.Refusal
	if !errors.As(err, &refusal) {
		refusal = sms.Refuse(sms.Internal)
	}
	return sms.Receipt{Outcome: sms.Refused, Refusal: refusal}
}

// reply answers the app and tells the operator.
func (x *exchange) reply(r sms.Receipt) {
	x.outcome = r
	x.publish()
	if r.Cause() == sms.Unauthorized || r.Refusal != nil && r.Refusal.Variant == sms.UsersUnknown {
		x.waitForStep(r)
	}
	sentence := ""
	if r.Outcome != sms.Accepted {
		if sentence = r.Refusal.Words; sentence == "" {
			sentence = x.phrases.say(x.r, r.Refusal, x.message.Reference)
		}
	}
	x.challenge(r)
	if x.user == nil && !x.Stealth {
		x.w.Header().Del("Server") // strangers need not know what they found
	}
	x.replied = replying
	var err error
	switch {
	case r.Outcome == sms.Accepted:
		err = x.replier.Accept(x.w, x.request.Form, r.ID)
	case x.Stealth && x.user == nil:
		x.w.WriteHeader(http.StatusNotFound)
	default:
		err = x.replier.Refuse(x.w, x.request.Form, r.Refusal.Cause.Status(), sentence, r.Refusal.RetryAfter)
	}
	x.replied = hasReplied
	x.delivered = err == nil && x.r.Context().Err() == nil && x.flush() == nil // in this order: who has the answer may hang up
	x.took = time.Since(x.message.Received)
	x.tick()
	x.report()
	if r.Outcome == sms.Accepted && x.kind != sendmessage.Text { // what is taken note of is no message
		return
	}
	x.measure()
	x.emit()
}

// flush sends the answer, so that the phone does not wait for what follows: the journal, the log, those who want to know of events.
// Strangers wait for nothing.
func (x *exchange) flush() error {
	if x.user == nil {
		return nil
	}
	err := http.NewResponseController(x.w).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// patience is for how long apps wait for an answer for sure.
const patience = 20 * time.Second

// tick writes down that the phone has the answer, if it has. A message with an id of the app's is remembered in any case.
func (x *exchange) tick() {
	if x.turn == nil || !x.delivered || x.message.Disposition.ID != "" || x.took > patience {
		return
	}
	x.turn.Reached()
}

// rescue answers a request whose handling panicked. What broke after a request to a provider began may have gone out.
func (x *exchange) rescue() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		x.settle(sms.Receipt{Refusal: sms.Refuse(sms.Unknown)})
		panic(p)
	}
	what := fmt.Sprintf("%T", p) // a panic's own words may be anything, so only the runtime's are told
	if err, ok := p.(runtime.Error); ok {
		what = err.Error()
	}
	x.logger.Error("panic", zap.String("reference", x.message.Reference), zap.String("panic", what), zap.ByteString("stack", debug.Stack()))
	switch x.replied {
	case hasReplied:
		return
	case replying: // half a reply, or none, must not pass for a success
		panic(http.ErrAbortHandler)
	}
	r := refused(sms.Refuse(sms.Internal))
	if x.message.Begun {
		r = sms.Receipt{Refusal: sms.Refuse(sms.Unknown)}
	}
	x.settle(r)
	x.reply(r)
}

// settle writes down what became of the message, if nobody has.
func (x *exchange) settle(r sms.Receipt) {
	if x.turn != nil && x.turn.Mine() && !x.turn.Ended() {
		x.turn.End(r)
	}
}

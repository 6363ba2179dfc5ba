package caddymodule

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/burst"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/lockout"
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
	claimed string // the name of a user whose credential was wrong
	message sms.Message
	// exceeded is the limit that the message would break, if it does.
	exceeded string
	segments int
	detail   string           // for the operator
	held     *journal.Journal // until the reply is written
	turn     *journal.Turn
	outcome  sms.Receipt
	replied  replied
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

// authenticate finds out who sends. Whoever does not prove it is told the same, whatever is wrong.
func (x *exchange) authenticate() error {
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
		return sms.Refuse(sms.Limited)
	}
	defer line.Done()
	if x.guard != nil {
		if wait := x.guard.Blocked(from, time.Now()); wait > 0 {
			refusal := sms.RefuseAs(sms.Limited, sms.LockedOut)
			refusal.RetryAfter = wait
			return refusal
		}
	}
	user, err := x.identify(answered)
	if err == nil && (x.guard == nil || x.guard.Admit(from, user.Name, time.Now())) {
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
		x.guard.Failed(from, guessed, time.Now())
	}
	switch {
	case errors.Is(err, users.ErrUnavailable):
		return sms.RefuseAs(sms.Internal, sms.UsersUnknown)
	case !wrong, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled): // too many others are being checked
		return sms.Refuse(sms.Limited)
	}
	return sms.Refuse(sms.Unauthorized)
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

// doubted reports whether a user is locked for whoever sends this.
func (x *exchange) doubted(user string) bool {
	return x.guard != nil && x.guard.Doubts(x.network(), user, time.Now())
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
	return host + path
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

// count takes the message off what may still be sent.
func (x *exchange) count() error {
	if paused.Load() {
		return sms.Refuse(sms.Held)
	}
	m, now := &x.message, time.Now()
	if x.segments = text.Segments(m.Body.Reveal()); x.segments > 1 { // it may be cut into more
		x.segments = max(x.segments, x.deliverer.Segments(m))
	}
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
		return sms.Receipt{Outcome: sms.Refused, Refusal: sms.RefuseAs(sms.Internal, sms.JournalAway), Detail: err.Error()}
	}
	if !x.turn.Mine() {
		return receipt
	}
	if err := x.count(); err != nil {
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
	if r.Cause() == sms.Unauthorized {
		x.waitForStep()
	}
	sentence := ""
	if r.Outcome != sms.Accepted {
		if sentence = r.Refusal.Words; sentence == "" {
			sentence = x.phrases.say(x.r, r.Refusal, x.message.Reference)
		}
	}
	x.challenge(r)
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
	delivered := err == nil && x.flush() == nil && x.r.Context().Err() == nil
	x.tick(delivered)
	x.report(r, delivered)
	x.measure(r)
	x.emit(r)
}

// flush sends the answer, so that the phone does not wait for what follows: the journal, the log, those who want to know of events.
func (x *exchange) flush() error {
	err := http.NewResponseController(x.w).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// patience is for how long apps wait for an answer for sure.
const patience = 20 * time.Second

// tick writes down that the phone has the answer, if it has. A message with an id of the app's is remembered in any case.
func (x *exchange) tick(delivered bool) {
	if x.turn == nil || !delivered || x.message.Disposition.ID != "" || time.Since(x.message.Received) > patience {
		return
	}
	x.turn.Reached()
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

// waitForStep waits, so that the time of an answer does not tell what was wrong.
func (x *exchange) waitForStep() {
	if x.step <= 0 {
		return
	}
	timer := time.NewTimer(x.step - time.Since(x.message.Received)%x.step)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	}
}

// publish offers the placeholders. Caddy's own access log asks for the user's.
func (x *exchange) publish() {
	repl, ok := x.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(x.placeholder)
}

// placeholder gives the value of a placeholder once the outcome is known.
func (x *exchange) placeholder(key string) (any, bool) {
	switch key {
	case "http.auth.user.id":
		if x.user != nil {
			return x.user.Name, true
		}
	case "http.acrobits_sms.outcome":
		return x.outcome.Outcome.String(), true
	case "http.acrobits_sms.cause":
		return x.outcome.Cause().String(), true
	case "http.acrobits_sms.adapter":
		return x.outcome.Adapter, true
	case "http.acrobits_sms.sms_id":
		return x.outcome.ID, true
	case "http.acrobits_sms.reference":
		return x.message.Reference, true
	}
	return nil, false
}

// levelOf is how much an operator has to care about a cause.
func levelOf(c sms.Cause) zapcore.Level {
	switch c {
	case sms.Misconfigured, sms.Unavailable, sms.Internal, sms.Unknown, sms.SenderUnregistered, sms.NoCredit:
		return zapcore.ErrorLevel
	case sms.Unauthorized, sms.Rejected, sms.Held:
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}

// byProvider are the fields that say what a provider answered.
func byProvider(fields []zap.Field, r sms.Receipt) []zap.Field {
	for _, f := range [...]struct{ key, value string }{
		{"adapter", r.Adapter}, {"sms_id", r.ID}, {"provider_code", r.Code}, {"detail", r.Detail},
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.key, f.value))
		}
	}
	if r.Status != 0 {
		fields = append(fields, zap.Int("provider_status", r.Status))
	}
	return fields
}

// report writes the event line: one for each request, with nothing in it but what is listed here. Adapters that were passed
// over have a line of their own.
func (x *exchange) report(r sms.Receipt, delivered bool) {
	for _, passed := range r.Passed {
		if line := x.logger.Check(max(levelOf(passed.Cause()), zapcore.WarnLevel), "an adapter did not take the message"); line != nil {
			line.Write(byProvider([]zap.Field{zap.String("reference", x.message.Reference), zap.String("cause", passed.Refusal.Error())}, passed)...)
		}
	}
	level := levelOf(r.Cause())
	if x.isChallenge(r) { // how every message by Digest begins
		level = zapcore.DebugLevel
	}
	line := x.logger.Check(level, "message")
	if line == nil {
		return
	}
	fields := make([]zap.Field, 0, 20)
	fields = append(fields,
		zap.String("outcome", r.Outcome.String()),
		zap.String("reference", x.message.Reference),
		zap.String("host", x.r.Host),
		zap.Duration("duration", time.Since(x.message.Received)),
	)
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, zap.String(key, value))
		}
	}
	if r.Refusal != nil {
		add("cause", r.Refusal.Error())
		add("parameter", r.Refusal.Value("name"))
	}
	if x.user != nil {
		add("user", x.user.Name)
		add("kind", x.kind.String())
	} else {
		add("claimed_user", x.claimed)
	}
	if ip, ok := caddyhttp.GetVar(x.r.Context(), caddyhttp.ClientIPVarKey).(string); ok && x.user == nil {
		add("client_ip", ip)
	}
	add("limit", x.exceeded)
	add("from", masked(x.message.From))
	add("to", masked(x.message.To))
	fields = byProvider(fields, r)
	if r.Parts > 1 {
		fields = append(fields, zap.Int("parts", r.Parts))
	}
	if r.Attempts != 0 {
		fields = append(fields, zap.Int("attempts", r.Attempts))
	}
	if r.Repeat {
		fields = append(fields, zap.Bool("repeat", true))
	}
	if !delivered {
		fields = append(fields, zap.Bool("phone_gone", true))
	}
	line.Write(fields...)
}

func masked(n sms.Number) string {
	if n.IsZero() {
		return ""
	}
	return n.String()
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

// hints are what an app's settings can lack, with the advice for the operator.
var hints = [...]struct{ name, advice string }{
	{"content_type", "the app's SMS settings lack content_type=%content_type%; without it pictures and notices can only be guessed"},
	{"disposition_notification", "the app's SMS settings lack disposition_notification=%disposition_notification%, the only id a message has"},
	{"http", "the app uses http://, over which it sends asterisks for the password and everybody can read along; use https://"},
}

// hint tells the operator once for each user what the app's settings lack.
func (x *exchange) hint() {
	isText := x.kind == sendmessage.Text
	for i, lacks := range [len(hints)]bool{isText && x.request.NoContentType, isText && x.request.NoDisposition, !x.secure()} {
		if !lacks {
			continue
		}
		known, ok := x.hinted.Get(x.user.Name)
		if !ok {
			known = new(atomic.Uint32)
			x.hinted.Put(x.user.Name, known)
		}
		if bit := uint32(1) << i; known.Or(bit)&bit == 0 {
			x.logger.Warn(hints[i].advice, zap.String("user", x.user.Name), zap.String("hint", hints[i].name))
		}
	}
}

// secure reports whether the app came over TLS, to us or to a proxy that Caddy trusts.
func (x *exchange) secure() bool {
	if x.r.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(x.r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && x.r.Header.Get("X-Forwarded-Proto") == "https"
}

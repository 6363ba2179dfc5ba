// Package caddymodule is the Caddy HTTP handler acrobits_sms: it answers the Send Message web service of Acrobits
// apps and hands the messages to SMS providers.
package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/burst"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/digest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/routing"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler answers the Send Message web service of Acrobits apps (Groundwire, Cloud Softphone, white labels): it takes
// an app's request in any of its forms, proves who sent it, hands the text to an SMS provider, and turns the provider's
// reply into the `sms_id` or the `message` that the app shows. The app is told success only if a provider accepted the
// message, and nothing is ever sent twice by itself.
//
// The handler answers every request that reaches it; no later handler of the route is called.
//
// Placeholders, set when the reply is written:
//
// Placeholder | Description
// ------------|------------
// `{http.acrobits_sms.outcome}` | `accepted`, `refused` or `unknown`
// `{http.acrobits_sms.cause}` | Why, unless accepted: a name such as `invalid_recipient`
// `{http.acrobits_sms.adapter}` | The name of the adapter that answered
// `{http.acrobits_sms.sms_id}` | The id that the app was given
// `{http.acrobits_sms.reference}` | The reference that a user can read out
// `{http.auth.user.id}` | The name of the user
type Handler struct {
	// Users are those who may send. At least one is required, here or in Directories: there is no
	// open mode.
	Users []*User `json:"users,omitempty"`

	// DefaultRegion is the country of numbers that are written without one, as a two-letter code such as `US`.
	// Without it such numbers are refused.
	DefaultRegion string `json:"default_region,omitempty"`

	// Directories are where further users are. They are asked after Users, in turn.
	Directories []json.RawMessage `json:"directories,omitempty" caddy:"namespace=http.acrobits_sms.users inline_key=source"`

	// Allow are destinations beside the country of the sender's number, which is always allowed unless denied: countries
	// such as `US`, `all`, beginnings of numbers such as `+4420`, and kinds of numbers that are refused otherwise:
	// `premium`, `shared_cost`, `satellite`, `personal`, `short_codes`. Emergency numbers are always refused.
	Allow []string `json:"allow,omitempty"`

	// Deny are destinations that are refused even if they are allowed too.
	Deny []string `json:"deny,omitempty"`

	// Lockout is how many wrong passwords are too many. Default: more than 10 from one network (an IPv4 address, or the
	// first 64 bits of an IPv6 address) within 5 minutes lock it out, for as long and then for twice as long each time,
	// up to an hour.
	Lockout *Lockout `json:"lockout,omitempty"`

	// Limits are how much may be sent. Default: 30 messages a minute and 1,000 segments a day for each user, 10,000
	// segments a day for all together. What was counted survives a reload, for as long as the first adapter's
	// definition, base URL and options that are not secret stay the same (or its secrets, if it has no other options).
	Limits *Limits `json:"limits,omitempty"`

	// BurstsOff lets users text more than 5 countries within an hour that are new for them, and more than 9 numbers in a
	// row within 10 minutes. Such messages are refused otherwise, because fraud looks like this.
	BurstsOff bool `json:"bursts_off,omitempty"`

	// Authenticated takes whom a handler in front has authenticated, such as Caddy's `basic_auth`
	// (`{http.auth.user.id}`), for the user of that name. He needs no credential here. Others prove who they are as usual.
	Authenticated bool `json:"authenticated,omitempty"`

	// Digest asks requests without any credential for one by HTTP Digest (MD5 or SHA-256), as apps with an
	// `AuthUsername` setting send it. Nothing is sent on the first request; the app repeats it with an answer. Users whose
	// password is only known as a hash cannot use it, other credentials work beside it.
	Digest bool `json:"digest,omitempty"`

	// Realm is the realm of Digest. Where hashes of user:realm:password are stored, it is theirs. Default: `sms`.
	Realm string `json:"realm,omitempty"`

	// Stealth answers those who do not prove who they are with an empty 404, as if nothing was here.
	Stealth bool `json:"stealth,omitempty"`

	// Adapters are the ways out, in order. Those whose conditions hold for a message are tried, the next one only if the
	// one before certainly did not take it. At least one is required.
	Adapters []*Adapter `json:"adapters,omitempty"`

	// Definitions describe further SMS APIs in the adapter language.
	Definitions []*Definition `json:"definitions,omitempty"`

	// TransportRaw carries the requests to the providers. Default: `http` with 512 idle connections to a host that
	// are kept for 30 seconds. Checking the certificates of providers cannot be turned off.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// Timeout is the budget of a message, all attempts together. Default: `20s`. Apps give up after about 30 seconds.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// AttemptTimeout is the budget of one request to a provider. Default: `10s`.
	AttemptTimeout caddy.Duration `json:"attempt_timeout,omitempty"`

	// DuplicateWindow is for how long the same text to the same recipient is taken for a repeat, and not sent again, if the app
	// gives its messages no id and the first answer may not have reached it: it had hung up, the answer took longer than 20
	// seconds, or was that the outcome is unknown. Default: `30s`; 0 turns it off. Messages with an id
	// (`disposition_notification`) are remembered for a day.
	DuplicateWindow *caddy.Duration `json:"duplicate_window,omitempty"`

	// MaxParts is in how many messages a text is sent at most that is longer than a provider's longest; beyond it the
	// text is refused. Default: 10.
	MaxParts int `json:"max_parts,omitempty"`

	// Params adds names to those under which the parameters of a request are known, such as `{"sms_to": ["dst"]}`.
	// The parameters are `user`, `password`, `sender`, `sms_to`, `sms_body`, `content_type`,
	// `disposition_notification`, `smart` and `installid`.
	Params map[string][]string `json:"params,omitempty"`

	// Path reads parameters from the path of the request, such as `/send/{token}/{to}/{body}`. Paths that do not fit
	// are answered 404. Default: the path does not matter.
	Path string `json:"path,omitempty"`

	// Reply fixes the form of the replies to `xml` or `json`. Default: JSON for JSON requests, XML for others,
	// unless `Accept` asks for one of them.
	Reply string `json:"reply,omitempty"`

	// Legacy adds `error` and `description` to the replies, which older apps read.
	Legacy bool `json:"legacy,omitempty"`

	// MaxSize limits the query and the body of a request, each, in bytes. Default: 262144, at most 16777216.
	MaxSize int64 `json:"max_size,omitempty"`

	// AccessLog keeps requests whose URL holds parameters in the access log. Such a URL holds a password, so without
	// this they are left out. Set it only where a filter takes the query out of the log.
	AccessLog bool `json:"access_log,omitempty"`

	// Sentences replace what the app's users are told.
	Sentences []Sentence `json:"sentences,omitempty"`

	decoder   *sendmessage.Decoder
	replier   sendmessage.Replier
	users     users.Users
	elsewhere bool // not all users are in Users
	byName    users.Finder
	policy    *destination.Policy
	digest    *digest.Realm  // nil if Digest is off
	guard     *lockout.Guard // nil if nobody is locked out
	turns     *lockout.Turns
	limits    []limit.Rule
	payer     [32]byte      // whose counts the limits are for
	watch     *burst.Watch  // nil if bursts are allowed
	step      time.Duration // in which answers to wrong credentials leave
	numbers   *number.Table
	journal   *sharedJournal
	traffic   *traffic
	announcer *announcer
	terms     journal.Terms
	deliverer *delivery.Deliverer
	taken     taken // what this handler uses until the last of its requests is done
	phrases   *phrases
	hinted    *recent.Table[string, *atomic.Uint32] // which hints were logged already, a bit each, by the user's name
	logger    *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.acrobits_sms",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets the handler up. It opens no connection.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.traffic = &traffic{used: &h.taken}
	h.hinted = recent.NewTable[string, *atomic.Uint32](4096)
	for _, step := range []func(caddy.Context) error{
		h.provisionRequests, h.provisionReplies, h.provisionUsers, h.provisionDelivery, h.provisionJournal, h.provisionCounters, h.provisionMetrics, h.provisionEvents,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	handlers.Store(h, nil)
	return nil
}

func (h *Handler) provisionRequests(caddy.Context) error {
	names, err := sendmessage.ParseNames(h.Params)
	if err != nil {
		return fmt.Errorf("param: %w", err)
	}
	h.decoder = &sendmessage.Decoder{Names: names, MaxSize: h.MaxSize}
	if h.MaxSize < 0 || h.MaxSize > sendmessage.LargestMaxSize {
		return fmt.Errorf("max_size: write a number of bytes from 1 to %d", sendmessage.LargestMaxSize)
	}
	if h.MaxSize == 0 {
		h.decoder.MaxSize = sendmessage.DefaultMaxSize
	}
	if h.Path != "" {
		if h.decoder.Path, err = sendmessage.ParsePattern(h.Path, names); err != nil {
			return fmt.Errorf("path: %w", err)
		}
	}
	if err := checkRegion(h.DefaultRegion); err != nil {
		return err
	}
	h.numbers = number.NewTable()
	return nil
}

func checkRegion(region string) error {
	if region == "" {
		return nil
	}
	if err := number.CheckRegion(region); err != nil {
		return fmt.Errorf("default_region: %w", err)
	}
	return nil
}

func (h *Handler) provisionReplies(caddy.Context) (err error) {
	h.replier.Legacy = h.Legacy
	if h.replier.Form, err = parseForm(h.Reply); err != nil {
		return err
	}
	h.phrases, err = newPhrases(h.Sentences)
	return err
}

func parseForm(s string) (sendmessage.Form, error) {
	form, ok := sendmessage.ParseForm(s)
	if !ok && s != "" {
		return form, fmt.Errorf("reply: %q is not a form, write xml or json", s)
	}
	return form, nil
}

// checkComplete reports what must not be missing.
func (h *Handler) checkComplete() error {
	switch {
	case len(h.Users)+len(h.Directories) == 0:
		return errors.New("nobody may send: write user NAME { password … }")
	case len(h.Adapters) == 0:
		return errors.New("no message could leave: write adapter NAME { … }, or adapter sandbox to try")
	}
	return nil
}

func (h *Handler) provisionUsers(ctx caddy.Context) error {
	if err := h.checkComplete(); err != nil {
		return err
	}
	var err error
	if h.policy, err = destination.Parse(h.Allow, h.Deny); err != nil {
		return err
	}
	if h.limits, err = h.Limits.rules(); err != nil {
		return err
	}
	read := func(u *User) (users.Account, []string, error) {
		account, weak, err := u.account(h.DefaultRegion, h.policy, h.limits)
		account.Elsewhere = h.Authenticated
		return account, weak, err
	}
	var chain users.Chain
	if len(h.Users) > 0 {
		list, err := h.ownUsers(read)
		if err != nil {
			return err
		}
		chain = append(chain, list)
	}
	h.elsewhere = len(h.Directories) > 0 // loading empties it
	guests, err := ctx.LoadModule(h, "Directories")
	if err != nil {
		return err
	}
	for _, guest := range guests.([]any) {
		d, ok := guest.(directory)
		if !ok {
			return fmt.Errorf("users: %T knows no users", guest)
		}
		opened, err := d.open(read)
		if err != nil {
			return err
		}
		chain = append(chain, opened)
		if d, ok := guest.(held); ok {
			d.hold()
			h.taken.add(d.release)
		}
	}
	h.byName = chain
	if h.users = chain; len(chain) == 1 {
		h.users = chain[0]
	}
	if err := h.provisionDigest(chain); err != nil {
		return err
	}
	return h.provisionLockout()
}

// provisionDigest turns HTTP Digest on, and says who cannot use it.
func (h *Handler) provisionDigest(chain users.Chain) (err error) {
	if err := h.checkDigest(); err != nil || !h.Digest {
		return err
	}
	for _, u := range chain {
		if p, ok := u.(users.Provable); ok && p.Unprovable() != 0 {
			h.logger.Warn("digest is on, but not for all: users whose passwords are hashed, or are checked by a service, have to send them")
		}
	}
	h.digest, err = digest.NewRealm(cmp.Or(h.Realm, "sms"))
	return err
}

// checkDigest refuses settings that cannot go together.
func (h *Handler) checkDigest() error {
	switch {
	case h.Realm != "" && !h.Digest:
		return errors.New("realm is that of digest; write digest too")
	case h.Digest && h.Stealth:
		return errors.New("digest asks strangers for an answer, which stealth does not allow; drop one of them")
	}
	return nil
}

const unevenHashes = "the password hashes differ in number or cost, so that it can be measured which names exist"

// ownUsers are those of the configuration itself.
func (h *Handler) ownUsers(read readUser) (*users.List, error) {
	repl := caddy.NewReplacer()
	var accounts []users.Account
	for _, u := range h.Users {
		if u == nil {
			return nil, errNull
		}
		resolved, err := u.resolved(repl, h.logger)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", u.Name, err)
		}
		account, weak, err := read(resolved)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", u.Name, err)
		}
		for _, option := range weak {
			h.logger.Warn("a secret is easy to guess", zap.String("user", resolved.Name), zap.String("option", option))
		}
		accounts = append(accounts, account)
	}
	list, err := users.NewList(accounts)
	if err == nil && list.Uneven() {
		h.logger.Warn(unevenHashes)
	}
	return list, err
}

// answerStep hides how long it took to find a credential wrong: such answers leave at multiples of it after the credential was
// looked at first.
const answerStep = 250 * time.Millisecond

func (h *Handler) provisionLockout() error {
	h.step, h.turns = answerStep, lockout.NewTurns()
	settings := lockout.Default
	switch l := h.Lockout; {
	case l == nil:
	case l.Off:
		return nil
	case l.Count < 1 || l.Window <= 0:
		return errors.New("lockout: write a count and a window, such as 10 5m, or off")
	default:
		settings = lockout.Settings{Count: l.Count, Window: time.Duration(l.Window)}
	}
	h.guard = take(&h.taken, guards, settings, func() *lockout.Guard { return lockout.NewGuard(settings) })
	return nil
}

// defaultWindow is for how long a repeat without an id of the app is recognised, where the first answer may be lost.
const defaultWindow = 30 * time.Second

func (h *Handler) provisionJournal(ctx caddy.Context) error {
	app, err := ctx.App("acrobits_sms")
	if err != nil {
		return err
	}
	shared := app.(*App)
	h.journal = takeJournal(&h.taken, shared.journal.journals) // for requests in flight
	h.terms = journal.Terms{Window: defaultWindow, Keep: time.Duration(shared.KeepMessages)}
	if h.DuplicateWindow != nil {
		h.terms.Window = time.Duration(*h.DuplicateWindow)
	}
	return h.checkWindow()
}

func (h *Handler) checkWindow() error {
	if w := h.DuplicateWindow; w != nil && (*w < 0 || time.Duration(*w) > time.Hour) {
		return errors.New("duplicate_window takes a time up to an hour, such as 30s, or 0")
	}
	return nil
}

func (h *Handler) provisionCounters(caddy.Context) error {
	h.payer = h.deliverer.Routes[0].Adapter.Payer()
	if !h.BurstsOff {
		h.watch = take(&h.taken, watches, h.payer, burst.NewWatch)
	}
	return nil
}

// errNull says that a list of the JSON configuration has a hole.
var errNull = errors.New("null is not a user, an adapter or a definition")

// longestTimeout leaves apps, which give up after about 30 seconds, some time for the way.
const longestTimeout = 25 * time.Second

func (h *Handler) provisionDelivery(ctx caddy.Context) error {
	transport, err := h.loadTransport(ctx)
	if err != nil {
		return err
	}
	if h.MaxParts < 0 || h.Timeout < 0 || h.AttemptTimeout < 0 {
		return errors.New("max_parts, timeout and attempt_timeout are not negative")
	}
	h.deliverer = &delivery.Deliverer{
		Timeout:        cmp.Or(time.Duration(h.Timeout), delivery.DefaultTimeout),
		AttemptTimeout: cmp.Or(time.Duration(h.AttemptTimeout), delivery.DefaultAttemptTimeout),
		MaxParts:       cmp.Or(h.MaxParts, delivery.DefaultMaxParts),
		Retries:        delivery.DefaultRetries,
		Held:           paused.Load,
		NotSent:        isDialError,
	}
	if h.deliverer.Timeout > longestTimeout {
		h.logger.Warn("timeout is longer than apps wait, so they tell of a failure while the message is still on its way", zap.Duration("timeout", h.deliverer.Timeout))
	}
	own, err := parseDefinitions(h.Definitions)
	if err != nil {
		return err
	}
	for name, d := range own {
		for _, literal := range d.Literals() {
			h.logger.Warn("a secret is written in a definition; give it an option with a value of {env.NAME}", zap.String("define", name), zap.String("name", literal))
		}
	}
	repl := caddy.NewReplacer()
	var names []string
	var ways []routing.Way
	for _, a := range h.Adapters {
		if a == nil {
			return errNull
		}
		adapter, err := a.bind(own, repl, h.logger)
		if err != nil {
			return err
		}
		way, err := h.way(a, repl)
		if err != nil {
			return fmt.Errorf("adapter %s: %w", adapter.Name, err)
		}
		ways = append(ways, way)
		if slices.Contains(names, adapter.Name) {
			return fmt.Errorf("two adapters are called %s; name one: adapter %s as NAME", adapter.Name, a.Definition)
		}
		names = append(names, adapter.Name)
		account := take(&h.taken, accounts, adapter.Account(), newAccount)
		h.taken.add(account.Limit(a.Concurrency, a.Rate))
		h.deliverer.Routes = append(h.deliverer.Routes, delivery.Route{
			Adapter: adapter, Transport: transport, Account: account, Weight: a.Weight,
		})
	}
	for i, bars := range routing.Barriers(ways) {
		h.deliverer.Routes[i].Bars = bars
	}
	return nil
}

// newAccount makes an account that tells the operator when it rests and when it works again, by the adapter that uses it then.
func newAccount() *delivery.Account {
	account := delivery.NewAccount()
	account.Changed = func(resting bool) {
		log := caddy.Log().Named("http.handlers.acrobits_sms").With(zap.String("adapter", namesOfAccounts()[account]))
		if resting {
			log.Error("an account rests for 30 seconds, since it gave no usable answer several times in a row")
			return
		}
		log.Info("an account that rested works again")
	}
	return account
}

// MarshalLogObject lists names and nothing else: Caddy's trace prints handlers, and secrets may stand in the configuration.
func (h *Handler) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	return errors.Join(
		enc.AddArray("users", zapcore.ArrayMarshalerFunc(func(names zapcore.ArrayEncoder) error {
			for _, u := range h.Users {
				names.AppendString(u.Name)
			}
			return nil
		})),
		enc.AddArray("adapters", zapcore.ArrayMarshalerFunc(func(names zapcore.ArrayEncoder) error {
			for _, a := range h.Adapters {
				names.AppendString(a.name())
			}
			return nil
		})),
	)
}

// Cleanup releases what this handler uses, as soon as no request is in flight any more.
func (h *Handler) Cleanup() error {
	handlers.Delete(h)
	if h.traffic == nil {
		return nil
	}
	return h.traffic.replace()
}

func parseDefinitions(list []*Definition) (map[string]*adapters.Definition, error) {
	own := make(map[string]*adapters.Definition)
	for _, d := range list {
		if d == nil {
			return nil, errNull
		}
		if own[d.Name] != nil {
			return nil, fmt.Errorf("%s:%d: %s is defined a second time", d.File, d.Line, d.Name)
		}
		if slices.Contains(adapters.Names(), d.Name) {
			return nil, fmt.Errorf("%s:%d: there is a built-in adapter %s already, choose another name", d.File, d.Line, d.Name)
		}
		parsed, err := d.parse()
		if err != nil {
			return nil, err
		}
		own[d.Name] = parsed
	}
	return own, nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ zapcore.ObjectMarshaler     = (*Handler)(nil)
)

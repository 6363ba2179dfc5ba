// Package caddymodule contains the Caddy modules: the HTTP handler acrobits_sms, which implements
// the Send Message web service of Acrobits apps, the app acrobits_sms with its journals, the
// sources of users, the admin routes and the commands.
//
// It adapts Caddy to internal/gateway: configuration, lifetime, HTTP, log, metrics and events are
// decided here, the handling of a message never. Builds of Caddy import it for its registrations.
// Handlers are safe for concurrent use.
package caddymodule

import (
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler implements the Send Message web service of Acrobits apps (Groundwire, Cloud Softphone,
// white labels). It reads an app's request in any of its forms, authenticates the user, sends the
// text by an SMS provider, and returns the `sms_id` or the `message` that the app shows. The app is
// told success only if a provider accepted the message. A message whose outcome is unknown is never
// sent again automatically.
//
// Without `services`, it takes every request that reaches it for a message. With `services`, it
// passes requests to other paths on to the next handler. If no handler replies to such a request,
// the reply is 404 in the form that apps understand.
//
// Placeholders, set when the reply is written:
//
// Placeholder | Description
// ------------|------------
// `{http.acrobits_sms.outcome}` | `accepted`, `refused` or `unknown`
// `{http.acrobits_sms.cause}` | The cause unless accepted, such as `invalid_recipient`
// `{http.acrobits_sms.adapter}` | The name of the adapter whose reply decided
// `{http.acrobits_sms.sms_id}` | The id that the app was given
// `{http.acrobits_sms.reference}` | The reference that users can report
// `{http.auth.user.id}` | The name of the user
type Handler struct {
	// Users are the accounts that may send. At least one user or directory is required: there is no
	// open mode.
	Users []*User `json:"users,omitempty"`

	// DefaultRegion is the country of numbers without a country code, as a two-letter code such as
	// `US`. Default: none, and such numbers are refused.
	DefaultRegion string `json:"default_region,omitempty"`

	// Directories are further sources of users. They are asked in order, after Users.
	Directories []json.RawMessage `json:"directories,omitempty" caddy:"namespace=http.acrobits_sms.users inline_key=source"`

	// Allow are allowed destinations in addition to the country of the sender's number, which is
	// always allowed unless denied: countries such as `US`, `all`, prefixes such as `+4420`, and kinds
	// of numbers that are refused by default: `premium`, `shared_cost`, `satellite`, `personal`,
	// `short_codes`. Emergency numbers are always refused.
	Allow []string `json:"allow,omitempty"`

	// Deny are refused destinations. Deny takes precedence over Allow.
	Deny []string `json:"deny,omitempty"`

	// Lockout limits wrong passwords. Default: more than 10 from one network (an IPv4 address, or the
	// first 64 bits of an IPv6 address) within 5 minutes lock it out for 5 minutes, then twice as long
	// each time, at most 1 hour.
	Lockout *Lockout `json:"lockout,omitempty"`

	// Limits are rate limits. Default: 30 messages a minute and 1,000 segments a day for each user,
	// and 10,000 segments a day for the site. Counts survive a reload as long as the first adapter's
	// definition, base URL and options that are not secret stay the same (or its secrets, if it has no
	// other options).
	Limits *Limits `json:"limits,omitempty"`

	// BurstsOff disables the detection of bursts. By default, messages that look like fraud are
	// refused: to more than 5 countries within 1 hour that are new for a user, or to more than 9 of
	// 100 consecutive numbers within 10 minutes.
	BurstsOff bool `json:"bursts_off,omitempty"`

	// Authenticated accepts users already authenticated by an earlier handler such as `basic_auth`
	// (`{http.auth.user.id}`), without a credential in the request. The name must match a user
	// exactly. Other requests need a credential as usual.
	Authenticated bool `json:"authenticated,omitempty"`

	// Digest challenges requests without a credential by HTTP Digest (MD5 or SHA-256), for apps with
	// an `AuthUsername` setting. Nothing is sent on the first request; the app repeats it with an
	// answer. It works only for users whose plain password or HA1 is known. Other credentials remain
	// accepted.
	Digest bool `json:"digest,omitempty"`

	// Realm is the realm of Digest. It must equal the realm of stored hashes of user:realm:password.
	// Default: `sms`.
	Realm string `json:"realm,omitempty"`

	// Stealth replies to unauthenticated requests with an empty 404, as if there were no handler. Over
	// HTTP/2 the handler can still be detected: the reply to a request with an incomplete body comes
	// when the body ends.
	Stealth bool `json:"stealth,omitempty"`

	// Adapters are the providers' APIs, tried in order. An adapter is tried if its conditions match
	// the message, and only if the adapters before it certainly did not accept it. At least one is
	// required.
	Adapters []*Adapter `json:"adapters,omitempty"`

	// Definitions describe further SMS APIs in the adapter language.
	Definitions []*Definition `json:"definitions,omitempty"`

	// TransportRaw is the transport of requests to providers. Default: `http` with at most 512 idle
	// connections to a host, kept for 30 seconds. The verification of certificates cannot be disabled.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// Timeout limits all attempts to send a message together. Apps give up after about 30 seconds.
	// Default: `20s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// AttemptTimeout limits one request to a provider. Default: `10s`.
	AttemptTimeout caddy.Duration `json:"attempt_timeout,omitempty"`

	// DuplicateWindow is how long the same text to the same recipient counts as a duplicate, which is
	// not sent again. It applies to messages without an id of the app, and only if the first reply may
	// not have reached the app: the app had closed the connection, the reply took longer than 20
	// seconds, or it said that the outcome is unknown. Messages with an id
	// (`disposition_notification`) are remembered for 1 day. `0` disables it. Default: `30s`.
	DuplicateWindow *caddy.Duration `json:"duplicate_window,omitempty"`

	// MaxParts is the maximum number of messages that a text is split into, if it is longer than a
	// provider accepts at once. Longer texts are refused. Default: 10.
	MaxParts int `json:"max_parts,omitempty"`

	// Params adds names for the parameters of a request, such as `{"sms_to": ["dst"]}`. The parameters
	// are `user`, `password`, `sender`, `sms_to`, `sms_body`, `content_type`,
	// `disposition_notification`, `smart` and `installid`.
	Params map[string][]string `json:"params,omitempty"`

	// Services turns the choice of the service by the path of the request on. Paths are those of the
	// request before any rewrite, and everything below them. It replaces the default path of a
	// service, as in `{"send": "/sms"}`; `{}` keeps all of them. The services are `send`
	// (`/send_message`, or with `path` the beginning of that pattern), and with `receive` also `fetch`
	// (`/fetch_messages`), `push` (`/push_token`), `removed` (`/account_removed`) and `webhook`
	// (`/webhook`). Default: every request that belongs to no other service is a message.
	Services map[string]string `json:"services,omitzero"`

	// PublicURL is the address of the site as apps and providers reach it, such as
	// `https://sms.example.com`. It may have a path, which may precede the paths of services. Default:
	// scheme and host of each request.
	PublicURL string `json:"public_url,omitempty"`

	// Pictures turns pictures and files on. Default: they are refused.
	Pictures *Pictures `json:"pictures,omitempty"`

	// Receive turns the services on with which apps fetch messages and report where to push. It
	// needs a journal that survives a restart. Default: off.
	Receive *Receive `json:"receive,omitempty"`

	// Path reads parameters from the request's path, such as `/send/{token}/{to}/{body}`. Paths that
	// do not match are replied with 404. Default: the path is ignored.
	Path string `json:"path,omitempty"`

	// Reply is the format of all replies, `xml` or `json`. Default: JSON for JSON requests, XML for
	// others, unless `Accept` asks for one of them.
	Reply string `json:"reply,omitempty"`

	// Legacy adds `error` and `description` to the replies, for older apps.
	Legacy bool `json:"legacy,omitempty"`

	// MaxSize is the maximum size of a request's query and of its body, in bytes, at most 16777216.
	// Default: 262144.
	MaxSize int64 `json:"max_size,omitempty"`

	// AccessLog keeps requests with parameters in the URL in the access log. Such a URL contains a
	// password, so by default these requests are not logged. Enable it only with a log filter that
	// removes the query.
	AccessLog bool `json:"access_log,omitempty"`

	// Sentences replace messages that users of the app see.
	Sentences []Sentence `json:"sentences,omitempty"`

	decoder        *sendmessage.Decoder
	replier        sendmessage.Replier
	sentences      *sentences
	gateway        *gateway.Gateway
	served         []address
	publicURL      string // without a slash at the end
	publicPath     string
	pictures       *pictureSettings // nil if off
	receiver       *receiver        // nil if off
	decoders       receiveDecoders
	webhooks       map[string]webhook // by the name of the adapter
	app            *App
	denialDelay    time.Duration
	hasDirectories bool // further users are in Directories
	addresses      *sharedAddresses
	hinted         *cache.Table[string, *atomic.Uint32] // hints already logged, one bit each, by user name
	emitter        *eventEmitter
	logger         *zap.Logger
	resources      resources // in use until the last request is done
	requests       *inFlight
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.acrobits_sms",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision implements caddy.Provisioner. It opens no connection.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.requests = &inFlight{used: &h.resources}
	h.hinted = cache.NewTable[string, *atomic.Uint32](4096)
	h.addresses = newSharedAddresses()
	h.gateway = &gateway.Gateway{
		Region: h.DefaultRegion, Numbers: number.NewCache(), LoginQueues: lockout.NewQueues(), Paused: paused.Load,
	}
	for _, step := range []func(caddy.Context) error{
		h.provisionRequests, h.provisionServices, h.provisionReplies, h.provisionUsers,
		h.provisionDelivery, h.provisionJournal, h.provisionReceive, h.provisionCounters, h.provisionMetrics, h.provisionEvents,
		h.provisionPictures,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	h.app.add(h.gateway)
	return nil
}

// MarshalLogObject implements zapcore.ObjectMarshaler. It logs names only: Caddy logs handlers at
// trace level, and the configuration may contain secrets.
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

// Cleanup implements caddy.CleanerUpper. It releases the handler's resources as soon as no request
// is in flight.
func (h *Handler) Cleanup() error {
	if h.requests == nil {
		return nil
	}
	return h.requests.replace()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ zapcore.ObjectMarshaler     = (*Handler)(nil)
)

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (h *Handler) UnmarshalJSON(data []byte) error {
	type plain Handler
	return decodeStrict(data, (*plain)(h))
}

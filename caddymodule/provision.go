package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/digest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery/routing"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/burst"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func (h *Handler) provisionRequests(caddy.Context) error {
	names, err := sendmessage.ParseNames(h.Params)
	if err != nil {
		return fmt.Errorf("param: %w", err)
	}
	h.decoder = &sendmessage.Decoder{Names: names, MaxSize: h.MaxSize, Stealth: h.Stealth}
	if h.MaxSize < 0 || h.MaxSize > params.MaxSizeLimit {
		return fmt.Errorf("max_size: write a number of bytes from 1 to %d", params.MaxSizeLimit)
	}
	if h.MaxSize == 0 {
		h.decoder.MaxSize = params.DefaultMaxSize
	}
	if h.Path != "" {
		if h.decoder.Path, err = params.ParsePattern(h.Path, names); err != nil {
			return fmt.Errorf("path: %w", err)
		}
	}
	return checkRegion(h.DefaultRegion)
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
	h.sentences, err = newSentences(h.Sentences)
	return err
}

func parseForm(s string) (params.Form, error) {
	form, ok := params.ParseForm(s)
	if !ok && s != "" {
		return form, errors.New("reply: write xml or json")
	}
	return form, nil
}

// checkComplete reports missing parts of the configuration.
func (h *Handler) checkComplete() error {
	switch {
	case len(h.Users)+len(h.Directories) == 0:
		return errors.New("no user may send: write user NAME { password … }")
	case len(h.Adapters) == 0:
		return errors.New("no adapter can send: write adapter NAME { … }, or adapter sandbox to try")
	}
	return nil
}

func (h *Handler) provisionUsers(ctx caddy.Context) error {
	if err := h.checkComplete(); err != nil {
		return err
	}
	var err error
	if h.gateway.Destinations, err = destination.Parse(h.Allow, h.Deny); err != nil {
		return err
	}
	if h.gateway.Limits, err = h.Limits.rules(); err != nil {
		return err
	}
	chain, err := h.openUsers(ctx)
	if err != nil {
		return err
	}
	h.gateway.ByName = chain
	if h.gateway.Users = chain; len(chain) == 1 {
		h.gateway.Users = chain[0]
	}
	if err := h.provisionDigest(chain); err != nil {
		return err
	}
	return h.provisionLockout()
}

// openUsers opens the users of the configuration and the directories, in the order in which they
// are asked.
func (h *Handler) openUsers(ctx caddy.Context) (chain users.Chain, err error) {
	read := func(u *User) (users.Account, []string, error) {
		account, weak, err := u.account(h.DefaultRegion, h.gateway.Destinations, h.gateway.Limits)
		account.ExternalAuth = h.Authenticated
		return account, weak, err
	}
	if len(h.Users) > 0 {
		list, err := h.configuredUsers(read)
		if err != nil {
			return nil, err
		}
		chain = append(chain, list)
	}
	h.hasDirectories = len(h.Directories) > 0 // LoadModule empties the list
	for _, raw := range h.Directories {
		if err := checkModule(raw, "source", userSources()); err != nil {
			return nil, fmt.Errorf("users: %w", err)
		}
	}
	guests, err := ctx.LoadModule(h, "Directories")
	if err != nil {
		return nil, err
	}
	for _, guest := range guests.([]any) {
		d, ok := guest.(directory)
		if !ok {
			return nil, fmt.Errorf("users: %T is not a source of users", guest)
		}
		opened, err := d.open(read)
		if err != nil {
			return nil, err
		}
		chain = append(chain, opened)
		if d, ok := guest.(retained); ok {
			d.acquire()
			h.resources.add(d.release)
		}
	}
	return chain, nil
}

// provisionDigest enables HTTP Digest, and warns if some users cannot use it.
func (h *Handler) provisionDigest(chain users.Chain) (err error) {
	if err := h.checkDigest(); err != nil || !h.Digest {
		return err
	}
	for _, u := range chain {
		if p, ok := u.(users.ProofSupport); ok && p.WithoutProof() != 0 {
			h.logger.Warn("digest needs plain passwords; " +
				"users whose passwords are hashed or checked by a service must send them")
		}
	}
	h.gateway.Digest, err = digest.NewRealm(cmp.Or(h.Realm, "sms"))
	return err
}

// checkDigest refuses settings that contradict each other.
func (h *Handler) checkDigest() error {
	switch {
	case h.Realm != "" && !h.Digest:
		return errors.New("realm is an option of digest; write digest too")
	case h.Digest && h.Stealth:
		return errors.New("digest challenges unauthenticated requests, which stealth must not do; remove one of them")
	}
	return nil
}

const unevenHashes = "the password hashes differ in number or cost: response times may reveal which user names exist"

// configuredUsers returns the users of the configuration itself.
func (h *Handler) configuredUsers(read accountReader) (*users.List, error) {
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
	if country := h.onlyCountry(accounts); country != "" {
		h.logger.Warn("default_region is not set: numbers without a country code are refused; all numbers in from are of one country",
			zap.String("write", "default_region "+country))
	}
	list, err := users.NewList(accounts)
	if err == nil && list.HasMixedHashCosts() {
		h.logger.Warn(unevenHashes)
	}
	return list, err
}

// onlyCountry returns the common country of all numbers of all users, if a user has no region. It
// is empty if the numbers are of several countries or every user has a region.
func (h *Handler) onlyCountry(accounts []users.Account) (country string) {
	needed := false
	for _, a := range accounts {
		needed = needed || a.Region == "" && h.DefaultRegion == ""
		for _, n := range a.Numbers {
			if n.Kind != sms.Phone {
				continue
			}
			switch c := destination.Country(n, ""); {
			case c == "", country != "" && c != country:
				return ""
			default:
				country = c
			}
		}
	}
	if !needed {
		return ""
	}
	return country
}

func (h *Handler) provisionLockout() error {
	h.denialDelay = denialDelay
	settings := lockout.Default
	switch l := h.Lockout; {
	case l == nil:
	case l.Off:
		settings = lockout.Settings{}
	case l.Count < 1 || l.Window <= 0:
		return errors.New("lockout: write a count and a window, such as 10 5m, or off")
	default:
		settings = lockout.Settings{Count: l.Count, Window: time.Duration(l.Window)}
	}
	h.gateway.Guard = acquireShared(&h.resources, guards, settings, func() *lockout.Guard {
		return lockout.NewGuard(settings)
	})
	return nil
}

// defaultWindow is the default of Handler.DuplicateWindow.
const defaultWindow = 30 * time.Second

func (h *Handler) provisionJournal(ctx caddy.Context) error {
	app, err := ctx.App("acrobits_sms")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.gateway.Journal = acquireJournal(&h.resources, h.app.journal.journalSource) // until the last request in flight
	h.gateway.Options = journal.Options{Window: defaultWindow, Keep: time.Duration(h.app.KeepMessages)}
	if h.DuplicateWindow != nil {
		h.gateway.Options.Window = time.Duration(*h.DuplicateWindow)
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
	h.gateway.BillingKey = h.gateway.Deliverer.Routes[0].Adapter.BillingKey()
	if !h.BurstsOff {
		h.gateway.Bursts = acquireShared(&h.resources, burstWatches, h.gateway.BillingKey, burst.NewDetector)
	}
	return nil
}

// errNull is returned for null in a list of the JSON configuration.
var errNull = errors.New("null is not a user, an adapter or a definition")

// maxTimeout is 5 s shorter than the 30 s after which apps give up: the reply takes time too.
const maxTimeout = 25 * time.Second

func (h *Handler) provisionDelivery(ctx caddy.Context) error {
	transport, err := h.loadTransport(ctx)
	if err != nil {
		return err
	}
	if h.MaxParts < 0 || h.Timeout < 0 || h.AttemptTimeout < 0 {
		return errors.New("max_parts, timeout and attempt_timeout must not be negative")
	}
	h.gateway.Deliverer = &delivery.Deliverer{
		Timeout:        cmp.Or(time.Duration(h.Timeout), delivery.DefaultTimeout),
		AttemptTimeout: cmp.Or(time.Duration(h.AttemptTimeout), delivery.DefaultAttemptTimeout),
		MaxParts:       cmp.Or(h.MaxParts, delivery.DefaultMaxParts),
		Retries:        delivery.DefaultRetries,
		Paused:         paused.Load,
		NotSent:        isDialError,
	}
	if h.gateway.Deliverer.Timeout > maxTimeout {
		h.logger.Warn("timeout exceeds 25s, and apps wait for about 30s: they may report a failure while the message is still being sent",
			zap.Duration("timeout", h.gateway.Deliverer.Timeout))
	}
	own, err := parseDefinitions(h.Definitions)
	if err != nil {
		return err
	}
	for name, d := range own {
		for _, literal := range d.Literals() {
			h.logger.Warn("a secret is written in a definition; make it an option with the value {env.NAME}",
				zap.String("define", name), zap.String("name", literal))
		}
	}
	return h.provisionRoutes(own, transport)
}

// provisionRoutes binds the adapters, and adds a route for each.
func (h *Handler) provisionRoutes(own map[string]*adapters.Definition, transport http.RoundTripper) error {
	repl := caddy.NewReplacer()
	var names []string
	var all []routing.Criteria
	for _, a := range h.Adapters {
		if a == nil {
			return errNull
		}
		adapter, err := a.bind(own, repl, h.logger)
		if err != nil {
			return err
		}
		if adapter, err = h.webhookOf(a, adapter, repl); err != nil {
			return fmt.Errorf("adapter %s: %w", a.name(), err)
		}
		criteria, err := h.criteria(a, repl)
		if err != nil {
			return fmt.Errorf("adapter %s: %w", adapter.Name, err)
		}
		all = append(all, criteria)
		if slices.Contains(names, adapter.Name) {
			return fmt.Errorf("two adapters are called %s; name one: adapter %s as NAME", adapter.Name, a.Definition)
		}
		names = append(names, adapter.Name)
		account := acquireShared(&h.resources, accounts, adapter.Account(), newAccount)
		h.resources.add(account.Limit(a.Concurrency, a.Rate))
		h.gateway.Deliverer.Routes = append(h.gateway.Deliverer.Routes, delivery.Route{
			Adapter: adapter, Transport: h.transportFor(adapter, transport), Account: account, Weight: a.Weight,
		})
	}
	for i, exclude := range routing.Filters(all) {
		h.gateway.Deliverer.Routes[i].Exclude = exclude
	}
	return nil
}

// newAccount returns an account that logs when its circuit breaker opens and closes, by the name of
// an adapter that uses it at that time.
func newAccount() *delivery.Account {
	account := delivery.NewAccount()
	account.BreakerChanged = func(open bool) {
		log := caddy.Log().Named("http.handlers.acrobits_sms").With(zap.String("adapter", accountNames()[account]))
		if open {
			log.Error("circuit breaker open for 30s after 5 failures in a row")
			return
		}
		log.Info("circuit breaker closed: the account works again")
	}
	return account
}

func parseDefinitions(list []*Definition) (map[string]*adapters.Definition, error) {
	own := make(map[string]*adapters.Definition)
	for _, d := range list {
		if d == nil {
			return nil, errNull
		}
		if own[d.Name] != nil {
			return nil, fmt.Errorf("%s:%d: %s is defined twice", d.File, d.Line, d.Name)
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

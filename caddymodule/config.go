package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery/routing"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// User is an account that may send.
type User struct {
	// Name is the user name that the app sends.
	Name string `json:"name"`

	// Passwords are accepted together with the name. Each is plain text, preferably a placeholder such
	// as `{env.PASSWORD}` or `{file./run/secrets/password}`, a SHA-1 in lower-case hexadecimal, or a
	// bcrypt or argon2id hash. Apps may send the SHA-1 of a password instead, unless only its bcrypt
	// or argon2id hash is known.
	Passwords []string `json:"passwords,omitempty"`

	// Tokens are accepted without a name, for apps that send one secret only. Each is plain text or a
	// placeholder.
	Tokens []string `json:"tokens,omitempty"`

	// From are the numbers, short codes and sender IDs that the user may send from. The first is the
	// default. Without any, the provider chooses the sender, and requests that ask for one are
	// refused.
	From []string `json:"from,omitempty"`

	// Groups are names that several users may share. Conditions of adapters refer to them.
	Groups []string `json:"groups,omitempty"`

	// Region is the country of numbers that the user enters without a country code. Default: the
	// handler's `default_region`.
	Region string `json:"region,omitempty"`

	// Limits are rate limits of this user, written as `COUNT UNIT per PERIOD`, such as `5 messages per
	// minute`. Each replaces the handler's user limit with the same unit and period, or is added to
	// the others.
	Limits []string `json:"limits,omitempty"`

	// Allow and Deny are destinations of this user, in addition to the handler's.
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`

	// Receive are the numbers and short codes whose messages the user fetches, or `off` alone. It needs
	// the handler's `receive`. Default: the telephone numbers and short codes in `from`.
	Receive []string `json:"receive,omitempty"`
}

// account returns the account of a user whose placeholders are resolved, and the options whose
// secrets are weak.
func (u *User) account(
	region string, site *destination.Policy, limits []limit.Rule,
) (account users.Account, weak []string, err error) {
	account = users.Account{User: users.User{Name: u.Name, Groups: u.Groups}, Passwords: u.Passwords, Tokens: u.Tokens}
	if u.Region != "" {
		region = u.Region
		if err := number.CheckRegion(region); err != nil {
			return account, nil, fmt.Errorf("region: %w", err)
		}
		account.Region = region
	}
	if len(u.Limits) > 0 {
		if account.Limits, err = u.rules(limits); err != nil {
			return account, nil, err
		}
	}
	if account.Numbers, err = parseSenders(u.From, region); err != nil {
		return account, nil, err
	}
	if account.Receive, err = u.receivedNumbers(account.Numbers, region); err != nil {
		return account, nil, err
	}
	own, err := destination.Parse(u.Allow, u.Deny)
	if err != nil {
		return account, nil, err
	}
	policy := site
	if !own.Empty() {
		policy = site.With(own)
		account.Destinations = policy
	}
	isPhone := func(n sms.Number) bool { return n.Kind == sms.Phone }
	if region == "" && !policy.AllowsAny() && !slices.ContainsFunc(account.Numbers, isPhone) {
		return account, nil, errors.New("no allowed country: write default_region, from with a telephone number, or allow")
	}
	return account, u.weakOptions(), nil
}

// weakOptions returns the option of each weak secret.
func (u *User) weakOptions() (options []string) {
	for _, secret := range u.Passwords {
		if !isHash(secret) && isWeak(secret) {
			options = append(options, "password")
		}
	}
	for _, secret := range u.Tokens {
		if isWeak(secret) {
			options = append(options, "token")
		}
	}
	return options
}

// rules returns the limits of the site merged with the user's own.
func (u *User) rules(site []limit.Rule) ([]limit.Rule, error) {
	var own []limit.Rule
	for _, line := range u.Limits {
		r, err := limit.Parse(append([]string{"user"}, strings.Fields(line)...))
		if errors.Is(err, limit.ErrUsage) {
			err = errors.New("write a limit of a user such as: 5 messages per minute, or: 100 segments per day Europe/Berlin")
		}
		if err != nil {
			return nil, fmt.Errorf("limit: %w", err)
		}
		own = append(own, r)
	}
	return limit.Merge(site, own)
}

// resolved returns a copy of the user with placeholders replaced. The configuration itself keeps
// them, because Caddy prints it.
func (u *User) resolved(repl *caddy.Replacer, log *zap.Logger) (*User, error) {
	out := &User{Groups: u.Groups, Allow: u.Allow, Deny: u.Deny, Region: u.Region, Limits: u.Limits}
	var err error
	if out.Name, err = resolve(repl, u.Name); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		option    string
		from      []string
		to        *[]string
		areSecret bool
	}{
		{"password", u.Passwords, &out.Passwords, true},
		{"token", u.Tokens, &out.Tokens, true},
		{"from", u.From, &out.From, false},
		{"receive", u.Receive, &out.Receive, false},
	} {
		for _, s := range list.from {
			value, err := resolve(repl, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list.option, err)
			}
			if list.areSecret && !isHash(value) {
				warnExposedSecret(log, s, zap.String("user", out.Name), zap.String("option", list.option))
			}
			*list.to = append(*list.to, value)
		}
	}
	return out, nil
}

func isHash(secret string) bool {
	return strings.HasPrefix(secret, "$2") || strings.HasPrefix(secret, "$argon2id$")
}

// parseSenders parses the numbers of a user.
func parseSenders(list []string, region string) ([]sms.Number, error) {
	numbers, err := number.ParseSenders(list, region)
	if err != nil {
		return nil, fromError{fmt.Errorf("from: %w", err)}
	}
	return numbers, nil
}

// fromError is an error in the numbers of a user.
type fromError struct{ error }

// isWeak reports whether a secret is shorter than 8 bytes, or of fewer than 12 digits.
func isWeak(secret string) bool {
	return len(secret) < 12 && strings.Trim(secret, "0123456789") == "" || len(secret) < 8
}

// Lockout configures after how many wrong passwords a network is locked out.
type Lockout struct {
	// Off disables lockouts.
	Off bool `json:"off,omitempty"`

	// Count is the number of wrong passwords that are accepted within the window.
	Count int `json:"count,omitempty"`

	// Window is the period in which wrong passwords are counted, and the duration of the first
	// lockout.
	Window caddy.Duration `json:"window,omitempty"`
}

// Limits configures rate limits.
type Limits struct {
	// Off disables the default rules.
	Off bool `json:"off,omitempty"`

	// Rules are written as `SCOPE COUNT UNIT per PERIOD`, such as `user 30 messages per minute` or
	// `site 10000 segments per day Europe/Berlin`. A scope is `user`, `sender`, `country` (of the
	// recipient) or `site`, a unit `messages`, `segments` or `pictures`. The periods `minute` and `hour` refill
	// steadily; `day` and `month` are of the calendar, in UTC unless a time zone follows. A rule
	// replaces the default rule with the same scope, unit and period, or is added to the others.
	Rules []string `json:"rules,omitempty"`
}

// rules returns the rules in effect.
func (l *Limits) rules() ([]limit.Rule, error) {
	if l == nil {
		return limit.Default, nil
	}
	base := limit.Default
	if l.Off {
		base = nil
	}
	var own []limit.Rule
	for _, line := range l.Rules {
		r, err := limit.Parse(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("limit: %w", err)
		}
		own = append(own, r)
	}
	rules, err := limit.Merge(base, own)
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	return rules, nil
}

// Adapter is an account at a provider: a definition with its options.
type Adapter struct {
	// Definition is the name of a built-in definition, such as `twilio`, or of one in `definitions`.
	Definition string `json:"definition"`

	// Name is the name of the adapter in logs. Default: the definition's name.
	Name string `json:"name,omitempty"`

	// BaseURL replaces the definition's base URL: scheme, host and path prefix.
	BaseURL string `json:"base_url,omitempty"`

	// Options are the definition's options. Values may be placeholders such as
	// `{env.TWILIO_AUTH_TOKEN}`.
	Options map[string]string `json:"options,omitempty"`

	// When are conditions. The adapter is tried only for messages that meet all of them. Each is a
	// list of words: `["to", "DE", "+4420"]` (the recipient is in one of these destinations, written
	// as in `allow`), `["from", "+15551234567"]` (the sender is one of these), `["user", "alice",
	// "bob"]` (the user is one of these), `["group", "sales"]` (the user is in one of these groups),
	// `["text"]` and `["media"]` (without and with pictures or files), `["smart"]` (the app says that
	// the recipient uses it too), `["segments", ">", "1"]` (the text has more segments), or
	// `["unicode"]` (the text is not in the GSM alphabet). The first word `not` negates the condition.
	// Words may be placeholders.
	When [][]string `json:"when,omitempty"`

	// Weight balances load between consecutive adapters with a weight: each that matches a message is
	// tried first in proportion to its weight, then the others. The order for one message is always
	// the same.
	Weight int `json:"weight,omitempty"`

	// Rate is the maximum number of messages per second to the account, from all sites that use it,
	// and Concurrency the maximum number in flight. Further messages wait up to 5 seconds, one user's
	// after another's in turn, then go to the next adapter. Default: unlimited.
	Rate        float64 `json:"rate,omitempty"`
	Concurrency int     `json:"concurrency,omitempty"`

	// Senders are numbers, short codes and sender IDs reserved for this adapter: it accepts messages
	// from these only, and other adapters accept them only if they list them too. They may be
	// placeholders.
	Senders []string `json:"senders,omitempty"`

	// WebhookSecret lets the adapter receive messages and receipts: the provider calls
	// `/webhook/NAME/SECRET`. It has 16 to 128 letters, digits, - and _, and is preferably a
	// placeholder. It needs the handler's `receive`. Default: the adapter only sends.
	WebhookSecret string `json:"webhook_secret,omitempty"`
}

// name returns the name of the adapter in logs.
func (a *Adapter) name() string { return cmp.Or(a.Name, a.Definition) }

// criteria parses when and senders, and checks the bounds of the adapter.
func (h *Handler) criteria(a *Adapter, repl *caddy.Replacer) (w routing.Criteria, err error) {
	for _, line := range a.When {
		if line, err = resolveAll(repl, line); err != nil {
			return w, fmt.Errorf("when: %w", err)
		}
		c, err := h.parseCondition(line)
		if err != nil {
			return w, err
		}
		w.Conditions = append(w.Conditions, c)
	}
	senders, err := resolveAll(repl, a.Senders)
	if err == nil {
		w.Senders, err = routing.Numbers(senders, h.DefaultRegion)
	}
	if err != nil {
		return w, fmt.Errorf("senders: %w", err)
	}
	if len(w.Senders) > 0 && !h.mayHaveNumber(w.Senders) {
		h.logger.Warn("no user has any of the numbers in senders: the adapter will never be used",
			zap.String("adapter", a.name()))
	}
	switch {
	case a.Weight < 0:
		return w, errors.New("weight takes a whole number, such as 3")
	case a.Rate != 0 && (a.Rate < minRate || a.Rate > maxRate):
		return w, errRate
	case a.Concurrency < 0:
		return w, errors.New("concurrency takes a whole number, such as 20")
	}
	return w, nil
}

// mayHaveNumber reports whether a user may have one of the numbers. It is true if users or numbers
// are not in the configuration.
func (h *Handler) mayHaveNumber(numbers []sms.Number) bool {
	return h.hasDirectories || slices.ContainsFunc(h.Users, func(u *User) bool {
		return slices.ContainsFunc(u.From, func(s string) bool {
			n, ok := number.Sender(s, cmp.Or(u.Region, h.DefaultRegion))
			return hasPlaceholder(s) || ok && slices.Contains(numbers, n)
		})
	})
}

// Bounds of a rate, in messages per second.
const (
	minRate = 0.1
	maxRate = 10_000
)

var errRate = errors.New("rate takes the number of messages a second, such as 10 or 0.5")

// parseCondition parses a condition. Its users and groups must exist, unless there are directories.
func (h *Handler) parseCondition(line []string) (routing.Condition, error) {
	c, err := routing.Parse(line, h.DefaultRegion)
	if err != nil {
		return c, err
	}
	if line[0] == "not" {
		line = line[1:]
	}
	word, names := line[0], line[1:]
	if word != "user" && word != "group" || h.hasDirectories || len(h.Directories) > 0 {
		return c, nil
	}
	known := h.knownNames(word)
	for _, name := range names {
		if !slices.Contains(known, name) && !slices.ContainsFunc(known, hasPlaceholder) {
			return c, fmt.Errorf("when %s: %s", word, suggest.Unknown(word, name, known))
		}
	}
	return c, nil
}

// knownNames returns the names of users if word is user, and of groups otherwise.
func (h *Handler) knownNames(word string) (known []string) {
	for _, u := range h.Users {
		switch {
		case u == nil:
		case word == "user":
			known = append(known, u.Name)
		default:
			known = append(known, u.Groups...)
		}
	}
	return known
}

// definition looks up the adapter's definition among own and the built-in ones.
func (a *Adapter) definition(own map[string]*adapters.Definition) (*adapters.Definition, error) {
	if d := own[a.Definition]; d != nil {
		return d, nil
	}
	if slices.Contains(adapters.Names(), a.Definition) {
		return adapters.Builtin(a.Definition)
	}
	names := slices.Concat(slices.Sorted(maps.Keys(own)), adapters.Names())
	return nil, errors.New(suggest.Unknown("adapter", a.Definition, names))
}

// bind returns the adapter with placeholders replaced.
func (a *Adapter) bind(
	own map[string]*adapters.Definition, repl *caddy.Replacer, log *zap.Logger,
) (*adapters.Adapter, error) {
	d, err := a.definition(own)
	if err != nil {
		return nil, err
	}
	name := a.name()
	if err := d.Check(name, a.BaseURL, a.Options); err != nil {
		return nil, err
	}
	base, err := resolve(repl, a.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("adapter %s: base_url: %w", name, err)
	}
	options := make(map[string]string, len(a.Options))
	for _, o := range d.Options {
		value, given := a.Options[o.Name]
		if !given {
			continue
		}
		if options[o.Name], err = resolve(repl, value); err != nil && !o.Optional {
			return nil, fmt.Errorf("adapter %s: %s: %w", name, o.Name, err)
		}
		if o.Secret && value != "" {
			warnExposedSecret(log, value, zap.String("adapter", name), zap.String("option", o.Name))
		}
	}
	bound, err := d.Bind(name, base, options)
	if err == nil && bound.InClear() {
		log.Warn("requests with secrets and texts are not encrypted; write https:// in base_url", zap.String("adapter", name))
	}
	return bound, err
}

// Definition describes an SMS API in the adapter language.
type Definition struct {
	// Name is the name that adapters refer to.
	Name string `json:"name"`

	// Source is the text of the definition.
	Source string `json:"source"`

	// File and Line are the position of the text's first line, for errors.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

func (d *Definition) parse() (*adapters.Definition, error) {
	file := d.File
	if file == "" {
		file = d.Name
	}
	return adapters.Parse(d.Name, file, max(1, d.Line), d.Source)
}

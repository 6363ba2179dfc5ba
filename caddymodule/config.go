package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/routing"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

// User is somebody who may send.
type User struct {
	// Name is the user's name as the app sends it.
	Name string `json:"name"`

	// Passwords are right together with the name. Each is a plain text, best a placeholder such as `{env.PASSWORD}`
	// or `{file./run/secrets/password}`, its SHA-1 in lower-case hexadecimal, or a bcrypt or argon2id hash. Apps that send
	// the SHA-1 of the password are understood too, unless it is a bcrypt or argon2id hash.
	Passwords []string `json:"passwords,omitempty"`

	// Tokens are right without a name, for apps that send one secret only. Each is a plain text or a placeholder.
	Tokens []string `json:"tokens,omitempty"`

	// From are the numbers, short codes or sender IDs that the user may send from. The first is the default.
	// Without any the provider chooses, and a request that asks for a sender is refused.
	From []string `json:"from,omitempty"`

	// Groups are names of the operator's own for what several users have in common. Conditions of adapters ask for them.
	Groups []string `json:"groups,omitempty"`

	// Region is the country of numbers that the user writes without one. Default: the handler's `default_region`.
	Region string `json:"region,omitempty"`

	// Limits are how much the user may send, in the place of the handler's limits for each user that count the same, or
	// added to them. Each is written as `COUNT UNIT per PERIOD`, such as `5 messages per minute`.
	Limits []string `json:"limits,omitempty"`

	// Allow and Deny are destinations of this user, on top of the handler's.
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

// account makes the account of a user whose placeholders are resolved, and names the options whose secrets are weak.
func (u *User) account(region string, site *destination.Policy, limits []limit.Rule) (account users.Account, weakOptions []string, err error) {
	account = users.Account{User: users.User{Name: u.Name, Groups: u.Groups}, Passwords: u.Passwords, Tokens: u.Tokens}
	for _, secret := range u.Passwords {
		if !isHash(secret) && weak(secret) {
			weakOptions = append(weakOptions, "password")
		}
	}
	for _, secret := range u.Tokens {
		if weak(secret) {
			weakOptions = append(weakOptions, "token")
		}
	}
	if u.Region != "" {
		region = u.Region
		if err := number.CheckRegion(region); err != nil {
			return account, nil, &optionError{"region", fmt.Errorf("region: %w", err)}
		}
		account.Region = region
	}
	if len(u.Limits) > 0 {
		if account.Limits, err = u.rules(limits); err != nil {
			return account, nil, &optionError{"limits", err}
		}
	}
	for _, s := range u.From {
		n, err := sender(s, region)
		if err != nil {
			return account, nil, &optionError{"from", err}
		}
		account.Numbers = append(account.Numbers, n)
	}
	own, err := destination.Parse(u.Allow, u.Deny)
	if err != nil {
		return account, nil, &optionError{"allow or deny", err}
	}
	policy := site
	if !own.Empty() {
		policy = site.With(own)
		account.Destinations = policy
	}
	isPhone := func(n sms.Number) bool { return n.Kind == sms.Phone }
	if region == "" && !policy.AllowsAny() && !slices.ContainsFunc(account.Numbers, isPhone) {
		return account, nil, errors.New("it is not known to which country it may send: write default_region, from with a telephone number, or allow")
	}
	return account, weakOptions, nil
}

// rules are the limits of the site with the user's own.
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

// optionError says which option of a user is wrong. It quotes the value.
type optionError struct {
	name string
	error
}

func (e *optionError) Unwrap() error { return e.error }

// resolved is the user with what placeholders stand for. The resolved secrets stay out of the configuration, which Caddy
// prints.
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
	}{{"password", u.Passwords, &out.Passwords, true}, {"token", u.Tokens, &out.Tokens, true}, {"from", u.From, &out.From, false}} {
		for _, s := range list.from {
			value, err := resolve(repl, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list.option, err)
			}
			if list.areSecret && isLiteral(s) && !isHash(value) {
				log.Warn(literalSecret, zap.String("user", out.Name), zap.String("option", list.option))
			}
			*list.to = append(*list.to, value)
		}
	}
	return out, nil
}

func isHash(secret string) bool {
	return strings.HasPrefix(secret, "$2") || strings.HasPrefix(secret, "$argon2id$")
}

// sender reads a number of a user.
func sender(s, region string) (sms.Number, error) {
	n, err := number.ParseSender(s, region)
	if err != nil {
		return n, fmt.Errorf("from: %w", err)
	}
	return n, nil
}

const literalSecret = "a secret is written literally in the configuration; write {env.NAME} or {file./path} instead"

// placeholder finds what a configured value takes from elsewhere.
var placeholder = regexp.MustCompile(`\{(env|file)\.([^{}]*)\}`)

// isLiteral reports whether a configured secret is written there itself.
func isLiteral(s string) bool { return !placeholder.MatchString(s) }

// shellVariable is how shells write what Caddy writes as {env.NAME}.
var shellVariable = regexp.MustCompile(`^\$\{?([A-Z_][A-Z0-9_]*)\}?$`)

// unclosed finds a placeholder that lacks its end.
var unclosed = regexp.MustCompile(`\{(env\.\w*|file\.)[^{}]*$`)

// resolve puts in what placeholders stand for. Its errors name the placeholder, and nothing else of a value that may be a
// secret.
func resolve(repl *caddy.Replacer, s string) (string, error) {
	if name := shellVariable.FindStringSubmatch(s); name != nil {
		return "", fmt.Errorf("%s is not replaced here; write {env.%s}", s, name[1])
	}
	if open := unclosed.FindStringSubmatch(s); open != nil {
		return "", fmt.Errorf("the placeholder {%s has no closing brace", open[1])
	}
	value, err := repl.ReplaceOrErr(s, true, true)
	if err == nil {
		return value, nil
	}
	for _, p := range placeholder.FindAllStringSubmatch(s, -1) {
		switch v, ok := repl.GetString(p[1] + "." + p[2]); {
		case ok && v != "":
		case p[1] == "env":
			return "", fmt.Errorf("the environment variable %s is not set or empty where Caddy was started; --envfile FILE reads variables from a file", p[2])
		default:
			return "", fmt.Errorf("the file %s is missing or empty", p[2])
		}
	}
	return "", errors.New("it has braces that are not a placeholder; write {env.NAME} or {file./path}, and braces that mean themselves as \\{")
}

// weak reports whether a secret is short or made of digits alone.
func weak(secret string) bool {
	return len(secret) < 12 && strings.Trim(secret, "0123456789") == "" || len(secret) < 8
}

// Lockout says how many wrong passwords of a network lock it out.
type Lockout struct {
	// Off locks nobody out.
	Off bool `json:"off,omitempty"`

	// Count failures within the window are taken.
	Count int `json:"count,omitempty"`

	// Window is that of the failures, and how long a network is locked out the first time.
	Window caddy.Duration `json:"window,omitempty"`
}

// Limits are how much may be sent.
type Limits struct {
	// Off drops the default rules.
	Off bool `json:"off,omitempty"`

	// Rules take the place of the default ones that count the same, or are added to them. Each is written as
	// `SCOPE COUNT UNIT per PERIOD`, such as `user 30 messages per minute` or `site 10000 segments per day
	// Europe/Berlin`. Scopes are `user`, `sender`, `country` (of the recipient) and `site`, units are `messages` and
	// `segments`, periods are `minute` and `hour`, which refill steadily, and `day` and `month` of the calendar, in UTC
	// unless a time zone follows.
	Rules []string `json:"rules,omitempty"`
}

// rules reads the rules that are in force.
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

// Adapter is a way out: a definition with the options of an account.
type Adapter struct {
	// Definition is the name of a built-in definition, such as `twilio`, or of one of the operator's own.
	Definition string `json:"definition"`

	// Name is the instance's name in logs. Default: the definition's name.
	Name string `json:"name,omitempty"`

	// BaseURL replaces the definition's base URL: scheme, host, and a path to put in front.
	BaseURL string `json:"base_url,omitempty"`

	// Options are the definition's options, by the provider's own names. Values may be placeholders such as
	// `{env.TWILIO_AUTH_TOKEN}`.
	Options map[string]string `json:"options,omitempty"`

	// When are conditions. The adapter is tried only for messages for which all of them hold. Each is a list of words:
	// `["to", "DE", "+4420"]` (the recipient is in one of these destinations, written as in `allow`),
	// `["from", "+15551234567"]` (sent from one of these), `["user", "alice", "bob"]`, `["group", "sales"]` (the user
	// is one of these, or in one of these groups), `["text"]` and `["media"]` (without and with pictures or files),
	// `["smart"]` (the app says that the recipient has it too), `["segments", ">", "1"]` (longer than that), or
	// `["unicode"]` (the GSM alphabet cannot write it). With `not` as the first word it must not be so. Words may be
	// placeholders.
	When [][]string `json:"when,omitempty"`

	// Weight makes adapters that follow each other and have one equals: of those that may take a message, each is tried
	// first as often as its weight says, and the others after it. For one message the order is always the same.
	Weight int `json:"weight,omitempty"`

	// Rate is how many messages a second go to the account at most, also from other sites that use it, and Concurrency how many
	// at once. Others wait up to five seconds for their turn, one of each user after the other, and then go to the next adapter.
	// Default: no bound.
	Rate        float64 `json:"rate,omitempty"`
	Concurrency int     `json:"concurrency,omitempty"`

	// Senders are numbers, short codes and sender IDs that belong to this adapter: it takes messages from these only,
	// and other adapters take none of theirs, unless they list them too. They may be placeholders.
	Senders []string `json:"senders,omitempty"`
}

// name is the instance's name.
func (a *Adapter) name() string { return cmp.Or(a.Name, a.Definition) }

// way reads what messages the adapter takes.
func (h *Handler) way(a *Adapter, repl *caddy.Replacer) (w routing.Way, err error) {
	for _, line := range a.When {
		if line, err = resolveAll(repl, line); err != nil {
			return w, fmt.Errorf("when: %w", err)
		}
		c, err := h.condition(line)
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
	if len(w.Senders) > 0 && !h.mayHave(w.Senders) {
		h.logger.Warn("no user has any of the numbers in senders, so the adapter takes no message", zap.String("adapter", a.name()))
	}
	switch {
	case a.Weight < 0:
		return w, errors.New("weight takes a whole number, such as 3")
	case a.Rate != 0 && (a.Rate < leastRate || a.Rate > mostRate):
		return w, errRate
	case a.Concurrency < 0:
		return w, errors.New("concurrency takes a whole number, such as 20")
	}
	return w, nil
}

// mayHave reports whether a user may have one of some numbers, as far as that can be known.
func (h *Handler) mayHave(numbers []sms.Number) bool {
	return h.elsewhere || slices.ContainsFunc(h.Users, func(u *User) bool {
		return slices.ContainsFunc(u.From, func(s string) bool {
			n, ok := number.Sender(s, cmp.Or(u.Region, h.DefaultRegion))
			return hasPlaceholder(s) || ok && slices.Contains(numbers, n)
		})
	})
}

// The rates that make sense, in messages a second.
const (
	leastRate = 0.1
	mostRate  = 10_000
)

var errRate = errors.New("rate takes the number of messages a second, such as 10 or 0.5")

// condition reads a condition. Users and groups that it names have to be there, unless some users are elsewhere.
func (h *Handler) condition(line []string) (routing.Condition, error) {
	c, err := routing.Parse(line, h.DefaultRegion)
	if err != nil {
		return c, err
	}
	if line[0] == "not" {
		line = line[1:]
	}
	word, names := line[0], line[1:]
	if word != "user" && word != "group" || h.elsewhere || len(h.Directories) > 0 {
		return c, nil
	}
	var known []string
	for _, u := range h.Users {
		switch {
		case u == nil:
		case word == "user":
			known = append(known, u.Name)
		default:
			known = append(known, u.Groups...)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) && !slices.ContainsFunc(known, hasPlaceholder) {
			return c, fmt.Errorf("when %s: there is no %s %q%s", word, word, name, adapters.Meant(name, known))
		}
	}
	return c, nil
}

// hasPlaceholder reports whether a value is known only when the configuration is loaded.
func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

// resolveAll puts in what the placeholders of a list stand for.
func resolveAll(repl *caddy.Replacer, list []string) ([]string, error) {
	resolved := make([]string, 0, len(list))
	for _, s := range list {
		value, err := resolve(repl, s)
		if err != nil {
			return nil, err
		}
		resolved = append(resolved, value)
	}
	return resolved, nil
}

// find looks the definition up among the operator's own and the built-in ones.
func (a *Adapter) find(own map[string]*adapters.Definition) (*adapters.Definition, error) {
	if d := own[a.Definition]; d != nil {
		return d, nil
	}
	d, err := adapters.Builtin(a.Definition)
	if err == nil {
		return d, nil
	}
	var names []string
	for name := range own {
		names = append(names, name)
	}
	if meant := adapters.Meant(a.Definition, names); meant != "" {
		return nil, fmt.Errorf("there is no adapter %q%s", a.Definition, meant)
	}
	return nil, err
}

func (a *Adapter) bind(own map[string]*adapters.Definition, repl *caddy.Replacer, log *zap.Logger) (*adapters.Adapter, error) {
	d, err := a.find(own)
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
		if o.Secret && value != "" && isLiteral(value) {
			log.Warn(literalSecret, zap.String("adapter", name), zap.String("option", o.Name))
		}
	}
	bound, err := d.Bind(name, base, options)
	if err == nil && bound.InClear() {
		log.Warn("secrets and texts go to the provider without encryption; write https:// in base_url", zap.String("adapter", name))
	}
	return bound, err
}

// Definition describes an SMS API in the adapter language.
type Definition struct {
	// Name is the name by which adapters refer to it.
	Name string `json:"name"`

	// Source is the text of the definition.
	Source string `json:"source"`

	// File and Line say where the text begins, for errors.
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

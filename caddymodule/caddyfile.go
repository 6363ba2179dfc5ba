package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/digest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/routing"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sendmessage"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("acrobits_sms", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("acrobits_sms", httpcaddyfile.Before, "handle")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets the handler up from Caddyfile tokens. Syntax:
//
//	acrobits_sms [<matcher>] {
//		user <name> {
//			password <secret>
//			token    <secret>
//			from     <numbers...>
//			group    <names...>
//			region   <country>
//			limit    <count> messages|segments per minute|hour|day|month [<time zone>]
//			allow    <destinations...>
//			deny     <destinations...>
//		}
//		users <source> ...
//		default_region <country>
//		allow <destinations...>
//		deny  <destinations...>
//		lockout off|<count> <window>
//		limit off
//		limit user|sender|country|site <count> messages|segments per minute|hour|day|month [<time zone>]
//		bursts off
//		authenticated
//		digest
//		realm <name>
//		stealth
//
//		adapter <name> [as <instance>] {
//			base_url <url>
//			<option> <value>
//			when [not] to <destinations...>|from <numbers...>|user <names...>|group <names...>
//			when [not] text|media|smart|unicode|segments > <number>
//			weight  <number>
//			senders <numbers...>
//			rate        <messages a second>
//			concurrency <number>
//		}
//		define <name> <file>
//		define <name> {
//			...
//		}
//
//		timeout         <duration>
//		attempt_timeout <duration>
//		max_parts       <number>
//		duplicate_window <duration>
//		transport <module> {
//			...
//		}
//
//		param    <parameter> <names...>
//		path     <pattern>
//		max_size <bytes>
//		reply    xml|json
//		legacy
//		sentence <case> [<language>] <text>
//		access_log
//	}
//
// user, users, allow, deny, limit, adapter, define, param and sentence can be repeated, and so can all words of a user, and
// when and senders of an adapter.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	at := *d
	if d.NextArg() {
		return d.ArgErr()
	}
	all := h.directives()
	var checks []check
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		i := slices.IndexFunc(all, func(known directive) bool { return known.word == word })
		switch {
		case i < 0:
			return unknownWord(d, all)
		case seen[word] && !all[i].repeats:
			return d.Errf("%s appears twice", word)
		}
		seen[word] = true
		later, err := all[i].read(d)
		if err != nil {
			return err
		}
		if later != nil {
			checks = append(checks, later)
		}
	}
	own, err := parseDefinitions(h.Definitions)
	if err != nil {
		return err
	}
	for _, check := range checks {
		if err := check(own); err != nil {
			return err
		}
	}
	return wrap(&at, cmp.Or(h.checkComplete(), h.checkDigest()))
}

// check is made when the whole block is known, because what it asks may stand anywhere in it.
type check func(own map[string]*adapters.Definition) error

// directive is a word of the block, and what reads its line.
type directive struct {
	word    string
	repeats bool
	read    reader
}

const (
	once  = false
	often = true
)

// directives are the words of the block.
func (h *Handler) directives() []directive {
	return []directive{
		{"user", often, h.unmarshalUser},
		{"users", often, plain(h.unmarshalUsers)},
		{"default_region", once, checked(&h.DefaultRegion, func() error { return checkRegion(h.DefaultRegion) })},
		{"allow", often, destinations(&h.Allow)},
		{"deny", often, destinations(&h.Deny)},
		{"limit", often, plain(h.unmarshalLimit)},
		{"lockout", once, plain(h.unmarshalLockout)},
		{"bursts", once, plain(h.unmarshalBursts)},
		{"authenticated", once, alone(&h.Authenticated)},
		{"digest", once, alone(&h.Digest)},
		{"realm", once, checked(&h.Realm, h.checkRealm)},
		{"stealth", once, alone(&h.Stealth)},
		{"adapter", often, h.unmarshalAdapter},
		{"define", often, plain(h.unmarshalDefine)},
		{"timeout", once, duration(&h.Timeout)},
		{"attempt_timeout", once, duration(&h.AttemptTimeout)},
		{"max_parts", once, positive(&h.MaxParts, "a number of messages, such as 10")},
		{"duplicate_window", once, plain(h.unmarshalWindow)},
		{"transport", once, plain(h.unmarshalTransport)},
		{"param", often, plain(h.unmarshalParam)},
		{"path", once, h.unmarshalPath},
		{"max_size", once, positive(&h.MaxSize, "a number of bytes, such as 262144")},
		{"reply", once, checked(&h.Reply, h.checkReply)},
		{"legacy", once, alone(&h.Legacy)},
		{"sentence", often, plain(h.unmarshalSentence)},
		{"access_log", once, alone(&h.AccessLog)},
	}
}

func unknownWord(d *caddyfile.Dispenser, all []directive) error {
	word := d.Val()
	if word == "journal" || word == "keep" {
		return d.Errf("%s belongs into the global options: { acrobits_sms { %[1]s … } }", word)
	}
	words := make([]string, 0, len(all))
	for _, known := range all {
		words = append(words, known.word)
	}
	return d.Errf("unknown word %q%s (there are %s)", word, adapters.Meant(word, words), strings.Join(words, ", "))
}

func (h *Handler) checkRealm() error {
	_, err := digest.NewRealm(h.Realm)
	return err
}

func (h *Handler) checkReply() error {
	_, err := parseForm(h.Reply)
	return err
}

func (h *Handler) checkPath() error {
	names, err := sendmessage.ParseNames(h.Params)
	if err == nil {
		_, err = sendmessage.ParsePattern(h.Path, names)
	}
	return err
}

// unmarshalPath reads the path. The check it returns is for when all names of parameters are known.
func (h *Handler) unmarshalPath(d *caddyfile.Dispenser) (check, error) {
	at := *d // of this line
	return func(map[string]*adapters.Definition) error { return wrap(&at, h.checkPath()) }, oneArg(d, &h.Path)
}

func (h *Handler) unmarshalBursts(d *caddyfile.Dispenser) error {
	h.BurstsOff = true
	var off string
	if err := oneArg(d, &off); err != nil || off == "off" {
		return err
	}
	return d.Err("write: bursts off")
}

func (h *Handler) unmarshalWindow(d *caddyfile.Dispenser) error {
	h.DuplicateWindow = new(caddy.Duration)
	if off := *d; off.NextArg() && off.Val() == "0" {
		return oneArg(d, new(string))
	}
	if err := durationArg(d, h.DuplicateWindow); err != nil {
		return err
	}
	return wrap(d, h.checkWindow())
}

func (h *Handler) unmarshalLockout(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		h.Lockout = &Lockout{Off: true}
		return nil
	}
	if len(args) == 2 {
		count, err := strconv.Atoi(args[0])
		window, windowErr := caddy.ParseDuration(args[1])
		if err == nil && windowErr == nil && count > 0 && window > 0 {
			h.Lockout = &Lockout{Count: count, Window: caddy.Duration(window)}
			return nil
		}
	}
	return d.Err("write: lockout off, or: lockout COUNT WINDOW, such as lockout 10 5m")
}

// unmarshalLimit reads a limit line.
func (h *Handler) unmarshalLimit(d *caddyfile.Dispenser) error {
	if h.Limits == nil {
		h.Limits = new(Limits)
	}
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		h.Limits.Off = true
		return nil
	}
	_, err := limit.Parse(args)
	h.Limits.Rules = append(h.Limits.Rules, strings.Join(args, " "))
	return wrap(d, err)
}

var userWords = []string{"password", "token", "from", "group", "region", "limit", "allow", "deny"}

// unmarshalUser reads a user block. The check it returns reads the numbers, when the region is known.
func (h *Handler) unmarshalUser(d *caddyfile.Dispenser) (check, error) {
	u, at := new(User), *d
	if !d.AllArgs(&u.Name) {
		return nil, d.Err("write: user NAME { password … }")
	}
	if slices.ContainsFunc(h.Users, func(other *User) bool { return other.Name == u.Name }) {
		return nil, d.Errf("user %s appears twice; more passwords go into one block", u.Name)
	}
	var from []*caddyfile.Dispenser // where the numbers are
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch word := d.Val(); word {
		case "password", "token":
			var secret string
			if err := oneArg(d, &secret); err != nil {
				return nil, err
			}
			if word == "password" {
				u.Passwords = append(u.Passwords, secret)
			} else {
				u.Tokens = append(u.Tokens, secret)
			}
		case "from":
			numbers, at := d.RemainingArgs(), *d
			if len(numbers) == 0 {
				return nil, d.Err("from takes at least one number")
			}
			u.From = append(u.From, numbers...)
			for range numbers {
				from = append(from, &at)
			}
		case "group":
			groups := d.RemainingArgs()
			if len(groups) == 0 {
				return nil, d.Err("group takes at least one name, such as sales")
			}
			u.Groups = append(u.Groups, groups...)
		case "region":
			if err := oneArg(d, &u.Region); err != nil {
				return nil, err
			}
		case "limit":
			u.Limits = append(u.Limits, strings.Join(d.RemainingArgs(), " "))
			if _, err := u.rules(nil); err != nil {
				return nil, d.WrapErr(err)
			}
		case "allow":
			if err := destinationArgs(d, &u.Allow); err != nil {
				return nil, err
			}
		case "deny":
			if err := destinationArgs(d, &u.Deny); err != nil {
				return nil, err
			}
		default:
			return nil, d.Errf("a user has %s, not %q%s", strings.Join(userWords, ", "), word, adapters.Meant(word, userWords))
		}
	}
	h.Users = append(h.Users, u)
	return func(map[string]*adapters.Definition) error {
		if len(u.Passwords)+len(u.Tokens) == 0 && !h.Authenticated {
			return at.Errf("user %s has no password and no token", u.Name)
		}
		for i, s := range u.From {
			if hasPlaceholder(s) {
				continue
			}
			if _, err := sender(s, cmp.Or(u.Region, h.DefaultRegion)); err != nil {
				return from[i].WrapErr(err)
			}
		}
		if slices.ContainsFunc(u.From, hasPlaceholder) {
			return nil
		}
		policy, err := destination.Parse(h.Allow, h.Deny)
		if err == nil {
			_, _, err = u.account(h.DefaultRegion, policy, nil)
		}
		if err != nil {
			err = fmt.Errorf("user %s: %w", u.Name, err)
		}
		return wrap(&at, err)
	}, nil
}

// unmarshalAdapter reads an adapter block. The check it returns is for when all definitions are known; its errors name
// the line of the block.
func (h *Handler) unmarshalAdapter(d *caddyfile.Dispenser) (check, error) {
	at := *d
	a := &Adapter{Options: make(map[string]string)}
	options := make(map[string]caddyfile.Dispenser) // where they are
	switch args := d.RemainingArgs(); {
	case len(args) == 1:
		a.Definition = args[0]
	case len(args) == 3 && args[1] == "as":
		a.Definition, a.Name = args[0], args[2]
	default:
		return nil, d.Err("write: adapter NAME [as INSTANCE] { … }")
	}
	if slices.ContainsFunc(h.Adapters, func(other *Adapter) bool { return other.name() == a.name() }) {
		return nil, d.Errf("two adapters are called %s; name one: adapter %s as NAME", a.name(), a.Definition)
	}
	var routes []check
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, twice := d.Val(), false
		switch word {
		case "when", "senders":
			routes = append(routes, h.unmarshalRouting(d, a))
			continue
		case "weight":
			twice = a.Weight != 0
			if err := positiveArg(d, &a.Weight, "a whole number, such as 3"); err != nil {
				return nil, err
			}
		case "concurrency":
			twice = a.Concurrency != 0
			if err := positiveArg(d, &a.Concurrency, "a whole number, such as 20"); err != nil {
				return nil, err
			}
		case "rate":
			var text string
			if err := oneArg(d, &text); err != nil {
				return nil, err
			}
			rate, err := strconv.ParseFloat(text, 64)
			if err != nil || !(rate >= leastRate && rate <= mostRate) {
				return nil, d.WrapErr(errRate)
			}
			a.Rate, twice = rate, a.Rate != 0
		default:
			options[word] = *d
			var text string
			if !d.AllArgs(&text) {
				return nil, d.Errf("%s takes exactly one value%s", word, adapters.Meant(word, []string{"when", "senders", "rate", "concurrency"}))
			}
			if word == "base_url" {
				a.BaseURL, twice = text, a.BaseURL != ""
				break
			}
			_, twice = a.Options[word]
			a.Options[word] = text
		}
		if twice {
			return nil, d.Errf("%s appears twice", word)
		}
	}
	h.Adapters = append(h.Adapters, a)
	return func(own map[string]*adapters.Definition) error {
		for _, route := range routes {
			if err := route(own); err != nil {
				return err
			}
		}
		def, err := a.find(own)
		if err != nil {
			return at.WrapErr(err)
		}
		for _, o := range slices.Sorted(maps.Keys(a.Options)) {
			if err := def.CheckOption(a.Definition, o); err != nil {
				where := options[o]
				return where.WrapErr(err)
			}
		}
		return wrap(&at, def.Check(a.Definition, a.BaseURL, a.Options))
	}, nil
}

// unmarshalRouting reads a line of an adapter block that says which messages it takes. The check it returns is for when the
// region and all users are known.
func (h *Handler) unmarshalRouting(d *caddyfile.Dispenser, a *Adapter) check {
	word, args, at := d.Val(), d.RemainingArgs(), *d
	if word == "when" {
		a.When = append(a.When, args)
	} else {
		a.Senders = append(a.Senders, args...)
	}
	return func(map[string]*adapters.Definition) (err error) {
		switch {
		case slices.ContainsFunc(args, hasPlaceholder):
		case word == "when":
			_, err = h.condition(args)
		case len(args) == 0:
			err = errors.New("senders takes at least one number")
		default:
			if _, err = routing.Numbers(args, h.DefaultRegion); err != nil {
				err = fmt.Errorf("senders: %w", err)
			}
		}
		return wrap(&at, err)
	}
}

// unmarshalDefine reads a definition from a block, or from a file beside the one that names it.
func (h *Handler) unmarshalDefine(d *caddyfile.Dispenser) error {
	segment := d.NextSegment()
	switch {
	case len(segment) >= 4 && segment[2].Text == "{" && !segment[2].Quoted():
		inner := segment[3 : len(segment)-1]
		def := &Definition{Name: segment[1].Text, Source: adapters.Render(inner), File: d.File(), Line: segment[0].Line + 1}
		if len(inner) > 0 {
			def.Line = inner[0].Line
		}
		h.Definitions = append(h.Definitions, def)
	case len(segment) == 3:
		file := segment[2].Text
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(d.File()), file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return d.Errf("define %s: the file cannot be read, whose path is relative to this one: %w", segment[1].Text, err)
		}
		h.Definitions = append(h.Definitions, &Definition{Name: segment[1].Text, Source: string(text), File: segment[2].Text, Line: 1})
	default:
		return d.Err("write: define NAME { … }, or: define NAME FILE")
	}
	return nil
}

// unmarshalUsers reads a users line, for a guest.
func (h *Handler) unmarshalUsers(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("write: users file PATH")
	}
	source := d.Val()
	if known := []string{"file", "http", "jwt", "sql"}; !slices.Contains(known, source) {
		return d.Errf("there is no source of users %q%s (there are %s): users file PATH", source, adapters.Meant(source, known), strings.Join(known, ", "))
	}
	guest, err := caddyfile.UnmarshalModule(d, "http.acrobits_sms.users."+source)
	if err != nil {
		return err
	}
	h.Directories = append(h.Directories, caddyconfig.JSONModuleObject(guest, "source", source, nil))
	return nil
}

func (h *Handler) unmarshalTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	mod, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+name)
	if err != nil {
		return err
	}
	h.TransportRaw = caddyconfig.JSONModuleObject(mod, "protocol", name, nil)
	return nil
}

func (h *Handler) unmarshalParam(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Err("write: param PARAMETER NAME…, such as: param sms_to dst")
	}
	if h.Params == nil {
		h.Params = make(map[string][]string)
	}
	h.Params[args[0]] = append(h.Params[args[0]], args[1:]...)
	_, err := sendmessage.ParseNames(h.Params)
	return wrap(d, err)
}

func (h *Handler) unmarshalSentence(d *caddyfile.Dispenser) error {
	switch args := d.RemainingArgs(); len(args) {
	case 2:
		h.Sentences = append(h.Sentences, Sentence{Name: args[0], Text: args[1]})
	case 3:
		h.Sentences = append(h.Sentences, Sentence{Name: args[0], Language: args[1], Text: args[2]})
	default:
		return d.Err("write: sentence CASE [LANGUAGE] \"TEXT\"")
	}
	_, err := newPhrases(h.Sentences[len(h.Sentences)-1:])
	return wrap(d, err)
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)

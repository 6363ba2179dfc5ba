package caddymodule

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/digest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

func init() {
	httpcaddyfile.RegisterDirective("acrobits_sms", parseDirective)
	httpcaddyfile.RegisterDirectiveOrder("acrobits_sms", httpcaddyfile.Before, "handle")
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	acrobits_sms [<matcher>] {
//		user <name> {
//			password <secret>
//			token    <secret>
//			from     <numbers...>
//			group    <names...>
//			region   <country>
//			limit    <count> messages|segments|pictures per minute|hour|day|month [<time zone>]
//			allow    <destinations...>
//			deny     <destinations...>
//			receive  off|<numbers...>
//		}
//		users <source> ...
//		default_region <country>
//		allow <destinations...>
//		deny  <destinations...>
//		lockout off|<count> <window>
//		limit off
//		limit user|sender|country|site <count> messages|segments|pictures per minute|hour|day|month [<time zone>]
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
//			webhook_secret <secret>
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
//		public_url <url>
//		services {
//			<service> <path>
//		}
//		pictures [mms|link|mms_or_link] {
//			from     <hosts...>
//			max_size <size>
//			keep     <duration>
//			space    <size>
//		}
//		receive {
//			name     <name>
//			keep     <duration>
//			push     text|hidden|off
//			push_url <url>
//			receipts push|off
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
// user, users, allow, deny, limit, adapter, define, param and sentence can be repeated, and so can
// all words of a user, and when and senders of an adapter.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	at := *d
	if err := noArgs(d); err != nil {
		return err
	}
	checks, err := h.unmarshalBlock(d)
	if err != nil {
		return err
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
	return wrap(&at, cmp.Or(h.checkComplete(), h.checkDigest(), h.checkAddresses()))
}

// unmarshalBlock parses the lines of the block, and returns the checks that need the whole block.
func (h *Handler) unmarshalBlock(d *caddyfile.Dispenser) (checks []deferredCheck, err error) {
	all := h.directives()
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		i := slices.IndexFunc(all, func(known directive) bool { return known.word == word })
		switch {
		case i < 0:
			return nil, unknownWord(d, inHandler, handlerWords())
		case seen[word] && !all[i].repeats:
			return nil, d.Errf("%s appears twice", word)
		}
		seen[word] = true
		later, err := all[i].parse(d)
		if err != nil {
			return nil, err
		}
		if later != nil {
			checks = append(checks, later)
		}
	}
	return checks, nil
}

// deferredCheck is a check that needs the whole block. own are the definitions of the block.
type deferredCheck func(own map[string]*adapters.Definition) error

// handlerWords returns the words of the block.
func handlerWords() (words []string) {
	for _, known := range new(Handler).directives() {
		words = append(words, known.word)
	}
	return words
}

// directive is a word of the block with the parser of its line.
type directive struct {
	word    string
	repeats bool
	parse   lineParser
}

const (
	once       = false
	repeatable = true
)

// directives returns the words of the block with their parsers.
func (h *Handler) directives() []directive {
	return []directive{
		{"user", repeatable, h.unmarshalUser},
		{"users", repeatable, withoutCheck(h.unmarshalUsers)},
		{"default_region", once, validated(&h.DefaultRegion, func() error { return checkRegion(h.DefaultRegion) })},
		{"allow", repeatable, destinations(&h.Allow)},
		{"deny", repeatable, destinations(&h.Deny)},
		{"limit", repeatable, withoutCheck(h.unmarshalLimit)},
		{"lockout", once, withoutCheck(h.unmarshalLockout)},
		{"bursts", once, withoutCheck(h.unmarshalBursts)},
		{"authenticated", once, boolFlag(&h.Authenticated)},
		{"digest", once, boolFlag(&h.Digest)},
		{"realm", once, validated(&h.Realm, h.checkRealm)},
		{"stealth", once, boolFlag(&h.Stealth)},
		{"adapter", repeatable, h.unmarshalAdapter},
		{"define", repeatable, withoutCheck(h.unmarshalDefine)},
		{"timeout", once, duration(&h.Timeout)},
		{"attempt_timeout", once, duration(&h.AttemptTimeout)},
		{"max_parts", once, positive(&h.MaxParts, "a number of messages, such as 10")},
		{"duplicate_window", once, withoutCheck(h.unmarshalWindow)},
		{"transport", once, withoutCheck(h.unmarshalTransport)},
		{"public_url", once, validated(&h.PublicURL, h.checkPublicURL)},
		{"services", once, withoutCheck(h.unmarshalServices)},
		{"pictures", once, withoutCheck(h.unmarshalPictures)},
		{"receive", once, withoutCheck(h.unmarshalReceive)},
		{"param", repeatable, withoutCheck(h.unmarshalParam)},
		{"path", once, h.unmarshalPath},
		{"max_size", once, positive(&h.MaxSize, "a number of bytes, such as 262144")},
		{"reply", once, validated(&h.Reply, h.checkReply)},
		{"legacy", once, boolFlag(&h.Legacy)},
		{"sentence", repeatable, withoutCheck(h.unmarshalSentence)},
		{"access_log", once, boolFlag(&h.AccessLog)},
	}
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
		_, err = params.ParsePattern(h.Path, names)
	}
	return err
}

// unmarshalPath parses a path line. The check needs all names of parameters.
func (h *Handler) unmarshalPath(d *caddyfile.Dispenser) (deferredCheck, error) {
	at := *d
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

// unmarshalLimit parses a limit line.
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

// unmarshalDefine parses a definition in a block, or in a file relative to the Caddyfile.
func (h *Handler) unmarshalDefine(d *caddyfile.Dispenser) error {
	segment := d.NextSegment()
	switch {
	case len(segment) >= 4 && segment[2].Text == "{" && !segment[2].Quoted():
		inner := segment[3 : len(segment)-1]
		def := &Definition{Name: segment[1].Text, Source: syntax.Render(inner), File: d.File(), Line: segment[0].Line + 1}
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
			return d.Errf("define %s: cannot read the file%s, whose path is relative to this one: %w", segment[1].Text,
				suggest.QuotePath(segment[2].Text, adapters.Extension, ".txt", ".conf"), withoutPath(err))
		}
		h.Definitions = append(h.Definitions,
			&Definition{Name: segment[1].Text, Source: string(text), File: segment[2].Text, Line: 1})
	default:
		return d.Err("write: define NAME { … }, or: define NAME FILE")
	}
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
	_, err := newSentences(h.Sentences[len(h.Sentences)-1:])
	return wrap(d, err)
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)

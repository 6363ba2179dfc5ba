package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery/routing"
)

// adapterWords are the words of an adapter block that are not options.
var adapterWords = []string{"base_url", "when", "weight", "senders", "rate", "concurrency", "webhook_secret"}

const webhookSecretWord = "webhook_secret"

// optionLine is a line of an adapter block that may be an option. The check needs all definitions.
type optionLine struct {
	at   caddyfile.Dispenser
	args []string
}

// adapterBlock collects the lines of an adapter block that need a deferred check.
type adapterBlock struct {
	*Adapter
	at      caddyfile.Dispenser
	options map[string]optionLine
	routes  []deferredCheck
}

// unmarshalAdapter parses an adapter block. The check needs all definitions.
func (h *Handler) unmarshalAdapter(d *caddyfile.Dispenser) (deferredCheck, error) {
	b := adapterBlock{Adapter: &Adapter{Options: make(map[string]string)}, at: *d, options: make(map[string]optionLine)}
	switch args := d.RemainingArgs(); {
	case len(args) == 1:
		b.Definition = args[0]
	case len(args) == 3 && args[1] == "as":
		b.Definition, b.Name = args[0], args[2]
	default:
		return nil, d.Err("write: adapter NAME [as INSTANCE] { … }")
	}
	if slices.ContainsFunc(h.Adapters, func(other *Adapter) bool { return other.name() == b.name() }) {
		return nil, d.Errf("two adapters are called %s; name one: adapter %s as NAME", b.name(), b.Definition)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "when", "senders":
			b.routes = append(b.routes, h.unmarshalRouting(d, b.Adapter))
		case "weight", "concurrency", "rate":
			err = b.unmarshalBound(d)
		default:
			err = b.unmarshalOption(d)
		}
		if err != nil {
			return nil, err
		}
	}
	h.Adapters = append(h.Adapters, b.Adapter)
	return b.check, nil
}

// unmarshalOption parses a line that may be an option.
func (b *adapterBlock) unmarshalOption(d *caddyfile.Dispenser) error {
	word, line := d.Val(), optionLine{at: *d}
	line.args = d.RemainingArgs()
	if next := *d; next.Next() && next.Val() == "{" {
		return unknownWord(&line.at, inAdapter, adapterWords)
	}
	if _, twice := b.options[word]; twice {
		return d.Errf("%s appears twice", word)
	}
	b.options[word] = line
	switch {
	case len(line.args) != 1:
	case word == "base_url":
		b.BaseURL = line.args[0]
	case word == webhookSecretWord:
		b.WebhookSecret = line.args[0]
	default:
		b.Options[word] = line.args[0]
	}
	return nil
}

// check validates the block.
func (b *adapterBlock) check(own map[string]*adapters.Definition) error {
	def, err := b.definition(own)
	if err != nil {
		return b.at.WrapErr(err)
	}
	for _, word := range slices.Sorted(maps.Keys(b.options)) {
		line := b.options[word]
		if err := b.checkOption(def, word, &line); err != nil {
			return err
		}
	}
	for _, route := range b.routes {
		if err := route(own); err != nil {
			return err
		}
	}
	return wrap(&b.at, def.Check(b.Definition, b.BaseURL, b.Adapter.Options))
}

// checkOption validates the line of an option.
func (a *Adapter) checkOption(def *adapters.Definition, word string, line *optionLine) error {
	if word != "base_url" && word != webhookSecretWord {
		if err := def.CheckOption(a.Definition, word); err != nil {
			if known := misplacedWord(word, inAdapter, adapterOptions(def)); known != "" {
				return line.at.Err(known)
			}
			return line.at.WrapErr(err)
		}
	}
	var value string
	if err := singleArg(&line.at, word, line.args, &value); err != nil {
		return err
	}
	if err := checkValue(value); err != nil {
		return line.at.WrapErr(fmt.Errorf("adapter %s: %s: %w", a.name(), word, err))
	}
	if word == webhookSecretWord {
		return wrap(&line.at, checkWebhookSecret(value))
	}
	if word == "base_url" && !hasPlaceholder(value) {
		return wrap(&line.at, adapters.CheckBaseURL(value))
	}
	needed := slices.ContainsFunc(def.Options, func(o adapters.Option) bool { return o.Name == word && !o.Optional })
	if needed && strings.TrimSpace(value) == "" {
		return line.at.Errf("adapter %s: %s is empty", a.name(), word)
	}
	return nil
}

// adapterOptions returns the words of an adapter block with the definition.
func adapterOptions(def *adapters.Definition) []string {
	words := slices.Clone(adapterWords)
	for _, o := range def.Options {
		words = append(words, o.Name)
	}
	return words
}

// unmarshalBound parses a line of an adapter block with a number.
func (a *Adapter) unmarshalBound(d *caddyfile.Dispenser) (err error) {
	word, twice := d.Val(), false
	switch word {
	case "weight":
		twice = a.Weight != 0
		err = positiveArg(d, &a.Weight, "a whole number, such as 3")
	case "concurrency":
		twice = a.Concurrency != 0
		err = positiveArg(d, &a.Concurrency, "a whole number, such as 20")
	default:
		var text string
		if err = oneArg(d, &text); err != nil {
			return err
		}
		rate, parseErr := strconv.ParseFloat(text, 64)
		if parseErr != nil || !(rate >= minRate && rate <= maxRate) {
			return d.WrapErr(errRate)
		}
		a.Rate, twice = rate, a.Rate != 0
	}
	if err == nil && twice {
		err = d.Errf("%s appears twice", word)
	}
	return err
}

// unmarshalRouting parses a when or senders line of an adapter block. The check needs the region
// and all users.
func (h *Handler) unmarshalRouting(d *caddyfile.Dispenser, a *Adapter) deferredCheck {
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
			_, err = h.parseCondition(args)
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

// Package routing decides which adapters may send a message. An adapter's conditions must hold for
// the message. An adapter with `senders` only gets messages from these numbers.
//
// It never sends anything and does not know adapters. internal/delivery calls the filters for each
// message; the configuration makes them once. Its values are immutable and safe for concurrent use.
package routing

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// Condition is a condition of `when` that a message must fulfil. It is immutable.
type Condition struct {
	negated bool
	holds   func(*sms.Message) bool
	cause   sms.Cause // the refusal's cause if only this condition fails
}

// words are the first words of conditions, each with an example.
var words = []struct{ word, example string }{
	{"to", "to US +4420"}, {"from", "from +15551234567"}, {"user", "user alice bob"}, {"group", "group sales"},
	{"text", "text"}, {"media", "media"}, {"smart", "smart"}, {"segments", "segments > 1"}, {"unicode", "unicode"},
}

// Parse reads a condition: `to DESTINATION…`, `from NUMBER…`, `user NAME…`, `group NAME…`, `text`,
// `media`, `smart`, `segments > N` or `unicode`. `not` before it negates it. Numbers without a
// country belong to the region, which may be empty.
func Parse(line []string, region string) (Condition, error) {
	c := Condition{cause: sms.Misconfigured}
	if len(line) > 0 && line[0] == "not" {
		c.negated, line = true, line[1:]
	}
	if len(line) == 0 {
		return c, fmt.Errorf("when takes a condition, such as when %s", words[0].example)
	}
	var err error
	switch word, args := line[0], line[1:]; {
	case word == "to" && len(args) > 0:
		c.cause = sms.DestinationNotAllowed
		var set *destination.Set
		set, err = destination.ParseSet(args)
		c.holds = func(m *sms.Message) bool { return set.Contains(m.To, region) }
	case word == "from" && len(args) > 0:
		var numbers []sms.Number
		numbers, err = Numbers(args, region)
		c.holds = func(m *sms.Message) bool { return slices.Contains(numbers, m.From) }
	case word == "user" && len(args) > 0:
		c.holds = func(m *sms.Message) bool { return slices.Contains(args, m.User) }
	case word == "group" && len(args) > 0:
		c.holds = func(m *sms.Message) bool {
			return slices.ContainsFunc(m.Groups, func(group string) bool { return slices.Contains(args, group) })
		}
	case word == "text" && len(args) == 0:
		c.cause = sms.UnsupportedContent
		c.holds = func(m *sms.Message) bool { return len(m.Media) == 0 }
	case word == "media" && len(args) == 0:
		c.cause = sms.UnsupportedContent
		c.holds = func(m *sms.Message) bool { return len(m.Media) > 0 }
	case word == "smart" && len(args) == 0:
		c.holds = func(m *sms.Message) bool { return m.Smart }
	case word == "unicode" && len(args) == 0:
		c.holds = func(m *sms.Message) bool { return !text.IsGSM(m.Body.Reveal()) }
	case word == "segments" && len(args) == 2 && args[0] == ">":
		var most int
		if most, err = strconv.Atoi(args[1]); err != nil || most < 1 {
			err = fmt.Errorf("invalid number of segments%s; write segments > 1", suggest.QuoteNumber(args[1]))
		}
		c.holds = func(m *sms.Message) bool { return text.Segments(m.Body.Reveal()) > most }
	default:
		return c, usage(word)
	}
	if err != nil {
		return c, fmt.Errorf("when %s: %w", line[0], err)
	}
	return c, nil
}

// usage is the error for a wrong condition, with an example.
func usage(word string) error {
	known := []string{"not"}
	for _, w := range words {
		if w.word == word {
			return fmt.Errorf("write: when %s, or: when not %s", w.example, w.example)
		}
		known = append(known, w.word)
	}
	return errors.New("when: " + suggest.Unknown("condition", word, known))
}

// Numbers reads numbers to send from.
func Numbers(list []string, region string) ([]sms.Number, error) {
	return number.ParseSenders(list, region)
}

// Criteria select the messages that an adapter accepts: all conditions must hold. An adapter with
// senders accepts only messages from these numbers, and no adapter without senders accepts a
// message from them.
type Criteria struct {
	Conditions []Condition
	Senders    []sms.Number
}

// Filters returns a function for each adapter, nil for an adapter that accepts all messages. The
// function returns the cause why a message is excluded, or NoCause. The cause is Misconfigured,
// unless only a condition on the destination, or only one on media, fails.
func Filters(adapters []Criteria) []func(*sms.Message) sms.Cause {
	var owned []sms.Number
	for _, c := range adapters {
		owned = append(owned, c.Senders...)
	}
	filters := make([]func(*sms.Message) sms.Cause, len(adapters))
	for i, c := range adapters {
		if len(c.Conditions)+len(owned) == 0 {
			continue
		}
		numbers, owns := owned, len(c.Senders) > 0
		if owns {
			numbers = c.Senders
		}
		filters[i] = func(m *sms.Message) sms.Cause {
			if slices.Contains(numbers, m.From) != owns {
				return sms.Misconfigured
			}
			return whyNot(c.Conditions, m)
		}
	}
	return filters
}

// whyNot returns the cause why the conditions exclude a message, or NoCause if all hold.
func whyNot(conditions []Condition, m *sms.Message) sms.Cause {
	cause := sms.NoCause
	for _, c := range conditions {
		switch {
		case c.holds(m) != c.negated:
		case cause != sms.NoCause && cause != c.cause, c.cause == sms.UnsupportedContent && len(m.Media) == 0:
			return sms.Misconfigured
		default:
			cause = c.cause
		}
	}
	return cause
}

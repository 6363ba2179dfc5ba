// Package routing decides which messages may take which way.
package routing

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// Condition is what a message must be like. It is immutable.
type Condition struct {
	negated bool
	holds   func(*sms.Message) bool
	lack    sms.Cause // why a message is refused that lacks nothing but this
}

// words are those that a condition begins with, each with an example of how it is written.
var words = []struct{ word, example string }{
	{"to", "to US +4420"}, {"from", "from +15551234567"}, {"user", "user alice bob"}, {"group", "group sales"},
	{"text", "text"}, {"media", "media"}, {"smart", "smart"}, {"segments", "segments > 1"}, {"unicode", "unicode"},
}

// Parse reads a condition: to DESTINATION…, from NUMBER…, user NAME…, group NAME…, text, media, smart, segments > N or
// unicode, each with not in front to turn it round. Numbers without a country are those of the region, which may be empty.
func Parse(line []string, region string) (Condition, error) {
	c := Condition{lack: sms.Misconfigured}
	if len(line) > 0 && line[0] == "not" {
		c.negated, line = true, line[1:]
	}
	if len(line) == 0 {
		return c, fmt.Errorf("when takes a condition, such as when %s", words[0].example)
	}
	var err error
	switch word, args := line[0], line[1:]; {
	case word == "to" && len(args) > 0:
		c.lack = sms.DestinationNotAllowed
		var set *destination.Set
		set, err = destination.ParseSet(args)
		c.holds = func(m *sms.Message) bool { return set.Has(m.To, region) }
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
		c.lack = sms.UnsupportedContent
		c.holds = func(m *sms.Message) bool { return len(m.Media) == 0 }
	case word == "media" && len(args) == 0:
		c.lack = sms.UnsupportedContent
		c.holds = func(m *sms.Message) bool { return len(m.Media) > 0 }
	case word == "smart" && len(args) == 0:
		c.holds = func(m *sms.Message) bool { return m.Smart }
	case word == "unicode" && len(args) == 0:
		c.holds = func(m *sms.Message) bool { return !text.IsGSM(m.Body.Reveal()) }
	case word == "segments" && len(args) == 2 && args[0] == ">":
		var most int
		if most, err = strconv.Atoi(args[1]); err != nil || most < 1 {
			err = fmt.Errorf("%q is not a number of segments; write segments > 1", args[1])
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

// usage says how a condition is written.
func usage(word string) error {
	known := []string{"not"}
	for _, w := range words {
		if w.word == word {
			return fmt.Errorf("write: when %s, or: when not %s", w.example, w.example)
		}
		known = append(known, w.word)
	}
	return fmt.Errorf("when has no %q%s; it takes to, from, user, group, text, media, smart, segments, unicode, each perhaps after not",
		word, adapters.Meant(word, known))
}

// Numbers reads numbers to send from.
func Numbers(list []string, region string) (numbers []sms.Number, err error) {
	for _, s := range list {
		n, err := number.ParseSender(s, region)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// Way is what an adapter takes: messages for which all conditions hold. If it has senders, it takes theirs only, and no way
// without them takes any of theirs.
type Way struct {
	Conditions []Condition
	Senders    []sms.Number
}

// Barriers are, for each way, what tells why a message may not take it, NoCause if it may; nil for a way that is open to
// all. The cause is Misconfigured unless the message lacks nothing but another destination, or is a picture.
func Barriers(ways []Way) []func(*sms.Message) sms.Cause {
	var owned []sms.Number
	for _, w := range ways {
		owned = append(owned, w.Senders...)
	}
	barriers := make([]func(*sms.Message) sms.Cause, len(ways))
	for i, w := range ways {
		if len(w.Conditions)+len(owned) == 0 {
			continue
		}
		numbers, owns := owned, len(w.Senders) > 0
		if owns {
			numbers = w.Senders
		}
		barriers[i] = func(m *sms.Message) sms.Cause {
			if slices.Contains(numbers, m.From) != owns {
				return sms.Misconfigured
			}
			return lack(w.Conditions, m)
		}
	}
	return barriers
}

// lack is why a message is refused for which not all conditions hold.
func lack(conditions []Condition, m *sms.Message) sms.Cause {
	cause := sms.NoCause
	for _, c := range conditions {
		switch {
		case c.holds(m) != c.negated:
		case cause != sms.NoCause && cause != c.lack, c.lack == sms.UnsupportedContent && len(m.Media) == 0:
			return sms.Misconfigured
		default:
			cause = c.lack
		}
	}
	return cause
}

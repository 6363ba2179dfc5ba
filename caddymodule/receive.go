package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/push"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Receive turns the services on with which apps fetch messages.
type Receive struct {
	// Name tells handlers apart that store messages in one journal. Messages belong to the handler
	// of a name. Default: empty, for one handler only.
	Name string `json:"name,omitempty"`

	// Keep is how long messages are stored. Default: 90 days.
	Keep caddy.Duration `json:"keep,omitempty"`

	// Push is what a push contains: `text` (sender and text), `hidden` (the sender and a fixed word), or
	// `off` (there are no pushes). Default: `text`.
	Push string `json:"push,omitempty"`

	// Receipts is what happens if a text was not delivered: `push` (the user gets a push that names the
	// recipient), or `off`. Default: `push`.
	Receipts string `json:"receipts,omitempty"`

	// PushURL is the address of the push service. Default: that of the apps' vendor.
	PushURL string `json:"push_url,omitempty"`
}

// pushModes are the values of Receive.Push.
var pushModes = []string{"text", "hidden", "off"}

// receiptModes are the values of Receive.Receipts.
var receiptModes = []string{"push", "off"}

// receiveOff is the only value of a user's receive who fetches nothing.
const receiveOff = "off"

// Defaults and bounds of Receive.
const (
	defaultReceiveKeep = 90 * 24 * time.Hour
	shortestKeep       = 24 * time.Hour
	longestReceiveKeep = 3660 * 24 * time.Hour
	maxReceiveName     = 64
)

// check validates the settings. push_url may have placeholders.
func (r *Receive) check() error {
	keep := cmp.Or(time.Duration(r.Keep), defaultReceiveKeep)
	switch {
	case r.Push != "" && !slices.Contains(pushModes, r.Push):
		return errors.New("receive: push takes text, hidden or off")
	case r.Receipts != "" && !slices.Contains(receiptModes, r.Receipts):
		return errors.New("receive: receipts takes push or off")
	case keep < shortestKeep || keep > longestReceiveKeep:
		return errors.New("receive: keep takes a duration from 1d to 3660d, such as 90d")
	case len(r.Name) > maxReceiveName || strings.ContainsFunc(r.Name, func(c rune) bool { return c <= ' ' || c > '~' || c == '{' }):
		return fmt.Errorf("receive: name takes a word of at most %d letters and digits, such as office", maxReceiveName)
	case r.Push == "off" && r.PushURL != "":
		return errors.New("receive: push_url has no meaning with push off; remove one of them")
	case r.PushURL == "" || hasPlaceholder(r.PushURL):
		return nil
	}
	client, err := push.NewClient(r.PushURL)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	client.Close()
	return nil
}

// unmarshalReceive parses a receive line or block.
func (h *Handler) unmarshalReceive(d *caddyfile.Dispenser) error {
	at := *d
	if err := noArgs(d); err != nil {
		return err
	}
	h.Receive = new(Receive)
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		if seen[word] {
			return d.Errf("%s appears twice", word)
		}
		seen[word] = true
		if err := h.Receive.unmarshalLine(d); err != nil {
			return err
		}
	}
	return wrap(&at, h.Receive.check())
}

// receiveWords are the words of the receive block.
var receiveWords = []string{"name", "keep", "push", "push_url", "receipts"}

// unmarshalLine parses a line of the receive block.
func (r *Receive) unmarshalLine(d *caddyfile.Dispenser) error {
	var err error
	switch d.Val() {
	case "name":
		err = oneArg(d, &r.Name)
	case "keep":
		err = durationArg(d, &r.Keep)
	case "push":
		err = oneArg(d, &r.Push)
	case "push_url":
		err = oneArg(d, &r.PushURL)
	case "receipts":
		err = oneArg(d, &r.Receipts)
	default:
		return unknownWord(d, inReceive, receiveWords)
	}
	if err != nil {
		return err
	}
	return wrap(d, r.check())
}

// receivedNumbers returns the numbers whose messages the user fetches. own are the parsed numbers of
// from.
func (u *User) receivedNumbers(own []sms.Number, region string) (list []sms.Number, err error) {
	if slices.Equal(u.Receive, []string{receiveOff}) {
		return nil, nil
	}
	if len(u.Receive) > 0 {
		if own, err = number.ParseSenders(u.Receive, region); err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
	}
	for _, n := range own {
		switch {
		case n.Kind == sms.Phone || n.Kind == sms.ShortCode:
			list = append(list, n)
		case len(u.Receive) > 0:
			return nil, errors.New("receive takes telephone numbers and short codes, or off alone")
		}
	}
	return list, nil
}

const errReceiveInMemory = "receive requires a journal that survives a restart: " +
	"write in the global options { acrobits_sms { journal sqlite } }, or journal postgres ADDRESS"

// provisionReceive checks the settings of receive, and makes the receiver. It opens nothing.
func (h *Handler) provisionReceive(caddy.Context) error {
	if h.Receive == nil {
		return nil
	}
	if err := h.Receive.check(); err != nil {
		return err
	}
	if h.app.journal.kind() == inMemory {
		return errors.New(errReceiveInMemory)
	}
	h.gateway.UnlistedUsers = h.hasUnlistedUsers()
	r, err := h.newReceiver()
	if err != nil {
		return err
	}
	if err := h.decoders.provision(h); err != nil {
		return fmt.Errorf("param: %w", err)
	}
	h.receiver, err = h.app.addReceiver(r)
	if err == nil {
		h.gateway.Inbox = h.receiver.inbox
	}
	return err
}

// hasUnlistedUsers reports whether a directory cannot look users up by name.
func (h *Handler) hasUnlistedUsers() bool {
	chain, _ := h.gateway.ByName.(users.Chain)
	return slices.ContainsFunc(chain, func(u users.Users) bool {
		_, ok := u.(users.Finder)
		return !ok
	})
}

// addReceiver registers a receiver, whose worker Start starts. Caddy has a site with the schemes http
// and https as two handlers with one configuration: these share the receiver.
func (a *App) addReceiver(r *receiver) (*receiver, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.receivers {
		switch {
		case other.name != r.name:
		case other.configuration == r.configuration:
			return other, nil
		default:
			return nil, errors.New("another site receives under the same name; tell them apart in each: receive { name NAME }")
		}
	}
	a.receivers = append(a.receivers, r)
	return r, nil
}

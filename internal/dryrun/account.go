// Package dryrun shows the requests that would be sent to a provider, without secrets, and records
// the provider's replies. It helps people who add a provider or look for the cause of a refusal.
//
// It never shows a secret. Recordings contain a fictional account and fictional numbers. Only
// RecordLive sends a message, exactly one. The commands `try` and `record` call the package.
// Nothing in it is safe for concurrent use.
package dryrun

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Account describes an adapter: the one of a configuration, or one made from a definition alone.
type Account struct {
	Definition *adapters.Definition
	Name       string
	BaseURL    string
	// Options are the known options of the account. Leave secrets out if nothing is sent.
	Options map[string]string
	// Region is the country of numbers without a country code.
	Region string
}

// Text is the message to send.
type Text struct {
	From, To, Body string
	Media          []string
}

// message makes a message. It parses the numbers in the same way as the handler.
func (a *Account) message(t Text) (*sms.Message, error) {
	m := &sms.Message{
		ID: uuid.NewString(), Received: time.Now(), User: "johndow", Body: sms.Hide(t.Body), ContentType: "text/plain",
	}
	var err error
	if m.Media, err = recording.Files(t.Media); err != nil {
		return nil, err
	}
	var ok bool
	if m.To, ok = number.Recipient(t.To, a.Region); !ok {
		return nil, fmt.Errorf("invalid recipient%s; write it as +15551231234, or name the country of numbers without one: --region US", suggest.QuoteNumber(t.To))
	}
	if t.From != "" {
		if m.From, ok = number.Sender(t.From, a.Region); !ok {
			return nil, fmt.Errorf("invalid sender%s; write it as +15551231234", suggest.QuoteNumber(t.From))
		}
	}
	if t.Body == "" && len(t.Media) == 0 {
		return nil, errors.New("the message is empty")
	}
	if refusal := everywhere.Check(m.To, m.From, a.Region); refusal != nil {
		return nil, explain(refusal)
	}
	return m, nil
}

// everywhere allows all numbers except emergency numbers.
var everywhere, _ = destination.Parse([]string{"all", "premium", "shared_cost", "satellite", "personal", "short_codes"}, nil)

// masks replace secret and unknown values. A mask has 8 letters and digits. No URL, JSON or XML
// escape changes it, and it is valid base64, which some keys must be.
type masks struct {
	of    []string // pairs of mask and $NAME
	named map[string]string
}

func (m *masks) mask(name string) string { return m.add(name, "MASK%04d") }

func (m *masks) add(name, format string) string {
	if m.named == nil {
		m.named = make(map[string]string)
	}
	if known, ok := m.named[name]; ok {
		return known
	}
	mask := fmt.Sprintf(format, len(m.named))
	m.named[name] = mask
	m.of = append(m.of, mask, "$SMS_"+strings.ToUpper(name)) // prefixed, because many shells set USER and USERNAME
	return mask
}

// reveal replaces each mask by its $NAME.
func (m *masks) reveal(s string) string { return strings.NewReplacer(m.of...).Replace(s) }

// needed reports whether an option without a value gets a mask. The options of a signature always
// do. Otherwise the signer would use the credentials of this machine.
func (a *Account) needed(o adapters.Option) bool {
	return !o.Optional || slices.Contains(a.Definition.Credentials(), o.Name)
}

// bind makes the adapter with masks for secrets and missing values.
func (a *Account) bind(m *masks) (*adapters.Adapter, error) {
	options := make(map[string]string)
	for _, o := range a.Definition.Options {
		value := a.Options[o.Name]
		if value != "" && o.Secret || value == "" && a.needed(o) {
			switch {
			case len(o.Values) > 0:
				value = o.Values[0]
			case o.Number:
				value = m.add(o.Name, "9071%04d")
			default:
				value = m.mask(o.Name)
			}
		}
		options[o.Name] = value
	}
	base := a.BaseURL
	if base == "" && !a.Definition.HasBaseURL() {
		base = "http://" + m.mask("base_url")
		m.of[len(m.of)-2] = base
	}
	return a.Definition.Bind(a.Name, base, options)
}

// Package tryout shows what would be sent to a provider, without its secrets, and records what the provider answers. It
// is for people who add a provider or ask why it refuses.
package tryout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Account is an adapter as a configuration has it, or as its definition alone asks for.
type Account struct {
	Definition *adapters.Definition
	Name       string
	BaseURL    string
	// Options are what is known of the account. Secrets are best not among them where nothing is to be sent.
	Options map[string]string
	// Region is the country of numbers without one.
	Region string
}

// Text is what somebody wants to send.
type Text struct {
	From, To, Body string
	Media          []string
}

// message reads the numbers as the handler does.
func (a *Account) message(t Text) (*sms.Message, error) {
	m := &sms.Message{
		ID: uuid.NewString(), Received: time.Now(), User: "johndow", Body: sms.Hide(t.Body), Media: t.Media, ContentType: "text/plain",
	}
	var ok bool
	if m.To, ok = number.Recipient(t.To, a.Region); !ok {
		return nil, fmt.Errorf("%q is not a recipient; write it as +15551231234, or name the country of numbers without one: --region US", t.To)
	}
	if t.From != "" {
		if m.From, ok = number.Sender(t.From, a.Region); !ok {
			return nil, fmt.Errorf("%q is not a sender; write it as +15551231234", t.From)
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

// everywhere refuses emergency numbers alone.
var everywhere, _ = destination.Parse([]string{"all", "premium", "shared_cost", "satellite", "personal", "short_codes"}, nil)

// masks stand in for values that are secret or not known. They have eight letters and digits, which no encoding changes
// and which are base64, as some keys have to be.
type masks struct {
	of    []string // mask and $NAME in turn
	named map[string]string
}

func (m *masks) mask(name string) string {
	if m.named == nil {
		m.named = make(map[string]string)
	}
	if known, ok := m.named[name]; ok {
		return known
	}
	mask := fmt.Sprintf("MASK%04d", len(m.named))
	m.named[name] = mask
	m.of = append(m.of, mask, "$SMS_"+strings.ToUpper(name)) // USER and USERNAME are taken in many shells
	return mask
}

// reveal writes the names where the masks are.
func (m *masks) reveal(s string) string { return strings.NewReplacer(m.of...).Replace(s) }

// needed are the options that get a stand-in if they have no value. A signature's are among them, or the credentials of
// this machine would take their place.
func (a *Account) needed(o adapters.Option) bool {
	return !o.Optional || slices.Contains(a.Definition.Credentials(), o.Name)
}

// bind makes the adapter with masks for secrets and for what is missing.
func (a *Account) bind(m *masks) (*adapters.Adapter, error) {
	options := make(map[string]string)
	for _, o := range a.Definition.Options {
		value := a.Options[o.Name]
		if value != "" && o.Secret || value == "" && a.needed(o) {
			value = m.mask(o.Name)
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

package adapters

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// numberForm is a provider's format of telephone numbers.
type numberForm uint8

const (
	e164 numberForm = iota
	digits
	doubleZero
	nanp10
	nanp11
)

var numberFormNames = map[string]numberForm{"e164": e164, "digits": digits, "00": doubleZero, "nanp10": nanp10, "nanp11": nanp11}

// numberForms contains the formats of sender and recipient.
type numberForms struct{ sender, recipient numberForm }

// parse reads: number [sender|recipient] FORM.
func (f *numberForms) parse(s *syntax.Statement) error {
	args := s.Args()
	form, ok := numberForm(0), false
	if len(args) > 0 {
		form, ok = numberFormNames[args[len(args)-1].Text]
	}
	switch {
	case ok && len(args) == 1:
		f.sender, f.recipient = form, form
	case ok && len(args) == 2 && args[0].Text == "sender":
		f.sender = form
	case ok && len(args) == 2 && args[0].Text == "recipient":
		f.recipient = form
	default:
		return s.Fail("write: number [sender|recipient] %s", strings.Join(slices.Sorted(maps.Keys(numberFormNames)), ", "))
	}
	return nil
}

// write sets the numbers in v, or returns the refusal of a number that the form cannot express.
func (f numberForms) write(v *vars) *sms.Refusal {
	var ok bool
	if v.to, ok = f.recipient.write(v.message.To); !ok {
		return &sms.Refusal{Cause: sms.DestinationNotAllowed, ByProvider: true}
	}
	if v.from, ok = f.sender.write(v.message.From); !ok {
		return &sms.Refusal{Cause: sms.SenderUnregistered, ByProvider: true}
	}
	return nil
}

// write formats a number. Short codes and alphanumeric senders are not changed. It returns false
// for a number that the form cannot express.
func (f numberForm) write(n sms.Number) (string, bool) {
	if n.Kind != sms.Phone {
		return n.Value, true
	}
	switch f {
	case digits:
		return n.Value[1:], true
	case doubleZero:
		return "00" + n.Value[1:], true
	case nanp10, nanp11:
		if len(n.Value) != 12 || n.Value[1] != '1' {
			return "", false
		}
		if f == nanp10 {
			return n.Value[2:], true
		}
		return n.Value[1:], true
	}
	return n.Value, true
}

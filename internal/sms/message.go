// Package sms defines the vocabulary of all packages: messages, numbers, results, refusals and
// causes.
//
// It imports no other package of this module and does no I/O. Bodies and secrets are Hidden, so
// that they cannot be printed by mistake. Values are safe for concurrent reads.
package sms

import (
	"math"
	"time"
)

// Message is one text from one sender to one recipient.
type Message struct {
	// ID is the gateway's id of the message: a UUID, the same for every attempt to send it.
	ID string
	// Reference is a short id of 8 characters that the app's user can read out to the
	// administrator.
	Reference string
	// Received is the time when the request arrived.
	Received time.Time
	// Site is the host and path that the app sends to. Users of different sites may have the
	// same name.
	Site string
	// User is the name of the authenticated user.
	User string
	// Groups are the groups of the user.
	Groups []string
	// From is the number or sender ID to send from. It is absent if the provider chooses the
	// sender.
	From Number
	// To is the recipient.
	To Number
	// Body is the text to send, valid UTF-8 with LF line ends.
	Body Hidden
	// Media contains the pictures and files to send.
	Media []Media
	// FilesDigest is a digest of the pictures and files, by which a duplicate is found. It is empty
	// for a message without any.
	FilesDigest string
	// ContentType is the media type that the app sent, or text/plain.
	ContentType string
	// Disposition contains the app's own message id and the notifications that the app asks
	// for.
	Disposition Disposition
	// Smart is the app's flag for a recipient of the same network.
	Smart bool
	// InstallID identifies the installation of the app, empty if the template does not send it.
	InstallID string
	// Segments is the largest number of network segments that the text needs with any adapter.
	Segments int
}

// Disposition is the parsed disposition_notification parameter of the Send Message service.
// https://doc.acrobits.net/api/client/send_message.html
type Disposition struct {
	ID     string
	Wishes []string
}

// NumberKind is the kind of a sender or recipient.
type NumberKind uint8

// The kinds of sender and recipient.
const (
	NoNumber     NumberKind = iota
	Phone                   // a telephone number in E.164
	ShortCode               // 3 to 8 digits that are not a telephone number of any country
	Alphanumeric            // a sender ID such as ACME
)

// Number is a sender or a recipient in canonical form.
type Number struct {
	// Value is a + and E.164 digits for a phone, digits for a short code, the text itself for
	// an alphanumeric sender.
	Value string
	Kind  NumberKind
}

// String masks the number, because logs print it. +1555•••1234 is enough to recognise a number.
func (n Number) String() string {
	if n.Kind == Phone && len(n.Value) > 9 {
		return n.Value[:4] + "•••" + n.Value[len(n.Value)-4:]
	}
	if n.Kind == Phone {
		return n.Value[:2] + "•••"
	}
	if n.Kind == ShortCode && len(n.Value) > 6 { // may be a local number
		return n.Value[:2] + "•••"
	}
	return n.Value
}

// IsZero reports whether there is no number.
func (n Number) IsZero() bool { return n.Kind == NoNumber }

// Split describes the parts in which a text is sent.
type Split struct {
	// Parts is the number of parts.
	Parts int
	// Cuts is a digest of the places where the text is cut, 0 if they are not known. It is
	// negative if the parts are sent as MMS.
	Cuts int64
}

// MMS reports whether the parts are sent as MMS.
func (s Split) MMS() bool { return s.Cuts < 0 }

// SplitOf returns the Split of a text that is sent in these parts, as SMS or MMS.
func SplitOf(parts []*Message, mms bool) Split {
	s := Split{Parts: len(parts)}
	for _, part := range parts[:max(len(parts)-1, 0)] {
		s.Cuts = s.Cuts*1_000_003 + int64(len(part.Body.Reveal()))
	}
	s.Cuts &= math.MaxInt64
	if mms {
		s.Cuts |= math.MinInt64
	}
	return s
}

// Matches reports whether the text is cut in the same places. If the places of s are not known, it
// compares only the number of parts.
func (s Split) Matches(other Split) bool {
	return s.Parts == other.Parts && (s.Cuts == 0 || s.Cuts&math.MaxInt64 == other.Cuts&math.MaxInt64)
}

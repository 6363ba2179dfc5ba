// Package sms is the vocabulary that every other package shares: what a message is, what became of it, and why.
package sms

import "time"

// Message is one text from one sender to one recipient.
type Message struct {
	// ID is ours: a UUID, the same for every attempt to send this message.
	ID string
	// Reference is what the app's user can read out to the administrator: 8 characters.
	Reference string
	// Received is when the request came in.
	Received time.Time
	// Site is the address that the app sends to: host and path. Users of different sites may have the same name.
	Site string
	// User is the name of the authenticated user.
	User string
	// Groups are those that the user is in.
	Groups []string
	// From is the number or sender ID to send from. It may be absent where the provider chooses it.
	From Number
	// To is the recipient.
	To Number
	// Body is what the person wrote, valid UTF-8 with LF line ends.
	Body Hidden
	// Media holds the public URLs of pictures and files to send.
	Media []string
	// ContentType is the media type that the app gave, or text/plain.
	ContentType string
	// Disposition is the app's own message id and the notifications that it wishes.
	Disposition Disposition
	// Smart is the app's flag for a recipient of the same network.
	Smart bool
	// InstallID tells the installations of the app apart, where the template sends it.
	InstallID string
	// Begun is set when the first request to a provider is about to go out: what breaks afterwards is unknown.
	Begun bool
}

// Disposition is the parsed disposition_notification parameter of the Send Message service.
// https://doc.acrobits.net/api/client/send_message.html
type Disposition struct {
	ID     string
	Wishes []string
}

// NumberKind tells apart what a sender or recipient can be.
type NumberKind uint8

// The kinds of sender and recipient.
const (
	NoNumber     NumberKind = iota
	Phone                   // a telephone number, kept as E.164
	ShortCode               // 3 to 8 digits that are no telephone number of any country
	Alphanumeric            // a sender ID such as ACME
)

// Number is a sender or a recipient in one canonical writing.
type Number struct {
	// Value is +E.164 for a phone, digits for a short code, the text itself for an alphanumeric sender.
	Value string
	Kind  NumberKind
}

// String masks the number, because it is what logs print: +1555•••1234 keeps enough to recognise it.
func (n Number) String() string {
	if n.Kind == Phone && len(n.Value) > 9 {
		return n.Value[:4] + "•••" + n.Value[len(n.Value)-4:]
	}
	if n.Kind == Phone {
		return n.Value[:2] + "•••"
	}
	if n.Kind == ShortCode && len(n.Value) > 6 { // a local number, as likely as not
		return n.Value[:2] + "•••"
	}
	return n.Value
}

// IsZero reports whether there is no number.
func (n Number) IsZero() bool { return n.Kind == NoNumber }

// Split is how a text is sent in parts.
type Split struct {
	// Parts is their number.
	Parts int
	// Cuts is a digest of where the text is cut, 0 if that is not known.
	Cuts int64
}

// SplitOf is how a text is split into these parts.
func SplitOf(parts []*Message) Split {
	s := Split{Parts: len(parts)}
	for _, part := range parts[:max(len(parts)-1, 0)] {
		s.Cuts = s.Cuts*1_000_003 + int64(len(part.Body.Reveal()))
	}
	return s
}

// Is reports whether these are the parts, as far as that is known.
func (s Split) Is(parts []*Message) bool {
	is := SplitOf(parts)
	return s.Parts == is.Parts && (s.Cuts == 0 || s.Cuts == is.Cuts)
}

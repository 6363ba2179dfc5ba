package sms

// Cause is the reason why a message was not accepted. The list is closed: each refusal of the
// gateway and each error of a provider has one of these causes, so that there is always a sentence
// for the app's user and a decision for delivery.
type Cause uint8

// The causes in the order of their weight. If several adapters refused a message, the app's user
// gets the sentence of the refusal whose cause is first in this list.
const (
	NoCause Cause = iota
	BadRequest
	Unauthorized
	NotFound
	Method
	InvalidRecipient
	UnreachableRecipient
	OptedOut
	ContentRejected
	DestinationNotAllowed
	SenderNotAllowed
	TooLong
	UnsupportedContent
	Limited
	Held
	NoCredit
	SenderUnregistered
	Rejected
	Misconfigured
	Quota
	Busy
	Unavailable
	Internal
	Unconfirmed
	causes
)

// next decides whether another adapter may be tried.
type next uint8

const (
	never next = iota // this side never has this cause
	stop              // other adapters would refuse the message too, or the message may have been sent
	try               // another adapter may accept the message
)

type causeFacts struct {
	name     string
	status   int
	ours     next
	provider next
	sentence string
}

var facts = [causes]causeFacts{
	NoCause:               {"none", 200, never, never, ""},
	BadRequest:            {"bad_request", 400, stop, never, "The app's SMS settings are incomplete. Please ask your administrator."},
	Unauthorized:          {"unauthorized", 401, stop, never, "User name or password is wrong"},
	NotFound:              {"not_found", 404, stop, never, "Wrong address (URL) in the app's SMS settings"},
	Method:                {"method", 405, stop, never, "Wrong method in the app's SMS settings, use POST or GET"},
	InvalidRecipient:      {"invalid_recipient", 406, stop, stop, "Invalid recipient"},
	UnreachableRecipient:  {"unreachable_recipient", 406, never, stop, "This number cannot receive text messages"},
	OptedOut:              {"opted_out", 403, never, stop, "The recipient has opted out of your messages"},
	ContentRejected:       {"content_rejected", 422, never, stop, "The network blocked this message because of its content"},
	DestinationNotAllowed: {"destination_not_allowed", 403, stop, try, "Messages to this destination are not allowed"},
	SenderNotAllowed:      {"sender_not_allowed", 403, stop, never, "This number is not yours to send from"},
	TooLong:               {"too_long", 413, try, try, "The message is too long"},
	UnsupportedContent:    {"unsupported_content", 415, try, try, "Pictures and files are not supported yet"},
	Limited:               {"limited", 429, stop, never, "Too many messages. Please try again later."},
	Held:                  {"held", 429, stop, never, "Sending is paused by your administrator"},
	NoCredit:              {"no_credit", 402, never, try, "Not enough credit"},
	SenderUnregistered:    {"sender_unregistered", 502, never, try, "Your number is not registered for texting. Please ask your administrator."},
	Rejected:              {"rejected", 502, never, stop, "The provider refused this message (reference {reference})"},
	Misconfigured:         {"misconfigured", 502, never, try, "Messaging is misconfigured. Please ask your administrator (reference {reference})."},
	Quota:                 {"quota", 429, never, try, "Today's limit at the provider is reached. Please try again later."},
	Busy:                  {"busy", 503, never, try, "The service is busy. Please try again in a moment."},
	Unavailable:           {"unavailable", 502, never, try, "The service cannot be reached. Nothing was sent."},
	Internal:              {"internal", 500, stop, never, "Something failed here. Nothing was sent (reference {reference})."},
	Unconfirmed:           {"unknown", 504, never, stop, "No confirmation. The message may have been sent."},
}

// String returns the cause's name as configuration and logs write it.
func (c Cause) String() string { return facts[c].name }

// Status returns the HTTP status that the app gets for the cause.
func (c Cause) Status() int { return facts[c].status }

// Sentence returns the default English sentence for the app's user. It may contain the hole
// {reference}.
func (c Cause) Sentence() string { return facts[c].sentence }

// FromProvider reports whether a provider's reply can have this cause.
func (c Cause) FromProvider() bool { return facts[c].provider != never }

// TryNext reports whether another adapter may be tried after this cause. byProvider is set if the
// provider refused the message, not the gateway. If a provider refused with a cause that providers
// never have, no other adapter is tried.
func (c Cause) TryNext(byProvider bool) bool {
	if byProvider {
		return facts[c].provider == try
	}
	// The gateway itself finds that a provider cannot be reached, or that a message lacks a
	// value that the provider's API needs. Both concern that provider alone.
	if facts[c].ours == never {
		return facts[c].provider == try
	}
	return facts[c].ours == try
}

// ParseCause finds a cause by its name.
func ParseCause(name string) (Cause, bool) {
	for c := BadRequest; c < causes; c++ {
		if facts[c].name == name {
			return c, true
		}
	}
	return NoCause, false
}

// Causes returns all causes in the order of their weight.
func Causes() []Cause {
	all := make([]Cause, 0, causes-1)
	for c := BadRequest; c < causes; c++ {
		all = append(all, c)
	}
	return all
}

// CauseOfStatus returns the cause of a provider's reply by its HTTP status, if neither a code nor a
// predicate of the definition names a cause. It must not be called for a reply that accepts the
// message.
func CauseOfStatus(status int) Cause {
	switch {
	case status >= 200 && status < 300:
		return Rejected
	case status >= 300 && status < 400:
		return Misconfigured
	case status == 402:
		return NoCredit
	case status == 413:
		return TooLong
	case status == 429:
		return Busy
	case status == 401, status == 403, status == 404, status == 405, status == 415:
		return Misconfigured
	case status >= 400 && status < 500:
		return Rejected
	}
	return Unconfirmed
}

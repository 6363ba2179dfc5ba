package sms

// Cause says why a message was not accepted. The list is closed: every refusal of ours and every error of a
// provider is one of these, so that the app's user always gets a sentence and delivery always knows what to do.
type Cause uint8

// The causes, in the order of their weight: when several adapters refused one message, the app's user is told the
// cause that stands highest here.
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
	Busy
	Unavailable
	Internal
	Unknown
	causes
)

// next says whether another adapter may be tried.
type next uint8

const (
	never next = iota // this side never says this cause
	stop              // the same answer is to be expected elsewhere, or the message may have gone out
	try               // another adapter may take the message
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
	UnsupportedContent:    {"unsupported_content", 415, try, try, "Pictures and files cannot be sent from this number"},
	Limited:               {"limited", 429, stop, never, "Too many messages. Please try again later."},
	Held:                  {"held", 429, stop, never, "Sending is paused by your administrator"},
	NoCredit:              {"no_credit", 402, never, try, "Not enough credit"},
	SenderUnregistered:    {"sender_unregistered", 502, never, try, "Your number is not registered for texting. Please ask your administrator."},
	Rejected:              {"rejected", 502, never, stop, "The provider refused this message (reference {reference})"},
	Misconfigured:         {"misconfigured", 502, never, try, "Messaging is misconfigured. Please ask your administrator (reference {reference})."},
	Busy:                  {"busy", 503, never, try, "The service is busy. Please try again in a moment."},
	Unavailable:           {"unavailable", 502, never, try, "The service cannot be reached. Nothing was sent."},
	Internal:              {"internal", 500, stop, never, "Something failed here. Nothing was sent (reference {reference})."},
	Unknown:               {"unknown", 504, never, stop, "No confirmation. The message may have been sent."},
}

// String returns the cause's name as configuration and logs write it.
func (c Cause) String() string { return facts[c].name }

// Status returns the HTTP status that the app gets for the cause.
func (c Cause) Status() int { return facts[c].status }

// Sentence returns the default English sentence for the app's user. It may hold the hole {reference}.
func (c Cause) Sentence() string { return facts[c].sentence }

// FromProvider reports whether a provider's reply can have this cause.
func (c Cause) FromProvider() bool { return facts[c].provider != never }

// TryNext reports whether another adapter may be tried after this cause was said by us or by a provider. A cause
// that the side never says stops the chain.
func (c Cause) TryNext(byProvider bool) bool {
	if byProvider {
		return facts[c].provider == try
	}
	// Failing to reach a provider, or lacking what its API wants, is found out on our side of the wire but
	// concerns that provider alone.
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

// CauseOfStatus is the cause of a provider's reply when neither a code nor a predicate of its definition names one.
// It must not be asked for a reply that was accepted.
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
	return Unknown
}

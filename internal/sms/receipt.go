package sms

import (
	"strconv"
	"strings"
	"time"
)

// Outcome is what became of a message. There are three: a message whose fate is not known is neither accepted nor
// refused, and is never sent again by itself.
type Outcome uint8

// The outcomes. The zero value is the one that promises least.
const (
	OutcomeUnknown Outcome = iota
	Accepted
	Refused
	Outcomes // how many there are
)

// String returns the outcome's name as logs write it.
func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Refused:
		return "refused"
	}
	return "unknown"
}

// Receipt is what one attempt, or the delivery as a whole, came to.
type Receipt struct {
	Outcome Outcome
	// Refusal is set unless the message was accepted.
	Refusal *Refusal
	// ID is the provider's id of the message, or ours where its API gives none. It may be empty.
	ID string
	// Adapter is the name of the adapter that gave this answer.
	Adapter string
	// Status is the HTTP status of the provider's reply, 0 if there was none.
	Status int
	// Code is the provider's own error code.
	Code string
	// Detail is the provider's own words, or the transport's, for the operator's log. It never reaches the app.
	Detail string
	// RetryAfter is how long the provider asks to wait, 0 if it does not.
	RetryAfter time.Duration
	// Attempts counts the requests that were made.
	Attempts int
	// Passed are the refusals of the adapters that were tried beside this one.
	Passed []Receipt
	// Parts is in how many messages the text was to be sent, 0 if that was not decided.
	Parts int
	// Resumable is set if some parts went out and it is certain that the others did not.
	Resumable bool
	// Repeat is set if the message came before, and this is what became of it then.
	Repeat bool
}

// Cause returns the cause of a receipt, NoCause if the message was accepted.
func (r Receipt) Cause() Cause {
	if r.Refusal == nil {
		return NoCause
	}
	return r.Refusal.Cause
}

// Refusal is a reason not to accept a message. It is an error, and what the app's user is told comes from it alone.
type Refusal struct {
	Cause Cause
	// Variant tells sentences of one cause apart; empty for the cause's own sentence.
	Variant Variant
	// Values fill the holes of the sentence, name and value in turn.
	Values []string
	// Words are the provider's own, where the operator wants them told instead of the sentence. They are unchecked
	// but for secrets, the text and telephone numbers, and may be longer than the app shows.
	Words string
	// ByProvider is set if the provider said so, not we.
	ByProvider bool
	// RetryAfter is when to try again, 0 if that is not known.
	RetryAfter time.Duration
}

// Variant names a more exact sentence of a cause, such as what precisely is wrong with a request.
type Variant string

// The variants that we say.
const (
	Contradiction      Variant = "contradiction"
	Unreadable         Variant = "unreadable"
	NoRecipient        Variant = "no_recipient"
	NoBody             Variant = "no_body"
	NoText             Variant = "no_text"
	SeveralRecipients  Variant = "several_recipients"
	NotReplaced        Variant = "not_replaced"
	HiddenPassword     Variant = "hidden_password"
	RequestTooLarge    Variant = "request_too_large"
	TextTooLong        Variant = "text_too_long"
	UnsupportedRequest Variant = "unsupported_request"
	CompressedRequest  Variant = "compressed_request"
	NoCredential       Variant = "no_credential"
	StaleAnswer        Variant = "stale_answer"
	LockedOut          Variant = "locked_out"
	NoTime             Variant = "no_time"
	OverLimit          Variant = "over_limit"
	ManyCountries      Variant = "many_countries"
	NumbersInARow      Variant = "numbers_in_a_row"
	UnknownContent     Variant = "unknown_content"
	UsersUnknown       Variant = "users_unknown"
	JournalAway        Variant = "journal_away"
	NoRecall           Variant = "no_recall"
	Partly             Variant = "partly"
	DestinationCountry Variant = "country"
	DestinationKind    Variant = "kind"
	NoAdapter          Variant = "no_adapter"
)

type sentenceKey struct {
	cause   Cause
	variant Variant
}

var variants = map[sentenceKey]string{
	{BadRequest, Contradiction}:                 "The app's SMS settings send two different values for {name}",
	{BadRequest, Unreadable}:                    "The app's POST data is not valid {form} (near character {offset})",
	{BadRequest, NoRecipient}:                   "The app sent no recipient. Add sms_to=%sms_to% to its SMS settings.",
	{BadRequest, NoBody}:                        "The app sent no text. Add sms_body=%sms_body% to its SMS settings.",
	{BadRequest, NoText}:                        "The message is empty",
	{BadRequest, SeveralRecipients}:             "Only one recipient per message is supported",
	{BadRequest, NotReplaced}:                   "The app did not fill in {name}. Check its spelling in the app's SMS settings.",
	{BadRequest, NoRecall}:                      "A sent SMS cannot be deleted for the recipient",
	{Unauthorized, NoCredential}:                "The app sent no user name or no password. Add them to its SMS settings.",
	{Unauthorized, StaleAnswer}:                 "The app has to log in once more",
	{Unauthorized, HiddenPassword}:              "The app hides the password on http://. Use an https:// address in its SMS settings.",
	{DestinationNotAllowed, DestinationCountry}: "Messages to this country are not allowed: {country}",
	{DestinationNotAllowed, DestinationKind}:    "Messages to {kind} are not allowed",
	{TooLong, RequestTooLarge}:                  "The request is too large, at most {limit} bytes",
	{TooLong, TextTooLong}:                      "The message is too long: {length} {unit}, at most {limit}",
	{Limited, LockedOut}:                        "Too many wrong passwords. Please try again later.",
	{Limited, NoTime}:                           "The message took too long to get here. Nothing was sent. Please try again.",
	{Limited, OverLimit}:                        "Too many messages. Try again in {minutes} min.",
	{Misconfigured, NoAdapter}:                  "No provider takes this message. Please ask your administrator (reference {reference}).",
	{Held, ManyCountries}:                       "Messages to so many new countries at once are held. Please try again later.",
	{Held, NumbersInARow}:                       "Messages to so many numbers in a row are held. Please try again later.",
	{Unknown, Partly}:                           "Only {sent} of {parts} parts are certain to have been sent",
	{UnsupportedContent, UnsupportedRequest}:    "The content type {type} in the app's SMS settings is not supported",
	{UnsupportedContent, CompressedRequest}:     "Compressed requests are not supported",
	{Internal, UsersUnknown}:                    "User names cannot be checked just now. Nothing was sent.",
	{Internal, JournalAway}:                     "Messages cannot be recorded just now. This time nothing was sent.",
	{UnsupportedContent, UnknownContent}:        "This kind of message cannot be sent as a text message",
}

// Refuse makes a refusal of ours with the cause's own sentence.
func Refuse(c Cause) *Refusal { return &Refusal{Cause: c} }

// RefuseAs makes a refusal of ours with one of the more exact sentences; values are name and value in turn.
func RefuseAs(c Cause, v Variant, values ...string) *Refusal {
	return &Refusal{Cause: c, Variant: v, Values: values}
}

// PartlySent is the refusal of a message of which some parts went out, and the others may have.
func PartlySent(sent, parts int) *Refusal {
	return RefuseAs(Unknown, Partly, "sent", strconv.Itoa(sent), "parts", strconv.Itoa(parts))
}

// Error describes the refusal to the operator. It holds no text of the app's user and no secret.
func (r *Refusal) Error() string {
	if r.Variant != "" {
		return r.Cause.String() + "." + string(r.Variant)
	}
	return r.Cause.String()
}

// Sentence returns the default English sentence with its holes still open.
func (r *Refusal) Sentence() string {
	if s, ok := variants[sentenceKey{r.Cause, r.Variant}]; ok {
		return s
	}
	return r.Cause.Sentence()
}

// Sentences returns every sentence that can be said, by its name: a cause, or a cause and a variant joined by a dot.
func Sentences() map[string]string {
	all := make(map[string]string, len(variants)+int(causes))
	for _, c := range Causes() {
		all[c.String()] = c.Sentence()
	}
	for k, s := range variants {
		all[k.cause.String()+"."+string(k.variant)] = s
	}
	return all
}

// Value returns the value for a hole of the sentence, if there is one.
func (r *Refusal) Value(name string) string {
	for i := 0; i+1 < len(r.Values); i += 2 {
		if r.Values[i] == name {
			return r.Values[i+1]
		}
	}
	return ""
}

// Fill replaces the holes of a sentence by the refusal's values and the message's reference.
func (r *Refusal) Fill(sentence, reference string) string {
	if !strings.Contains(sentence, "{") {
		return sentence
	}
	pairs := make([]string, 0, len(r.Values)+2)
	for i := 0; i+1 < len(r.Values); i += 2 {
		pairs = append(pairs, "{"+r.Values[i]+"}", r.Values[i+1])
	}
	return strings.NewReplacer(append(pairs, "{reference}", reference)...).Replace(sentence)
}

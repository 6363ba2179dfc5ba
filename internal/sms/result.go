package sms

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// Outcome is the outcome of an attempt to send a message. A message with an unknown outcome is
// neither accepted nor refused, and is never sent again automatically.
type Outcome uint8

// The outcomes. The zero value is unknown, because it promises nothing.
const (
	OutcomeUnknown Outcome = iota
	Accepted
	Refused
	Outcomes // the number of outcomes
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

// Result is the result of one attempt, or of the delivery as a whole.
type Result struct {
	Outcome Outcome
	// Refusal is set unless the message was accepted.
	Refusal *Refusal
	// ID is the provider's id of the message, or the gateway's id if the provider's API returns
	// none. It may be empty.
	ID string
	// PrivateID replaces ID if the provider's id may quote the text, a number or a secret. Only
	// the phone gets it.
	PrivateID Hidden
	// Adapter is the name of the adapter that made this result.
	Adapter string
	// Status is the HTTP status of the provider's reply, 0 if there was none.
	Status int
	// Code is the provider's own error code.
	Code string
	// Detail is the error text of the provider or the transport, for the operator's log. The
	// app never gets it.
	Detail string
	// RetryAfter is the wait that the provider asks for, 0 if none.
	RetryAfter time.Duration
	// Scope is the scope of the reached quota, if the cause is Quota.
	Scope Scope
	// Attempts counts the requests that were made.
	Attempts int
	// OtherRefusals are the refusals of the other adapters that were tried.
	OtherRefusals []Result
	// Parts is the number of messages that the text was split into, 0 if not decided.
	Parts int
	// MMS is set if the message was sent as an MMS, or would have been.
	MMS bool
	// MaybeOtherReply is set if the reply may belong to another message.
	MaybeOtherReply bool
	// RestNotSent is set if some parts were sent and the others were certainly not sent.
	RestNotSent bool
	// Duplicate is set if the message arrived before. The result is that of the first message.
	Duplicate bool
}

// PhoneID returns the id that the phone gets.
func (r *Result) PhoneID() string { return cmp.Or(r.PrivateID.Reveal(), r.ID) }

// ShownID returns the id for logs, events and administrators. The message's reference replaces a
// private id.
func (r *Result) ShownID(reference string) string {
	if r.PrivateID.Empty() {
		return r.ID
	}
	return reference
}

// Cause returns the cause of a result, NoCause if the message was accepted.
func (r Result) Cause() Cause {
	if r.Refusal == nil {
		return NoCause
	}
	return r.Refusal.Cause
}

// Refusal is a reason not to accept a message. It is an error. The sentence for the app's user is
// made from it alone.
type Refusal struct {
	Cause Cause
	// Variant selects a more exact sentence of the cause, empty for the cause's own sentence.
	Variant Variant
	// Values fill the holes of the sentence: name, value, name, value and so on.
	Values []string
	// Words is the provider's own error text, if the operator configures that the app shows it
	// instead of the sentence. It is checked only for secrets, the text and telephone numbers,
	// and may be longer than the app shows.
	Words string
	// ByProvider is set if the provider refused the message, not the gateway.
	ByProvider bool
	// RetryAfter is the time to wait before another attempt, 0 if not known.
	RetryAfter time.Duration
	// Detail is a reason for the operator's log. The app never gets it.
	Detail string
	// Limit is the operator's limit that the message would exceed, empty for other reasons.
	Limit string
}

// Variant names a more exact sentence of a cause, such as the exact problem of a request.
type Variant string

// The variants of refusals by the gateway.
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
	LargeRequests      Variant = "large_requests"
	OverLimit          Variant = "over_limit"
	ManyCountries      Variant = "many_countries"
	NumbersInARow      Variant = "numbers_in_a_row"
	UserBlocked        Variant = "user_blocked"
	UnknownContent     Variant = "unknown_content"
	UsersUnavailable   Variant = "users_unknown"
	JournalUnavailable Variant = "journal_away"
	NoRecall           Variant = "no_recall"
	SentInPart         Variant = "partly"
	DestinationCountry Variant = "country"
	DestinationKind    Variant = "kind"
	NoAdapter          Variant = "no_adapter"
	NoOwnNumber        Variant = "no_number"
	QuotaWait          Variant = "wait"
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
	{Busy, LargeRequests}:                       "Too many large messages at once. Nothing was sent. Please try again in a moment.",
	{Limited, OverLimit}:                        "Too many messages. Try again in {minutes} min.",
	{SenderNotAllowed, NoOwnNumber}:             "Your number is not set up for texting",
	{Misconfigured, NoAdapter}:                  "No provider takes this message. Please ask your administrator (reference {reference}).",
	{Quota, QuotaWait}:                          "The limit at the provider is reached. Try again in {minutes} min.",
	{Held, ManyCountries}:                       "Messages to so many new countries at once are held. Please try again later.",
	{Held, NumbersInARow}:                       "Messages to so many numbers in a row are held. Please try again later.",
	{Held, UserBlocked}:                         "Sending is blocked for your account. Please ask your administrator.",
	{Unconfirmed, SentInPart}:                   "Only {sent} of {parts} parts are certain to have been sent",
	{UnsupportedContent, UnsupportedRequest}:    "The content type {type} in the app's SMS settings is not supported",
	{UnsupportedContent, CompressedRequest}:     "Compressed requests are not supported",
	{Internal, UsersUnavailable}:                "User names cannot be checked just now. Nothing was sent.",
	{Internal, JournalUnavailable}:              "Messages cannot be recorded just now. This time nothing was sent.",
	{UnsupportedContent, UnknownContent}:        "This kind of message cannot be sent as a text message",
	{BadRequest, AttachmentUnreadable}:          "The app's description of the picture or file cannot be read",
	{BadRequest, AttachmentAddress}:             "The address of the picture or file is no https address",
	{BadRequest, AttachmentKey}:                 "The key of the picture or file cannot be read. Please send it again.",
	{BadRequest, NoAttachments}:                 "The app sent no picture and no file",
	{TooLong, TooManyFiles}:                     "Too many pictures or files: {count}, at most {limit}",
	{BadRequest, FileHost}:                      "Pictures and files of this server are not allowed",
	{BadRequest, FilePrivate}:                   "The server of the picture or file has a private address",
	{BadRequest, FileDamaged}:                   "The picture or file arrived damaged. Please send it again.",
	{BadRequest, WrongKey}:                      "The picture or file cannot be decrypted. Please send it again.",
	{TooLong, FileTooLarge}:                     "The picture or file is too large, at most {limit} MB",
	{TooLong, FileTooLargeForProvider}:          "The picture or file has {size} MB, the provider takes at most {limit} MB",
	{TooLong, TooManyPixels}:                    "The picture is too large, at most {limit} megapixels",
	{TooLong, PictureTooComplex}:                "The picture needs too much memory. Please send a smaller one.",
	{UnsupportedContent, FileTypeFalse}:         "The file is not of the type that it claims to be",
	{UnsupportedContent, FileType}:              "Files of the type {type} cannot be sent",
	{UnsupportedContent, FileUnreadable}:        "The picture or film cannot be read. Please send another one.",
	{UnsupportedContent, NoMMS}:                 "Pictures and files cannot be sent to this number",
	{Busy, ManyPictures}:                        "Too many pictures at once. Nothing was sent. Please try again in a moment.",
	{Unavailable, FileGone}:                     "The picture or file is no longer on its server. Please send it again.",
	{Unavailable, FileCut}:                      "The picture or file did not arrive whole. Nothing was sent. Please try again.",
	{Unavailable, FileSlow}:                     "The picture or file took too long. Nothing was sent. Please try again.",
	{Unavailable, FileServer}:                   "The picture or file cannot be fetched from its server. Nothing was sent.",
	{Internal, FileDisk}:                        "Pictures and files cannot be stored just now. Nothing was sent.",
	{Internal, FileSpace}:                       "The space for pictures and files is full. Nothing was sent.",
}

// Refuse makes a refusal by the gateway with the cause's own sentence.
func Refuse(c Cause) *Refusal { return &Refusal{Cause: c} }

// RefuseAs makes a refusal by the gateway with a more exact sentence. values are as in
// Refusal.Values.
func RefuseAs(c Cause, v Variant, values ...string) *Refusal {
	return &Refusal{Cause: c, Variant: v, Values: values}
}

// PartlySent returns the refusal of a message if some parts were sent and the others may have been.
func PartlySent(sent, parts int) *Refusal {
	return RefuseAs(Unconfirmed, SentInPart, "sent", strconv.Itoa(sent), "parts", strconv.Itoa(parts))
}

// Error describes the refusal to the operator. It contains no text of the app's user and no secret.
func (r *Refusal) Error() string {
	if r.Variant != "" {
		return r.Cause.String() + "." + string(r.Variant)
	}
	return r.Cause.String()
}

// Sentence returns the default English sentence with unfilled holes.
func (r *Refusal) Sentence() string {
	if s, ok := variants[sentenceKey{r.Cause, r.Variant}]; ok {
		return s
	}
	return r.Cause.Sentence()
}

// Sentences returns every sentence by its name: a cause, or a cause and a variant joined by a dot.
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

// Value returns the value for a hole of the sentence, empty if there is none.
func (r *Refusal) Value(name string) string {
	for i := 0; i+1 < len(r.Values); i += 2 {
		if r.Values[i] == name {
			return r.Values[i+1]
		}
	}
	return ""
}

// Fill replaces the holes of a sentence with the refusal's values and the message's reference.
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

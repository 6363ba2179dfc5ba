package adapters

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/signature"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// MaxInbound limits the bytes of a webhook. maxEvents limits the messages and receipts in it.
const (
	MaxInbound = 1 << 20
	maxEvents  = 100
)

// The reasons why ReadInbound reads nothing. The provider gets 403 for the first and 503 for the
// second, so that it delivers again. No other 4xx is answered, because some providers never repeat
// after one.
var (
	ErrForged     = errors.New("nothing proves that the provider sent this webhook")
	ErrUnreadable = errors.New("the webhook cannot be read")
)

// InboundRequest is a webhook as the provider sent it. URL is the absolute address that the provider
// called.
type InboundRequest = signature.Request

// InboundKind is the kind of an event.
type InboundKind uint8

// The kinds of events.
const (
	InboundMessage InboundKind = iota
	InboundReceipt
)

// Inbound is a message or a receipt in a webhook.
type Inbound struct {
	Kind InboundKind
	// From is the sender. To is the recipient; for a message, it is the number of ours. A receipt may
	// have neither.
	From, To sms.Number
	// ID is the provider's id of the message, empty if there is none. It is not proven to be fit for
	// a log.
	ID string
	// Time is the provider's time, zero if there is none.
	Time time.Time

	// Others are the other members of a group that got the message.
	Others []sms.Number
	Text   sms.Hidden
	Media  []InboundMedia
	Part   InboundPart

	// Reference is our own id of the message that a receipt is about, empty if the receipt does not
	// say it.
	Reference string
	Delivery  Delivery
	// Status is the provider's word for the delivery, Code its error code, Detail its words about the
	// error. All are fit for a log.
	Status, Code, Detail string
	// Cause is the cause that the definition gives to the code of a failed delivery, Rejected if it
	// gives none.
	Cause sms.Cause
}

// InboundMedia is a picture or file of a message: its address, or its bytes where the webhook has
// them.
type InboundMedia struct {
	URL  sms.Hidden
	Data []byte
	// Type is the provider's word for the media type, which may be empty or wrong.
	Type string
}

// InboundPart is the place of a text in a longer one. Of is 0 for a text that is whole.
type InboundPart struct {
	Reference  string
	Number, Of int
}

// Delivery is what a receipt says about a message.
type Delivery uint8

// The deliveries. Pending changes nothing: the message is on its way.
const (
	DeliveryUnknown Delivery = iota
	Pending
	Delivered
	DeliveryFailed
)

// deliveryWords are the statements that name the words of a delivery.
var deliveryWords = map[string]Delivery{"unknown": DeliveryUnknown, "pending": Pending, "delivered": Delivered, "failed": DeliveryFailed}

// String returns the name of a delivery.
func (d Delivery) String() string {
	for name, other := range deliveryWords {
		if d == other {
			return name
		}
	}
	return ""
}

// Answer is what the provider gets, byte for byte. It must not be replaced by another body, because
// some providers send the body to the sender as a text.
type Answer struct {
	Status int
	// ContentType is empty if there is no body.
	ContentType, Body string
}

// Receives reports whether the adapter can receive: its definition has a receive or receipt block,
// and the operator gave the option that proves the provider's webhooks.
func (a *Adapter) Receives() bool { return len(a.inbound) > 0 && a.proof.lacks == "" }

// LacksProof returns the name of the option without which the adapter receives nothing, or "".
func (a *Adapter) LacksProof() string { return a.proof.lacks }

// ReadInbound checks that the provider sent a webhook, and reads its messages and receipts. The
// caller has compared the secret in the path. The answer is valid with an error too. Without an
// error, it may be sent only once all events are stored. A webhook about something else has no
// events.
func (a *Adapter) ReadInbound(req InboundRequest, now time.Time) (events []Inbound, answer Answer, err error) {
	if !a.Receives() {
		return nil, Answer{Status: http.StatusForbidden}, ErrForged
	}
	if len(req.Body) > MaxInbound {
		return nil, Answer{Status: http.StatusServiceUnavailable}, fmt.Errorf("%w: it is larger than %d bytes", ErrUnreadable, MaxInbound)
	}
	if err := a.proof.check(&req, now); err != nil {
		return nil, Answer{Status: http.StatusForbidden}, fmt.Errorf("%w: %w", ErrForged, err)
	}
	r := inboundReader{adapter: a, req: &req, taken: make(map[string]bool)}
	if err := r.read(); err != nil {
		return nil, Answer{Status: http.StatusServiceUnavailable}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return r.events, r.answer.answer, nil
}

// inboundReader reads one webhook.
type inboundReader struct {
	adapter *Adapter
	req     *InboundRequest
	events  []Inbound
	// taken are the items that a block has read
	taken map[string]bool
	// answer is the block whose answer is sent: the first that read an item, else the first
	answer *boundInbound
}

func (r *inboundReader) read() error {
	blocks := r.adapter.inbound
	r.answer = &blocks[0]
	address := query(r.req)
	if len(r.req.Body) == 0 && len(address) == 0 { // a test whether the address exists
		return nil
	}
	opened := false
	for i := range blocks {
		b := &blocks[i]
		doc := b.open(r.req, address)
		if doc == nil {
			continue
		}
		opened = true
		if err := r.readBlock(b, doc, address.Get(referenceParameter)); err != nil {
			return b.at.Fail("%w", err)
		}
	}
	if !opened {
		return errors.New("the body has another format than the definition says")
	}
	return nil
}

// readBlock reads the items that fit a block and that no block before it has read.
func (r *inboundReader) readBlock(b *boundInbound, doc wire.Document, reference string) error {
	items := []wire.Document{doc}
	if b.hasEvents {
		items = wire.Items(doc, b.events)
	}
	for i, item := range items {
		key := fmt.Sprint(i, " ", b.events)
		item = wire.Headed{Document: item, Header: r.req.Header}
		if r.taken[key] || !b.fits(item, r.req.Body) {
			continue
		}
		if len(r.events) == maxEvents {
			return fmt.Errorf("it has more than %d messages and receipts", maxEvents)
		}
		event, err := b.read(item, r.adapter, reference)
		if err != nil {
			return err
		}
		if len(r.events) == 0 {
			r.answer = b
		}
		r.taken[key], r.events = true, append(r.events, event)
	}
	return nil
}

// WithReceipts returns the same adapter with the address of its webhook. Requests then ask for
// receipts, to that address with our id of the message.
func (a *Adapter) WithReceipts(address sms.Hidden) *Adapter {
	with := *a
	with.receipts = address
	with.redacted.AddSecret(address.Reveal())
	return &with
}

// FetchHeader returns the credential that fetches a picture or file of a webhook. It is empty for
// any host but that of the API, and for http, because the address may come from somebody else. It
// must not follow a redirect to another host.
func (a *Adapter) FetchHeader(address *url.URL) http.Header {
	base := a.sends[0].base
	for _, b := range a.inbound {
		if len(b.header) > 0 && address.Scheme == base.Scheme && address.Host == base.Host && !a.inClear {
			return b.header.Clone()
		}
	}
	return http.Header{}
}

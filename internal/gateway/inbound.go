package gateway

import (
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Stored is what became of a message or a receipt of a webhook: Received of a message, Change of a
// receipt.
type Stored struct {
	Received inbox.Received
	Change   inbox.Change
}

// deliveries maps the deliveries of the adapter language to those of the inbox.
var deliveries = map[adapters.Delivery]inbox.Delivery{
	adapters.Pending: inbox.Pending, adapters.Delivered: inbox.Delivered, adapters.DeliveryFailed: inbox.Failed,
}

// Store stores a message or a receipt. If it returns no error, the change is durable, and the provider
// may be told so.
func (g *Gateway) Store(a *adapters.Adapter, in *adapters.Inbound) (s Stored, err error) {
	j, err := g.Journal.Acquire()
	if err != nil {
		return s, err
	}
	defer j.Release()
	b := g.Inbox()
	if in.Kind == adapters.InboundReceipt {
		s.Change, err = b.Receipt(&inbox.Receipt{
			Source: SourceOf(a), ID: in.ID, Message: in.Reference, Status: deliveries[in.Delivery], Code: in.Code,
		})
	} else {
		s.Received, err = b.Receive(&inbox.Incoming{
			Source: SourceOf(a), Adapter: a.Name, ID: in.ID, From: in.From, To: in.To, Text: textOf(in),
			Part: inbox.Part(in.Part),
		})
	}
	if err != nil {
		g.Journal.NoteFailure()
	}
	return s, err
}

// NotShown stands in a text for pictures and files, which are not fetched.
const NotShown = "[Picture or file not shown]"

// layout is the type of the part of an MMS that arranges the others.
const layout = "application/smil"

// textOf is the text that the app shows. It names the other members of a group, because a reply goes
// to the sender alone.
func textOf(in *adapters.Inbound) sms.Hidden {
	var lines []string
	if text := in.Text.Reveal(); text != "" {
		lines = append(lines, text)
	}
	for _, m := range in.Media {
		if !strings.HasPrefix(strings.ToLower(m.Type), layout) {
			lines = append(lines, NotShown)
			break
		}
	}
	if len(in.Others) > 0 {
		lines = append(lines, "(also to "+strings.Join(values(in.Others), ", ")+")")
	}
	return sms.Hide(strings.Join(lines, "\n"))
}

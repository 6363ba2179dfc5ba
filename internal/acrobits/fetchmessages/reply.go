package fetchmessages

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
)

// The bounds of each array of a reply. The app gets the rest with its next requests.
const (
	MaxItems = 500
	MaxBytes = 1_000_000
)

// Reply is what the app gets. Both lists are in ascending order of ids.
type Reply struct {
	// Date is the time of the server, by which the app corrects its own.
	Date     time.Time
	Received []Item
	Sent     []Item
}

// Write writes the reply. It returns how many items of each list fit, from the first one on.
func (p Reply) Write(w http.ResponseWriter, form params.Form) (received, sent int, err error) {
	body, received, sent := p.encode(form)
	return received, sent, form.Write(w, http.StatusOK, body)
}

func (p Reply) encode(form params.Form) (body []byte, received, sent int) {
	in, received := array(form, p.Received)
	out, sent := array(form, p.Sent)
	body = make([]byte, 0, 2*len(in)+len(out)+256)
	date := formatDate(p.Date)
	if form == params.JSON {
		body = append(append(body, `{"date":"`...), date...)
		body = append(append(body, `","received_smss":[`...), in...)
		body = append(append(body, `],"unread_smss":[`...), in...)
		body = append(append(body, `],"sent_smss":[`...), out...)
		return append(body, "]}\n"...), received, sent
	}
	body = append(append(body, xml.Header+"<response><date>"...), date...)
	body = append(append(body, "</date><received_smss>"...), in...)
	body = append(append(body, "</received_smss><unread_smss>"...), in...)
	body = append(append(body, "</unread_smss><sent_smss>"...), out...)
	return append(body, "</sent_smss></response>\n"...), received, sent
}

// formatDate formats a time as RFC 3339 in seconds, as in the documentation.
func formatDate(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// array returns the items within the bounds, without the brackets or tags around them.
func array(form params.Form, items []Item) ([]byte, int) {
	var b []byte
	for n, item := range items[:min(len(items), MaxItems)] {
		before := len(b)
		if form != params.JSON {
			b = item.appendXML(b)
		} else if n == 0 {
			b = item.appendJSON(b)
		} else {
			b = item.appendJSON(append(b, ','))
		}
		if len(b) > MaxBytes {
			return b[:before], n
		}
	}
	return b, min(len(items), MaxItems)
}

// member is a member of an item in the reply.
type member struct{ name, value string }

// members returns the members of an item. The optional one is left out if it is empty.
func (i Item) members() []member {
	i = i.Clean()
	all := []member{
		{"sms_id", FormatID(i.ID)}, {"sending_date", formatDate(i.Date)}, {"sender", i.Sender}, {"recipient", i.Recipient},
		{"sms_text", i.Text.Reveal()}, {"content_type", i.ContentType}, {"stream_id", i.StreamID},
	}
	if i.Disposition != "" {
		all = append(all, member{"disposition_notification", i.Disposition})
	}
	return all
}

func (i Item) appendJSON(b []byte) []byte {
	next := byte('{')
	for _, m := range i.members() {
		b = append(append(append(b, next, '"'), m.name...), `":`...)
		b, next = gjson.AppendJSONString(b, m.value), ','
	}
	return append(b, '}')
}

func (i Item) appendXML(b []byte) []byte {
	out := bytes.NewBuffer(append(b, "<item>"...))
	for _, m := range i.members() {
		out.WriteString("<" + m.name + ">")
		_ = xml.EscapeText(out, []byte(m.value)) // a buffer returns no error
		out.WriteString("</" + m.name + ">")
	}
	return append(out.Bytes(), "</item>"...)
}

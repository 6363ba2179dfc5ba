package fetchmessages

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Item is a message as the app gets it. The same message must be the same item in each reply,
// because a preview that is missing once flickers in the app.
type Item struct {
	// ID is the id that Send Message returned and that the push contains. With another id the
	// app shows the message twice.
	ID int64
	// Date is the time at which the message became visible. It grows with the id.
	Date time.Time
	// Sender and Recipient are both set, in the form of numbers that Send uses too. Without one of
	// them the app may show the message as one of a group.
	Sender, Recipient string
	// Text is the text, or a document of the kind that ContentType names.
	Text sms.Hidden
	// ContentType is text/plain if empty.
	ContentType string
	// Disposition is the parameter disposition_notification as it came with the message, empty
	// if nothing was asked for.
	Disposition string
	// StreamID names the conversation: the number of the other side.
	StreamID string
}

// Content types of documents in Text.
const (
	plainText    = "text/plain"
	FileTransfer = attachment.ContentType
	Notification = params.AppPrefix + "disposition-notification"
)

const (
	// maxField bounds every value of an item but the text, in bytes.
	maxField = 256
	// maxText bounds a text in bytes. Escaped, it still fits into an array: a byte becomes 6 at
	// most. The longest texts of providers have 64 KiB.
	maxText = 64 << 10
	// maxItem is the default maximum size of a message in the app, in bytes (maxMessageBodySize in
	// accountDefaults.xml of the app's SDK).
	maxItem = 8000
)

// Clean returns the item as a reply contains it: valid UTF-8 with LF line ends and without characters
// that XML 1.0 cannot express, bounded, and a description of files without previews if the item
// would be larger than the app accepts. It is the same for JSON and XML.
func (i Item) Clean() Item {
	i.Sender, i.Recipient, i.StreamID = field(i.Sender), field(i.Recipient), field(i.StreamID)
	if i.ContentType = field(i.ContentType); i.ContentType == "" {
		i.ContentType = plainText
	}
	if len(i.Disposition) > maxField { // a part of it has another meaning
		i.Disposition = ""
	}
	i.Disposition = field(i.Disposition)
	text := i.Text.Reveal()
	if i.ContentType != FileTransfer && len(text) > 2*maxText { // the rest is cut below
		text = text[:2*maxText]
	}
	text = clean(text)
	rest := len(i.Sender) + len(i.Recipient) + len(i.StreamID) + len(i.ContentType) + len(i.Disposition)
	if i.ContentType == FileTransfer && len(text)+rest > maxItem {
		text = dropPreviews(text)
	}
	i.Text = sms.Hide(cut(text, maxText))
	return i
}

func field(s string) string { return cut(clean(s), maxField) }

// clean removes what a reply in XML cannot contain, https://www.w3.org/TR/xml/#charsets, and makes
// line ends LF, because an XML parser does so.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF {
			return -1
		}
		return r
	}, s)
}

// cut returns at most n bytes of a text, whole characters only.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// dropPreviews removes the previews from a description of files. It returns any other text
// unchanged.
func dropPreviews(text string) string {
	if !params.ValidJSON(text) {
		return text
	}
	var doc map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&doc) != nil {
		return text
	}
	files, _ := doc["attachments"].([]any)
	for _, file := range append(files, doc["attachments"]) { // a single file may be without a list
		if members, ok := file.(map[string]any); ok {
			delete(members, "preview")
		}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(doc) != nil {
		return text
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// Delivered returns the item with which the app learns that a text was delivered to its recipient. ok
// is false if the app did not ask for it. The item's sender is the recipient of the text, as Send got
// it. Both spellings of the id's name occur in the documentation.
// https://doc.acrobits.net/api/client/x-acro-disposition-notification.html
func Delivered(id int64, at time.Time, asked sms.Disposition, sender, recipient string) (item Item, ok bool) {
	if asked.ID == "" || !slices.Contains(asked.Wishes, "positive-delivery") {
		return Item{}, false
	}
	doc := gjson.AppendJSONString([]byte(`{"message-id":`), asked.ID)
	doc = gjson.AppendJSONString(append(doc, `,"message_id":`...), asked.ID)
	doc = append(doc, `,"delivery-notification":{"datetime":"`...)
	doc = append(at.UTC().AppendFormat(doc, time.RFC3339), `","status":"delivered"}}`...)
	return Item{
		ID: id, Date: at, Sender: recipient, Recipient: sender, StreamID: recipient, ContentType: Notification, Text: sms.Hide(string(doc)),
	}, true
}

package push

import (
	"strings"
	"unicode"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// MaxText is the maximum number of characters of a text in a notification.
const MaxText = 200

// FixedText is shown in place of a text that must not leave the server.
const FixedText = "New message"

// Notification is a push to a device. Notices of delivery need none, because the app fetches them with
// the next message.
type Notification struct {
	Device
	// Alert is set for a notice of the server, which wakes nothing and is shown as it is. A message
	// otherwise makes the app fetch it.
	Alert bool
	// ID is the sms_id of the message in the reply to Fetch Messages. With another one, or none,
	// the user is notified twice.
	ID string
	// ThreadID is the stream_id of the message.
	ThreadID string
	// UserName is the sender as Fetch Messages gives it. With another form of the number, a tap
	// opens another conversation.
	UserName string
	// Badge is the number of messages that the device has not fetched. At least 1 is shown.
	Badge int
	// Text is the text, or a document of the kind that ContentType names. If it is empty, the app
	// shows FixedText.
	Text sms.Hidden
	// ContentType is text/plain if empty.
	ContentType string
}

// payload is the body of a request, https://doc.acrobits.net/api/server/http_push.html.
type payload struct {
	Verb        string `json:"verb"`
	AppID       string `json:"AppId"`
	DeviceToken string
	Selector    string `json:",omitempty"`
	Badge       int
	Sound       string
	UserName    string `json:",omitempty"`
	Message     string
	ContentType string
	ID          string `json:"Id,omitempty"`
	ThreadID    string `json:"ThreadId,omitempty"`
}

func (n Notification) payload() payload {
	p := payload{
		Verb: "NotifyTextMessage", AppID: n.App, DeviceToken: n.Token.Reveal(), Selector: n.Selector.Reveal(), Badge: max(n.Badge, 1),
		Sound: "default", UserName: n.UserName, Message: n.message(), ContentType: n.ContentType, ID: n.ID, ThreadID: n.ThreadID,
	}
	if n.Alert {
		p.Verb = "NotifyGenericTextMessage"
	}
	if p.ContentType == "" {
		p.ContentType = "text/plain"
	}
	return p
}

// message returns the text that the app shows. A description of files contains addresses and keys,
// so only its caption is shown, or a word.
func (n Notification) message() string {
	shown := n.Text.Reveal()
	if strings.HasPrefix(n.ContentType, params.AppPrefix) {
		shown = caption(shown)
	}
	shown = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(shown, "\uFFFD"))
	if text.IsBlank(shown) {
		return FixedText
	}
	return text.Truncate(shown, MaxText)
}

// caption returns the caption of a description of files, or else a word for the first file. It
// returns nothing for another document.
func caption(doc string) string {
	transfer, refusal := attachment.Parse(doc)
	if refusal != nil {
		return ""
	}
	if !text.IsBlank(transfer.Caption.Reveal()) {
		return transfer.Caption.Reveal()
	}
	kind, _, _ := strings.Cut(transfer.Files[0].Type, "/")
	switch kind {
	case "image", "": // image/jpeg is the default
		return "Photo"
	case "video":
		return "Video"
	case "audio":
		return "Voice message"
	}
	return "File"
}

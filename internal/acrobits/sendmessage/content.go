package sendmessage

import (
	"regexp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// Kind is the kind of content of a request. The content type decides, or the body if the template
// sends no content type.
type Kind uint8

// The kinds. Only texts and files are ever sent.
const (
	Text Kind = iota
	// File is a picture or file. Its body contains a key and must never be sent as a text.
	File
	// Notice informs the other side that a message was delivered or read, or that the user is
	// typing. The app shows no check mark for it.
	Notice
	// Delete hides messages on the user's own devices.
	Delete
)

// String returns the kind's name as logs write it.
func (k Kind) String() string { return [...]string{"text", "file", "notice", "delete"}[k] }

// Classify returns the kind of content. For content that cannot be sent as a text it returns a
// *sms.Refusal.
func (req *Request) Classify() (Kind, error) {
	kind, refusal := req.kind()
	if refusal != nil {
		return kind, refusal
	}
	switch kind {
	case File:
		return kind, sms.Refuse(sms.UnsupportedContent)
	case Delete:
		doc := gjson.Parse(req.Body.Reveal())
		for _, scope := range doc.Get("#.scope").Array() {
			if scope.String() != "here" {
				return kind, sms.RefuseAs(sms.BadRequest, sms.NoRecall)
			}
		}
	case Text:
		switch {
		case req.NoBody:
			return kind, req.missingParam(sms.NoBody)
		case text.IsBlank(req.Body.Reveal()):
			return kind, sms.RefuseAs(sms.BadRequest, sms.NoText)
		}
		return kind, req.CheckRecipient()
	}
	return kind, nil
}

// CheckRecipient returns a *sms.Refusal unless the request has a recipient.
func (req *Request) CheckRecipient() error {
	switch {
	case len(req.To) == 0:
		return req.missingParam(sms.NoRecipient)
	case len(req.To) > maxRecipientForms:
		return sms.RefuseAs(sms.BadRequest, sms.SeveralRecipients)
	}
	return nil
}

// missingParam returns the refusal of a request without a parameter. Its detail lists the unknown
// parameters.
func (req *Request) missingParam(v sms.Variant) *sms.Refusal {
	refusal := sms.RefuseAs(sms.BadRequest, v)
	refusal.Detail = req.UnknownParameters()
	return refusal
}

func (req *Request) kind() (Kind, *sms.Refusal) {
	switch t := req.ContentType; {
	case t == "":
		return sniff(req.Body.Reveal()), nil
	case t == params.AppPrefix+"filetransfer+json", t == params.AppPrefix+"filetransfer":
		return File, nil
	case t == params.AppPrefix+"disposition-notification", t == params.AppPrefix+"disposition-notification+json",
		t == "message/imdn+xml", t == "application/im-iscomposing+xml":
		return Notice, nil
	case t == params.AppPrefix+"delete-message+json", t == params.AppPrefix+"delete-message":
		if doc := req.Body.Reveal(); !params.ValidJSON(doc) || !isDelete(gjson.Parse(doc)) {
			return Delete, sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "JSON to delete messages", "offset", "1")
		}
		return Delete, nil
	case strings.HasPrefix(t, "text/"): // templates may send text/plain for everything, and a file contains a key
		if containsKey(req.Body.Reveal()) {
			return File, nil
		}
		return Text, nil
	}
	return Text, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
}

// sniff returns the kind of a body without a content type. People do text JSON, so a document
// counts as the app's own only if it has the members of such a document.
func sniff(body string) Kind {
	trimmed := strings.TrimSpace(body)
	switch {
	case containsKey(body):
		return File
	case notice.MatchString(trimmed):
		return Notice
	case trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[') && params.ValidJSON(trimmed):
		if doc := gjson.Parse(trimmed); isDisposition(doc) {
			return Notice
		} else if isDelete(doc) {
			return Delete
		}
	}
	return Text
}

// notice matches the documents with which SIP clients report delivery and typing.
var notice = regexp.MustCompile(`^(<\?xml[^>]*\?>\s*)?<([A-Za-z]+:)?(imdn|isComposing)[\s>]`)

// containsKey reports whether a text contains the description of a file with its address or key. It
// searches only for words, because a template may damage, cut, wrap or escape the description.
// Refusing a text that contains these words does less harm than sending a key.
func containsKey(body string) bool {
	if !strings.ContainsAny(body, "-_\\%") {
		return false
	}
	body = strings.NewReplacer("_", "-", "%2d", "-", `\u002d`, "-").Replace(strings.ToLower(body))
	attachments, key, address := strings.Contains(body, "attachments"), strings.Contains(body, "encryption-key"), strings.Contains(body, "content-url")
	return attachments && (key || address) || key && address || containsAttachment(body)
}

// containsAttachment parses a JSON document, because its names may be escaped.
func containsAttachment(body string) (found bool) {
	if body = strings.TrimSpace(body); !strings.Contains(body, `\u`) || !params.ValidJSON(body) {
		return false
	}
	gjson.Get(body, "attachments").ForEach(func(_, item gjson.Result) bool {
		found = item.Get("content-url").Exists() || item.Get("encryption-key").Exists()
		return !found
	})
	return found
}

func isDisposition(doc gjson.Result) bool {
	is := func(item gjson.Result) bool {
		return (item.Get("message-id").Exists() || item.Get("message_id").Exists()) &&
			(item.Get("delivery-notification").Exists() || item.Get("display-notification").Exists())
	}
	return doc.IsObject() && is(doc) || every(doc, is)
}

func isDelete(doc gjson.Result) bool {
	return every(doc, func(item gjson.Result) bool {
		scope := item.Get("scope").String()
		return item.Get("sms_id").Exists() && (scope == "here" || scope == "everywhere")
	})
}

// every reports whether a value is a non-empty list and pass accepts each item as an object.
func every(list gjson.Result, pass func(gjson.Result) bool) bool {
	if !list.IsArray() {
		return false
	}
	items := list.Array()
	for _, item := range items {
		if !item.IsObject() || !pass(item) {
			return false
		}
	}
	return len(items) > 0
}

package sendmessage

import (
	"regexp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Kind is what a request carries, by its content type and, where the template sends none, by its body.
type Kind uint8

// The kinds. Only text is ever sent.
const (
	Text Kind = iota
	// File is a picture or file. Its body holds a key and must never become a text.
	File
	// Notice tells the other side that a message was delivered, read or is being written. No tick waits for it.
	Notice
	// Delete hides messages on the user's own devices.
	Delete
)

// String names the kind for logs.
func (k Kind) String() string { return [...]string{"text", "file", "notice", "delete"}[k] }

const appPrefix = "application/x-acro-"

// Classify tells what the request carries. The error is a *sms.Refusal; it is returned for what can not be sent.
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
			return kind, sms.RefuseAs(sms.BadRequest, sms.NoBody)
		case strings.TrimSpace(req.Body.Reveal()) == "":
			return kind, sms.RefuseAs(sms.BadRequest, sms.NoText)
		case len(req.To) == 0:
			return kind, sms.RefuseAs(sms.BadRequest, sms.NoRecipient)
		}
	}
	return kind, nil
}

func (req *Request) kind() (Kind, *sms.Refusal) {
	switch t := req.ContentType; {
	case t == "":
		return sniff(req.Body.Reveal()), nil
	case t == appPrefix+"filetransfer+json", t == appPrefix+"filetransfer":
		return File, nil
	case t == appPrefix+"disposition-notification", t == appPrefix+"disposition-notification+json",
		t == "message/imdn+xml", t == "application/im-iscomposing+xml":
		return Notice, nil
	case t == appPrefix+"delete-message+json", t == appPrefix+"delete-message":
		if doc := req.Body.Reveal(); !validJSON(doc) || !isDelete(gjson.Parse(doc)) {
			return Delete, sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "JSON to delete messages", "offset", "1")
		}
		return Delete, nil
	case strings.HasPrefix(t, "text/"): // templates may say so of everything, and a file holds a key
		if holdsKey(req.Body.Reveal()) {
			return File, nil
		}
		return Text, nil
	}
	return Text, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
}

// sniff looks into a body whose template sends no content type. People do text JSON, so a document counts as one of the
// app's own only if it has their members.
func sniff(body string) Kind {
	trimmed := strings.TrimSpace(body)
	switch {
	case holdsKey(body):
		return File
	case notice.MatchString(trimmed):
		return Notice
	case trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[') && validJSON(trimmed):
		if doc := gjson.Parse(trimmed); isDisposition(doc) {
			return Notice
		} else if isDelete(doc) {
			return Delete
		}
	}
	return Text
}

// notice finds documents that SIP clients send about messages.
var notice = regexp.MustCompile(`^(<\?xml[^>]*\?>\s*)?<([A-Za-z]+:)?(imdn|isComposing)[\s>]`)

// holdsKey reports whether a text is or holds the description of a file, with its address or the key to it. It may have
// been damaged, cut, wrapped or escaped on the way, so it is the words that count: to refuse a text that has them all
// does less harm than to send a key.
func holdsKey(body string) bool {
	if !strings.ContainsAny(body, "-_\\%") {
		return false
	}
	body = strings.NewReplacer("_", "-", "%2d", "-", `\u002d`, "-").Replace(strings.ToLower(body))
	attachments, key, address := strings.Contains(body, "attachments"), strings.Contains(body, "encryption-key"), strings.Contains(body, "content-url")
	return attachments && (key || address) || key && address || holdsAttachment(body)
}

// holdsAttachment asks a JSON document itself, whose names may be escaped.
func holdsAttachment(body string) (found bool) {
	if body = strings.TrimSpace(body); !strings.Contains(body, `\u`) || !validJSON(body) {
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

// every reports whether a value is a list that is not empty and all of whose items are objects that pass.
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

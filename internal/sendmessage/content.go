package sendmessage

import (
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
		if doc := req.Body.Reveal(); !gjson.Valid(doc) || !isDelete(gjson.Parse(doc)) {
			return Delete, sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "delete message", "offset", "1")
		}
		return Delete, nil
	case strings.HasPrefix(t, "text/"):
		return sniff(req.Body.Reveal()), nil
	}
	return Text, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
}

// sniff looks into a body whose template sends no content type, or always the same. People do text JSON, so a document
// counts as one of the app's own only if it has their members.
func sniff(body string) Kind {
	trimmed := strings.TrimSpace(body)
	if trimmed == "" {
		return Text
	}
	switch trimmed[0] {
	case '<':
		if strings.Contains(trimmed, "urn:ietf:params:xml:ns:imdn") || strings.Contains(trimmed, "urn:ietf:params:xml:ns:im-iscomposing") {
			return Notice
		}
	case '{', '[':
		if !gjson.Valid(trimmed) {
			if strings.Contains(trimmed, `"attachments"`) && (strings.Contains(trimmed, `"content-url"`) || strings.Contains(trimmed, `"content_url"`)) {
				return File // damaged on the way, but the key may be whole
			}
			return Text
		}
		switch doc := gjson.Parse(trimmed); {
		case isFile(doc):
			return File
		case isDisposition(doc):
			return Notice
		case isDelete(doc):
			return Delete
		}
	}
	return Text
}

// isFile asks for one attachment with an address. Others without one do not make the document a text.
func isFile(doc gjson.Result) (found bool) {
	attachments := doc.Get("attachments")
	if !doc.IsObject() || !attachments.IsArray() {
		return false
	}
	attachments.ForEach(func(_, item gjson.Result) bool {
		found = item.Get("content-url").Type == gjson.String || item.Get("content_url").Type == gjson.String
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

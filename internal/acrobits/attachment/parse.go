package attachment

import (
	"encoding/hex"
	"mime"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// maxDepth bounds the nesting of the document. The vendor's has three levels.
const maxDepth = 16

// Parse reads a document. Names may be written with underscores, numbers as strings, and the caption
// may be called text. A header in front of the document, as in a mail, is skipped.
func Parse(body string) (Transfer, *sms.Refusal) {
	doc, ok := object(body)
	if !ok {
		return Transfer{}, sms.RefuseAs(sms.BadRequest, sms.AttachmentUnreadable)
	}
	entries := doc["attachments"].Array() // a single object counts as a list of one
	switch {
	case len(entries) == 0:
		return Transfer{}, sms.RefuseAs(sms.BadRequest, sms.NoAttachments)
	case len(entries) > MaxFiles:
		return Transfer{}, sms.RefuseAs(sms.TooLong, sms.TooManyFiles,
			"count", strconv.Itoa(len(entries)), "limit", strconv.Itoa(MaxFiles))
	}
	t := Transfer{Caption: caption(doc)}
	for _, entry := range entries {
		f, refusal := file(entry)
		if refusal != nil {
			return Transfer{}, refusal
		}
		t.Files = append(t.Files, f)
	}
	return t, nil
}

// Is reports whether a body without a content type is such a document: an object whose attachments
// are a list that is not empty, each with the address of a file. Other JSON is a text, because
// people do text JSON.
func Is(body string) bool {
	doc, ok := object(body)
	if !ok || !doc["attachments"].IsArray() {
		return false
	}
	entries := doc["attachments"].Array()
	for _, entry := range entries {
		if !entry.IsObject() || members(entry)["content-url"].Type != gjson.String {
			return false
		}
	}
	return len(entries) > 0
}

// object returns the members of the JSON object that a body consists of.
func object(body string) (map[string]gjson.Result, bool) {
	body = strings.TrimSpace(strings.TrimPrefix(body, "\ufeff"))
	if at := strings.IndexByte(body, '{'); at > 0 && isHeader(body[:at]) {
		body = body[at:]
	}
	if !strings.HasPrefix(body, "{") || tooDeep(body) || !gjson.Valid(body) {
		return nil, false
	}
	return members(gjson.Parse(body)), true
}

// isHeader reports whether the text in front of a document names its type, as a mail has it.
func isHeader(head string) bool {
	name, value, found := strings.Cut(strings.TrimSpace(head), ":")
	return found && strings.EqualFold(name, "Content-Type") && strings.HasPrefix(strings.TrimSpace(value), "application/x-acro-")
}

// tooDeep reports whether brackets are nested deeper than maxDepth: gjson.Valid descends by
// recursion.
func tooDeep(body string) bool {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// members returns the members of an object by their names in lower case with hyphens. The first of
// several equal names counts.
func members(object gjson.Result) map[string]gjson.Result {
	all := make(map[string]gjson.Result)
	object.ForEach(func(name, value gjson.Result) bool {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name.String())), "_", "-")
		if _, known := all[key]; !known && value.Type != gjson.Null {
			all[key] = value
		}
		return true
	})
	return all
}

func caption(doc map[string]gjson.Result) sms.Hidden {
	for _, name := range []string{"body", "text"} {
		if v := doc[name]; v.Type == gjson.String && strings.TrimSpace(v.Str) != "" {
			return sms.Hide(strings.ToValidUTF8(v.Str, "\ufffd"))
		}
	}
	return sms.Hidden{}
}

func file(entry gjson.Result) (File, *sms.Refusal) {
	if !entry.IsObject() {
		return File{}, sms.RefuseAs(sms.BadRequest, sms.AttachmentUnreadable)
	}
	m := members(entry)
	f := File{Type: mediaType(m["content-type"]), Name: sms.Hide(word(m["filename"]))}
	if n, ok := number(m["content-size"], 62); ok {
		f.Size = int64(n)
	}
	if n, ok := number(m["hash"], 32); ok {
		sum := uint32(n)
		f.CRC = &sum
	}
	address, ok := httpAddress(word(m["content-url"]))
	if !ok {
		return File{}, sms.RefuseAs(sms.BadRequest, sms.AttachmentAddress)
	}
	f.URL = sms.Hide(address)
	key, ok := aesKey(m["encryption-key"])
	if !ok {
		return File{}, sms.RefuseAs(sms.BadRequest, sms.AttachmentKey)
	}
	f.Key = sms.Hide(key)
	return f, nil
}

// word returns a string without the spaces around it.
func word(v gjson.Result) string {
	if v.Type != gjson.String {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(v.Str, "\ufffd"))
}

// httpAddress accepts absolute addresses with a host. The download checks scheme, host and port
// against those that the operator allows.
func httpAddress(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return "", false
	}
	return s, true
}

// aesKey returns a key in lower case, empty if there is none.
func aesKey(v gjson.Result) (string, bool) {
	if !v.Exists() {
		return "", true
	}
	key := strings.ToLower(word(v))
	if _, err := hex.DecodeString(key); err != nil || v.Type != gjson.String {
		return "", false
	}
	switch len(key) {
	case 0, 32, 48, 64:
		return key, true
	}
	return "", false
}

// number reads a decimal number of at most so many bits. Apps write it as a number or as a string.
func number(v gjson.Result, bits int) (uint64, bool) {
	digits := word(v)
	if v.Type == gjson.Number {
		digits = strings.TrimSuffix(v.Raw, ".0")
	}
	n, err := strconv.ParseUint(digits, 10, bits)
	return n, err == nil
}

// mediaType returns a media type in lower case without parameters, empty if it is none.
func mediaType(v gjson.Result) string {
	t, _, err := mime.ParseMediaType(word(v))
	if err != nil || !strings.Contains(t, "/") || len(t) > 100 {
		return ""
	}
	return t
}

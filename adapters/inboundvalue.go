package adapters

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/redact"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// query returns the parameters of the address of a webhook.
func query(r *InboundRequest) url.Values {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil
	}
	return u.Query() // what is not well-formed is left out
}

// open reads the body of a webhook, or returns nil if it has another kind.
func (b *inboundBlock) open(r *InboundRequest, address url.Values) wire.Document {
	for _, body := range b.bodies {
		var doc wire.Document
		switch body {
		case "json", "xml":
			doc = wire.Open(inboundBodies[body], "", r.Body)
		case "form":
			fields := address
			if text := string(wire.Trim(r.Body)); text != "" {
				if strings.ContainsAny(text[:1], "{[<") {
					continue
				}
				fields, _ = url.ParseQuery(text)
			}
			doc = fieldsOf(fields)
		case "query":
			doc = fieldsOf(address)
		}
		if doc != nil {
			return doc
		}
	}
	return nil
}

func fieldsOf(form url.Values) wire.Document {
	if f := wire.NewFields(form); f != nil {
		return f
	}
	return nil
}

// fits reports whether all conditions of a block are true for an item.
func (b *inboundBlock) fits(item wire.Document, body []byte) bool {
	for i := range b.when {
		if holds, _ := b.when[i].holds(item, answer{body: body}, &sms.Result{}); !holds {
			return false
		}
	}
	return true
}

// all returns the values that the paths of a statement lead to, with "" for missing ones.
func (b *inboundBlock) all(item wire.Document, word string) (list []string) {
	for _, p := range b.values[word] {
		values, _ := item.Values(p)
		list = append(list, values...)
	}
	return list
}

// first returns the first value of a statement that is not empty.
func (b *inboundBlock) first(item wire.Document, word string) string {
	for _, v := range b.all(item, word) {
		if v != "" && v != wire.Composite {
			return v
		}
	}
	return ""
}

// read reads a message or a receipt. reference is our id in the address of the webhook.
func (b *boundInbound) read(item wire.Document, a *Adapter, reference string) (e Inbound, err error) {
	e.From, e.To = b.number.read(b.first(item, "from")), b.number.read(b.first(item, "to"))
	e.ID, e.Time = b.first(item, "id"), readTime(b.first(item, "time"))
	if isNoID(e.ID) {
		e.ID = ""
	}
	if b.isReceipt {
		e.Kind, e.Reference = InboundReceipt, reference
		b.readReceipt(item, a, &e)
		if e.ID == "" && e.Reference == "" {
			return e, errors.New("the receipt does not say which message it is about")
		}
		return e, nil
	}
	if e.To.IsZero() {
		e.To = e164.read(b.own)
	}
	switch {
	case e.From.IsZero():
		return e, errors.New("the message has no sender")
	case e.To.IsZero() && b.ownNumber != nil:
		return e, errors.New("the message does not say our number: set the option " + b.ownNumber.optionName())
	case e.To.IsZero():
		return e, errors.New("the message does not say our number")
	}
	for _, other := range b.all(item, "others") {
		if n := b.number.read(other); !n.IsZero() && n != e.From && n != e.To && !slices.Contains(e.Others, n) {
			e.Others = append(e.Others, n)
		}
	}
	body := b.text(item)
	e.Text, e.Media = sms.Hide(body), b.media(item, body != "")
	if part := b.values["part"]; part != nil {
		e.Part = readPart(item, part)
	}
	return e, nil
}

// text returns the text of a message. A text that is "{…}" stays.
func (b *inboundBlock) text(item wire.Document) string {
	for _, v := range b.all(item, "text") {
		if v == "" {
			continue
		}
		if b.filter != nil {
			v = b.filter(v)
		}
		return strings.ToValidUTF8(v, "\uFFFD")
	}
	return ""
}

// media returns the pictures and files of a message without layout. A part that is a text repeats
// the text of the message, if it has one.
func (b *inboundBlock) media(item wire.Document, hasText bool) (list []InboundMedia) {
	addresses, types, data := b.all(item, "media"), b.all(item, "media_type"), b.all(item, "media_data")
	n := len(addresses)
	if n == 0 {
		n = len(data)
	}
	if len(types) != n { // it is not known which type belongs to which file
		types = make([]string, n)
	}
	for i := range n {
		m := InboundMedia{Type: types[i]}
		if len(addresses) > 0 {
			u, err := url.Parse(addresses[i])
			if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
				continue
			}
			if isLayout(m.Type, path.Ext(u.Path), hasText) {
				continue
			}
			m.URL = sms.Hide(addresses[i])
		} else {
			bytes, err := base64.StdEncoding.DecodeString(data[i])
			if err != nil || len(bytes) == 0 || isLayout(m.Type, "", hasText) {
				continue
			}
			m.Data = bytes
		}
		list = append(list, m)
	}
	return list
}

// isLayout reports whether a part of an MMS is no content of its own.
func isLayout(mediaType, extension string, hasText bool) bool {
	mediaType, _, _ = strings.Cut(strings.ToLower(mediaType), ";")
	extension = strings.ToLower(extension)
	return mediaType == "application/smil" || extension == ".smil" || extension == ".smi" || hasText && (mediaType == "text/plain" || extension == ".txt")
}

// readPart reads the place of a text in a longer one.
func readPart(item wire.Document, paths []wire.Path) (p InboundPart) {
	var values [3]string
	for i, path := range paths {
		values[i] = wire.First(item, []wire.Path{path})
	}
	number, err1 := strconv.Atoi(values[1])
	of, err2 := strconv.Atoi(values[2])
	if err1 != nil || err2 != nil || of < 2 || of > 255 || number < 1 || number > of || values[0] == "" {
		return p
	}
	return InboundPart{values[0], number, of}
}

// readReceipt reads what a receipt says about a delivery.
func (b *inboundBlock) readReceipt(item wire.Document, a *Adapter, e *Inbound) {
	if own := b.first(item, "reference"); own != "" {
		e.Reference = own
	}
	filter := redact.Filter{Account: a.redacted, Numbers: [2]sms.Number{e.To, e.From}}
	status, code := b.first(item, "status"), b.first(item, "code")
	e.Delivery = b.words[strings.ToLower(status)]
	e.Status = filter.Code(status, 64, e.To, e.From)
	if e.Delivery == Delivered || e.Delivery == Pending { // some providers write a code for no error
		return
	}
	e.Code = filter.Code(code, 64, e.To, e.From)
	e.Detail, _ = filter.Words(b.first(item, "message"), 200)
	if e.Delivery != DeliveryFailed {
		return
	}
	e.Cause = sms.Rejected
	for _, rule := range b.causes {
		if code != "" && slices.Contains(rule.codes, code) {
			e.Cause = rule.cause
			return
		}
	}
}

// maxShortCode is the number of digits of the longest short code. A telephone number with its
// country code has more.
const (
	maxShortCode = 6
	maxSender    = 64
)

// read reads a number that a provider wrote in this form. Providers write telephone numbers without
// the plus sign, but no short code and no name has one.
func (f numberForm) read(s string) sms.Number {
	s = strings.TrimSpace(s)
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -().", r) {
			return -1
		}
		return r
	}, s)
	digits, plus := strings.CutPrefix(digits, "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		isName := strings.ContainsFunc(s, unicode.IsLetter) && !strings.ContainsFunc(s, unicode.IsControl)
		if len(s) > maxSender || !isName {
			return sms.Number{}
		}
		return sms.Number{Value: s, Kind: sms.Alphanumeric}
	}
	nanp := f == nanp10 || f == nanp11
	switch {
	case len(digits) > 18:
		return sms.Number{}
	case plus:
	case len(digits) <= maxShortCode:
		return sms.Number{Value: digits, Kind: sms.ShortCode}
	case nanp && len(digits) == 10:
		digits = "1" + digits
	default:
		digits = strings.TrimPrefix(digits, "00")
	}
	return sms.Number{Value: "+" + digits, Kind: sms.Phone}
}

// timeLayouts are the forms of times in webhooks. A time without zone is UTC.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", time.DateTime, http.TimeFormat, time.RFC1123Z, "20060102150405",
}

// readTime reads a time in one of the layouts or in seconds or milliseconds since 1970.
func readTime(s string) time.Time {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) < 14 && n > 0 {
		if len(s) > 10 {
			return time.UnixMilli(n).UTC()
		}
		return time.Unix(n, 0).UTC()
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// textFilter decodes the text of a message. It returns a text that is not encoded as it is.
type textFilter func(string) string

var textFilterNames = []string{"base64", "percent", "utf16hex", "gsmhex"}

var textFilters = map[string]textFilter{
	"base64": func(s string) string {
		decoded, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return s
		}
		return string(decoded)
	},
	"percent": func(s string) string {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return s
		}
		return decoded
	},
	"utf16hex": func(s string) string {
		decoded, err := hex.DecodeString(s)
		if err != nil || len(decoded)%2 > 0 {
			return s
		}
		units := make([]uint16, len(decoded)/2)
		for i := range units {
			units[i] = uint16(decoded[2*i])<<8 | uint16(decoded[2*i+1])
		}
		return string(utf16.Decode(units))
	},
	"gsmhex": func(s string) string {
		decoded, err := hex.DecodeString(s)
		if err != nil {
			return s
		}
		return text.FromGSM(decoded)
	},
}

package adapters

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/redact"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Call is one request to a provider and the way to read its reply.
type Call struct {
	// Request is complete. It contains no header or other part of the app's request.
	Request *http.Request

	adapter *Adapter
	request *boundRequest
	message *sms.Message
	token   sms.Hidden
}

// Format prints the adapter's name for every verb, because a call contains secrets and the text.
func (c Call) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.adapter.Name) }

// MarshalText returns the adapter's name. encoding/json and zap use it too.
func (c Call) MarshalText() ([]byte, error) { return []byte(c.adapter.Name), nil }

// Signed reports whether the request contains a signature.
func (c *Call) Signed() bool { return c.request.sign != nil }

// SharesID reports whether the API may give several messages the same id.
func (c *Call) SharesID() bool { return c.request.reply.shared }

// Read interprets the provider's reply and keeps no reference to its body. whole says whether the
// body was read to its end.
func (c *Call) Read(status int, header http.Header, reply []byte, whole bool) sms.Result {
	body := c.message.Body.Reveal()
	found := c.request.reply.read(answer{status, header, reply, whole, body}, c.message.ID)
	r := found.Result
	r.Adapter = c.adapter.Name
	filter := c.filter()
	r.ID = strings.Clone(r.ID) // a substring would keep the whole reply in memory
	r.Code = filter.Code(r.Code, 64, c.message.To, c.message.From)
	var shown bool
	if r.Detail, shown = filter.Words(r.Detail, 200); shown && c.adapter.def.tell && r.Outcome == sms.Refused {
		r.Refusal.Words = r.Detail
	}
	if found.note != "" {
		r.Detail = found.note
		if begins := filter.Beginning(reply); begins != "" {
			r.Detail += "; it begins: " + begins
		}
	}
	if r.ID != "" && r.ID != c.message.ID {
		switch filter.ID(r.ID) {
		case redact.Unfit:
			r.ID = ""
		case redact.Private:
			r.ID, r.PrivateID = "", sms.Hide(r.ID)
		}
	}
	return r
}

// filter returns the filter that decides which words of the reply may be shown.
func (c *Call) filter() *redact.Filter {
	return &redact.Filter{Account: c.adapter.redacted, Token: c.token, Body: c.quotable(), Numbers: [2]sms.Number{c.message.To, c.message.From}}
}

// quotable returns what a reply must not quote: the text, and the addresses of pictures and files.
func (c *Call) quotable() sms.Hidden {
	if len(c.message.Media) == 0 {
		return c.message.Body
	}
	all := c.message.Body.Reveal()
	for i := range c.message.Media {
		all += "\n" + c.message.Media[i].URL.Reveal()
	}
	return sms.Hide(all)
}

// hideCredential registers the credential of a request as a secret, so that no quotation of it in a
// reply is shown.
func (a *Adapter) hideCredential(c *boundRequest) {
	if _, credential, ok := strings.Cut(c.header.Get("Authorization"), " "); ok {
		a.redacted.AddSecret(credential)
	}
}

// Quotes reports whether s contains a secret of the adapter, or the token, in any form.
func (a *Adapter) Quotes(s string, token sms.Hidden) bool { return a.redacted.Quotes(s, token) }

// Package sendmessage implements the Send Message web service of Acrobits apps. It decodes every
// form of request that an app can be configured to send, and writes the reply that the app
// understands.
// https://doc.acrobits.net/api/client/send_message.html
//
// It never authenticates, and no error repeats a secret or the text. Package caddymodule calls it.
// A Decoder is safe for concurrent use; a Request belongs to one goroutine.
package sendmessage

import (
	"net/http"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Request is a decoded request of an app.
type Request struct {
	params.Caller
	// To contains the recipients as the app wrote them, normally one.
	To []string
	// Sender is the number that the app asks to send from, as the app wrote it. It may be
	// empty.
	Sender string
	// Body is the text, or a document of the kind that ContentType names.
	Body sms.Hidden
	// ContentType is the media type in lower case without parameters. It may be empty.
	ContentType string
	Disposition sms.Disposition
	Smart       bool

	// NoBody, NoContentType and NoDisposition are set if the app's template lacks the
	// parameter.
	NoBody, NoContentType, NoDisposition bool
}

// Decoder reads requests. It is safe for concurrent use.
type Decoder params.Decoder

// ParseNames returns the parameter names of the service.
func ParseNames(own map[string][]string) (*params.Names, error) {
	return params.ParseNames(params.SendMessage, own)
}

// Decode reads a request. The Request is never nil and contains the form of the reply even if there
// is an error. The error is always a *sms.Refusal.
func (d *Decoder) Decode(r *http.Request) (*Request, error) {
	req := new(Request)
	var values params.Values
	if err := (*params.Decoder)(d).Decode(r, &req.Caller, &values); err != nil {
		return req, err
	}
	req.fill(&values)
	return req, nil
}

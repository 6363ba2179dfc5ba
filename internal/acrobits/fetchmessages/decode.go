// Package fetchmessages implements the Fetch Messages web service of Acrobits apps, in its modern
// form with the array of the legacy form beside it: it decodes the request and writes the reply with
// the messages.
// https://doc.acrobits.net/api/client/fetch_messages_modern.html
//
// It never authenticates, never stores, and no error repeats a secret or a text. A refusal is
// written as for Send Message, by sendmessage.Replier, because an empty reply with status 200 means
// that there is nothing new. A Decoder is safe for concurrent use; a Request belongs to one
// goroutine.
package fetchmessages

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
)

// Request is a decoded request.
type Request struct {
	params.Caller
	// LastID and LastSentID are the cursors: the ids of the newest received and the newest sent
	// message that the app has. They are 0 if the app has none, or if a cursor is not an id.
	LastID, LastSentID int64
	// NoLastID is set if the app's template lacks the cursor. The app then gets the same
	// messages each time.
	NoLastID bool
}

// Decoder reads requests. It is safe for concurrent use.
type Decoder params.Decoder

// ParseNames returns the parameter names of the service. own are the operator's names.
func ParseNames(own map[string][]string) (*params.Names, error) {
	return params.ParseNames(params.FetchMessages, own)
}

// Decode reads a request. The Request is never nil and contains the form of the reply even if there
// is an error. The error is always a *sms.Refusal.
func (d *Decoder) Decode(r *http.Request) (*Request, error) {
	req := new(Request)
	var values params.Values
	if err := (*params.Decoder)(d).Decode(r, &req.Caller, &values); err != nil {
		return req, err
	}
	req.LastID = ParseID(values.Text(params.RoleLastID))
	req.LastSentID = ParseID(values.Text(params.RoleLastSentID))
	req.NoLastID = !values.Has(params.RoleLastID)
	return req, nil
}

// FormatID returns the id of a message as the app sees it in Send, Fetch and push: decimal with at
// least 16 digits, because some apps compare ids as text.
func FormatID(id int64) string { return fmt.Sprintf("%016d", id) }

// ParseID is the inverse of FormatID. It returns 0 for a text that is not an id.
func ParseID(s string) int64 {
	id, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0
	}
	return int64(id)
}

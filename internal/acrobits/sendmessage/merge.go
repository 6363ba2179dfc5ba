package sendmessage

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// fill takes the message from the values.
func (req *Request) fill(v *params.Values) {
	req.To = recipients(v.All(params.RoleTo))
	req.Sender = v.Text(params.RoleSender)
	switch from := v.Text(params.RoleFrom); {
	case v.Text(params.RoleUser) == "":
		if params.LooksLikeNumber(from) { // a caller ID together with a token, which needs no name
			req.Sender = cmp.Or(req.Sender, from)
		}
	case req.Sender == "" && from != req.User:
		req.Sender = from
	}
	req.Body = sms.Hide(v.Text(params.RoleBody))
	req.NoBody = !v.Has(params.RoleBody)
	req.ContentType = v.Text(params.RoleContentType)
	req.NoContentType = !v.Has(params.RoleContentType)
	req.Smart = v.Text(params.RoleSmart) == "1" || strings.EqualFold(v.Text(params.RoleSmart), "true")
	disposition := v.Text(params.RoleDisposition)
	if req.Disposition = parseDisposition(disposition); req.isParameter(req.Disposition.ID) {
		req.Disposition.ID = ""
	}
	req.NoDisposition = !v.Has(params.RoleDisposition) || disposition != "" && req.Disposition.ID == ""
}

// maxRecipientForms bounds the forms of one recipient in a request, because parsing a number is
// slow.
const maxRecipientForms = 10

// recipients splits the recipient values of the app also at commas, because no number or address
// contains a comma. It returns at most maxRecipientForms+1 items.
func recipients(values []string) []string {
	var list []string
	for _, text := range values {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" || len(list) == maxRecipientForms && slices.Contains(list, part) {
				continue
			}
			if list = append(list, part); len(list) > maxRecipientForms {
				return list
			}
		}
	}
	return list
}

// Package push wakes the apps: it decodes the requests with which an app reports its push token and
// the removal of an account, and calls the push service of the apps' vendor.
// https://doc.acrobits.net/api/server/http_push.html
//
// It never authenticates and never stores. A token together with its selector suffices to push to a
// device, so neither appears in an error, and both print REDACTED. A Decoder and a Client are safe
// for concurrent use; a Report belongs to one goroutine.
package push

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Device is the address of an app for pushes about one of its accounts.
type Device struct {
	// Token is the device's token in base64.
	Token sms.Hidden
	// Selector identifies the account on the device. It is opaque text, and empty if the template
	// lacks it.
	Selector sms.Hidden
	// App is the id of the app, such as cz.acrobits.softphone.groundwire.
	App string
}

// Report is a decoded report of a push token or of the removal of an account. The token is empty at
// times; the report then changes nothing. A removal may have no token.
type Report struct {
	params.Caller
	Device
}

// Decoder reads reports. It is safe for concurrent use.
type Decoder params.Decoder

// ParseNames returns the parameter names of the reporters. own are the operator's names.
func ParseNames(own map[string][]string) (*params.Names, error) {
	return params.ParseNames(params.PushToken, own)
}

// Bounds of the values that are stored, in bytes.
const (
	maxToken    = 4096
	maxSelector = 256
	maxApp      = 256
)

// Decode reads a report. The Report is never nil and contains the form of the reply even if there is
// an error. The error is always a *sms.Refusal.
func (d *Decoder) Decode(r *http.Request) (*Report, error) {
	report := new(Report)
	var values params.Values
	if err := (*params.Decoder)(d).Decode(r, &report.Caller, &values); err != nil {
		return report, err
	}
	token, app := values.Text(params.RoleMessageToken), values.Text(params.RoleMessageApp)
	other, otherApp := values.Text(params.RoleToken), values.Text(params.RoleApp)
	switch {
	case token == "": // Android, and iOS before 13, have one pair for everything
		token, app, otherApp = other, otherApp, app
	case report.Secret.Empty() && values.NameIs(params.RoleToken, "token"):
		report.Secret = sms.Hide(other) // of a user who is identified by a token, as in Send Message
	}
	if app == "" {
		app = otherApp
	}
	selector := values.Text(params.RoleSelector)
	for _, v := range []struct {
		name, value string
		most        int
	}{{"token", token, maxToken}, {"selector", selector, maxSelector}, {"app id", app, maxApp}} {
		if len(v.value) > v.most || strings.ContainsFunc(v.value, unicode.IsControl) {
			refusal := sms.Refuse(sms.BadRequest)
			refusal.Detail = fmt.Sprintf("the push %s has control characters, or more than %d bytes", v.name, v.most)
			return report, refusal
		}
	}
	report.Device = Device{Token: sms.Hide(token), Selector: sms.Hide(selector), App: app}
	return report, nil
}

package sendmessage

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
)

// A constant in the place of the id is none, or the second text of the same words would be taken
// for the first.
func TestConstantIsNoID(t *testing.T) {
	for value, wishes := range map[string][]string{
		"":                                     nil,
		"positive-delivery, display":           {"positive-delivery", "display"},
		"Positive-Delivery":                    {"Positive-Delivery"},
		"display":                              nil,
		"NEGATIVE-DELIVERY,PROCESSING":         {"NEGATIVE-DELIVERY", "PROCESSING"},
		"positive-delivery:display":            {"display"},
		"interworking":                         nil,
		"positive_delivery display":            nil,
		"positiveDelivery":                     nil,
		"positive-delivery%2Cdisplay":          nil,
		"[positive-delivery, display]":         nil,
		`["positive-delivery","display"]`:      nil,
		`{"positive-delivery":true}`:           nil,
		"Disposition-Notification: display":    {"display"},
		"imdn.Disposition-Notification":        nil,
		"delivered":                            nil,
		"true":                                 nil,
		"off":                                  nil,
		"0":                                    nil,
		"-":                                    nil,
		"0000":                                 nil,
		"undefined":                            nil,
		"(NULL)":                               nil,
		"\u200bnone\u00a0":                     nil,
		"N/A":                                  nil,
		"[object Object]":                      nil,
		"00000000-0000-0000-0000-000000000000": nil,
		"text/plain":                           nil,
		"Application/x-acro-filetransfer+json; charset=utf-8": nil,
		"message/imdn+xml":              nil,
		"disposition_notification":      nil,
		"%imdn%:positive-delivery":      {"positive-delivery"},
		"%disposition_notification":     nil,
		"${id}":                         nil,
		"{{message.id}}":                nil,
		"<id>":                          nil,
		"null:display":                  {"display"},
		"yes:positive-delivery,display": {"positive-delivery", "display"},
		"johndow":                       nil,
		"+15551231234":                  nil,
		"12345678":                      nil,
	} {
		req := dispositionOf(t, value)
		if req.Disposition.ID != "" || wishes != nil && !slices.Equal(req.Disposition.Wishes, wishes) {
			t.Errorf("%q: id %q, wishes %q", value, req.Disposition.ID, req.Disposition.Wishes)
		}
		if !req.NoDisposition && value != "" {
			t.Errorf("%q: nobody is told", value)
		}
	}
}

// dispositionOf decodes a request with the value as its disposition notification.
func dispositionOf(t interface {
	Helper()
	Fatal(...any)
}, value string) *Request {
	t.Helper()
	form := url.Values{"from": {"johndow"}, "password": {"12345678"}, "to": {"+15551231234"}, "body": {"Hello"}, "disposition_notification": {value}}
	d := Decoder{Names: defaultNames, MaxSize: params.DefaultMaxSize}
	req, err := d.Decode(httptest.NewRequest(http.MethodGet, "/?"+form.Encode(), nil))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Ids in the forms that apps and libraries use stay ids, also with colons.
func TestIDStays(t *testing.T) {
	for value, id := range map[string]string{
		"xkXRBMCL.twvNcfC9:positive-delivery,display":  "xkXRBMCL.twvNcfC9",
		"xkXRBMCL.twvNcfC9:positive-delivery, display": "xkXRBMCL.twvNcfC9",
		"abc:":    "abc",
		"abc":     "abc",
		" abc : ": "abc",
		"urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66":         "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
		"urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66:display": "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
		"<34jk324j@pbx.example.com>":                            "<34jk324j@pbx.example.com>",
		"text/2fPQ==":                                           "text/2fPQ==",
		"1732550400":                                            "1732550400",
		"nullified7":                                            "nullified7",
		"42":                                                    "42",
	} {
		if req := dispositionOf(t, value); req.Disposition.ID != id || req.NoDisposition {
			t.Errorf("%q: id %q, want %q", value, req.Disposition.ID, id)
		}
	}
	hidden := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) { // random ids hardly ever look like words
		id := rapid.StringMatching(`[A-Za-z0-9]{8}\.[A-Za-z0-9]{8}`).Draw(t, "id")
		if got := dispositionOf(t, id+":positive-delivery").Disposition.ID; got != id {
			if hidden[id] = true; len(hidden) > 3 {
				t.Fatalf("%v are no ids", hidden)
			}
		}
	})
}

// The vocabulary alone or in lists, in any case and spacing, is never an id.
func TestVocabularyIsNoID(t *testing.T) {
	known := []string{"positive-delivery", "negative-delivery", "processing", "display", "imdn.Disposition-Notification", "delivered", "displayed", "true", "off", "null"}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.SampledFrom(known), 1, 4).Draw(t, "list")
		value := strings.Join(list, rapid.SampledFrom([]string{",", ", ", " ,", ";", " ", "|", "\t", "+"}).Draw(t, "separator"))
		switch rapid.IntRange(0, 3).Draw(t, "case") {
		case 1:
			value = strings.ToUpper(value)
		case 2:
			value = strings.ReplaceAll(value, "-", "_")
		case 3:
			value = "\u00a0" + value + "\r\n"
		}
		if got := dispositionOf(t, value).Disposition.ID; got != "" {
			t.Fatalf("%q: id %q", value, got)
		}
	})
}

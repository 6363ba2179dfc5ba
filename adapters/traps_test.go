package adapters

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Some providers send the body of an answer to the sender, or take another body for a failure.
func TestAnswersOfProviders(t *testing.T) {
	want := map[string]Answer{ // to a message
		"46elks":     {Status: 200},
		"kannel":     {Status: 200},
		"twilio":     {Status: 200, ContentType: "text/xml", Body: "<Response/>"},
		"signalwire": {Status: 200, ContentType: "text/xml", Body: "<Response/>"},
		"voipms":     {Status: 200, ContentType: "text/plain", Body: "ok"},
		"jasmin":     {Status: 200, ContentType: "text/plain", Body: "ACK/Jasmin"},
	}
	for _, provider := range receivers(t) {
		for _, d := range deliveries(t, provider) {
			if d.name != "text" {
				continue
			}
			a := d.bound(t, provider, nil)
			_, answer, err := a.ReadInbound(d.request(), d.Now)
			if special, ok := want[provider]; err != nil || !ok && answer != (Answer{Status: 200}) || ok && answer != special {
				t.Errorf("%s answers a message with %+v, %v", provider, answer, err)
			}
			delete(want, provider)

			// An error of ours has no body either, and no 4xx, after which some never try again.
			a.proof = boundProof{}
			request := d.request()
			request.Body, request.URL = []byte("\x00"), request.URL+"?="
			if len(d.Body) == 0 {
				request.Body = []byte(strings.Repeat(" ", MaxInbound+1))
			}
			if _, answer, err := a.ReadInbound(request, d.Now); err != nil && answer != (Answer{Status: http.StatusServiceUnavailable}) {
				t.Errorf("%s answers what it cannot read with %+v", provider, answer)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("no recorded text of %v", want)
	}
}

// No provider sends its receipts to a wrong address: where a definition takes the address for each
// message, the request has it, and none without one.
func TestReceiptsAreAskedFor(t *testing.T) {
	const address = "https://sms.example.com/webhook/x/s3cr3t"
	for _, provider := range []string{"twilio", "signalwire", "telnyx", "plivo", "sinch", "infobip", "messagebird", "kannel", "jasmin", "46elks", "wavix"} {
		d := deliveries(t, provider)[0]
		a := d.bound(t, provider, nil)
		for _, with := range []bool{false, true} {
			if with {
				a = a.WithReceipts(sms.Hide(address))
			}
			r, body := request(t, a, saying("Hello"))
			all := body + r.URL.RawQuery
			asks := strings.Contains(all, "s3cr3t") && strings.Contains(all, messageID)
			if asks != with || !with && strings.Contains(all, "dlr") {
				t.Errorf("%s with an address %t: %s", provider, with, all)
			}
		}
	}
}

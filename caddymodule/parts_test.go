package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// stumbling is a provider that gives statuses one after the other, and keeps what it was sent.
type stumbling struct {
	statuses []int
	got      []string
}

func (p *stumbling) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	p.got = append(p.got, form.Get("text"))
	body = fmt.Appendf(nil, `{"id":"sms-%d"}`, len(p.got))
	return &http.Response{StatusCode: p.statuses[len(p.got)-1], Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
}

// A long text of which some parts went out goes on where it stopped when it is tapped again. It is counted once.
func TestPartsGoOn(t *testing.T) {
	s := newSite(t, demo+"limit user 1 segments per day\n"+strings.Replace(ownAPI, "send {", "text max 10 characters\nsend {", 1))
	p := &stumbling{statuses: []int{200, 402, 200, 200}}
	s.gateway.Deliverer.Routes[0].Transport = p
	query := credential + "to=5551231234&body=Hello+dear+old+friend&disposition_notification=1:display"
	for i, want := range []string{"504 Only 1 of 3 parts are certain to have been sent", "200 sms-1", "200 sms-1"} {
		if got := s.tap(t, query); got != want {
			t.Errorf("tap %d: %s, want %s", i+1, got, want)
		}
	}
	if got, want := strings.Join(p.got, "|"), "Hello dear| old | old |friend"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	_, status := admin(t, "GET", "/acrobits_sms/messages/"+fmt.Sprint(s.events()[0]["reference"]))
	if !strings.Contains(status, `"user":"johndow","adapter":"own","segments":3,"parts":3,"sms_ids":["sms-1","sms-3","sms-4"]`) {
		t.Error(status)
	}
}

// Whether a long text goes out in parts or as one MMS is the operator's choice, and told in the log and by the admin endpoint.
func TestLongTextAsMMS(t *testing.T) {
	const block = "define own {\nbase_url http://provider\noption long_text optional in split mms\n" +
		"send {\ntext max 10 characters\nPOST /sms\nform {\nto {sms.to}\ntext {sms.body}\n}\n}\n" +
		"send mms {\nwhen {option.long_text} == mms\nPOST /mms\nform {\nto {sms.to}\ntext {sms.body}\n}\n}\n" +
		"reply json\naccepted status 200\nid id\n}\nadapter own {\nlong_text CHOICE\n}\n"
	for choice, want := range map[string]string{
		"split": `3 parts, mms <nil>, "parts":3,"sms_ids":["sms-1","sms-2","sms-3"]}`,
		"mms":   `1 parts, mms true, "parts":1,"mms":true,"sms_ids":["sms-1"]}`,
	} {
		s := newSite(t, demo+strings.Replace(block, "CHOICE", choice, 1))
		s.gateway.Deliverer.Routes[0].Transport = &stumbling{statuses: []int{200, 200, 200}}
		if got := s.tap(t, credential+"to=5551231234&body=Hello+dear+old+friend"); got != "200 sms-1" {
			t.Errorf("%s: %s", choice, got)
		}
		event := s.events()[0]
		_, status := admin(t, "GET", "/acrobits_sms/messages/"+fmt.Sprint(event["reference"]))
		_, tail, _ := strings.Cut(status, `"parts"`)
		if got := fmt.Sprintf(`%v parts, mms %v, "parts"%s`, event["parts"], event["mms"], strings.TrimSuffix(strings.TrimSpace(tail), "]")); got != want {
			t.Errorf("%s: %s, want %s", choice, got, want)
		}
	}
}

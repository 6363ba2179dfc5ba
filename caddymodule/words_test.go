package caddymodule

import (
	"fmt"
	"strings"
	"testing"
)

// Segments, parts, and what a provider said of a failure are found by the reference, in the log, and in the status of the account: the
// same everywhere, numbers masked, and nothing of a text.
func TestWordsOfProviders(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, demo+strings.NewReplacer("http://provider", p.URL, "id id\n", "id id\ncode code\nmessage message\n", "send {", "text max 160 septets\nsend {").Replace(ownAPI))
	for _, c := range []struct {
		body, answer  string
		status        int
		log, found    string
		account       string
		segments, cut int
	}{
		{"Hello", `{"id":"A1"}`, 200, "", `"state":"accepted","begun":B,"user":"johndow","adapter":"own","segments":1,"parts":1,"sms_ids":["A1"]`, "", 1, 1},
		{strings.Repeat("ten chars ", 17), `{"id":"SM1"}`, 200, "", `"segments":2,"parts":2,"sms_ids":["SM1","SM2"]`, "", 2, 2},
		{"Hello", `{"code":"E7","message":"no credit for +15551231234"}`, 400, "E7 no credit for +155••••••34",
			`"cause":"rejected","provider_code":"E7","detail":"no credit for +155••••••34","segments":1,"parts":1}`,
			`"last_failure":"rejected","last_failed":B,"last_provider_code":"E7","last_detail":"no credit for +155••••••34"`, 1, 1},
		{"My secret plan", `{"code":"E8","message":"bad words: My secret plan"}`, 400, "E8 (not shown: it repeats the message)",
			`"provider_code":"E8","detail":"(not shown: it repeats the message)"`, `"last_provider_code":"E8","last_detail":"(not shown`, 1, 1},
	} {
		p.say(c.status, c.answer)
		s.tap(t, credential+"to=5551231234&body="+strings.ReplaceAll(c.body, " ", "+"))
		e := s.events()[0]
		if fmt.Sprint(e["segments"]) != fmt.Sprint(c.segments) || fmt.Sprint(e["parts"]) != fmt.Sprint(c.cut) {
			t.Errorf("%.20s: %v segments, %v parts in the log", c.body, e["segments"], e["parts"])
		}
		if c.log != "" && fmt.Sprint(e["provider_code"], " ", e["detail"]) != c.log {
			t.Errorf("%.20s: %v %v in the log", c.body, e["provider_code"], e["detail"])
		}
		_, found := admin(t, "GET", "/acrobits_sms/messages/"+fmt.Sprint(e["reference"]))
		_, status := admin(t, "GET", "/acrobits_sms/status")
		for text, part := range map[string]string{found: c.found, status: c.account} {
			before, after, _ := strings.Cut(part, "B")
			if !strings.Contains(text, before) || !strings.Contains(text, after) {
				t.Errorf("%.20s: no %s in %s", c.body, part, text)
			}
			if strings.Contains(text, "1231234") || strings.Contains(text, "secret") || strings.Contains(text, "chars") {
				t.Errorf("%.20s: a number or a text is in %s", c.body, text)
			}
		}
	}
}

// An id that may quote the number or the text is for the phone, also when it taps again; nothing else shows it.
func TestPrivateIDs(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, demo+strings.Replace(ownAPI, "http://provider", p.URL, 1))
	subscribe(t, s)
	for i, id := range []string{"15551231234-7", "KzE1NTUxMjMxMjM0", "the-plan-of-friday", "NBSWY3DPEB3W64TMMQ"} {
		p.say(200, `{"id":"`+id+`"}`)
		query := credential + "to=5551231234&body=" + []string{"a", "b", "the-plan-of-friday", "hello+world"}[i] + fmt.Sprintf("&disposition_notification=private-%d", i)
		for range 2 {
			if got := s.tap(t, query); got != "200 "+id {
				t.Errorf("%s: told %s", id, got)
			}
		}
		for _, e := range s.events() {
			if e["sms_id"] != e["reference"] {
				t.Errorf("%s is logged as %v", id, e["sms_id"])
			}
			_, found := admin(t, "GET", "/acrobits_sms/messages/"+fmt.Sprint(e["reference"]))
			if !strings.Contains(found, fmt.Sprintf(`"sms_ids":[%q]`, e["reference"])) || strings.Contains(fmt.Sprint(found, e, subscribedData), id) {
				t.Errorf("%s is shown: %s %v", id, found, e)
			}
		}
	}
}

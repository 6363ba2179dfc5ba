package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// allow and deny of a site and of its users reach the policy; internal/gateway tests what that says.
func TestAllowAndDeny(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "allow GB\ndeny +1212\nuser traveller {\npassword travelling\nfrom +15550003333\nallow FR short_codes\ndeny GB\n}")
	const other = "from=traveller&password=travelling&"
	for query, want := range map[string]struct {
		status  int
		message string
	}{
		credential + "to=%2B447400123456": {200, ""},
		credential + "to=%2B12125550123":  {403, "Messages to this destination are not allowed"},
		credential + "to=%2B33612345678":  {403, "Messages to this country are not allowed: France"},
		credential + "to=911":             {403, "Messages to emergency numbers are not allowed"},
		other + "to=%2B33612345678":       {200, ""},
		other + "to=%2B447400123456":      {403, "Messages to this country are not allowed: United Kingdom"},
		other + "to=72227":                {200, ""},
	} {
		w := s.send(t, get(query+"&body=hi"))
		if r := read(t, w); w.Code != want.status || r.Message != want.message {
			t.Errorf("%s: %d %q, want %+v", query, w.Code, r.Message, want)
		}
	}
	if n := p.count.Load(); n != 3 {
		t.Errorf("the provider got %d messages, want 3", n)
	}
}

// Too much is refused before a provider is asked, with the time to wait; a reload changes nothing; a rule changes with it.
func TestLimits(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	tell := func(s *site, body string) (int, string, string) {
		w := s.send(t, get(credential+"to=5551231234&body="+body))
		return w.Code, w.Header().Get("Retry-After"), read(t, w).Message
	}
	for range 30 {
		if status, _, message := tell(p.site(t, ""), "hi"); status != 200 { // as over reloads
			t.Fatalf("%d %s", status, message)
		}
	}
	for i, block := range []string{"", "limit user 29 messages per minute", "limit country 7 messages per day"} {
		status, wait, message := tell(p.site(t, block), "hi")
		if status != 429 || wait == "" || message != "Too many messages. Try again in 1 min." {
			t.Errorf("%d: %d %q %q", i, status, wait, message)
		}
	}
	if n := p.count.Load(); n != 30 {
		t.Errorf("the provider has %d messages", n)
	}
	off := p.site(t, "limit off")
	for range 40 {
		if status, _, _ := tell(off, "hi"); status != 200 {
			t.Fatalf("limit off: %d", status)
		}
	}
	const long = "413 The message is too long: 3 segments, at most 2"
	status, wait, message := tell(p.site(t, "limit off\nlimit user 2 segments per hour"), strings.Repeat("a", 400))
	if got := fmt.Sprint(status, " ", message); got != long || wait != "" {
		t.Errorf("a text longer than a limit: %q, try again after %q", got, wait)
	}
	if _, err := provision(t, demo+"adapter sandbox\nlimit user many messages per day"); err == nil || !strings.Contains(err.Error(), "from 1 to 1000000") {
		t.Error(err)
	}
}

// Messages that look like fraud are refused, also after a reload, and the provider gets none of them.
func TestBursts(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	s := p.site(t, "allow all")
	again := p.site(t, "allow all") // as after a reload
	subscribe(t, s)
	for i := range 20 {
		w := []*site{s, again}[i%2].send(t, get(fmt.Sprintf("%sto=%%2B1555123%04d&body=hi", credential, i)))
		if want := map[bool]int{true: 200, false: 429}[i < 9]; w.Code != want || want == 429 && w.Header().Get("Retry-After") != "600" {
			t.Errorf("number %d: %d, want %d", i, w.Code, want)
		}
	}
	if n := p.count.Load(); n != 9 {
		t.Errorf("the provider got %d messages, want 9", n)
	}
	if n := slices.Index(subscribed, heldEvent); n < 0 || subscribedData[n]["cause"] != "held.numbers_in_a_row" || subscribed[len(subscribed)-1] != heldEvent {
		t.Errorf("the events are %v", subscribed)
	}
	if lines := s.events(); lines[len(lines)-1]["cause"] != "held.numbers_in_a_row" {
		t.Errorf("the log says %v", lines[len(lines)-1]["cause"])
	}
	off := p.site(t, "bursts off")
	for i := range 12 {
		if w := off.send(t, get(fmt.Sprintf("%sto=%%2B1555124%04d&body=hi", credential, i))); w.Code != 200 {
			t.Errorf("bursts off, number %d: %d", i, w.Code)
		}
	}
	for _, line := range []string{"bursts", "bursts on", "bursts off off"} {
		if _, err := provision(t, demo+"adapter sandbox\n"+line); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

// Users may have a country and limits of their own.
func TestOwnRegionAndLimits(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	site := func(more string) (*site, error) {
		return provision(t, "user ann {\npassword a-password-for-ann\nfrom +442071838750\nregion GB\nlimit 2 messages per minute\nlimit 3 segments per day Europe/London\n}\nuser bob {\npassword a-password-for-bob\nfrom +15550001111\n}\n"+
			"default_region US\nallow GB\nadapter twilio {\nbase_url "+p.URL+"\naccount_sid AC7\nauth_token the-auth-token\n}\n"+more)
	}
	s, err := site("")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		query  string
		status int
		to     string
	}{
		{"user=ann&password=a-password-for-ann&to=07400123456", 200, "+447•••3456"},
		{"user=bob&password=a-password-for-bob&to=07400123456", 406, ""},
		{"user=bob&password=a-password-for-bob&to=5551231234", 200, "+155•••1234"},
		{"user=ann&password=a-password-for-ann&to=07400123457", 200, "+447•••3457"},
		{"user=ann&password=a-password-for-ann&to=07400123458", 429, "+447•••3458"},
		{"user=bob&password=a-password-for-bob&to=5551231234", 200, "+155•••1234"},
	} {
		w := s.send(t, get(c.query+"&body=hi"))
		if line := s.events()[0]; w.Code != c.status || c.to != "" && line["to"] != c.to || c.status == 429 && line["limit"] != "user 2 messages per minute" {
			t.Errorf("message %d: %d %s, %v, want %d", i, w.Code, w.Body, line, c.status)
		}
	}
	if n := p.count.Load(); n != 4 {
		t.Errorf("the provider got %d messages, want 4", n)
	}
	for block, want := range map[string]string{
		"region XX":                        "region: unknown country; write two capital letters such as US",
		"limit 2 messages":                 "such as: 5 messages per minute",
		"limit user 2 messages per minute": "such as: 5 messages per minute",
		"limit 2 messages per minute\nlimit 3 messages per minute": "twice",
	} {
		_, err := provision(t, "user ann {\npassword a-password-for-ann\n"+block+"\n}\ndefault_region US\nadapter sandbox")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", block, err, want)
		}
	}
}

// One recipient in several writings is one; thousands of them cost no more than a few, in whatever form they come.
func TestManyWritings(t *testing.T) {
	s := newSite(t, demo+"adapter sandbox")
	if w := s.send(t, get(credential+"body=hi&to=5551231234,555-123-1234,(555)1231234,%2B15551231234"+strings.Repeat(",5551231234", 1000))); w.Code != 200 {
		t.Errorf("four writings: %d %s", w.Code, w.Body)
	}
	var writings []string
	for i := range 2500 {
		writings = append(writings, fmt.Sprintf("+1%s555 123-%s1234", strings.Repeat(" ", 1+i%8), strings.Repeat("-", 1+i/8%1000%10))+fmt.Sprintf("%*s", i%9, ""), fmt.Sprintf("+155512%d", 31000+i))
	}
	list, err := json.Marshal(writings)
	if err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]func() *http.Request{
		"commas": func() *http.Request {
			return post("application/x-www-form-urlencoded", credential+"body=hi&to="+strings.ReplaceAll(strings.Join(writings, ","), "+", "%2B"))
		},
		"pairs": func() *http.Request {
			return post("application/x-www-form-urlencoded", credential+"body=hi&to="+strings.ReplaceAll(strings.Join(writings, "&to="), "+", "%2B"))
		},
		"JSON": func() *http.Request {
			return post("application/json", `{"username":"johndow","password":"12345678","body":"hi","to":`+string(list)+"}")
		},
	} {
		best := time.Hour
		for range 5 {
			r := request()
			began := time.Now()
			w := s.send(t, r)
			best = min(best, time.Since(began))
			if got := read(t, w); w.Code != 400 || got.Message != "Only one recipient per message is supported" {
				t.Fatalf("%s: %d %s", name, w.Code, got.Message)
			}
		}
		if t.Logf("%s: %s", name, best); best > 10*time.Millisecond {
			t.Errorf("%s: %s", name, best)
		}
	}
}

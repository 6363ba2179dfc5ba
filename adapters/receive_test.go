package adapters

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// receiving makes an adapter that receives.
func receiving(t testing.TB, blocks string, options map[string]string) *Adapter {
	t.Helper()
	return define(t, "POST /\nbearer {option.key}\njson {\nto {sms.to}\nt {sms.body}\n}", "option key optional\nproof path\n"+blocks, options)
}

const receiveJSON = "receive {\nbody json\nfrom from\nto to\ntext text\n}"

// webhook is a delivery with a body of JSON.
func webhook(body string) InboundRequest {
	return InboundRequest{Method: "POST", URL: "https://sms.example.com/webhook/own/secret", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}
}

// TestReceiveLint spoils a definition that receives and looks for the line and the advice.
func TestReceiveLint(t *testing.T) {
	const whole = `base_url https://api.example.com
option key secret
send {
	POST /send
	bearer {option.key}
	json {
		to {sms.to}
		text {sms.body}
	}
}
reply json
accepted status 200
id id
proof sinch {option.key}
receive {
	body json
	from from
	to to
	text text
}
receipt {
	body json
	id id
	status status
	delivered ok
}
`
	if _, err := Parse("x", "x", 1, whole); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"proof sinch {option.key}", "", "x:15: say how the provider proves that a webhook is its own: proof SCHEME KEY, or proof path"},
		{whole[strings.Index(whole, "receive {"):], "", "x:14: there is nothing to prove: write how to read webhooks"},
		{"proof sinch", "proof snich", `x:14: unknown scheme "snich", did you mean sinch?`},
		{"proof sinch {option.key}", "proof sinch", "x:14: write: proof [optional] SCHEME KEY…, proof [optional] header NAME KEY…, or proof path"},
		{"proof sinch {option.key}", "proof path {option.key}", "x:14: unknown scheme"},
		{"proof sinch {option.key}", "proof header X-Key", "x:14: write: proof [optional] SCHEME"},
		{"proof sinch {option.key}", "proof sinch s3cr3t", "x:14: a key is an option"},
		{"proof sinch {option.key}", "proof sinch {option.key}{sms.to}", "x:14: {sms.to} is not allowed here"},
		{"proof sinch {option.key}", "proof {option.key} {option.key}", "x:14: the scheme is fixed text, or it contains an option with a list of values"},
		{"proof sinch {option.key}", "proof sinch {option.key}\nproof path", "x:15: proof appears twice"},
		{"receive {", "receive all {", "x:15: write: receive { body json … }"},
		{"body json\n\tfrom", "from", "x:15: say how to read the webhook: body json, form, xml or query"},
		{"body json", "body jsno", `x:16: unknown body "jsno", did you mean json?`},
		{"body json", "body json xml", "x:16: xml has paths of its own"},
		{"body json", "body form\n\tevents list", "x:17: a form has no list of events"},
		{"from from", "form from", `x:17: unknown word "form", did you mean from?`},
		{"from from", "from", "x:17: from needs at least one path"},
		{"\tfrom from\n", "", "x:15: say where the sender is: from PATH"},
		{"\tto to\n", "", "x:15: say where our number is: to PATH"},
		{"\ttext text\n", "", "x:15: say where the text is: text PATH"},
		{"text text", "text text as rot13", `x:19: unknown encoding`},
		{"text text", "text text\n\ttext more", "x:20: text appears twice"},
		{"text text", "text text\n\tpart ref no", "x:20: write: part REFERENCE NUMBER TOTAL"},
		{"text text", "text text\n\tanswer 404", "x:20: write: answer STATUS"},
		{"text text", "text text\n\tanswer 200 ok", "x:20: write: answer STATUS"},
		{"text text", "text text\n\tanswer 200 ok text/plain", "x:20: write the media type before the body"},
		{"text text", "text text\n\twhen type = in", "x:20: unknown operator, did you mean ==?"},
		{"text text", "text text\n\tbearer {token}", "x:20: {token} is not allowed in the credential"},
		{"text text", "text text\n\tnumber sender e164", "x:20: write: number FORM"},
		{"text text", "text text\n\tstatus s", "x:20: unknown word; known words: body, events, when"},
		{"text text", "text text\n\tmedia_type s", "x:15: media_type is the type of media"},
		{"to to", "to to {sms.to}", "x:18: write: to PATH, or with an option behind it"},
		{"\tid id\n\tstatus", "\tstatus", "x:21: say which message a receipt is about"},
		{"\tdelivered ok\n", "", "x:21: say how a message was delivered"},
		{"delivered ok", "delivered", "x:25: write: delivered WORD…"},
		{"delivered ok", "delivered ok\n\tfailed OK", "x:26: the word OK appears twice"},
		{"delivered ok", "delivered ok\n\tcause opted_out when a == b", "x:26: write: cause NAME CODE…"},
	} {
		_, err := Parse("x", "x", 1, strings.Replace(whole, c.old, c.new, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q:\n got  %v\n want %s", c.new, c.old, err, c.want)
		}
	}
}

// Numbers come with a plus sign, without one, without country code, as short codes and as names.
func TestReadNumbers(t *testing.T) {
	phone := func(s string) sms.Number { return sms.Number{Value: s, Kind: sms.Phone} }
	for _, c := range []struct {
		form numberForm
		in   string
		want sms.Number
	}{
		{e164, "+15551231234", phone("+15551231234")},
		{e164, "15551231234", phone("+15551231234")},
		{digits, "442079460123", phone("+442079460123")},
		{digits, "00442079460123", phone("+442079460123")},
		{digits, "4512345678", phone("+4512345678")},
		{nanp10, "5551231234", phone("+15551231234")},
		{nanp11, "15551231234", phone("+15551231234")},
		{nanp10, "(555) 123-1234", phone("+15551231234")},
		{digits, "72227", sms.Number{Value: "72227", Kind: sms.ShortCode}},
		{nanp10, "262966", sms.Number{Value: "262966", Kind: sms.ShortCode}},
		{e164, "ACME", sms.Number{Value: "ACME", Kind: sms.Alphanumeric}},
		{e164, "jane@example.com", sms.Number{Value: "jane@example.com", Kind: sms.Alphanumeric}},
		{e164, "", sms.Number{}},
		{e164, "+", sms.Number{}},
		{e164, strings.Repeat("9", 19), sms.Number{}},
		{e164, "a\nb", sms.Number{}},
		{e164, strings.Repeat("a", 65), sms.Number{}},
	} {
		if got := c.form.read(c.in); got != c.want {
			t.Errorf("%q: %#v, want %#v", c.in, got, c.want)
		}
	}
}

func TestReadTimes(t *testing.T) {
	want := time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC)
	for _, s := range []string{
		"2026-11-30T06:00:00Z", "2026-11-30T13:00:00+07:00", "2026-11-30T06:00:00.000+0000", "2026-11-30 06:00:00", "2026-11-30T06:00:00.000000", "Mon, 30 Nov 2026 06:00:00 GMT",
		"1796018400", "1796018400000", "20261130060000",
	} {
		if got := readTime(s); !got.Equal(want) {
			t.Errorf("%q: %s", s, got)
		}
	}
	for _, s := range []string{"", "now", "-5", "99999999999999999999", "2026-13-30T06:00:00Z"} {
		if got := readTime(s); !got.IsZero() {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// The provider delivers an unreadable webhook again; one about something else is answered.
func TestUnreadable(t *testing.T) {
	a := receiving(t, "receive {\nbody json\nevents @this\nwhen type == in\nfrom from\nto to\ntext text\nanswer 200 text/plain ok\n}", nil)
	item := `{"type":"in","from":"+15551231234","to":"+15550001111","text":"Hi"}`
	many := func(n int) string { return "[" + strings.Repeat(item+",", n-1) + item + "]" }
	for name, c := range map[string]struct {
		body   string
		events int
		fails  bool
	}{
		"one":             {item, 1, false},
		"a list":          {"[" + item + "," + item + `,7,{"type":"out"}]`, 2, false},
		"100 events":      {many(maxEvents), maxEvents, false},
		"101 events":      {many(maxEvents + 1), 0, true},
		"another event":   {`{"type":"out"}`, 0, false},
		"a test":          {"", 0, false},
		"an empty list":   {"[]", 0, false},
		"no JSON":         {"from=1", 0, true},
		"cut off":         {item[:20], 0, true},
		"no sender":       {`{"type":"in","to":"+15550001111","text":"Hi"}`, 0, true},
		"no recipient":    {`{"type":"in","from":"+15551231234","text":"Hi"}`, 0, true},
		"larger than 1MB": {`{"a":"` + strings.Repeat("a", MaxInbound) + `"}`, 0, true},
	} {
		events, answer, err := a.ReadInbound(webhook(c.body), now)
		want := Answer{Status: 200, ContentType: "text/plain", Body: "ok"}
		if c.fails {
			want = Answer{Status: http.StatusServiceUnavailable}
		}
		if len(events) != c.events || answer != want || errors.Is(err, ErrUnreadable) != c.fails {
			t.Errorf("%s: %d events, %+v, %v", name, len(events), answer, err)
		}
		if err != nil && (strings.Contains(err.Error(), "5551231234") || strings.Contains(err.Error(), "5550001111")) {
			t.Errorf("%s: the error has a number: %v", name, err)
		}
	}
}

// A text is kept as it is, even if it looks like a missing value, JSON or a smiley of layout.
func TestTextsStay(t *testing.T) {
	a := receiving(t, receiveJSON, nil)
	for _, text := range []string{"false", "null", "0", "{…}", " padded ", "line\nline", "<Response/>", "{option.key}", "👨‍👩‍👧‍👦", "%41"} {
		body := fmt.Sprintf(`{"from":"+15551231234","to":"+15550001111","text":%q}`, text)
		events, _, err := a.ReadInbound(webhook(body), now)
		if err != nil || len(events) != 1 || events[0].Text.Reveal() != text {
			t.Errorf("%q: %v, %v", text, events, err)
		}
	}
}

// Credentials go to the host of the API only: the address of a picture may come from anybody who knows
// the secret in the path.
func TestFetchHeader(t *testing.T) {
	a := receiving(t, "receive {\nbody json\nfrom from\nto to\ntext text\nmedia media\nbearer {option.key}\n}", map[string]string{"key": "s3cr3t"})
	for address, want := range map[string]string{
		"https://api.example.com/media/1":          "Bearer s3cr3t",
		"http://api.example.com/media/1":           "",
		"https://api.example.com.evil.example/1":   "",
		"https://api.example.com:8443/1":           "",
		"https://evil.example/api.example.com":     "",
		"https://api.example.com@evil.example/":    "",
		"https://media.api.example.com/not/ours/1": "",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.FetchHeader(u).Get("Authorization"); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// The address for receipts has our id. Without an address, requests do not ask for receipts.
func TestReceiptURL(t *testing.T) {
	a := define(t, "POST /\nform {\nt {sms.body}\nto {sms.to}\ncallback {receipt.url}\nboth \"{receipt.url}&s=%d\"\n}", "", nil)
	if _, body := request(t, a, saying("Hi")); body != "t=Hi&to=%2B15551231234" {
		t.Error(body)
	}
	with := a.WithReceipts(sms.Hide("https://sms.example.com/webhook/own/s3cr3t"))
	_, body := request(t, with, saying("Hi"))
	form, err := url.ParseQuery(body)
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://sms.example.com/webhook/own/s3cr3t?reference=" + messageID; form.Get("callback") != want || form.Get("both") != want+"&s=%d" {
		t.Errorf("got %v", form)
	}
	if !with.Quotes("see https://sms.example.com/webhook/own/s3cr3t", noToken) {
		t.Error("the address is no secret")
	}
	if _, body := request(t, a, saying("Hi")); strings.Contains(body, "webhook") {
		t.Error("the adapter itself has changed")
	}
}

// FuzzReadInbound reads anything as a webhook of all kinds: each event has what its kind needs.
func FuzzReadInbound(f *testing.F) {
	blocks := "\nfrom from a.b\nto to\nothers o.#.n\ntext text\nid id\ntime time\npart r n t\nmedia m.#.u\nmedia_type m.#.t\n}\n"
	receipt := "\nwhen s exists\nid id\nreference ref\nstatus s\ncode c\nmessage d\ndelivered ok\nfailed no\n}"
	var list []*Adapter
	for _, kind := range []string{"json", "json form query", "form", "query"} {
		list = append(list, receiving(f, "receive {\nbody "+kind+"\nwhen s empty"+blocks+"receipt {\nbody "+kind+receipt, nil))
	}
	list = append(list, receiving(f, "receive {\nbody json\nevents @this"+blocks, nil),
		receiving(f, "receive {\nbody xml\nevents //m\nfrom from\nto to\ntext text\n}", nil))
	for i := range list {
		for _, body := range []string{
			`{"from":"+15551231234","to":"15550001111","text":"Hi","id":7,"m":[{"u":"https://e/1","t":"a/b"}],"o":[{"n":"1"}],"r":"x","n":1,"t":2}`,
			`[{"a":{"b":"1"},"to":{"x":1}}]`, "from=%2B15551231234&to=1&text=%zz", "s=no&id=1&c=30003&d=x", "<r><m><from>+15551231234</from><to>72227</to><text>Hi</text></m></r>", "", "[]", "\xff",
		} {
			f.Add(byte(i), "reference=1&s=ok", []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, n byte, query string, body []byte) {
		a := list[int(n)%len(list)]
		events, answer, err := a.ReadInbound(InboundRequest{Method: "POST", URL: "https://sms.example.com/?" + query, Header: http.Header{}, Body: body}, now)
		if (err == nil) != (answer.Status == 200) || err != nil && (len(events) > 0 || answer.Body != "") || len(events) > maxEvents {
			t.Fatalf("%d events, %+v, %v", len(events), answer, err)
		}
		for _, e := range events {
			switch {
			case e.Kind == InboundReceipt && e.ID == "" && e.Reference == "":
				t.Error("a receipt about no message")
			case e.Kind == InboundMessage && (e.From.IsZero() || e.To.IsZero() || strings.TrimSpace(e.To.Value) == ""):
				t.Errorf("from %q to %q", e.From.Value, e.To.Value)
			}
			for _, m := range e.Media {
				if u, err := url.Parse(m.URL.Reveal()); err != nil || u.Host == "" {
					t.Errorf("media %q", m.URL.Reveal())
				}
			}
		}
	})
}

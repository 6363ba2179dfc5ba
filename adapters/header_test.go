package adapters

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// An id, a code or another sign may stand in a header of the reply.
func TestReplyHeaders(t *testing.T) {
	const location = "reply json\naccepted status 201\naccepted id exists\nid header location `/([^/]+)/?$`\ncode error header X-Error-Code\nmessage error_text header X-Error\ncause busy 7\n"
	for _, c := range []struct {
		rules, body string
		status      int
		header      map[string]string
		want        string
	}{
		{location, ``, 201, map[string]string{"Location": "https://x/messages/m-1"}, "accepted none m-1 "},
		{location, ``, 201, map[string]string{"Location": "/messages/m-2/"}, "accepted none m-2 "},
		{location, `{"a":1}`, 201, map[string]string{"Location": "/messages/m-3"}, "accepted none m-3 "},
		{location, `{"a":1}`, 201, nil, "unknown unknown  "},
		{location, ``, 201, nil, "unknown unknown  "},
		{location, ``, 201, map[string]string{"Location": "nowhere"}, "unknown unknown  "},
		{location, `<html>`, 201, map[string]string{"Location": "/messages/m-4"}, "unknown unknown  "},
		{location, ``, 200, map[string]string{"Location": "/messages/m-5"}, "unknown unknown  "},
		{location, `{}`, 400, map[string]string{"X-Error-Code": "7", "X-Error": "wait"}, "refused busy  7"},
		{location, `{"other":"x"}`, 400, nil, "refused rejected  "},
		{"reply json\naccepted status 200\nid data.id header X-Message-Id\n", `{"data":{"id":"a"}}`, 200, map[string]string{"X-Message-Id": "b"}, "accepted none a "},
		{"reply json\naccepted status 200\nid data.id header X-Message-Id\n", `{"data":{}}`, 200, map[string]string{"X-Message-Id": "b"}, "accepted none b "},
		{"reply json\naccepted status 200\nid header X-Message-Id\n", ``, 200, nil, "unknown unknown  "},
		{"reply json\naccepted status 200\nid \"header\" Location\n", `{"Location":"z"}`, 200, map[string]string{"Location": "b"}, "accepted none z "},
		{"reply text\naccepted status 200\naccepted header X-Status == ok\nid `^id (.+)`\n", `id 7`, 200, map[string]string{"X-Status": "ok"}, "accepted none 7 "},
		{"reply text\naccepted status 200\naccepted header X-Status == ok\nid `^id (.+)`\n", `id 7`, 200, map[string]string{"X-Status": "no"}, "refused rejected  "},
		{"reply text\naccepted status 200\naccepted header X-Status == ok\nid `^id (.+)`\n", `id 7`, 200, nil, "unknown unknown  "},
		{"reply json\naccepted status 200\naccepted header == ok\nid a\n", `{"header":"ok","a":"1"}`, 200, nil, "accepted none 1 "},
		{"reply xml\naccepted status 200\nid header Etag\ncause no_credit when header X-Balance matches ^-\n", `<r/>`, 403, map[string]string{"X-Balance": "-1"}, "refused no_credit  "},
		{"reply xml\naccepted status 200\nid header ETag\n", `<r/>`, 200, map[string]string{"Etag": "7"}, "accepted none 7 "},
		{"reply pairs\naccepted status 200\nid header X-Id\n", `a=b`, 200, map[string]string{"X-Id": "7"}, "accepted none 7 "},
	} {
		x, err := define(t, "POST /\nform {\nt {sms.body}\n}", c.rules, nil).Prepare(t.Context(), saying("Hi"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{}
		for name, value := range c.header {
			header.Set(name, value)
		}
		r := x.Read(c.status, header, []byte(c.body), true)
		if got := r.Outcome.String() + " " + r.Cause().String() + " " + r.ID + " " + r.Code; got != c.want {
			t.Errorf("%d %s %v\n%s got %q\nwant %q", c.status, c.body, c.header, c.rules, got, c.want)
		}
		if cut := x.Read(c.status, header, []byte(c.body), false); cut.Outcome == sms.Accepted {
			t.Errorf("%s: a reply that was cut is accepted", c.rules)
		}
	}
	for line, want := range map[string]string{
		"id header":                  "write: id header NAME",
		"id header Location path":    "write: id header NAME",
		"id header Location `a` `b`": "write: id header NAME",
		"id header Loc/ation":        "write: id header NAME",
		"id header Location `(`":     "is not a pattern",
		"id a\ncode header":          "write: code header NAME",
		"id a\naccepted header X":    "x:13: unknown operator",
	} {
		_, err := parse("x", "x", 1, strings.Replace(whole, "id id", line, 1))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	d, err := parse("x", "x", 1, strings.Replace(whole, "id id", "id header location\nmessage header X-Error", 1))
	if err != nil || strings.Join(d.Headers(), " ") != "Location X-Error" {
		t.Errorf("%v %v", d.Headers(), err)
	}
}

// A token may stand in a header too.
func TestTokenInHeader(t *testing.T) {
	a := define(t, "POST /\nbearer {token}\nform {\nt {sms.body}\n}", "token {\nPOST /tokens\naccess header X-Subject-Token\n}\nreply json\naccepted status 200\nid id", nil)
	token, _ := a.ReadToken(201, http.Header{"X-Subject-Token": {"abc"}}, nil, true, now)
	if token.Secret.Reveal() != "abc" {
		t.Error("the token is not found")
	}
	if token, r := a.ReadToken(201, http.Header{}, nil, true, now); !token.Secret.Empty() || r.Outcome == sms.Accepted {
		t.Error("there is a token")
	}
}

// A code of digits alone is shown however long it is, but not if it is one of the message's
// numbers.
func TestLongCodes(t *testing.T) {
	for code, want := range map[string]string{
		"1": "1", "123456": "123456", "1234567": "1234567", "40012345678": "40012345678", "9007199254740993": "9007199254740993",
		"15551231234": "155••••••34", "5551231234": "555•••••34", "0015550001111": "001••••••••11", "1-555-123-1234": "1-55•-•••-••34", "E1234567890": "E123•••••90",
	} {
		x, err := define(t, "POST /\nform {\nt {sms.body}\n}", "reply json\naccepted status 200\nid id\ncode c", nil).Prepare(t.Context(), saying("Hi"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Read(400, http.Header{}, []byte(`{"c":"`+code+`"}`), true).Code; got != want {
			t.Errorf("%s is shown as %s, want %s", code, got, want)
		}
	}
	x, err := define(t, "POST /\nform {\nt {sms.body}\n}", "reply json\naccepted status 200\nid id\ncode c", nil).Prepare(t.Context(), saying("Your code is 12345678"), noToken, now)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Read(400, http.Header{}, []byte(`{"c":12345678}`), true).Code; strings.Contains(got, "12345") {
		t.Errorf("the text's code is shown as %s", got)
	}
}

// An XPath without prefixes finds elements of any namespace by local-name().
func TestLocalName(t *testing.T) {
	x, err := define(t, "POST /\nform {\nt {sms.body}\n}", "reply xml\naccepted status 200\nid `//*[local-name()='MessageId']`", nil).Prepare(t.Context(), saying("Hi"), noToken, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`<ns1:R xmlns:ns1="urn:x"><ns1:MessageId>7</ns1:MessageId></ns1:R>`, `<R xmlns="urn:x"><MessageId>7</MessageId></R>`} {
		if r := x.Read(200, http.Header{}, []byte(body), true); r.ID != "7" {
			t.Errorf("%s: %q", body, r.ID)
		}
	}
}

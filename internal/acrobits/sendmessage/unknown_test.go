package sendmessage

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
)

const aForm = "application/x-www-form-urlencoded"

// The operator of a template that is not understood is told the names that came, and what to write.
func TestUnknownParameters(t *testing.T) {
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("name%d=x", i)
	}
	for _, c := range []struct{ method, query, contentType, body, want string }{
		{"GET", "user=a&password=b&empfaenger=%2B15551231234&text=hi", "", "", "unknown parameters came: empfaenger; write param sms_to empfaenger"},
		{"GET", "user=a&password=b&to=%2B15551231234&nachricht=hi", "", "", "unknown parameters came: nachricht; write param sms_body nachricht"},
		{"GET", "benutzer=a&kennwort=b&ziel=0151+12345678&nachricht=hi", "", "",
			"unknown parameters came: benutzer, kennwort, ziel, nachricht; write param user NAME, param password NAME, param sms_to ziel, param sms_body NAME"},
		{"POST", "", "application/json", `{"auth":{"kennung":"a"},"ziel":"+15551231234","password":"x","text":"hi"}`,
			"unknown parameters came: auth.kennung, ziel; write param user NAME, param sms_to ziel"},
		{"POST", "", "text/xml", "<m><user>a</user><password>b</password><ziel>+15551231234</ziel><text>hi</text></m>", "unknown parameters came: ziel; write param sms_to ziel"},
		{"GET", "user=a&password=b&text=hi&" + strings.Join(many, "&"), "", "",
			"unknown parameters came: name0, name1, name2, name3, name4, name5, name6, name7, name8, name9, name10, name11 and 8 more; write param sms_to NAME"},
		{"POST", "", "application/json", "user=a&password=b&ziel=15551231234&text=hi",
			"the body is a form, its Content-Type application/json is that of JSON; unknown parameters came: ziel; write param sms_to ziel"},
		{"POST", "", aForm, "%7B%22to%22%3A%22canary%22%7D",
			"the body is JSON, escaped as a form, its Content-Type application/x-www-form-urlencoded is that of a form; unknown parameters came: 1 without a name that can be shown"},
		{"POST", "", "text/plain", "canary", "the body is text, as its Content-Type text/plain says; write application/x-www-form-urlencoded, if it is a form"},
		{"POST", "user=a&password=b", "text/plain", "canary=canary&canary2=canary", "the body is text, as its Content-Type text/plain says; write application/x-www-form-urlencoded, if it is a form"},
		{"POST", "", aForm, "canary", "unknown parameters came: 1 without a name that can be shown"},
		{"GET", "canary", "", "", "unknown parameters came: 1 without a name that can be shown"},
		{"GET", "user=a&password=b&to=1&canary+text&canary=x", "", "", "unknown parameters came: 2 without a name that can be shown"},
		{"POST", "", aForm, "ziel=15551231234&nachricht=a canary&canary=x", "unknown parameters came: ziel, nachricht and 1 more; write param user NAME, param password NAME, param sms_to ziel, param sms_body NAME"},
		{"POST", "", "text/xml", "<m><ziel>1</ziel><text2><canary>x</canary></text2></m>", "unknown parameters came: ziel and 1 more; write param user NAME, param password NAME, param sms_to NAME, param sms_body NAME"},
		{"GET", "user=a&password=b", "", "", ""},
		{"GET", "user=a&password=b&to=1&body=hi&more=x", "", "", ""},
		{"GET", "a%0Ab=1&%22canary%22=x&" + strings.Repeat("n", 33) + "=x", "", "", "unknown parameters came: 3 without a name that can be shown"},
	} {
		r := httptest.NewRequest(c.method, "/?"+c.query, strings.NewReader(c.body))
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		req, _ := newDecoder(t, "").Decode(r)
		if got := req.UnknownParameters(); got != c.want || strings.Contains(got, "canary") {
			t.Errorf("%s %s:\n%s, want\n%s", c.query, c.body, got, c.want)
		}
	}
}

// Whatever a text is and however a template damages it, nothing of it is told.
func TestUnknownShowsNoText(t *testing.T) {
	d := &Decoder{Names: defaultNames, MaxSize: params.DefaultMaxSize}
	rapid.Check(t, func(t *rapid.T) {
		const canary = "Kanarienvogel"
		text := canary + rapid.StringMatching(`( [a-z]{1,5}|[,.!?<>"{}=]| `+canary+`){0,5}`).Draw(t, "text")
		quoted := strings.ReplaceAll(text, `"`, `\\"`)
		for _, r := range []*http.Request{
			post(aForm, url.QueryEscape(`{"ziel":"1","nachricht":"`+quoted+`"}`)),
			post(aForm, "nachricht="+url.QueryEscape(text)),
			post(aForm, `{"ziel":"1","nachricht":"`+quoted+`"}`),
			post("text/plain", text),
			post(aForm, canary),
			post("text/xml", "<m><ziel>1</ziel><nachricht>"+url.QueryEscape(text)+"</nachricht></m>"),
			httptest.NewRequest(http.MethodGet, "/?"+canary, nil),
			httptest.NewRequest(http.MethodGet, "/?user=a&password=b&to=1&"+canary+"&"+url.QueryEscape(text), nil),
		} {
			req, _ := d.Decode(r)
			if got := req.UnknownParameters(); strings.Contains(got, canary) {
				t.Fatalf("%s", got)
			}
		}
	})
}

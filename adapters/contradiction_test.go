package adapters

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A definition that goes by the status alone still reads whether the body contradicts it.
func TestStatusAlone(t *testing.T) {
	long := strings.Repeat("The weather is nice today. ", 10)
	for _, c := range []struct{ kinds, id, body, want string }{
		// acknowledgements
		{"json xml text pairs", "generated", "", "accepted"},
		{"json xml text pairs", "generated", " \r\n", "accepted"},
		{"json xml text pairs", "generated", "OK", "accepted"},
		{"json xml text pairs", "generated", "Accepted for delivery", "accepted"},
		{"json xml text pairs", "generated", "SMS queued, 0 errors", "accepted"},
		{"json xml text pairs", "generated", "sent without error", "accepted"},
		{"json text pairs", "generated", "{}", "accepted"},
		{"json text pairs", "generated", `{"status":"ok"}`, "accepted"},
		{"json text pairs", "generated", `{"error":null,"id":7}`, "accepted"},
		{"json text pairs", "generated", `{"errors":[],"error":0,"error_code":"","errorMessage":false}`, "accepted"},
		{"json text pairs", "generated", `{"error":{"code":0,"message":""},"success":true}`, "accepted"},
		{"json text pairs", "generated", `{"error":{}}`, "accepted"},
		{"json text pairs", "generated", `{"error":"0","err":"none","fault":"No error"}`, "accepted"},
		{"json text pairs", "generated", `[{"to":"1","errorCode":0}]`, "accepted"},
		{"json text pairs", "generated", `{"status":200,"message":"Message sent"}`, "accepted"},
		{"json text pairs", "generated", `{"failed":0,"rejected":[],"sent":1}`, "accepted"},
		{"xml", "generated", "<response><status>ok</status><error/></response>", "accepted"},
		{"xml", "generated", `<r xmlns="urn:x"><error code="0"></error><id>7</id></r>`, "accepted"},
		{"pairs", "generated", "status=ok&error=", "accepted"},
		{"json", "id", `{"id":"7","errors":[]}`, "accepted"},
		{"json", "id", `{}`, "accepted"},
		{"json", "id", `{"id":"7","text":"There was an error: access denied, please log in"}`, "accepted"},
		{"pairs", "id", "id=7&text=error", "accepted"},
		{"text", "`^OK (\\S+)`", "OK 7 denied@example.com", "accepted"},
		// pages and other things that are not this API's
		{"json xml text pairs", "generated", "<html><body>We are down for maintenance</body></html>", "unknown"},
		{"json xml text pairs", "generated", "\uFEFF<!DOCTYPE html>\n<title>Hotel WiFi</title><form action=login>", "unknown"},
		{"json xml text pairs", "generated", "<HTML><HEAD>", "unknown"},
		{"json xml text pairs", "generated", "<form method=post><input name=user></form>", "unknown"},
		{"json xml text pairs", "generated", "<h1>It works!</h1>", "unknown"},
		{"json text pairs", "generated", `<?xml version="1.0"?><rss version="2.0"><channel/></rss>`, "unknown"},
		{"json xml text pairs", "generated", "null", "unknown"},
		{"json xml text pairs", "generated", "true", "unknown"},
		{"json xml text pairs", "generated", "false", "unknown"},
		{"json xml text pairs", "generated", "[]", "unknown"},
		{"json xml text pairs", "generated", "[1,2]", "unknown"},
		{"json xml text pairs", "generated", `{"id":`, "unknown"},
		{"json xml text pairs", "generated", long, "unknown"},
		{"json xml text pairs", "generated", "Please log in", "unknown"},
		{"json xml text pairs", "generated", "Scheduled maintenance", "unknown"},
		{"json xml text pairs", "generated", "\x00\xff\xfe", "unknown"},
		{"json text pairs", "generated", `{"message":"Forbidden"}`, "unknown"},
		{"json text pairs", "generated", `{"detail":"Authentication credentials were not provided."}`, "unknown"},
		{"json text pairs", "generated", `{"status":"sms_toolong"}`, "unknown"},
		{"json text pairs", "generated", `{"state":"limbo"}`, "unknown"},
		{"json text pairs", "generated", `{"reason":"InvalidSenderId"}`, "unknown"},
		{"json text pairs", "generated", `{"recipients":["no route"]}`, "unknown"},
		{"xml", "generated", `{"status":"ok"}`, "unknown"},
		{"json", "id", "[]", "unknown"},
		{"text", "`^OK (\\S+)`", "Please sign in", "unknown"},
		// answers that say error
		{"json xml text pairs", "generated", "Error: invalid number", "refused"},
		{"json xml text pairs", "generated", "ERR 402 insufficient credit", "refused"},
		{"json xml text pairs", "generated", "Forbidden", "refused"},
		{"json xml text pairs", "generated", "Access denied", "refused"},
		{"json xml text pairs", "generated", "message not sent", "refused"},
		{"json xml text pairs", "generated", `{"error":"Forbidden"}`, "refused"},
		{"json xml text pairs", "generated", `{"errors":["a"]}`, "refused"},
		{"json xml text pairs", "generated", `{"errors":[{"code":7}]}`, "refused"},
		{"json xml text pairs", "generated", `{"error":{"code":0,"message":"no such route"}}`, "refused"},
		{"json xml text pairs", "generated", `{"error":true}`, "refused"},
		{"json xml text pairs", "generated", `{"data":{"errorCode":21211}}`, "refused"},
		{"json xml text pairs", "generated", `{"status":"error"}`, "refused"},
		{"json xml text pairs", "generated", `{"status":"Failed","id":"7"}`, "refused"},
		{"json xml text pairs", "generated", `{"success":false}`, "refused"},
		{"json xml text pairs", "generated", `{"success":"0"}`, "refused"},
		{"json xml text pairs", "generated", `{"ok":false,"description":"chat not found"}`, "refused"},
		{"json xml text pairs", "generated", `{"code":403,"message":"x"}`, "refused"},
		{"json xml text pairs", "generated", `{"statusCode":401}`, "refused"},
		{"json xml text pairs", "generated", `{"status":"REJECTED_NETWORK"}`, "refused"},
		{"json xml text pairs", "generated", `{"Fault":{"faultstring":"x"}}`, "refused"},
		{"json xml text pairs", "generated", `[{"to":"1","state":"undelivered"}]`, "refused"},
		{"json xml text pairs", "generated", `{"requestError":{"serviceException":{"text":"x"}}}`, "refused"},
		{"json xml text pairs", "generated", `{"type":"about:blank","title":"Unauthorized","status":401}`, "refused"},
		{"json xml text pairs", "generated", `{"sent":[],"rejected":["+1555"]}`, "refused"},
		{"xml", "generated", "<response><error>no route</error></response>", "refused"},
		{"xml", "generated", `<response status="fail"/>`, "refused"},
		{"xml", "generated", `<s:Envelope xmlns:s="x"><s:Body><s:Fault><faultstring>x</faultstring></s:Fault></s:Body></s:Envelope>`, "refused"},
		{"pairs", "generated", "error=no route", "refused"},
		{"pairs", "generated", "id=7&status=failed", "refused"},
		{"json", "id", `{"error":"Forbidden"}`, "refused"},
		{"json", "id", `{"id":"7","error":"Forbidden"}`, "refused"},
		{"pairs", "id", "id=7&error=5", "refused"},
		{"xml", "//id", "<r><id>7</id><error>x</error></r>", "refused"},
		{"text", "`^OK (\\S+)`", "Error 7", "refused"},
	} {
		for kind := range strings.FieldsSeq(c.kinds) {
			// Conditions that do not name success change nothing, but need a reply of its kind.
			conditions := []string{""}
			if kind == "json" && strings.HasPrefix(c.body, "{") && c.body != `{"id":` {
				conditions = append(conditions, "\naccepted warnings.0 empty\naccepted state != limbo2")
			}
			if c.id != "generated" && c.want != "unknown" && c.body != "{}" {
				conditions = append(conditions, "\naccepted id exists")
			}
			for _, condition := range conditions {
				rules := fmt.Sprintf("reply %s\naccepted status 2xx%s\nid %s", kind, condition, c.id)
				for _, status := range []int{200, 202} {
					x, err := define(t, "POST /\nform {\nt {sms.body}\n}", rules, nil).Prepare(t.Context(), saying("Hello"), noToken, now)
					if err != nil {
						t.Fatal(err)
					}
					r := x.Read(status, http.Header{}, []byte(c.body), true)
					if r.Outcome.String() != c.want || c.want == "refused" && r.Cause() != sms.Rejected {
						t.Errorf("%s, %s %q, %d %s: %s %s, want %s", kind, c.id, condition, status, c.body, r.Outcome, r.Cause(), c.want)
					}
				}
			}
		}
	}
}

// A definition that only asks for an id, wherever that stands, names no success; a code that it
// knows as a failure is one; and words of success are no error, whatever the member's name: to send
// the message by another adapter would be to send it twice.
func TestIDAlone(t *testing.T) {
	const header, sid = "reply %s\naccepted status 200\naccepted id exists\nid header X-Request-Id", "reply json\naccepted status 200\nid sid\ncode code\ncause invalid_recipient 105\naccepted "
	for _, c := range []struct{ rules, body, want string }{
		{fmt.Sprintf(header, "text"), "Error: invalid number", "refused rejected"},
		{fmt.Sprintf(header, "text"), "Please log in", "unknown unknown"},
		{fmt.Sprintf(header, "text"), "OK", "accepted none"},
		{fmt.Sprintf(header, "json"), `{"message":"Forbidden"}`, "unknown unknown"},
		{fmt.Sprintf(header, "json"), `{"error":"Forbidden"}`, "refused rejected"},
		{fmt.Sprintf(header, "json"), `[]`, "unknown unknown"},
		{fmt.Sprintf(header, "json"), ``, "accepted none"},
		{fmt.Sprintf(header, "json"), `{"message":"queued"}`, "accepted none"},
		{fmt.Sprintf(header, "json"), `{"text":"No login, busy"}`, "accepted none"},
		{fmt.Sprintf(header, "xml"), `<r><status>limbo</status></r>`, "unknown unknown"},
		{fmt.Sprintf(header, "pairs"), `text=Forbidden`, "unknown unknown"},
		{sid + "sid exists", `{"sid":"7","error":"Forbidden"}`, "refused rejected"},
		{sid + "data exists", `{"sid":"7","data":{"state":"failed"}}`, "refused rejected"},
		{sid + "sid exists", `{"sid":"7","data":{"state":"queued"}}`, "accepted none"},
		{sid + "id exists", `{"sid":"7","code":105}`, "refused invalid_recipient"},
		{sid + "id exists", `{"sid":"7","code":"0"}`, "accepted none"},
		{sid + "id exists", `{"sid":"7","error_code":0,"error_message":"Message accepted"}`, "accepted none"},
		{sid + "id exists", `{"sid":"7","error":{"code":"E0","description":"Completed successfully."}}`, "accepted none"},
		{sid + "id exists", `{"sid":"7","error":"Your message has been queued for delivery"}`, "accepted none"},
		{sid + "id exists", `{"sid":"7","errors":"There were no errors"}`, "accepted none"},
		{sid + "id exists", `{"sid":"7","errors":"No errors found"}`, "accepted none"},
		{"reply json\naccepted status 200\nid generated", `{"error":"Message sent successfully"}`, "unknown unknown"},
		{sid + "id exists", `{"sid":"7","error":"Message was not sent"}`, "refused rejected"},
		{sid + "id exists", `{"sid":"7","error":"No message sent"}`, "refused rejected"},
		{sid + "id exists", `{"sid":"7","error":"Message sent to nobody"}`, "refused rejected"},
		{sid + "id exists", `{"sid":"7","error":"Unsuccessful"}`, "refused rejected"},
		{sid + "id exists", `{"sid":"7","error":"accepted senders only"}`, "refused rejected"},
	} {
		x, err := define(t, "POST /\nform {\nt {sms.body}\n}", c.rules, nil).Prepare(t.Context(), saying("No login, busy"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		r := x.Read(200, http.Header{"X-Request-Id": {"r-7"}}, []byte(c.body), true)
		if got := r.Outcome.String() + " " + r.Cause().String(); got != c.want {
			t.Errorf("%s\n%s is %s, want %s", c.rules, c.body, got, c.want)
		}
	}
}

// A state that is no success outweighs an id, in whatever words it is written.
func TestBadStates(t *testing.T) {
	x, err := define(t, "POST /\nform {\nt {sms.body}\n}", "reply json\naccepted status 200\naccepted id exists\nid id", nil).Prepare(t.Context(), saying("Hi"), noToken, now)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`"status":"NOT_ENOUGH_CREDIT"`: "unknown", `"status":"INSUFFICIENT_BALANCE"`: "unknown", `"status":"NoRoute"`: "unknown", `"state":"canceled"`: "unknown",
		`"state":"aborted"`: "unknown", `"status":"Message not sent"`: "unknown", `"status":"opted_out"`: "unknown", `"result":{"status":"dropped"}`: "unknown",
		`"status":{"id":5,"name":"REJECTED_NETWORK"}`: "refused", `"messages":[{"status":{"groupName":"REJECTED"}}]`: "refused", `"status":{"name":"NO_CREDIT"}`: "unknown",
		`"unsent":["+15551231234"]`: "refused", `"undelivered":1`: "refused",
		`"status":{"groupName":"PENDING","name":"PENDING_ENROUTE","description":"No report yet"}`: "accepted", `"status":"accepted, not delivered yet"`: "accepted",
		`"status":"unknown"`: "accepted", `"status":"enroute"`: "accepted", `"undelivered":0,"unsent":[]`: "accepted", `"status":"No errors"`: "accepted",
		`"reason":"no route"`: "accepted", `"text":"No, canceled"`: "accepted", `"user":{"name":"Failed Inc"}`: "accepted",
	} {
		if r := x.Read(200, http.Header{}, []byte(`{"id":"7",`+body+`}`), true); r.Outcome.String() != want {
			t.Errorf("%s: %s, want %s", body, r.Outcome, want)
		}
	}
}

// An id that is counted up passes the numbers of errors too.
func TestIDLikeStatus(t *testing.T) {
	for _, c := range []struct{ rules, body, want string }{
		{"json\nid result", `{"result":%s}`, "accepted"},
		{"json\nid response.code", `{"response":{"code":"%s"}}`, "accepted"},
		{"xml\nid //result", `<r><result>%s</result></r>`, "accepted"},
		{"pairs\nid code", `code=%s`, "accepted"},
		{"json\nid id", `{"id":"7","result":%s}`, "refused"},
		{"json\nid header X-Request-Id", `{"code":%s}`, "refused"},
	} {
		x, err := define(t, "POST /\nform {\nt {sms.body}\n}", "reply "+c.rules+"\naccepted status 200\naccepted id exists", nil).Prepare(t.Context(), saying("Hi"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"400", "404", "500", "512", "599"} {
			r := x.Read(200, http.Header{"X-Request-Id": {"r-7"}}, fmt.Appendf(nil, c.body, id), true)
			if r.Outcome.String() != c.want || c.want == "accepted" && r.ID != id {
				t.Errorf("%s of %s: %s %q, want %s", c.body, c.rules, r.Outcome, r.ID, c.want)
			}
		}
	}
}

// A placeholder for an id, such as 0 or null, is no id: the message may not have been accepted, and
// the next one has the same.
func TestNoID(t *testing.T) {
	for _, id := range []string{"0", `"0"`, "-1", `"null"`, `"None"`, `"undefined"`, `"00000000-0000-0000-0000-000000000000"`, `"-"`, "false", `""`} {
		for rules, want := range map[string]sms.Outcome{
			"accepted id exists": sms.OutcomeUnknown, "accepted state == sent": sms.Accepted, "accepted state == sent\naccepted id exists": sms.OutcomeUnknown, "": sms.Accepted,
			"accepted id != 77": sms.Accepted, "accepted id matches `^[1-9]`": sms.Refused,
		} {
			x, err := define(t, "POST /\nform {\nt {sms.body}\n}", "reply json\naccepted status 200\nid id\n"+rules, nil).Prepare(t.Context(), saying("Hi"), noToken, now)
			if err != nil {
				t.Fatal(err)
			}
			r := x.Read(200, http.Header{}, []byte(`{"state":"sent","id":`+id+`}`), true)
			if strings.Contains(rules, "matches") && (id == "false" || id == `""`) {
				want = sms.OutcomeUnknown
			}
			if r.Outcome != want || r.ID != "" {
				t.Errorf("id %s, %q: %s with the id %q, want %s", id, rules, r.Outcome, r.ID, want)
			}
			if r = x.Read(200, http.Header{}, []byte(`{"state":"sent","id":"10"}`), true); r.Outcome != sms.Accepted || r.ID != "10" {
				t.Errorf("%q: %s with the id %q", rules, r.Outcome, r.ID)
			}
		}
	}
}

// A reply that may only repeat the text, or is cut off, is no proof of an error or of success.
func TestStatusAloneDoubt(t *testing.T) {
	a := define(t, "POST /\nform {\nt {sms.body}\n}", "reply text\naccepted status 200\nid generated\ncause busy when matches `(?i)maintenance`", nil)
	read := func(text, body string, whole bool) sms.Result {
		x, err := a.Prepare(t.Context(), saying(text), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		return x.Read(200, http.Header{}, []byte(body), whole)
	}
	if r := read("I saw an error", "queued: I saw an error", true); r.Outcome != sms.OutcomeUnknown {
		t.Errorf("a quotation is %s", r.Outcome)
	}
	if r := read("Hello", "OK", false); r.Outcome != sms.OutcomeUnknown {
		t.Errorf("a reply that is cut off is %s", r.Outcome)
	}
	if r := read("Hello", "Maintenance, nothing was taken", true); r.Cause() != sms.Busy {
		t.Errorf("a cause line is not asked: %s", r.Cause())
	}
}

// The log says of a reply that fits nothing how it begins and which lines it failed, without the
// text, secrets and numbers.
func TestReplyThatFitsNothing(t *testing.T) {
	const notShown = "(not shown: "
	const text, secret = "Meet me at the old bridge", "s3cret-token-of-johndow"
	rules := "option key secret\nreply json\naccepted status 200\naccepted state in sent queued\naccepted id exists\nid id\ncode code\nmessage message\ncause busy 7"
	a := define(t, "POST /\nbearer {option.key}\nform {\nt {sms.body}\n}", rules, map[string]string{"key": secret})
	const stateAndID, id = "not met: accepted state in sent queued; accepted id exists; it begins: ", "not met: accepted id exists; it begins: "
	for _, c := range []struct {
		status int
		body   string
		whole  bool
		want   string
	}{
		{200, `{"result":"fine"}`, true, stateAndID + `{"result":"fine"}`},
		{200, `{"state":"sent"}`, true, id + `{"state":"sent"}`},
		{200, " {\n\"state\":\"sent\"}\n", true, id + `{ "state":"sent"}`},
		{201, `{"state":"sent","id":"7"}`, true, `not met: accepted status 200; it begins: {"state":"sent","id":"7"}`},
		{500, `{}`, true, `not met: accepted status 200; accepted state in sent queued; accepted id exists; it begins: {}`},
		{200, "<html>Hello</html>", true, "the reply is not json; it begins: <html>Hello</html>"},
		{502, "<html>Bad gateway</html>", true, "the reply is not json; not met: accepted status 200; it begins: <html>Bad gateway</html>"},
		{200, "", true, "the reply is empty"},
		{200, `{"state":"se`, false, `the reply is cut off; it begins: {"state":"se`},
		{200, `{"to":"+15551231234"}`, true, stateAndID + `{"to":"+155••••••34"}`},
		{200, `{"echo":"` + text + `"}`, true, stateAndID + notShown + "it repeats the message)"},
		{200, `{"echo":"Meet\u0020me\u0020at the"}`, true, stateAndID + notShown + "it repeats the message)"},
		{200, `{"key":"` + secret + `"}`, true, stateAndID + notShown + "it repeats a secret)"},
		{200, strings.Repeat("x", 95) + text, true, "the reply is not json; it begins: " + notShown + "it repeats the message)"},
		{200, strings.Repeat("é;", 150), true, "the reply is not json; it begins: " + strings.Repeat("é;", 50) + "…"},
		{200, strings.Repeat("é", 300), true, "the reply is not json; it begins: (200 characters)"},
		{200, `{"code":7}`, true, ""},
		{200, `{"message":"No route"}`, true, "No route"},
		{200, `{"state":"sent","id":"7"}`, true, ""},
	} {
		x, err := a.Prepare(t.Context(), saying(text), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		if r := x.Read(c.status, http.Header{}, []byte(c.body), c.whole); r.Detail != c.want {
			t.Errorf("%d %.60s\n  %s\n  want %s", c.status, c.body, r.Detail, c.want)
		}
	}
}

// Our own sentence about a reply is not told to the app's user as the provider's.
func TestNotesAreNotTold(t *testing.T) {
	a := define(t, "POST /\nform {\nt {sms.body}\n}", "reply json\naccepted status 200\nid id\nmessage message\ntell message", nil)
	for body, want := range map[string]string{"<html>x</html>": "", "{}": "", `{"message":"No route"}`: "No route", "No route": "No route"} {
		x, err := a.Prepare(t.Context(), saying("Hello"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		if r := x.Read(400, http.Header{}, []byte(body), true); r.Refusal.Words != want {
			t.Errorf("%s: the user reads %q, want %q", body, r.Refusal.Words, want)
		}
	}
}

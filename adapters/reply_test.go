package adapters

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		rules, body string
		status      int
		want        string // outcome cause id code
	}{
		{"reply json\naccepted status 2xx\nid a.0.id b", `{"a":[{"id":9223372036854775807123}]}`, 202, "accepted none 9223372036854775807123 "},
		{"reply json\naccepted status 200\naccepted n in 1 2\nid b a", `{"n":2,"a":"x","b":""}`, 200, "accepted none x "},
		{"reply json\naccepted status 200\naccepted n in 1 2\nid a\ncode n", `{"n":3,"a":"x"}`, 200, "refused rejected  3"},
		{"reply json\naccepted status 200\naccepted l empty\nid a", `{"l":[],"a":"x"}`, 200, "accepted none x "},
		{"reply json\naccepted status 200\naccepted l empty\nid a", `{"l":null,"a":"x"}`, 200, "accepted none x "},
		{"reply json\naccepted status 200\naccepted l empty\nid a", `{"l":["e"],"a":"x"}`, 200, "refused rejected  "},
		{"reply json\naccepted status 200\naccepted e exists\nid a", `{"a":"x"}`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\naccepted e exists\nid a", `{"a":"x","e":null}`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\naccepted s matches ^OK\nid a", `{"a":"x","s":"OK then"}`, 200, "accepted none x "},
		{"reply json\naccepted status 200\naccepted l.#.s every == 0\nid a", `{"a":"x","l":[{"s":"0"},{"s":0}]}`, 200, "accepted none x "},
		{"reply json\naccepted status 200\naccepted l.#.s every == 0\nid a", `{"a":"x","l":[{"s":"0"},{"s":"1"}]}`, 200, "refused rejected  "},
		{"reply json\naccepted status 200\naccepted l.#.s every == 0\nid a", `{"a":"x","l":[]}`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\nid generated\naccepted ok == true", `{"ok":true}`, 200, "accepted none " + messageID + " "},
		{"reply json\naccepted status 202\nid generated", ``, 202, "accepted none " + messageID + " "},
		{"reply json\naccepted status 202\nid generated", ``, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\nid a\ncode c\ncause busy 1.5\ncause opted_out when message matches STOP\nmessage m\ncause no_credit when status 402 409", `{"c":1.5}`, 400, "refused busy  1.5"},
		{"reply json\naccepted status 200\nid a\ncause opted_out when message matches STOP\nmessage m", `{"m":"got STOP"}`, 418, "refused opted_out  "},
		{"reply json\naccepted status 200\nid a\ncause no_credit when status 409", `{}`, 409, "refused no_credit  "},
		{"reply json\naccepted status 200\nid a\ncause unknown 7\ncode c", `{"c":7}`, 400, "unknown unknown  7"},
		{"reply xml\naccepted status 200\naccepted //ok == 1\nid /r/id", `<?xml version="1.0"?><r xmlns="urn:x"><ok>1</ok><id> x7 </id></r>`, 200, "accepted none x7 "},
		{"reply xml\naccepted status 200\nid /r/id", `<html><r><id>1</id></r></html>`, 200, "unknown unknown  "},
		{"reply xml\naccepted status 200\naccepted id exists\nid /r/@id", `<r id="7"/>`, 200, "accepted none 7 "},
		{"reply xml\naccepted status 200\naccepted `//ok[contains(@x,1)]` exists\nid //id", `<r><ok x="1">y</ok><id>7</id></r>`, 200, "unknown unknown  "},
		{"reply xml\naccepted status 200\naccepted id exists\nid //id", `<r><id>7</id>`, 200, "unknown unknown  "},
		{"reply xml\naccepted status 200\naccepted id exists\nid //id", `<r><id>7</id></r></r>`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\nid id", `"7"`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\nid id", `null`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\nid id", `{}`, 200, "accepted none  "},
		{"reply json\naccepted status 200\nid id", "\ufeff\r\n {\"id\":7}\n", 200, "accepted none 7 "},
		{"reply json\naccepted status 200\naccepted id exists\nid id", `{"id":{"a":1}}`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\naccepted data exists\nid id", `{"data":{"a":1},"id":"x"}`, 200, "accepted none x "},
		{"reply json\naccepted status 200\naccepted data exists\nid id", `{"data":{ },"id":"x"}`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\naccepted s != no\nid id", `{"id":"x"}`, 200, "accepted none x "},
		{"reply json\naccepted status 200\naccepted s != no\nid id", `{"id":"x","s":"no"}`, 200, "refused rejected  "},
		{"reply json\naccepted status 200\naccepted s every != no\nid id", `{"id":"x"}`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\naccepted s == yes\nid id\ncode error", `{"s":null,"error":false}`, 200, "unknown unknown  "},
		{"reply json\naccepted status 200\naccepted \"id\" == 7\nid other", `{"id":"7","other":"8"}`, 200, "accepted none 8 "},
		{"reply json\naccepted status 200\naccepted code empty\nid id\ncode c", `{"id":"7","c":"4"}`, 200, "refused rejected  4"},
		{"reply json\naccepted status 200\nid id\ncause busy when status 5xx", `{}`, 503, "refused busy  "},
		{"reply json\naccepted status 200\nid id\ncause busy when status 5xx", ``, 503, "unknown unknown  "},
		{"reply text\naccepted status 200\naccepted matches ^OK\nid `id=(\\d+)`", "OK id=77\n", 200, "accepted none 77 "},
		{"reply text\naccepted status 200\naccepted matches ^OK\nid `id=(\\d+)`\ncode `ERR (\\d+)`", "ERR 12", 200, "refused rejected  12"},
		{"reply pairs\naccepted status 200\naccepted ok == 1\nid id", "ok=1&id=5", 200, "accepted none 5 "},
		{"reply pairs ^\naccepted status 200\naccepted ok == 1\nid id\ncode err", "ok=0^err=4", 200, "refused rejected  4"},
		{"reply pairs\naccepted status 200\naccepted ok == 1\nid id", "ok=1\nid = 5\n", 200, "accepted none 5 "},
	} {
		a := define(t, "POST /\nform {\nt {sms.body}\n}", c.rules, nil)
		x, err := a.Prepare(t.Context(), saying("Hi"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		r := x.Read(c.status, http.Header{}, []byte(c.body), true)
		if got := r.Outcome.String() + " " + r.Cause().String() + " " + r.ID + " " + r.Code; got != c.want {
			t.Errorf("%d %s\n%s\n got %q\nwant %q", c.status, c.body, c.rules, got, c.want)
		}
	}
}

// The provider's words reach the app only where the definition says so, and never with a secret, a
// number or the text in them.
func TestTellMessage(t *testing.T) {
	const rules = "reply json\naccepted status 200\nid id\nmessage message\noption key secret"
	for _, c := range []struct{ tell, body, want string }{
		{"tell message", `{"message":"Daily limit reached"}`, "Daily limit reached"},
		{"tell message", `{"message":"To +15551231234: no"}`, "To +155••••••34: no"},
		{"tell message", `{"message":"the-secret is wrong"}`, ""},
		{"tell message", `{"message":"cannot send Hello World"}`, ""},
		{"tell message", `{}`, ""},
		{"tell message", `{"message":"not to (555) 123-1234, 12 tries"}`, "not to (555) •••-••34, 12 tries"},
		{"tell message", `{"message":"not to 1,555,123,1234, to 1&nbsp;555&nbsp;123&nbsp;1235"}`, "not to 1,55•,•••,••34, to 1&nbsp;55•&nbsp;•••&nbsp;••35"},
		{"", `{"message":"Daily limit reached"}`, ""},
	} {
		a := define(t, "POST /\nbearer {option.key}\nform {\nt {sms.body}\n}", c.tell+"\n"+rules, map[string]string{"key": "the-secret"})
		x, err := a.Prepare(t.Context(), saying("Hello World"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Read(400, http.Header{}, []byte(c.body), true).Refusal.Words; got != c.want {
			t.Errorf("%s: %q, want %q", c.body, got, c.want)
		}
		if got := x.Read(500, http.Header{}, []byte(c.body), true).Refusal.Words; got != "" {
			t.Errorf("an unknown outcome is told as %q", got)
		}
	}
}

// A Retry-After beyond a minute is a quota, whether it is seconds or a date, and so is a named one
// without any.
func TestRetryAfter(t *testing.T) {
	a := define(t, "POST /\nform {\nt {sms.body}\n}", "reply json\naccepted status 200\nid id\ncode code\ncause quota 1 2 for sender\ncause quota when text == \"for\" for recipient\ncause busy 3", nil)
	x, err := a.Prepare(t.Context(), saying("Hi"), noToken, now)
	if err != nil {
		t.Fatal(err)
	}
	const bare, sender, recipient, busy = `{}`, `{"code":2}`, `{"text":"for"}`, `{"code":3}`
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		body, after string
		status      int
		cause       sms.Cause
		scope       sms.Scope
		wait        time.Duration
	}{
		{bare, "", 429, sms.Busy, sms.ForAccount, 0},
		{bare, "7", 429, sms.Busy, sms.ForAccount, 7 * time.Second},
		{bare, "2.5", 429, sms.Busy, sms.ForAccount, 2500 * time.Millisecond},
		{bare, "60", 429, sms.Busy, sms.ForAccount, time.Minute},
		{bare, "61", 429, sms.Quota, sms.ForAccount, 61 * time.Second},
		{bare, "3600", 429, sms.Quota, sms.ForAccount, time.Hour},
		{bare, "86400", 429, sms.Quota, sms.ForAccount, time.Hour},
		{bare, "99999999999", 429, sms.Quota, sms.ForAccount, time.Hour},
		{bare, "1e300", 429, sms.Quota, sms.ForAccount, time.Hour},
		{bare, "0", 429, sms.Busy, sms.ForAccount, 0},
		{bare, "-3600", 429, sms.Busy, sms.ForAccount, 0},
		{bare, "soon", 429, sms.Busy, sms.ForAccount, 0},
		{bare, "NaN", 429, sms.Busy, sms.ForAccount, 0},
		{bare, at(time.Minute), 429, sms.Busy, sms.ForAccount, time.Minute},
		{bare, at(10 * time.Minute), 429, sms.Quota, sms.ForAccount, 10 * time.Minute},
		{bare, at(24 * time.Hour), 429, sms.Quota, sms.ForAccount, time.Hour},
		{bare, "Fri, 31 Dec 9999 23:59:59 GMT", 429, sms.Quota, sms.ForAccount, time.Hour},
		{bare, at(-time.Minute), 429, sms.Busy, sms.ForAccount, 0},
		{"<html>", "120", 429, sms.Quota, sms.ForAccount, 2 * time.Minute},
		{busy, "120", 503, sms.Quota, sms.ForAccount, 2 * time.Minute},
		{busy, "20", 503, sms.Busy, sms.ForAccount, 20 * time.Second},
		{bare, "120", 400, sms.Rejected, sms.ForAccount, 0},
		{bare, "120", 503, sms.Unconfirmed, sms.ForAccount, 0},
		{sender, "", 400, sms.Quota, sms.ForSender, 0},
		{sender, "30", 429, sms.Quota, sms.ForSender, 30 * time.Second},
		{sender, "-1", 403, sms.Quota, sms.ForSender, 0},
		{recipient, "600", 400, sms.Quota, sms.ForRecipient, 10 * time.Minute},
	} {
		r := x.Read(c.status, http.Header{"Retry-After": {c.after}, "Date": {now.Format(http.TimeFormat)}}, []byte(c.body), true)
		if r.Cause() != c.cause || r.RetryAfter != c.wait || r.Refusal.RetryAfter != c.wait || c.cause == sms.Quota && r.Scope != c.scope {
			t.Errorf("%d %s %q: %s for %s, after %v", c.status, c.body, c.after, r.Cause(), r.Scope, r.RetryAfter)
		}
	}
	later := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	if r := x.Read(429, http.Header{"Retry-After": {later}}, nil, true); r.Cause() != sms.Quota || r.RetryAfter < 80*time.Second || r.RetryAfter > 90*time.Second {
		t.Errorf("a date without that of the reply: %s after %v", r.Cause(), r.RetryAfter)
	}
}

// The scope of a quota is the end of its line, and appears nowhere else.
func TestScopeOfQuota(t *testing.T) {
	with := func(line string) error {
		_, err := parse("own", "own", 1, "base_url https://x\nsend {\nPOST /\nform {\nt {sms.body}\n}\n}\nreply json\naccepted status 200\nid id\ncode c\n"+line)
		return err
	}
	for _, line := range []string{"cause quota 1", "cause quota 1 for account", "cause quota 1 2 for sender", "cause quota when status 403 for recipient",
		`cause quota when message == "for" for sender`, "cause busy when message in now for account", `cause rejected "for"`} {
		if err := with(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{"cause quota 1 for", "cause quota 1 for user", "cause quota for account", "cause busy 1 for sender", "cause quota 1 for sender 2", "cause quota 1 for account sender"} {
		if err := with(line); err == nil {
			t.Errorf("%s is accepted", line)
		}
	}
}

package adapters

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// define makes an adapter from the inside of a send block and what stands around it.
func define(t testing.TB, send, around string, options map[string]string) *Adapter {
	t.Helper()
	if !strings.Contains(around, "reply") {
		around += "\nreply json\naccepted status 200\nid id"
	}
	if !strings.Contains(around, "base_url") {
		around += "\nbase_url https://api.example.com"
	}
	d, err := parse("own", "own", 1, around+"\nsend {\n"+send+"\n}")
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", options)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func saying(body string) *sms.Message {
	return &sms.Message{
		ID: messageID, Received: now, User: "johndow", Body: sms.Hide(body), ContentType: "text/plain", InstallID: "i1", Smart: true,
		Disposition: sms.Disposition{ID: "d.1", Wishes: []string{"display", "x"}},
		From:        sms.Number{Value: "+15550001111", Kind: sms.Phone}, To: sms.Number{Value: "+15551231234", Kind: sms.Phone},
	}
}

// request prepares a message and returns the request and its body.
func request(t testing.TB, a *Adapter, m *sms.Message) (*http.Request, string) {
	t.Helper()
	x, err := a.Prepare(context.Background(), m, noToken, now)
	if err != nil {
		t.Fatal(err)
	}
	return x.Request, readBody(t, x.Request)
}

func TestBodies(t *testing.T) {
	media := saying("Hi")
	media.Media = []string{"https://f/1", "https://f/2"}
	bare := saying("Hi")
	bare.From, bare.Smart, bare.Disposition, bare.InstallID = sms.Number{}, false, sms.Disposition{}, ""
	for name, c := range map[string]struct {
		message    *sms.Message
		send, want string
	}{
		"typed values": {bare, "json {\na true\nb null\nc 1.5\nd \"1\"\ne \"true\"\nf -7\ng +15\nh 007\ni T\nj int {sms.to}\nk \"a \\\" b\"\n}",
			`{"a":true,"b":null,"c":1.5,"d":"1","e":"true","f":-7,"g":"+15","h":"007","i":"T","j":15551231234,"k":"a \" b"}`},
		"lists":       {media, "json {\na[] {sms.to}\nb[] {sms.media}\nc[] x 1 {sms.from}\nd[] {\ne {sms.body}\n}\n}", `{"a":["+15551231234"],"b":["https://f/1","https://f/2"],"c":["x",1,"+15550001111"],"d":[{"e":"Hi"}]}`},
		"empty goes":  {bare, "json {\nto {sms.to}\nfrom {sms.from}\no {\np {\nq {sms.from}\n}\n}\nl[] {sms.from}\nm[] {sms.media}\nn[] {\nx {sms.from}\n}\nnote \"by {sms.from}\"\nz 1\n}", `{"to":"+15551231234","z":1}`},
		"groups":      {bare, "json {\nwhen {sms.from} {\na 1\n}\nwhen no {sms.from} {\nb 1\n}\nwhen unicode {\nc 1\n}\nwhen no unicode {\nd 1\nwhen no media {\ne 1\n}\n}\nwhen octets <= 2 {\nf 1\n}\nwhen characters > 2 {\ng 1\n}\n}", `{"b":1,"d":1,"e":1,"f":1}`},
		"quoted when": {bare, "json {\n\"when\" now\n}", `{"when":"now"}`},
		"message values": {saying("Hi"), "json {\na {message.id}\nb {message.time.unix}\nc {message.time.rfc3339}\nd {message.time.http}\ne {sms.user}\nf {sms.content_type}\ng {sms.disposition}\nh {sms.disposition.id}\ni {sms.smart}\nj {sms.install_id}\nk \"<{sms.to}>\"\n}",
			`{"a":"` + messageID + `","b":"1795521600","c":"2026-11-24T12:00:00Z","d":"Tue, 24 Nov 2026 12:00:00 GMT","e":"johndow","f":"text/plain","g":"d.1:display,x","h":"d.1","i":"1","j":"i1","k":"\u003c+15551231234\u003e"}`},
		"media by index": {media, "json {\na {sms.media.0}\nb {sms.media.1}\nc {sms.media.2}\n}", `{"a":"https://f/1","b":"https://f/2"}`},
		"xml": {media, "xml {\nmsg {\n@id {message.id}\n@none {sms.media.7}\nto {sms.to}\nbody \"{sms.body} & <co>\"\npic[] {sms.media}\nempty {\nx {sms.media.7}\n}\n}\n}",
			`<?xml version="1.0" encoding="UTF-8"?><msg id="` + messageID + `"><to>+15551231234</to><body>Hi &amp; &lt;co&gt;</body><pic>https://f/1</pic><pic>https://f/2</pic></msg>`},
		"xml text": {media, "xml {\nsms {\n@xmlns urn:x\nto {\n@number {sms.to}\n@none {sms.media.7}\n}\nbody {\n@lang en\n. {sms.body}\n}\nwhen media {\npic {sms.media.0}\n}\nlist[] {\nitem {sms.media.1}\n}\nvoid {\n@none {sms.media.7}\n}\n}\n}",
			`<?xml version="1.0" encoding="UTF-8"?><sms xmlns="urn:x"><to number="+15551231234"></to><body lang="en">Hi</body><pic>https://f/1</pic><list><item>https://f/2</item></list></sms>`},
		"form": {media, "form {\na {sms.body}\na b\nm {sms.media}\nn {sms.media.5}\n\"x[]\" 1\n}", "a=Hi&a=b&m=https%3A%2F%2Ff%2F1&m=https%3A%2F%2Ff%2F2&x%5B%5D=1"},
	} {
		_, body := request(t, define(t, "POST /\n"+c.send, "", nil), c.message)
		if body != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, body, c.want)
		}
	}
	// Control characters cannot be written in XML; the message is refused for this adapter, not mangled.
	a := define(t, "POST /\nxml {\nm {\nb {sms.body}\n}\n}", "", nil)
	if _, err := a.Prepare(t.Context(), saying("a\x00b"), noToken, now); err == nil || err.Error() != "unsupported_content.unknown_content" {
		t.Errorf("got %v", err)
	}
}

func TestTargets(t *testing.T) {
	a := define(t, "PUT /v1/{option.account}/{sms.session}?fixed=1\nquery {\nto {sms.to}\nfrom {sms.from}\n}\nheader X-Id {message.id}\nheader X-Opt {option.none}",
		"base_url https://{option.region}.example.com/prefix/\noption account\noption region\noption none optional", map[string]string{"account": "a/b c?", "region": "eu"})
	m := saying("Hi")
	r, body := request(t, a, m)
	session := strings.Split(r.URL.EscapedPath(), "/")[4]
	want := "https://eu.example.com/prefix/v1/a%2Fb%20c%3F/" + session + "?fixed=1&to=%2B15551231234&from=%2B15550001111"
	if r.Method != "PUT" || r.URL.String() != want || len(session) != 64 || body != "" {
		t.Errorf("%s %s, want %s", r.Method, r.URL, want)
	}
	if r.Header.Get("X-Id") != messageID || r.Header["X-Opt"] != nil {
		t.Errorf("headers %v", r.Header)
	}
	again, _ := request(t, a, m)
	if again.URL.Path != r.URL.Path {
		t.Error("the session changes")
	}
	m.To.Value = "+15551231235"
	if other, _ := request(t, a, m); other.URL.Path == r.URL.Path {
		t.Error("two recipients share a session")
	}
}

func TestNumberForms(t *testing.T) {
	us, gb := sms.Number{Value: "+15551231234", Kind: sms.Phone}, sms.Number{Value: "+442079460123", Kind: sms.Phone}
	short, acme := sms.Number{Value: "72227", Kind: sms.ShortCode}, sms.Number{Value: "ACME", Kind: sms.Alphanumeric}
	for form, want := range map[string][4]string{
		"e164":   {"+15551231234", "+442079460123", "72227", "ACME"},
		"digits": {"15551231234", "442079460123", "72227", "ACME"},
		"00":     {"0015551231234", "00442079460123", "72227", "ACME"},
		"nanp10": {"5551231234", "", "72227", "ACME"},
		"nanp11": {"15551231234", "", "72227", "ACME"},
	} {
		for i, n := range []sms.Number{us, gb, short, acme} {
			if got, ok := numberFormNames[form].write(n); got != want[i] || ok != (want[i] != "") {
				t.Errorf("%s: %s is written %q, want %q", form, n.Value, got, want[i])
			}
		}
	}
	a := define(t, "POST /\nform {\nto {sms.to}\nfrom {sms.from}\n}", "number recipient nanp10\nnumber sender digits", nil)
	if _, body := request(t, a, saying("Hi")); body != "to=5551231234&from=15550001111" {
		t.Error(body)
	}
	m := saying("Hi")
	m.To = gb
	var refusal *sms.Refusal
	if _, err := a.Prepare(t.Context(), m, noToken, now); !errors.As(err, &refusal) || refusal.Cause != sms.DestinationNotAllowed || !refusal.Cause.TryNext(refusal.ByProvider) {
		t.Errorf("got %v", err)
	}
}

func TestVariantsAndLimits(t *testing.T) {
	d, err := parse("own", "own", 1, `
		base_url https://api.example.com
		text max 5 septets
		text replace "${" "$ {"
		text replace bad good
		reply json
		accepted status 200
		id id
		send {
			when no media
			when no unicode
			POST /plain
			form { 
				t {sms.body}
			}
		}
		send {
			when unicode
			text max 3 utf16
			POST /unicode
			form {
				t {sms.body}
			}
		}
		send {
			when media
			POST /media
			form {
				t {sms.body}
				m {sms.media}
			}
		}`)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		body  string
		media int
		want  string
	}{
		{"12345", 0, "/plain"},
		{"123€", 0, "/plain"},
		{"1234€", 0, "too_long: 6 characters, at most 5"},
		{"123456", 0, "too_long: 6 characters, at most 5"},
		{"你好吗", 0, "/unicode"},
		{"你👋", 0, "/unicode"},
		{"你好吗?", 0, "too_long: 4 characters, at most 3"},
		{"Hi", 1, "/media"},
		{"你", 1, "/media"}, // the Unicode variant would lose the picture
		{"bad", 0, "/plain"},
	} {
		m := saying(c.body)
		m.Media = []string{"https://f/1"}[:c.media]
		x, err := a.Prepare(t.Context(), m, noToken, now)
		got := ""
		var refusal *sms.Refusal
		if errors.As(err, &refusal) {
			got = refusal.Cause.String() + refusal.Fill(": {length} {unit}, at most {limit}", "")
		} else {
			got = x.Request.URL.Path
		}
		if got != c.want {
			t.Errorf("%q with %d media: %s, want %s", c.body, c.media, got, c.want)
		}
	}
	if _, body := request(t, a, saying("${b")); body != "t=%24+%7Bb" {
		t.Error(body)
	}
	only := define(t, "POST /\nform {\nt {sms.body}\n}", "", nil)
	m := saying("Hi")
	m.Media = []string{"https://f/1"}
	if _, err := only.Prepare(t.Context(), m, noToken, now); err == nil || err.Error() != "unsupported_content" {
		t.Errorf("media without a place: %v", err)
	}
}

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

// What the provider says reaches the app only where the definition wants it, and never with a secret, a number or the
// text in it.
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

func TestRetryAfter(t *testing.T) {
	a := define(t, "POST /\nform {\nt {sms.body}\n}", "", nil)
	x, err := a.Prepare(t.Context(), saying("Hi"), noToken, now)
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	for value, want := range map[string][2]time.Duration{
		"7": {7 * time.Second, 7 * time.Second}, later: {50 * time.Second, time.Minute}, "": {}, "-1": {}, "soon": {}, "NaN": {}, "2.5": {2500 * time.Millisecond, 2500 * time.Millisecond},
		"99999999999": {longestRetry, longestRetry}, "1e300": {longestRetry, longestRetry}, "Fri, 31 Dec 9999 23:59:59 GMT": {longestRetry, longestRetry},
	} {
		r := x.Read(429, http.Header{"Retry-After": {value}}, nil, true)
		if r.RetryAfter < want[0] || r.RetryAfter > want[1] || r.Refusal.RetryAfter != r.RetryAfter {
			t.Errorf("%q is %v", value, r.RetryAfter)
		}
	}
}

// A block that stands in a Caddyfile and its rendering mean the same.
func TestRender(t *testing.T) {
	source := "legacy {\n\t# comment\n\tbase_url https://x\n\n\n\tsend {\n\t\tPOST /\n\t\tjson {\n\t\t\ta \"quo\\\"te # no { comment\"\n\t\t\tb `back\\d \"tick\"`\n" +
		"\t\t\tc \"}\"\n\t\t\td \"two\nlines\"\n\t\t\te \"\"\n\t\t}\n\t}\n\treply text\n\taccepted status 200\n\tid `^(\\d+)$`\n}"
	d := caddyfile.NewTestDispenser(source)
	d.Next()
	segment := d.NextSegment()
	rendered := Render(segment[2 : len(segment)-1])
	read := func(text string) (words [][]word) {
		list, err := parseSyntax("x", 1, text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var walk func([]*statement)
		walk = func(list []*statement) {
			for _, s := range list {
				words = append(words, s.words)
				walk(s.block)
			}
		}
		walk(list)
		return words
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(source, "legacy {\n"), "}")
	if diff := cmp.Diff(read(inner), read(rendered), cmp.AllowUnexported(word{})); diff != "" {
		t.Errorf("%s\n%s", diff, rendered)
	}
}

// What import puts into a block without quotes may need them, and stands on lines of another place.
func TestRenderImports(t *testing.T) {
	args := []string{"two words", "<<X", "a\\", "\\<", "#c", "", "plain", "`"}
	source := "(s) {\nw {args[0]}\n}\nsite {\nfirst\n"
	want := [][]string{{"first"}}
	for _, a := range args {
		quote := "`"
		if a == "`" {
			quote = `"`
		}
		source += "import s " + quote + a + quote + "\n"
		want = append(want, []string{"w", a})
	}
	source += "last\n}"
	want = append(want, []string{"last"})
	blocks, err := caddyfile.Parse("x", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var tokens []caddyfile.Token
	for _, s := range blocks[0].Segments {
		tokens = append(tokens, s...)
	}
	list, err := parseSyntax("x", 1, Render(tokens))
	if err != nil {
		t.Fatalf("%v\n%s", err, Render(tokens))
	}
	var got [][]string
	for _, s := range list {
		var line []string
		for _, w := range s.words {
			line = append(line, w.text)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, Render(tokens))
	}
}

// Lines of a rendered block keep their distance, so that an error names the line in the Caddyfile.
func TestRenderLines(t *testing.T) {
	for _, before := range []string{
		"", "\n\n\n", "# comment\n# comment\n", "source \"two\nlines\"\n", "source <<X\n\tthree\n\tlines\n\tX\n", "verified \\\n\tdocs \\\n\t2026-11\n",
		"send {\n\n\n\tPOST /\n\n\tform {\n\t\ta \"b\nc\"\n\t}\n\n}\n",
	} {
		source := "\n\ndefine own {\n\n# first\nreply json\n" + before + "optoin x\n}"
		d := caddyfile.NewTestDispenser(source)
		d.Next()
		segment := d.NextSegment()
		inner := segment[3 : len(segment)-1]
		_, err := parse("own", "Caddyfile", inner[0].Line, Render(inner))
		line := strings.Count(source[:strings.Index(source, "optoin")], "\n") + 1
		if want := fmt.Sprintf(`Caddyfile:%d: unknown word "optoin"`, line); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", before, err, want)
		}
	}
}

// Whatever words a block has, the text that Render makes of them has the same, on the same lines.
func TestRenderKeepsWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(
			rapid.StringMatching("[a-z{}<#\"`\\\\ .\n]{0,8}"),
			rapid.SampledFrom([]string{"{", "}", "{}", "<<X", "a\\", "#c", "\\\"", "`\\\"`", "TEXT", "\\<", "import", ""}),
		)
		var source strings.Builder
		var want [][]string
		for range rapid.IntRange(1, 4).Draw(t, "lines") {
			var line []string
			for i := range rapid.IntRange(1, 4).Draw(t, "words") {
				w := word.Draw(t, "word")
				switch {
				case i == 0:
					w = "w" // a line begins with a plain word here
					source.WriteString(w)
				case !strings.Contains(w, "`"):
					source.WriteString(" `" + w + "`")
				case !strings.Contains(w, `\`):
					source.WriteString(` "` + strings.ReplaceAll(w, `"`, `\"`) + `"`)
				default:
					source.WriteString(" <<END\n" + w + "\nEND")
				}
				line = append(line, w)
			}
			source.WriteString(strings.Repeat("\n", rapid.IntRange(1, 3).Draw(t, "breaks")))
			want = append(want, line)
		}
		tokens, err := caddyfile.Tokenize([]byte(source.String()), "x")
		if err != nil {
			t.Fatal(err)
		}
		rendered := Render(tokens)
		list, err := parseSyntax("x", 1, rendered)
		if err != nil {
			t.Fatalf("%v: %q", err, rendered)
		}
		var got [][]string
		for _, s := range list {
			var line []string
			for _, w := range s.words {
				line = append(line, w.text)
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q as %q: %s", source.String(), rendered, diff)
		}
	})
}

// However a text is encoded, a server reads the same text.
func TestEncodersKeepText(t *testing.T) {
	kinds := map[string]*Adapter{}
	for _, kind := range []string{"form", "multipart", "json", "query"} {
		method := "POST /"
		if kind == "query" {
			method = "GET /"
		}
		kinds[kind] = define(t, method+"\n"+kind+" {\nto {sms.to}\ntext {sms.body}\n}", "", nil)
	}
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringN(1, 200, -1).Draw(t, "body")
		for kind, a := range kinds {
			x, err := a.Prepare(context.Background(), saying(body), noToken, now)
			if err != nil {
				t.Fatal(err)
			}
			arrived := sentText(t, x.Request)
			if len(arrived) != 2 || arrived[0] != body && arrived[1] != body {
				t.Fatalf("%s: %q arrived as %q", kind, body, arrived)
			}
		}
	})
}

package adapters

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

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

// mediaAt returns pictures that the provider downloads.
func mediaAt(urls ...string) (list []sms.Media) {
	for _, url := range urls {
		list = append(list, sms.Media{URL: sms.Hide(url), Type: "image/jpeg"})
	}
	return list
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
	media.Media = mediaAt("https://f/1", "https://f/2")
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
		"message values": {saying("Hi"), "json {\na {message.id}\nb {message.time.unix}\nc {message.time.rfc3339}\nd {message.time.http}\ne {sms.user}\nf {sms.content_type}\ng {sms.disposition}\nh {sms.disposition.id}\ni {sms.smart}\nj {sms.install_id}\nk \"({sms.to})\"\n}",
			`{"a":"` + messageID + `","b":"1795521600","c":"2026-11-24T12:00:00Z","d":"Tue, 24 Nov 2026 12:00:00 GMT","e":"johndow","f":"text/plain","g":"d.1:display,x","h":"d.1","i":"1","j":"i1","k":"(+15551231234)"}`},
		"media by index": {media, "json {\na {sms.media.0}\nb {sms.media.1}\nc {sms.media.2}\n}", `{"a":"https://f/1","b":"https://f/2"}`},
		"xml": {media, "xml {\nmsg {\n@id {message.id}\n@none {sms.media.7}\nto {sms.to}\nbody {sms.body}\nco \"& <co>\"\npic[] {sms.media}\nempty {\nx {sms.media.7}\n}\n}\n}",
			`<?xml version="1.0" encoding="UTF-8"?><msg id="` + messageID + `"><to>+15551231234</to><body>Hi</body><co>&amp; &lt;co&gt;</co><pic>https://f/1</pic><pic>https://f/2</pic></msg>`},
		"xml text": {media, "xml {\nsms {\n@xmlns urn:x\nto {\n@number {sms.to}\n@none {sms.media.7}\n}\nbody {\n@lang en\n. {sms.body}\n}\nwhen media {\npic {sms.media.0}\n}\nlist[] {\nitem {sms.media.1}\n}\nvoid {\n@none {sms.media.7}\n}\n}\n}",
			`<?xml version="1.0" encoding="UTF-8"?><sms xmlns="urn:x"><to number="+15551231234"></to><body lang="en">Hi</body><pic>https://f/1</pic><list><item>https://f/2</item></list></sms>`},
		"xml attribute after an element": {bare, "xml {\nm {\nb {sms.body}\n@id 7\n}\n}", `<?xml version="1.0" encoding="UTF-8"?><m id="7"><b>Hi</b></m>`},
		"form":                           {media, "form {\nt {sms.body}\na {sms.to}\na b\nm {sms.media}\nn {sms.media.5}\n\"x[]\" 1\n}", "t=Hi&a=%2B15551231234&a=b&m=https%3A%2F%2Ff%2F1&m=https%3A%2F%2Ff%2F2&x%5B%5D=1"},
	} {
		_, body := request(t, define(t, "POST /\n"+c.send, "", nil), c.message)
		if body != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, body, c.want)
		}
	}
	// Control characters cannot be written in XML; the message is refused for this adapter, not
	// mangled.
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
		{"你", 1, "/media"}, // the Unicode send block would lose the picture
		{"bad", 0, "/plain"},
	} {
		m := saying(c.body)
		m.Media = mediaAt("https://f/1")[:c.media]
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
	m.Media = mediaAt("https://f/1")
	if _, err := only.Prepare(t.Context(), m, noToken, now); err == nil || err.Error() != "unsupported_content" {
		t.Errorf("media without a place: %v", err)
	}
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

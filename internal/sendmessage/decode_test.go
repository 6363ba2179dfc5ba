package sendmessage

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func newDecoder(t testing.TB, path string) *Decoder {
	t.Helper()
	c := testCase{}
	c.Settings.Path = path
	return c.decoder(t)
}

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/send_message/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

// The repair never changes a document that was valid.
func TestRepairKeepsValidJSON(t *testing.T) {
	var value *rapid.Generator[any]
	value = rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return rapid.String().Draw(t, "string")
		case 1:
			return rapid.Float64Range(-1e12, 1e12).Draw(t, "number")
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return nil
		case 4:
			return rapid.SampledFrom([]any{"", ":", `":`, `\`, "{\"a\": }", ": ,", "+1555"}).Draw(t, "tricky")
		case 5:
			return rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value }), 0, 3).Draw(t, "list")
		}
		return rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return value }), 0, 3).Draw(t, "object")
	})
	rapid.Check(t, func(t *rapid.T) {
		doc, err := json.MarshalIndent(value.Draw(t, "value"), "", rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		if repaired := repairJSON(doc); string(repaired) != string(doc) {
			t.Fatalf("%s became %s", doc, repaired)
		}
	})
}

// A text that is encoded as it should be arrives as it was written, but for line ends and trailing NULs.
func TestTextArrives(t *testing.T) {
	decode, inPath := newDecoder(t, ""), newDecoder(t, "/s/{user}/{password}/{to}/{body}")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{1,40}`)).Draw(t, "text")
		want := strings.TrimRight(text, "\x00")
		want = strings.ReplaceAll(strings.ReplaceAll(want, "\r\n", "\n"), "\r", "\n")
		if strings.TrimSpace(want) == "" || notReplaced(roleBody, want) {
			return
		}
		form := url.Values{"from": {"johndow"}, "password": {"12345678"}, "to": {"+15551231234"}, "body": {text}, "content_type": {"text/plain"}}.Encode()
		doc, err := json.Marshal(map[string]string{"from": "johndow", "password": "12345678", "to": "+15551231234", "body": text, "content_type": "text/plain"})
		if err != nil {
			t.Fatal(err)
		}
		requests := map[string]*http.Request{
			"query": httptest.NewRequest(http.MethodGet, "/?"+form, nil),
			"form":  post("application/x-www-form-urlencoded", form),
			"JSON":  post("application/json", string(doc)),
		}
		if !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0xFFFE || r == 0xFFFF }) {
			var escaped strings.Builder
			if err := xml.EscapeText(&escaped, []byte(text)); err != nil {
				t.Fatal(err)
			}
			requests["XML"] = post("text/xml", "<m><from>johndow</from><password>12345678</password><to>+15551231234</to><body>"+escaped.String()+
				"</body><content_type>text/plain</content_type></m>")
		}
		for where, r := range requests {
			req, err := decode.Decode(r)
			if err != nil || req.Body.Reveal() != want || req.User != "johndow" || len(req.To) != 1 {
				t.Fatalf("%s: %q arrived as %q (%v)", where, want, req.Body.Reveal(), err)
			}
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: "/s/johndow/12345678/+15551231234/" + text, RawPath: "/s/johndow/12345678/+15551231234/" + url.PathEscape(text)}
		if strings.Trim(text, "/") != text {
			return
		}
		if req, err := inPath.Decode(r); err != nil || req.Body.Reveal() != want {
			t.Fatalf("path: %q arrived as %q (%v)", want, req.Body.Reveal(), err)
		}
	})
}

// What is missing, empty, repeated or too much of a credential never makes one.
func TestCredentialOmissions(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"no password":      httptest.NewRequest(http.MethodGet, "/?from=johndow&to=1&body=x", nil),
		"empty password":   httptest.NewRequest(http.MethodGet, "/?from=johndow&password=&to=1&body=x", nil),
		"name only":        httptest.NewRequest(http.MethodGet, "/?from=johndow&password&to=1&body=x", nil),
		"null":             post("application/json", `{"from":"johndow","password":null}`),
		"empty list":       post("application/json", `{"from":"johndow","password":[]}`),
		"twice":            httptest.NewRequest(http.MethodGet, "/?from=johndow&password=a&password=b", nil),
		"user twice":       httptest.NewRequest(http.MethodGet, "/?user=johndow&user=other&password=a", nil),
		"list":             post("application/json", `{"from":"johndow","password":["a","b"]}`),
		"header and query": basic(httptest.NewRequest(http.MethodGet, "/?username=johndow&password=b", nil), "johndow", "a"),
		"two headers":      basic(header(httptest.NewRequest(http.MethodGet, "/", nil), "X-Password", "b"), "johndow", "a"),
		"broken basic":     header(httptest.NewRequest(http.MethodGet, "/?from=johndow", nil), "Authorization", "Basic !!!"),
		"empty bearer":     header(httptest.NewRequest(http.MethodGet, "/?from=johndow", nil), "Authorization", "Bearer "),
		"unknown scheme":   header(httptest.NewRequest(http.MethodGet, "/?from=johndow", nil), "Authorization", "Negotiate abc"),
		"foreign header":   header(httptest.NewRequest(http.MethodGet, "/?from=johndow", nil), "X-Forwarded-For", "a"),
		"asterisks":        httptest.NewRequest(http.MethodGet, "/?from=johndow&password=*****", nil),
		"not replaced":     httptest.NewRequest(http.MethodGet, "/?from=johndow&password=%25account%5Bpassword%5D%25", nil),
		"query against XML": func() *http.Request {
			r := post("text/xml", "<m><password>a</password></m>")
			r.URL.RawQuery = "password=b"
			return r
		}(),
	} {
		req, err := newDecoder(t, "").Decode(r)
		if err == nil && !req.Secret.Empty() {
			t.Errorf("%s: the secret is %q", name, req.Secret.Reveal())
		}
		if refusal := (*sms.Refusal)(nil); err != nil && !errors.As(err, &refusal) {
			t.Errorf("%s: %v is no refusal", name, err)
		}
	}
}

func header(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

func basic(r *http.Request, user, password string) *http.Request {
	r.SetBasicAuth(user, password)
	return r
}

func TestParseNames(t *testing.T) {
	for key, want := range map[string]string{"recipent": `there is no parameter "recipent"`, "from": "", "to": "", "sms_body": ""} {
		_, err := ParseNames(map[string][]string{key: {"x"}})
		if key == "from" {
			continue // it is what templates call a user or a sender; both are renamed by their own names
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", key, err, want)
		}
	}
	if _, err := ParseNames(map[string][]string{"sms_to": {"--"}}); err == nil {
		t.Error("-- is a name")
	}
}

func TestParsePattern(t *testing.T) {
	names, err := ParseNames(nil)
	if err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]string{
		"/send/{token}": "", "/{to}/{body}/": "", "send": "begins with /", "/{nothing}": "no known parameter", "/a{to}": "either a word or one {name}", "/{to": "either a word",
	} {
		if _, err := ParsePattern(pattern, names); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
}

// check holds for every request whatsoever.
func check(t *testing.T, d *Decoder, r *http.Request) {
	t.Helper()
	req, err := d.Decode(r)
	var refusal *sms.Refusal
	if req == nil || err != nil && !errors.As(err, &refusal) {
		t.Fatalf("%v is no refusal", err)
	}
	for _, s := range append([]string{req.User, req.Sender, req.Body.Reveal(), req.ContentType, req.Disposition.ID, req.InstallID}, req.To...) {
		if !utf8.ValidString(s) {
			t.Errorf("%q is no UTF-8", s)
		}
	}
	if err != nil {
		return
	}
	kind, err := req.Classify()
	if err == nil && kind == Text && (strings.TrimSpace(req.Body.Reveal()) == "" || len(req.To) == 0) {
		t.Error("a text without text or recipient")
	}
	if body := req.Body.Reveal(); err == nil && kind == Text && req.ContentType == "" && gjson.Valid(body) {
		if items := gjson.Get(body, "attachments"); items.IsArray() && len(items.Array()) > 0 && items.Get("0.content-url").Type == gjson.String && len(items.Array()) == 1 {
			t.Errorf("a file became a text: %s", body)
		}
	}
}

func FuzzPairs(f *testing.F) {
	for _, s := range []string{"a=b&c=d", "a=%zz%", "a=b;c=d", "=&=", "to=+1&body=%F0%9F", "from=%account[username]%", "a=%ac%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pairs(s, func(name, value string) {
			if !utf8.ValidString(name) || !utf8.ValidString(value) && utf8.ValidString(s) {
				t.Errorf("%q gives %q=%q", s, name, value)
			}
		})
		if values, err := url.ParseQuery(s); err == nil && utf8.ValidString(s) { // where both understand, they agree
			got := url.Values{}
			pairs(s, func(name, value string) { got.Add(name, value) })
			for name, want := range values {
				if !utf8.ValidString(name + strings.Join(want, "")) {
					continue
				}
				if fmt.Sprint(got[name]) != fmt.Sprint(want) && !isVariable(strings.Join(got[name], "")) {
					t.Errorf("%q: %s is %q, want %q", s, name, got[name], want)
				}
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, c := range corpus(f) {
		if strings.HasPrefix(strings.TrimSpace(c.Request.Body), "{") {
			f.Add([]byte(c.Request.Body))
		}
	}
	d := newDecoder(f, "")
	f.Fuzz(func(t *testing.T, doc []byte) {
		if gjson.ValidBytes(doc) && string(repairJSON(doc)) != string(doc) {
			t.Errorf("%s became %s", doc, repairJSON(doc))
		}
		check(t, d, post("application/json", string(doc)))
	})
}

func FuzzXML(f *testing.F) {
	for _, s := range []string{"<a><to>1</to><body>x</body></a>", "<a>&b;</a>", "<?xml version='1.0' encoding='latin1'?><a>\xe4</a>", "<a", "<a><b/></c>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"} {
		f.Add([]byte(s))
	}
	d := newDecoder(f, "")
	f.Fuzz(func(t *testing.T, doc []byte) { check(t, d, post("text/xml", "<"+string(doc))) })
}

func FuzzDecode(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.Request.Method, c.Request.Target, c.Request.Headers["Content-Type"], []byte(c.Request.Body))
	}
	d, inPath := newDecoder(f, ""), newDecoder(f, "/send/{token}/{to}/{body}")
	f.Fuzz(func(t *testing.T, method, target, contentType string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		for _, d := range []*Decoder{d, inPath} {
			r := post(contentType, string(body))
			r.Method, r.URL = method, u
			check(t, d, r)
		}
	})
}

// requests are the same message in the three usual forms.
func requests() map[string]func() *http.Request {
	form := "username=johndow&password=12345678&sms_to=%2B15551231234&sms_body=Hello%20World&content_type=text/plain&disposition_notification=xkXRBMCL.twvNcfC9:positive-delivery,display"
	doc := `{"username":"johndow","password":"12345678","sms_to":"+15551231234","sms_body":"Hello World","content_type":"text/plain","disposition_notification":"xkXRBMCL.twvNcfC9:positive-delivery,display"}`
	return map[string]func() *http.Request{
		"GET":  func() *http.Request { return httptest.NewRequest(http.MethodGet, "/send_message/?"+form, nil) },
		"form": func() *http.Request { return post("application/x-www-form-urlencoded", form) },
		"JSON": func() *http.Request { return post("application/json", doc) },
	}
}

func BenchmarkDecode(b *testing.B) {
	d := newDecoder(b, "")
	for name, make := range requests() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r := make()
				b.StartTimer()
				if _, err := d.Decode(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestDecodeAllocations keeps reading a request cheap.
func TestDecodeAllocations(t *testing.T) {
	d := newDecoder(t, "")
	for name, make := range requests() {
		all := testing.AllocsPerRun(100, func() {
			if _, err := d.Decode(make()); err != nil {
				t.Fatal(err)
			}
		})
		n := all - testing.AllocsPerRun(100, func() { make() })
		if n > 22 {
			t.Errorf("%s: %v allocations, want at most 22", name, n)
		}
		t.Logf("%s: %v allocations", name, n)
	}
}

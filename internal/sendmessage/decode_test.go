package sendmessage

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

var defaultNames = func() *Names {
	names, err := ParseNames(nil)
	if err != nil {
		panic(err)
	}
	return names
}()

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
			return rapid.SampledFrom([]any{"", ":", `":`, `": ,`, `": x`, `":+1,"`, `\`, `\":}`, "{\"a\": }", ": ,", "+1555"}).Draw(t, "tricky")
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
		if req, err := inPath.Decode(r); err != nil || req.Body.Reveal() != want {
			t.Fatalf("path: %q arrived as %q (%v)", want, req.Body.Reveal(), err)
		}
	})
}

// What two sources say differently is refused, whatever it is and wherever they are; what they say alike is taken.
func TestContradiction(t *testing.T) {
	params := []string{"username", "password", "sender", "to", "body", "content_type", "disposition_notification", "smart", "installid", "from"}
	place := map[string]func(r *http.Request, d *Decoder, param, value string){
		"query": func(r *http.Request, _ *Decoder, param, value string) { r.URL.RawQuery = param + "=" + value },
		"form": func(r *http.Request, _ *Decoder, param, value string) {
			r.Body = io.NopCloser(strings.NewReader(param + "=" + value))
		},
		"JSON": func(r *http.Request, _ *Decoder, param, value string) {
			r.Body = io.NopCloser(strings.NewReader(`{"` + param + `":"` + value + `"}`))
		},
		"XML": func(r *http.Request, _ *Decoder, param, value string) {
			r.Body = io.NopCloser(strings.NewReader("<m><" + param + ">" + value + "</" + param + "></m>"))
		},
		"path": func(r *http.Request, d *Decoder, param, value string) {
			d.Path, _ = ParsePattern("/s/{"+param+"}", d.Names)
			r.URL.Path, r.URL.RawPath = "/s/"+value, "/s/"+url.PathEscape(value)
		},
		"header": func(r *http.Request, _ *Decoder, param, value string) { r.Header.Set("X-"+param, value) },
	}
	sources := []string{"query", "form", "JSON", "XML", "path", "header"}
	value := rapid.StringMatching(`[a-z]{1,3}/[a-z0-9]{1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		param := rapid.SampledFrom(params).Draw(t, "param")
		first := rapid.SampledFrom(sources).Draw(t, "first")
		second := rapid.SampledFrom(sources).Draw(t, "second")
		isBody := func(source string) bool { return source == "form" || source == "JSON" || source == "XML" }
		if first == second || isBody(first) && isBody(second) || param != "username" && param != "password" && (first == "header" || second == "header") {
			return
		}
		a, b := value.Draw(t, "a"), value.Draw(t, "b")
		d := &Decoder{Names: defaultNames, MaxSize: DefaultMaxSize}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		place[first](r, d, param, a)
		place[second](r, d, param, b)
		_, err := d.Decode(r)
		var refusal *sms.Refusal
		switch errors.As(err, &refusal); {
		case a == b && err != nil:
			t.Fatalf("%s in %s and %s is %q: %v", param, first, second, a, err)
		case a != b && (refusal == nil || refusal.Variant != sms.Contradiction):
			t.Fatalf("%s is %q in %s and %q in %s: %v", param, a, first, b, second, err)
		}
	})
}

// What is missing, empty, repeated or too much of a credential never makes one: nobody comes in with it.
func TestCredentialOmissions(t *testing.T) {
	list, err := users.NewList([]users.Account{{User: users.User{Name: "johndow"}, Passwords: []string{"12345678"}, Tokens: []string{"T0ken"}}})
	if err != nil {
		t.Fatal(err)
	}
	authenticate := func(r *http.Request) error {
		req, err := newDecoder(t, "").Decode(r)
		if err == nil {
			_, err = list.Authenticate(t.Context(), users.Credential{User: req.User, Secret: req.Secret})
		}
		return err
	}
	get := func(query string) *http.Request { return httptest.NewRequest(http.MethodGet, "/?"+query, nil) }
	doc := func(body string) *http.Request { return post("application/json", body) }
	long := strings.Repeat("1", 4096)
	for name, r := range map[string]*http.Request{
		"as it should be": get("from=johndow&password=12345678"),
		"token":           get("token=T0ken"),
		"token of a user": get("from=johndow&token=T0ken"),
		"basic":           basic(get(""), "johndow", "12345678"),
		"basic and query": basic(get("from=johndow&password=12345678"), "johndow", "12345678"),
		"bearer":          header(get(""), "Authorization", "bearer T0ken"),
		"own header":      header(get(""), "X-Auth-Token", "T0ken"),
		"number":          doc(`{"from":"johndow","password":12345678}`),
		"twice the same":  get("from=johndow&password=12345678&password=12345678"),
		"two equal keys":  doc(`{"from":"johndow","password":"12345678","password":"12345678"}`),
	} {
		if err := authenticate(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, r := range map[string]*http.Request{
		"nothing":             get(""),
		"no user":             get("password=12345678"),
		"empty user":          get("from=&username=&password=12345678"),
		"blank user":          get("from=+&password=12345678"),
		"no password":         get("from=johndow"),
		"empty password":      get("from=johndow&password="),
		"name only":           get("from=johndow&password"),
		"null":                doc(`{"from":"johndow","password":null}`),
		"empty list":          doc(`{"from":"johndow","password":[]}`),
		"list of nothing":     doc(`{"from":"johndow","password":[null,""]}`),
		"list of the right":   doc(`{"from":"johndow","password":["12345678"]}`),
		"list of two":         doc(`{"from":"johndow","password":["12345678","87654321"]}`),
		"list of users":       doc(`{"username":["johndow"],"password":"12345678"}`),
		"object":              doc(`{"from":"johndow","password":{"password":"12345678"}}`),
		"object as a user":    doc(`{"username":{"eq":"johndow"},"password":"12345678"}`),
		"true":                doc(`{"from":"johndow","password":true}`),
		"last of two keys":    doc(`{"from":"johndow","password":"a","password":"12345678"}`),
		"first of two keys":   doc(`{"from":"johndow","password":"12345678","password":"a"}`),
		"three keys":          doc(`{"from":"johndow","password":"12345678","password":"a","password":"12345678"}`),
		"first is empty":      doc(`{"from":"johndow","password":"","password":"12345678"}`),
		"names in a row":      doc(`{"from":"other","from":"johndow","password":"12345678"}`),
		"name in a list":      doc(`{"from":["johndow"],"password":"12345678"}`),
		"last of two is null": doc(`{"from":"johndow","password":"12345678","password":null}`),
		"twice":               get("from=johndow&password=12345678&password=87654321"),
		"twice, wrong first":  get("from=johndow&password=87654321&password=12345678"),
		"user twice":          get("user=johndow&user=other&password=12345678"),
		"twice in a form":     post("application/x-www-form-urlencoded", "from=johndow&password=12345678&password=87654321"),
		"twice in XML":        post("text/xml", "<m><from>johndow</from><password>12345678</password><password>1</password></m>"),
		"PHP's brackets":      get("from=johndow&password[]=12345678"),
		"too long":            get("from=johndow&password=" + long),
		"too long a user":     get("from=" + long + "&password=12345678"),
		"too long a token":    header(get(""), "Authorization", "Bearer "+long),
		"NUL behind":          get("from=johndow&password=12345678%00"),
		"blank behind":        get("from=johndow&password=12345678+"),
		"other case":          get("from=JOHNDOW&password=12345678"),
		"user as password":    get("from=johndow&password=johndow"),
		"password as token":   get("token=12345678"),
		"basic and query":     basic(get("username=johndow&password=87654321"), "johndow", "12345678"),
		"two headers":         basic(header(get(""), "X-Password", "87654321"), "johndow", "12345678"),
		"broken basic":        header(get("from=johndow"), "Authorization", "Basic !!!"),
		"basic, no colon":     header(get("from=johndow"), "Authorization", "Basic MTIzNDU2Nzg="),
		"empty bearer":        header(get("from=johndow"), "Authorization", "Bearer "),
		"unknown scheme":      header(get("from=johndow"), "Authorization", "Negotiate 12345678"),
		"foreign header":      header(get("from=johndow"), "X-Forwarded-For", "12345678"),
		"asterisks":           get("from=johndow&password=*****"),
		"not replaced":        get("from=johndow&password=%25account%5Bpassword%5D%25"),
	} {
		err := authenticate(r)
		if refusal := (*sms.Refusal)(nil); !errors.Is(err, users.ErrDenied) && !errors.As(err, &refusal) {
			t.Errorf("%s: %v, want it denied", name, err)
		}
	}
	for name, r := range map[string]*http.Request{
		"twice":        get("from=johndow&password=12345678&password=87654321"),
		"list":         doc(`{"from":"johndow","password":["12345678","87654321"]}`),
		"user as list": doc(`{"username":["johndow"],"password":"12345678"}`),
	} {
		_, err := newDecoder(t, "").Decode(r)
		if refusal := (*sms.Refusal)(nil); !errors.As(err, &refusal) || refusal.Cause != sms.Unauthorized {
			t.Errorf("%s: %v, want %v", name, err, sms.Unauthorized)
		}
	}
}

// The address of a request is not to be logged whenever it may hold a secret, also if the request is refused for
// something else before anybody looks at it.
func TestSecretInURL(t *testing.T) {
	path := "/send/{token}/{to}/{body}"
	for _, c := range []struct {
		method, target, path, contentType, body string
		want                                    bool
	}{
		{"POST", "/send_message/", "", "", "from=johndow&password=12345678", false},
		{"GET", "/send_message/?from=johndow&password=12345678", "", "", "", true},
		{"GET", "/send_message/?passwort=12345678", "", "", "", true},
		{"GET", "/send_message/&from=johndow&password=12345678", "", "", "", true},
		{"GET", "/send_message/%3Ffrom=johndow%26password=12345678", "", "", "", true},
		{"GET", "/send_message/from%3Djohndow", "", "", "", true},
		{"HEAD", "/send_message/?password=12345678", "", "", "", true},
		{"POST", "/send_message/?password=12345678", "", "application/json", "{", true},
		{"POST", "/send_message/?password=12345678", "", "multipart/form-data; boundary=x", "", true},
		{"POST", "/send_message/?password=12345678", "", "", strings.Repeat("x", DefaultMaxSize+1), true},
		{"GET", "/send_message/?password=" + strings.Repeat("x", DefaultMaxSize), "", "", "", true},
		{"GET", "/send/T0ken/1/x", path, "", "", true},
		{"GET", "/send/T0ken", path, "", "", true},
		{"DELETE", "/send/T0ken/1/x", path, "", "", true},
	} {
		r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		if req, err := newDecoder(t, c.path).Decode(r); req.SecretInURL != c.want {
			t.Errorf("%s %.40s: %t, want %t (%v)", c.method, c.target, req.SecretInURL, c.want, err)
		}
	}
}

// A request may have as many bytes as it may have, and not one more, whether it tells its length or not.
func TestMaxSize(t *testing.T) {
	d := newDecoder(t, "")
	for size, want := range map[int]string{DefaultMaxSize: "", DefaultMaxSize + 1: "too_long.request_too_large"} {
		body := "body=" + strings.Repeat("x", size-len("body="))
		query, form := httptest.NewRequest(http.MethodGet, "/?"+body, nil), post("application/x-www-form-urlencoded", body)
		chunked := post("application/x-www-form-urlencoded", body)
		chunked.ContentLength = -1
		for name, r := range map[string]*http.Request{"query": query, "form": form, "chunked": chunked} {
			got := ""
			req, err := d.Decode(r)
			if err != nil {
				got = err.Error()
			}
			if got != want || err == nil && len(req.Body.Reveal()) != size-len("body=") {
				t.Errorf("%s of %d bytes: %q, want %q", name, size, got, want)
			}
		}
	}
	long := post("application/x-www-form-urlencoded", "")
	long.ContentLength, long.Body = DefaultMaxSize+1, io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := d.Decode(long); err == nil || err.Error() != "too_long.request_too_large" {
		t.Errorf("a body that says it is too long is read: %v", err)
	}
	endless := post("application/x-www-form-urlencoded", "")
	endless.ContentLength = -1
	endless.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", DefaultMaxSize+1)), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if _, err := d.Decode(endless); err == nil || err.Error() != "too_long.request_too_large" {
		t.Errorf("a body without end is read on: %v", err)
	}
	limited := post("application/x-www-form-urlencoded", "body="+strings.Repeat("x", 1000))
	limited.Body = http.MaxBytesReader(nil, limited.Body, 1000)
	_, err := d.Decode(limited)
	if refusal := (*sms.Refusal)(nil); !errors.As(err, &refusal) || refusal.Fill(refusal.Sentence(), "") != "The request is too large, at most 1000 bytes" {
		t.Errorf("a limit of the server's: %v", err)
	}
	broken := post("application/x-www-form-urlencoded", "")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("body=x"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if _, err := d.Decode(broken); err == nil || err.Error() != "bad_request.unreadable" {
		t.Errorf("a body that breaks off: %v", err)
	}
}

// slow gives a byte at a time, and notes for how many more there was room.
type slow struct {
	given, room int
}

func (s *slow) Read(p []byte) (int, error) {
	s.room = max(s.room, len(p)-s.given)
	s.given++
	p[0] = 'x'
	return 1, nil
}

// Who announces a large body and is slow to send it holds no more memory than he sent, but for a little.
func TestAnnouncedSize(t *testing.T) {
	body := new(slow)
	r := post("text/plain", "")
	r.ContentLength, r.Body = DefaultMaxSize, io.NopCloser(body)
	if data, err := newDecoder(t, "").readAll(r); err != nil || len(data) != DefaultMaxSize || body.given != DefaultMaxSize {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if body.room > firstRead {
		t.Errorf("room for %d bytes before they came", body.room)
	}
}

// The operator is told once what the templates of his users lack; a parameter that is there and empty lacks nothing.
func TestMissingParameters(t *testing.T) {
	for query, want := range map[string][2]bool{
		"":                              {true, true},
		"content_type=":                 {false, true},
		"disposition_notification":      {true, false},
		"imdn=x&contentType=text/plain": {false, false},
	} {
		req, err := newDecoder(t, "").Decode(httptest.NewRequest(http.MethodGet, "/?"+query, nil))
		if got := [2]bool{req.NoContentType, req.NoDisposition}; err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", query, got, err, want)
		}
	}
}

// What headers say is text as well.
func TestHeadersAreUTF8(t *testing.T) {
	for _, r := range []*http.Request{
		basic(httptest.NewRequest(http.MethodGet, "/", nil), "gr\xfc", "x"),
		header(httptest.NewRequest(http.MethodGet, "/", nil), "X-Username", "gr\xfc"),
	} {
		if req, err := newDecoder(t, "").Decode(r); err != nil || req.User != "gr\uFFFD" {
			t.Errorf("%q %v", req.User, err)
		}
	}
}

// A name may be as long as its sender likes, since - and _ do not count; what is told of it is not.
func TestLongNames(t *testing.T) {
	body := `{"t` + strings.Repeat("_", 1000) + `o":"%abc%"}`
	_, err := newDecoder(t, "").Decode(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	var refusal *sms.Refusal
	if !errors.As(err, &refusal) || refusal.Variant != sms.NotReplaced || refusal.Value("name") != "sms_to" {
		t.Error(err, refusal.Value("name"))
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
	for pattern, want := range map[string]string{
		"/send/{token}": "", "/{to}/{body}/": "", "send": "begins with /", "/{nothing}": "not a known parameter", "/a{to}": "either a word or one {name}", "/{to": "either a word",
	} {
		if _, err := ParsePattern(pattern, defaultNames); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
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
	if body := req.Body.Reveal(); err == nil && kind == Text && req.ContentType == "" && holdsAddress(body) {
		t.Errorf("a file became a text: %s", body)
	}
}

// holdsAddress reports, in its own way, whether a text is a document with an attachment that has an address. Where a
// member stands twice, readers differ in which one counts.
func holdsAddress(text string) bool {
	var doc map[string]any
	if strings.Count(text, "attachments") != 1 || json.Unmarshal([]byte(text), &doc) != nil {
		return false
	}
	list, _ := doc["attachments"].([]any)
	for _, item := range list {
		members, _ := item.(map[string]any)
		if _, ok := members["content-url"].(string); ok && strings.Count(text, "content-url") == len(list) {
			return true
		}
	}
	return false
}

func FuzzPairs(f *testing.F) {
	for _, s := range []string{"a=b&c=d", "a=%zz%", "a=b;c=d", "=&=", "to=+1&body=%F0%9F", "from=%account[username]%", "a=%ac%", "a=\xfc", "\xfc=a", "a=%FC", " & ", "a=b\n&\r\nc=d", "a=b&amp;c=d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pairs(s, func(name, value string) {
			if !utf8.ValidString(name) || !utf8.ValidString(value) {
				t.Errorf("%q gives %q=%q", s, name, value)
			}
		})
		if values, err := url.ParseQuery(s); err == nil && utf8.ValidString(s) && !strings.ContainsAny(s, "\r\n") { // where both understand, they agree
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
		if bytes.ContainsAny(c.body(), "{[") {
			f.Add(c.body())
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
		f.Add(c.Request.Method, c.Request.Target, c.Request.Headers["Content-Type"], c.body())
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

// requests are the same message in the three usual forms, each ready to be read again without an allocation.
func requests() map[string]func() *http.Request {
	form := "username=johndow&password=12345678&sms_to=%2B15551231234&sms_body=Hello%20World&content_type=text/plain&disposition_notification=xkXRBMCL.twvNcfC9:positive-delivery,display"
	doc := `{"username":"johndow","password":"12345678","sms_to":"+15551231234","sms_body":"Hello World","content_type":"text/plain","disposition_notification":"xkXRBMCL.twvNcfC9:positive-delivery,display"}`
	again := func(r *http.Request, body string) func() *http.Request {
		reader := strings.NewReader(body)
		if body != "" {
			r.Body = io.NopCloser(reader)
		}
		return func() *http.Request {
			reader.Reset(body)
			return r
		}
	}
	return map[string]func() *http.Request{
		"GET":  again(httptest.NewRequest(http.MethodGet, "/send_message/?"+form, nil), ""),
		"form": again(post("application/x-www-form-urlencoded", form), form),
		"JSON": again(post("application/json", doc), doc),
	}
}

func BenchmarkDecode(b *testing.B) {
	d := newDecoder(b, "")
	for name, again := range requests() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decode(again()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestDecodeAllocations keeps reading a request cheap: 8 allocations for a query, 9 for JSON and 11 for a form were
// counted, and two more are allowed.
func TestDecodeAllocations(t *testing.T) {
	d := newDecoder(t, "")
	for name, most := range map[string]float64{"GET": 10, "form": 13, "JSON": 11} {
		again := requests()[name]
		n := testing.AllocsPerRun(100, func() {
			if _, err := d.Decode(again()); err != nil {
				t.Fatal(err)
			}
		})
		if n > most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, most)
		}
		t.Logf("%s: %v allocations", name, n)
	}
}

// A document that is nested more than 32 times is none, wherever it stands. Deeper ones would cost the stack.
func TestNesting(t *testing.T) {
	d := newDecoder(t, "")
	for levels, tooDeep := range map[int]bool{mostNested: false, mostNested + 1: true, 100_000: true} {
		lists := func(around int) string {
			return strings.Repeat("[", levels-around) + `"[\"["` + strings.Repeat("]", levels-around)
		}
		for _, begin := range []string{`{"body":"hi","x":`, `{"body":,"x":`} { // the second one is mended first
			if _, err := d.Decode(post("application/json", begin+lists(1)+"}")); (err != nil) != tooDeep || tooDeep && err.Error() != "bad_request.unreadable" {
				t.Errorf("%d levels after %s: %v", levels, begin, err)
			}
		}
		for _, contentType := range []string{"", appPrefix + "delete-message+json"} {
			body := sms.Hide(`[{"sms_id":"1","scope":"here","x":` + lists(2) + "}]")
			kind, err := (&Request{ContentType: contentType, Body: body, To: []string{"1"}}).Classify()
			if (kind == Delete && err == nil) == tooDeep {
				t.Errorf("a request to delete of %d levels as %q: %s, %v", levels, contentType, kind, err)
			}
		}
		if got := holdsKey(`{"\u0061ttachments":[{"content-url":"x","x":` + lists(3) + "}]}"); got == tooDeep {
			t.Errorf("a file of %d levels: %t", levels, got)
		}
	}
	if n := testing.AllocsPerRun(10, func() { validJSON(`{"a":["b",{"c":"\\d"}]}`) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Anybody can send these, so the largest of them has to be read in about the time that it takes to come in.
func TestHostileSizes(t *testing.T) {
	d := newDecoder(t, "")
	for name, repeated := range map[string]string{
		"colons": ":", "colon and word": ":a", "quotes": `"`, "backslashes": `\`, "braces": `{"a":`, "brackets": "[", "commas": ",", "percents": "%", "pairs": "a&",
		"tags": "<a>", "open tags": "<", "declarations": "<?xml encoding='latin1'?>", "sections": "<![CDATA[", "entities": "&amp;", "blanks": " ",
	} {
		for _, begin := range []string{"", "{", `{"a":"`, "<a>", "body="} {
			for _, end := range []string{"", `"`, "}"} {
				body := begin + strings.Repeat(repeated, (DefaultMaxSize-16)/len(repeated)) + end
				began := time.Now()
				req, _ := d.Decode(post("application/json", body))
				_, _ = req.Classify()
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("%s after %q: %s", name, begin, took)
				}
			}
		}
	}
}

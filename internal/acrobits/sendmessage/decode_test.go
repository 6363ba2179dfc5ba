package sendmessage

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

var defaultNames = func() *params.Names {
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

// unreplaced matches what may be a variable of a template.
var unreplaced = regexp.MustCompile(`^\s*%.*%\s*$`)

// A text that is encoded as it should be arrives as it was written, but for line ends and trailing
// NULs.
func TestTextArrives(t *testing.T) {
	decode, inPath := newDecoder(t, ""), newDecoder(t, "/s/{user}/{password}/{to}/{body}")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{1,40}`)).Draw(t, "text")
		want := strings.TrimRight(text, "\x00")
		want = strings.ReplaceAll(strings.ReplaceAll(want, "\r\n", "\n"), "\r", "\n")
		if strings.TrimSpace(want) == "" || unreplaced.MatchString(want) {
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

// Two sources with different values for a parameter are refused, whichever they are; equal values are
// accepted.
func TestContradiction(t *testing.T) {
	names := []string{"username", "password", "sender", "to", "body", "content_type", "disposition_notification", "smart", "installid", "from"}
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
			d.Path, _ = params.ParsePattern("/s/{"+param+"}", d.Names)
			r.URL.Path, r.URL.RawPath = "/s/"+value, "/s/"+url.PathEscape(value)
		},
		"header": func(r *http.Request, _ *Decoder, param, value string) { r.Header.Set("X-"+param, value) },
	}
	sources := []string{"query", "form", "JSON", "XML", "path", "header"}
	value := rapid.StringMatching(`[a-z]{1,3}/[a-z0-9]{1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		param := rapid.SampledFrom(names).Draw(t, "param")
		first := rapid.SampledFrom(sources).Draw(t, "first")
		second := rapid.SampledFrom(sources).Draw(t, "second")
		isBody := func(source string) bool { return source == "form" || source == "JSON" || source == "XML" }
		if first == second || isBody(first) && isBody(second) || param != "username" && param != "password" && (first == "header" || second == "header") {
			return
		}
		a, b := value.Draw(t, "a"), value.Draw(t, "b")
		d := &Decoder{Names: defaultNames, MaxSize: params.DefaultMaxSize}
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

// A credential of which a part is missing, empty, repeated or superfluous is none: nobody can log in
// with it.
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

// The address of a request is not to be logged whenever it may hold a secret, also if the request
// is refused for something else before anybody looks at it.
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
		{"POST", "/send_message/?password=12345678", "", "", strings.Repeat("x", params.DefaultMaxSize+1), true},
		{"GET", "/send_message/?password=" + strings.Repeat("x", params.DefaultMaxSize), "", "", "", true},
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

// The operator is told once what the templates of the users lack; a parameter that is there and
// empty lacks nothing.
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

// Values of headers are valid UTF-8 too.
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

func header(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

func basic(r *http.Request, user, password string) *http.Request {
	r.SetBasicAuth(user, password)
	return r
}

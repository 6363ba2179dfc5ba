package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// vector is a signed request of testdata/signatures/vectors.json.
type vector struct {
	Scheme, Why string
	Published   bool // by the provider, in tests of its own libraries
	Method, URL string
	Headers     map[string]string
	Body        string
	Keys        []string
	Now         time.Time
	Valid       bool
}

func vectors(t testing.TB) (list []vector) {
	t.Helper()
	data, err := os.ReadFile("../../testdata/signatures/vectors.json")
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil || len(list) == 0 {
		t.Fatal(err)
	}
	return list
}

func (v vector) request() *Request {
	r := &Request{Method: v.Method, URL: v.URL, Header: http.Header{}, Body: []byte(v.Body)}
	for name, value := range v.Headers {
		r.Header.Set(name, value)
	}
	return r
}

func (v vector) now() time.Time {
	if v.Now.IsZero() {
		return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	}
	return v.Now
}

func (v vector) keys() (keys []sms.Hidden) {
	for _, key := range v.Keys {
		keys = append(keys, sms.Hide(key))
	}
	return keys
}

func TestVectors(t *testing.T) {
	untested := Names()
	for _, v := range vectors(t) {
		scheme, ok := Named(v.Scheme)
		if !ok {
			t.Errorf("unknown scheme %s", v.Scheme)
			continue
		}
		if err := scheme.Verify(v.request(), v.keys(), v.now()); (err == nil) != v.Valid {
			t.Errorf("%s, %s: %v", v.Scheme, v.Why, err)
		}
		untested = slices.DeleteFunc(untested, func(name string) bool { return name == v.Scheme })
	}
	if !slices.Equal(untested, []string{"basic"}) { // TestBasic
		t.Errorf("schemes without a vector: %s", untested)
	}
}

// unsigned are the parts that a scheme does not sign, as its vectors show.
var unsigned = map[string]string{
	"plivo_v2": "body, query", "telnyx": "path, query", "sinch": "path, query", "smsgate": "path, query", "sns": "path, query",
	"zadarma": "path, query, field", "vonage_md5": "path, query", "vonage_sha1": "path, query", "vonage_sha256": "path, query",
	"vonage_sha512": "path, query", "vonage_jwt": "path, query, body",
}

// A valid request is refused once anything of it that is signed changes, without its signature, and
// with another key. With several keys, the old one still counts.
func TestForgeries(t *testing.T) {
	for _, v := range vectors(t) {
		if !v.Valid {
			continue
		}
		scheme, _ := Named(v.Scheme)
		refused := func(what string, want error, change func(r *Request)) {
			t.Helper()
			r := v.request()
			change(r)
			if err := scheme.Verify(r, v.keys(), v.now()); err == nil || want != nil && err != want {
				t.Errorf("%s, %s: a request with %s: %v", v.Scheme, v.Why, what, err)
			}
		}
		skip := unsigned[v.Scheme]
		if v.Method == "GET" && v.Scheme == "vonage_sha256" {
			skip = "path, body"
		}
		if !strings.Contains(skip, "path") {
			refused("another path", nil, func(r *Request) { r.URL = strings.Replace(r.URL, "://", "://x", 1) })
		}
		if !strings.Contains(skip, "query") {
			refused("another query", nil, func(r *Request) { r.URL += "&x=y" })
		}
		if !strings.Contains(skip, "body") && !strings.Contains(skip, "field") {
			refused("another body", nil, func(r *Request) {
				if r.isForm() {
					r.Body = append(r.Body, "&x=y"...)
				} else if len(r.Body) > 0 {
					r.Body = []byte(strings.NewReplacer("1", "2", "o", "0").Replace(string(r.Body)))
				} else {
					r.Body = []byte("x")
				}
			})
		}
		if v.Scheme != "sns" && !strings.HasPrefix(v.Scheme, "vonage_") || v.Scheme == "vonage_jwt" {
			refused("no signature", nil, func(r *Request) {
				contentType := r.Header.Get("Content-Type")
				r.Header = http.Header{"Content-Type": {contentType}}
			})
		}
		if len(v.Headers) > 0 && v.Scheme != "sns" {
			refused("another signature", nil, func(r *Request) {
				for name := range r.Header {
					if name != "Content-Type" {
						r.Header.Set(name, "x"+r.Header.Get(name))
					}
				}
				r.Body = []byte(strings.NewReplacer("sig=", "sig=0", `"sig": "`, `"sig": "0`).Replace(string(r.Body)))
			})
		}
		if err := scheme.Verify(v.request(), []sms.Hidden{sms.Hide("another key of at least 32 bytes length"), {}}, v.now()); err == nil {
			t.Errorf("%s: another key", v.Scheme)
		}
		if err := scheme.Verify(v.request(), nil, v.now()); err != ErrKey {
			t.Errorf("%s: no key: %v", v.Scheme, err)
		}
		rotated := append([]sms.Hidden{sms.Hide("a new key of at least 32 bytes length")}, v.keys()...)
		if err := scheme.Verify(v.request(), rotated, v.now()); err != nil {
			t.Errorf("%s: a rotated key: %v", v.Scheme, err)
		}
	}
}

// Schemes with a time refuse a request that is sent again later.
func TestReplay(t *testing.T) {
	for _, v := range vectors(t) {
		scheme, _ := Named(v.Scheme)
		window := map[string]time.Duration{"telnyx": 5 * time.Minute, "messagebird": 61 * time.Second}[v.Scheme]
		if !v.Valid || window == 0 {
			continue
		}
		if err := scheme.Verify(v.request(), v.keys(), v.now().Add(window)); err != nil {
			t.Errorf("%s within the window: %v", v.Scheme, err)
		}
		for _, at := range []time.Duration{window + time.Second, -window - time.Second} {
			if err := scheme.Verify(v.request(), v.keys(), v.now().Add(at)); err != ErrTime {
				t.Errorf("%s after %s: %v", v.Scheme, at, err)
			}
		}
	}
}

// A certificate counts from its first to its last day.
func TestCertificateExpires(t *testing.T) {
	for _, v := range vectors(t) {
		if scheme, _ := Named(v.Scheme); v.Scheme == "sns" {
			for _, year := range []int{2025, 2047} {
				if err := scheme.Verify(v.request(), v.keys(), time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)); err != ErrTime {
					t.Errorf("in %d: %v", year, err)
				}
			}
		}
	}
}

// While a key is replaced, Plivo sends several signatures, also those of the main account.
func TestSeveralSignatures(t *testing.T) {
	for _, v := range vectors(t) {
		if scheme, _ := Named(v.Scheme); strings.HasPrefix(v.Scheme, "plivo") {
			name := "X-Plivo-Signature-" + strings.ToUpper(strings.TrimPrefix(v.Scheme, "plivo_"))
			r := v.request()
			r.Header.Set(strings.Replace(name, "-V", "-Ma-V", 1), "eA==,"+r.Header.Get(name))
			r.Header.Set(name, "eA==")
			if err := scheme.Verify(r, v.keys(), v.now()); err != nil {
				t.Errorf("%s: %v", v.Scheme, err)
			}
		}
	}
}

// With an empty key anybody could sign.
func TestEmptyKey(t *testing.T) {
	r := &Request{URL: "https://sms.example.com/in", Header: http.Header{"X-Signature": {hex.EncodeToString(sum(sha256.New, "", "hi1"))}, "X-Timestamp": {"1"}}, Body: []byte("hi")}
	if err := Scheme(smsgate).Verify(r, []sms.Hidden{{}}, time.Now()); err != ErrKey {
		t.Error(err)
	}
}

func TestVariants(t *testing.T) {
	for address, want := range map[string]string{
		"https://a.example/x?y":     "https://a.example/x?y https://a.example:443/x?y",
		"http://a.example/x":        "http://a.example/x http://a.example:80/x",
		"https://a.example:443/x":   "https://a.example:443/x https://a.example/x",
		"https://a.example:8443/x":  "https://a.example:8443/x https://a.example/x",
		"https://[2001:db8::1]/x":   "https://[2001:db8::1]/x https://[2001:db8::1]:443/x",
		"https://[2001:db8::1]:1/x": "https://[2001:db8::1]:1/x https://[2001:db8::1]/x",
		"/x":                        "/x",
	} {
		if got := strings.Join(variants(address), " "); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestBasic(t *testing.T) {
	for credential, want := range map[string]error{"johndow:12345678": nil, "johndow:x": ErrInvalid, "x:12345678": ErrInvalid, "": ErrMissing} {
		r := &http.Request{Header: http.Header{}}
		if user, password, ok := strings.Cut(credential, ":"); ok {
			r.SetBasicAuth(user, password)
		}
		if err := Scheme(basic).Verify(&Request{Header: r.Header}, []sms.Hidden{sms.Hide("johndow:12345678")}, time.Time{}); err != want {
			t.Errorf("%s: %v", credential, err)
		}
	}
}

// A certificate comes from SNS and from nowhere else.
func TestCertificateURL(t *testing.T) {
	for address, want := range map[string]bool{
		"https://sns.us-east-1.amazonaws.com/a.pem": true, "https://sns.cn-north-1.amazonaws.com.cn/a.pem": true,
		"http://sns.us-east-1.amazonaws.com/a.pem": false, "https://sns.us-east-1.amazonaws.com.example.com/a.pem": false,
		"https://sns.us-east-1.amazonaws.com:8443/a.pem": false, "https://x@sns.us-east-1.amazonaws.com/a.pem": false,
		"https://s3.us-east-1.amazonaws.com/a.pem": false, "https://sns.us-east-1.amazonaws.com/a": false, "https://example.com/sns.us-east-1.amazonaws.com/a.pem": false, "": false,
	} {
		body, _ := json.Marshal(envelope{SigningCertURL: address})
		if _, ok := CertificateURL(body); ok != want {
			t.Errorf("%s: %t", address, ok)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Scheme, v.URL, v.Headers["Content-Type"], v.Body, v.Keys[0])
	}
	f.Fuzz(func(t *testing.T, name, address, contentType, body, key string) {
		scheme, ok := Named(name)
		if !ok {
			return
		}
		r := &Request{Method: "POST", URL: address, Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body)}
		if err := scheme.Verify(r, []sms.Hidden{sms.Hide(key)}, time.Now()); err == nil && name != "sns" && !strings.HasPrefix(name, "vonage_") {
			t.Errorf("%s accepts a request without a signature", name)
		}
	})
}

package sendmessage

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

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

// holdsAddress reports, in its own way, whether a text is a document with an attachment that has an
// address. Where a member stands twice, readers differ in which one counts.
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

func FuzzJSON(f *testing.F) {
	for _, c := range cases(f) {
		if bytes.ContainsAny(c.Request.Bytes(), "{[") {
			f.Add(c.Request.Bytes())
		}
	}
	d := newDecoder(f, "")
	f.Fuzz(func(t *testing.T, doc []byte) {
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
	for _, c := range cases(f) {
		f.Add(c.Request.Method, c.Request.Target, c.Request.Headers["Content-Type"], c.Request.Bytes())
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

// requests are the same message in the three usual forms, each ready to be read again without an
// allocation.
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

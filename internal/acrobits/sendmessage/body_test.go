package sendmessage

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A request may have as many bytes as it may have, and not one more, whether it tells its length or
// not.
func TestMaxSize(t *testing.T) {
	d := newDecoder(t, "")
	for size, want := range map[int]string{params.DefaultMaxSize: "", params.DefaultMaxSize + 1: "too_long.request_too_large"} {
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
	long.ContentLength, long.Body = params.DefaultMaxSize+1, io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := d.Decode(long); err == nil || err.Error() != "too_long.request_too_large" {
		t.Errorf("a body that says it is too long is read: %v", err)
	}
	endless := post("application/x-www-form-urlencoded", "")
	endless.ContentLength = -1
	endless.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", params.DefaultMaxSize+1)), iotest.ErrReader(io.ErrUnexpectedEOF)))
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

// In stealth the body of a request that waits for 100 Continue stays unread, unless address or
// headers have a credential.
func TestStealthLeavesBodyUnread(t *testing.T) {
	for name, c := range map[string]struct {
		target  string
		header  http.Header
		stealth bool
		read    bool
	}{
		"nothing":                 {"/", http.Header{"Expect": {"100-continue"}}, true, false},
		"a name alone":            {"/?username=johndow", http.Header{"Expect": {"100-Continue"}}, true, false},
		"a password in the query": {"/?username=johndow&password=x", http.Header{"Expect": {"100-continue"}}, true, true},
		"a header":                {"/", http.Header{"Expect": {"100-continue"}, "Authorization": {"Basic am9obmRvdzp4"}}, true, true},
		"an answer to Digest":     {"/", http.Header{"Expect": {"100-continue"}, "Authorization": {`Digest username="johndow", realm="sms", response="0"`}}, true, true},
		"nobody waits":            {"/", http.Header{}, true, true},
		"no stealth":              {"/", http.Header{"Expect": {"100-continue"}}, false, true},
	} {
		d, body := newDecoder(t, ""), strings.NewReader(`{"username":"johndow","password":"x","to":"1","body":"x"}`)
		d.Stealth = c.stealth
		r := httptest.NewRequest(http.MethodPost, c.target, body)
		r.Header = c.header
		_, err := d.Decode(r)
		if read := body.Len() == 0; read != c.read || !read && err == nil {
			t.Errorf("%s: the body is read: %t, %v", name, read, err)
		}
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

// TestDecodeAllocations keeps reading a request cheap: 8 allocations for a query, 9 for JSON and 11
// for a form were counted, and two more are allowed.
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

// A document that is nested more than 32 times is none, wherever it stands. Deeper ones would cost
// the stack.
func TestNesting(t *testing.T) {
	const mostLevels = 32
	d := newDecoder(t, "")
	for levels, tooDeep := range map[int]bool{mostLevels: false, mostLevels + 1: true, 100_000: true} {
		lists := func(around int) string {
			return strings.Repeat("[", levels-around) + `"[\"["` + strings.Repeat("]", levels-around)
		}
		for _, begin := range []string{`{"body":"hi","x":`, `{"body":,"x":`} { // the second one is mended first
			if _, err := d.Decode(post("application/json", begin+lists(1)+"}")); (err != nil) != tooDeep || tooDeep && err.Error() != "bad_request.unreadable" {
				t.Errorf("%d levels after %s: %v", levels, begin, err)
			}
		}
		for _, contentType := range []string{"", params.AppPrefix + "delete-message+json"} {
			body := sms.Hide(`[{"sms_id":"1","scope":"here","x":` + lists(2) + "}]")
			kind, err := (&Request{ContentType: contentType, Body: body, To: []string{"1"}}).Classify()
			if (kind == Delete && err == nil) == tooDeep {
				t.Errorf("a request to delete of %d levels as %q: %s, %v", levels, contentType, kind, err)
			}
		}
		if got := containsKey(`{"\u0061ttachments":[{"content-url":"x","x":` + lists(3) + "}]}"); got == tooDeep {
			t.Errorf("a file of %d levels: %t", levels, got)
		}
	}
	if n := testing.AllocsPerRun(10, func() { params.ValidJSON(`{"a":["b",{"c":"\\d"}]}`) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Anybody can send these, so the largest of them has to be read in about the time that it takes to
// come in.
func TestHostileSizes(t *testing.T) {
	d := newDecoder(t, "")
	for name, repeated := range map[string]string{
		"colons": ":", "colon and word": ":a", "quotes": `"`, "backslashes": `\`, "braces": `{"a":`, "brackets": "[", "commas": ",", "percents": "%", "pairs": "a&",
		"tags": "<a>", "open tags": "<", "declarations": "<?xml encoding='latin1'?>", "sections": "<![CDATA[", "objects": `"a":{"to":"1","b":{}},`, "entities": "&amp;", "blanks": " ",
	} {
		for _, begin := range []string{"", "{", `{"a":"`, "<a>", "body="} {
			for _, end := range []string{"", `"`, "}"} {
				body := begin + strings.Repeat(repeated, (params.DefaultMaxSize-16)/len(repeated)) + end
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

package adapters

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// readBack reads a request as a server does.
func readBack(t *testing.T, raw []byte) (r *http.Request, body string) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(raw))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil || in.Buffered() > 0 {
		t.Fatalf("%v, %d bytes left\n%s", err, in.Buffered(), raw)
	}
	return r, string(b)
}

// AppendRequest writes what net/http writes of the same request, for all definitions and recorded
// exchanges.
func TestAppendRequest(t *testing.T) {
	compared, prepared := make(map[string]bool), 0
	for _, name := range Names() {
		if name == "sandbox" {
			continue
		}
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range exchanges(t, name) {
			plan, refusal := x.adapter(t, d).Plan(x.message(), 10)
			if refusal != nil {
				continue
			}
			for i := range plan.Split().Parts {
				if plan.Streams(i) {
					continue // only Request makes it
				}
				call, err := plan.Request(t.Context(), i, x.token(), now)
				_, raw, directErr := plan.AppendRequest([]byte("before"), i, x.token(), now)
				if (err != nil) != (directErr != nil) {
					t.Fatalf("%s: %v, but %v", x.Name, err, directErr)
				}
				if err != nil {
					continue
				}
				call.Request.Header["Accept-Encoding"] = []string{"gzip"}
				out, err := httputil.DumpRequestOut(call.Request, true)
				if err != nil {
					t.Fatal(err)
				}
				want, wantBody := readBack(t, out)
				got, body := readBack(t, bytes.TrimPrefix(raw, []byte("before")))
				if got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host || body != wantBody ||
					got.ContentLength != want.ContentLength || !maps.EqualFunc(got.Header, want.Header, slices.Equal) {
					t.Errorf("%s %s:\n%s\n\nnet/http:\n%s", name, x.Name, raw, out)
				}
				compared[name] = true
				if plan.parts[i].request.head.start != nil {
					prepared++
				}
			}
		}
	}
	if len(compared) < len(Names())-1 || prepared < 100 {
		t.Errorf("%d of %d definitions are compared, %d requests with a fixed head", len(compared), len(Names()), prepared)
	}
}

// A header that a value would break is refused.
func TestAppendRequestRefuses(t *testing.T) {
	d, err := Parse("p", "p", 1, "option key optional\nsend {\nPOST /\nheader X-Id {message.id}\nheader X-Key {option.key}\nform {\nto {sms.to}\nbody {sms.body}\n}\n}\nreply json\naccepted status 200\nid id\n")
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "http://localhost", map[string]string{"key": "k"})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"a": true, "a\r\nX: y": false, "\x00": false} {
		plan, refusal := a.Plan(&sms.Message{ID: id, To: sms.Number{Value: "+15551231234", Kind: sms.Phone}, Body: sms.Hide("Hello")}, 1)
		if refusal != nil {
			t.Fatal(refusal)
		}
		if _, raw, err := plan.AppendRequest(nil, 0, sms.Hidden{}, time.Now()); (err == nil) != want || strings.Contains(string(raw), "\nX: y") {
			t.Errorf("%q: %v\n%s", id, err, raw)
		}
	}
}

package adapters

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// exchange is a recorded exchange of testdata/providers.
type exchange struct {
	recording.Exchange
	Name string
}

// token is what stands in requests of adapters that fetch one.
func (x exchange) token() sms.Hidden {
	if x.Token != nil {
		return sms.Hide(x.Token.Access)
	}
	return sms.Hide("a-token")
}

const messageID = recording.MessageID

// reporter is what tests and properties have in common.
type reporter interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// readExchanges has what exchanges has read, by provider.
var readExchanges sync.Map

// exchanges returns the recorded exchanges of a provider, which must not be changed.
func exchanges(t testing.TB, provider string) (list []exchange) {
	t.Helper()
	if list, ok := readExchanges.Load(provider); ok {
		return list.([]exchange)
	}
	files, err := filepath.Glob("../testdata/providers/" + provider + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		x, err := recording.Read(data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, exchange{x, strings.TrimSuffix(filepath.Base(file), ".json")})
	}
	readExchanges.Store(provider, list)
	return list
}

// message is the message of an exchange.
func (x exchange) message() *sms.Message {
	m := &sms.Message{
		ID: messageID, Received: time.Unix(recording.Received, 0), User: recording.User, Body: sms.Hide(x.Message.Body),
	}
	var err error
	if m.Media, err = recording.Files(x.Message.Media); err != nil {
		panic(err)
	}
	m.To, _ = number.Recipient(x.Message.To, "")
	m.From, _ = number.Sender(x.Message.From, "")
	return m
}

// adapter binds the definition as the exchange says.
func (x exchange) adapter(t testing.TB, d *Definition) *Adapter {
	t.Helper()
	a, err := d.Bind("", x.BaseURL, x.Options)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// checkRequest compares a request with the recorded one: what it says, not how it is written.
func checkRequest(t *testing.T, want *recording.Request, r *http.Request) {
	t.Helper()
	target, body := *r.URL, readBody(t, r)
	if want.Query != nil {
		if diff := cmp.Diff(want.Query, pairsOf(t, target.RawQuery)); diff != "" {
			t.Errorf("query: %s", diff)
		}
		target.RawQuery = ""
	}
	if r.Method != want.Method || target.String() != want.URL || r.Host != target.Host {
		t.Errorf("%s %s to %s, want %s %s", r.Method, target.String(), r.Host, want.Method, want.URL)
	}
	for name, value := range want.Headers {
		got := r.Header.Get(name)
		if pattern := strings.Trim(value, "/"); pattern != value && len(pattern) == len(value)-2 {
			if !regexp.MustCompile(pattern).MatchString(got) {
				t.Errorf("%s: %q does not match %s", name, got, pattern)
			}
		} else if got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if r.Header.Get("User-Agent") == "" {
		t.Error("no User-Agent")
	}
	switch {
	case want.Form != nil:
		if diff := cmp.Diff(want.Form, pairsOf(t, body)); diff != "" {
			t.Errorf("form: %s", diff)
		}
	case want.Multipart != nil:
		if diff := cmp.Diff(want.Multipart, partsOf(t, r, body)); diff != "" {
			t.Errorf("multipart: %s", diff)
		}
	case want.JSON != nil:
		if diff := cmp.Diff(ownID(want.JSON), valueOf(t, body)); diff != "" {
			t.Errorf("JSON: %s", diff)
		}
	case want.XML != "":
		if diff := cmp.Diff(elementsOf(t, want.XML), elementsOf(t, body)); diff != "" {
			t.Errorf("XML: %s", diff)
		}
	case body != "":
		t.Errorf("body %q, want none", body)
	}
	if r.ContentLength != int64(len(body)) {
		t.Errorf("Content-Length %d for %d bytes", r.ContentLength, len(body))
	}
}

// ownID puts our id of the message where an exchange says {message.id}.
func ownID(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out any
	if err := json.Unmarshal(bytes.ReplaceAll(text, []byte("{message.id}"), []byte(messageID)), &out); err != nil {
		panic(err)
	}
	return out
}

func readBody(t reporter, r *http.Request) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// The decoders below are not those of the engine: they are what servers use.

func pairsOf(t reporter, s string) (list [][2]string) {
	t.Helper()
	for pair := range strings.SplitSeq(s, "&") {
		v, err := url.ParseQuery(pair)
		if err != nil {
			t.Fatalf("%q: %v", pair, err)
		}
		for name, values := range v {
			list = append(list, [2]string{name, values[0]})
		}
	}
	return list
}

func partsOf(t reporter, r *http.Request, body string) (list [][2]string) {
	t.Helper()
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	reader := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, [2]string{part.FormName(), string(text)})
	}
}

func valueOf(t reporter, s string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
	return v
}

func elementsOf(t reporter, s string) (list []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("%v: %s", err, s)
		}
		switch e := token.(type) {
		case xml.StartElement:
			list = append(list, fmt.Sprint("<", e.Name.Local, e.Attr))
		case xml.EndElement:
			list = append(list, "</"+e.Name.Local)
		case xml.CharData:
			if text := string(e); strings.TrimSpace(text) != "" {
				list = append(list, text)
			}
		}
	}
}

// sentText finds the text of a message in a request, whatever its encoding.
func sentText(t reporter, r *http.Request) (all []string) {
	t.Helper()
	body := readBody(t, r)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			all = append(all, v)
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	add := func(pairs [][2]string) {
		for _, p := range pairs {
			all = append(all, p[1])
		}
	}
	if r.URL.RawQuery != "" {
		add(pairsOf(t, r.URL.RawQuery))
	}
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case kind == "application/x-www-form-urlencoded":
		add(pairsOf(t, body))
	case kind == "multipart/form-data":
		parts := partsOf(t, r, body)
		add(parts)
		if strings.Contains(body, "\r\nContent-Type: application/json\r\n") {
			walk(valueOf(t, parts[0][1]))
		}
	case strings.HasSuffix(kind, "xml"):
		all = append(all, elementsOf(t, body)...)
	case strings.Contains(kind, "json"):
		walk(valueOf(t, body))
	}
	return all
}

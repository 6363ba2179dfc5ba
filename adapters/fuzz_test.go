package adapters

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// FuzzReply gives every kind of reply anything to read: nothing but a whole reply of an accepted
// status is accepted.
func FuzzReply(f *testing.F) {
	var calls []*Call
	for _, rules := range []string{
		"reply json\naccepted status 200\naccepted s != no\nid id a.0.b\ncode code\nmessage `l.#(s==\"1\").t` m\ncause busy 1",
		"reply xml\naccepted status 200\nid //id\ncode //code\nmessage //m",
		"reply text\naccepted status 200\naccepted matches ^OK\nid `id=(\\w+)`\nmessage `^Error \"(.*)\"$`",
		"reply pairs ^\naccepted status 200\naccepted ok == 1\nid id\ncode err",
	} {
		x, err := define(f, "POST /\nform {\nt {sms.body}\n}", rules, nil).Prepare(f.Context(), saying("Hello World"), noToken, now)
		if err != nil {
			f.Fatal(err)
		}
		calls = append(calls, x)
	}
	for _, body := range []string{
		`{"id":"7"}`, `{"id":7,"s":"no"}`, `{"a":[{"b":null}],"l":[{"s":"1","t":"Hello World"}]}`, "", "<r><id>7</id></r>", "<html/>", "<a", "OK id=7",
		`Error "x"`, "ok=1^id=7", "\xef\xbb\xbf{}", "<?xml version=\"1.0\" encoding=\"latin1\"?><r/>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
	} {
		for kind := range calls {
			f.Add(byte(kind), 200, []byte(body), true)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, status int, body []byte, whole bool) {
		r := calls[int(kind)%len(calls)].Read(status, http.Header{}, body, whole)
		if r.Outcome == sms.Accepted && (status != 200 || !whole || len(body) == 0) {
			t.Errorf("%d %q (whole %t) is accepted", status, body, whole)
		}
		if (r.Refusal == nil) != (r.Outcome == sms.Accepted) || r.Outcome != sms.Accepted && !r.Refusal.Cause.FromProvider() {
			t.Errorf("%d %q: %s with %v", status, body, r.Outcome, r.Refusal)
		}
		if strings.Contains(r.Code+r.Detail, "Hello World") {
			t.Errorf("the log gets %q", r.Code+r.Detail)
		}
	})
}

// FuzzDefinition reads anything as a definition: it is one, or the error says where.
func FuzzDefinition(f *testing.F) {
	for _, name := range Names() {
		source, err := Source(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Add(whole)
	f.Add("send {\n when\n}")
	f.Add("a {\n}\n}")
	f.Add("base_url https://x\nsend {\nPOST /\nmultipart {\na json {\nb {sms.media.0.type}\n}\nc {sms.media.file}\nd x{sms.media.0.base64}\n}\n}\nreply json\naccepted status 200\nid id")
	f.Add("base_url https://x\nmedia {\nfiles 2\neach 1MB\ntotal 5MiB\ntypes image/* text/x-vcard\nsource x\n}\nsend {\nPOST /\njson {\nm[] {sms.media}\n}\n}\nreply json\naccepted status 200\nid id")
	f.Add("id `")
	f.Fuzz(func(t *testing.T, source string) {
		d, err := parse("own", "own", 1, source)
		if err != nil {
			if !regexp.MustCompile(`^own:\d+: `).MatchString(err.Error()) {
				t.Errorf("%v names no place", err)
			}
			return
		}
		options := map[string]string{}
		for _, o := range d.Options {
			options[o.Name] = "x"
		}
		a, err := d.Bind("", "https://example.com", options)
		if err != nil {
			return
		}
		x, err := a.Prepare(t.Context(), saying("Hello World"), noToken, now)
		if err != nil {
			if refusal := (*sms.Refusal)(nil); !errors.As(err, &refusal) {
				t.Errorf("%v is no refusal", err)
			}
			return
		}
		x.Read(200, http.Header{}, []byte("{}"), true)
	})
}

// FuzzEncode sends any text through the encoders; a server reads the same text.
func FuzzEncode(f *testing.F) {
	var all []*Adapter
	for _, kind := range []string{"form", "multipart", "json"} {
		all = append(all, define(f, "POST /\n"+kind+" {\ntext {sms.body}\n}", "", nil))
	}
	markup := define(f, "POST /\nxml {\nm {\nt {sms.body}\n}\n}", "", nil)
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if body = strings.ToValidUTF8(body, "?"); body == "" {
			return
		}
		for _, a := range all {
			x, err := a.Prepare(t.Context(), saying(body), noToken, now)
			if err != nil {
				t.Fatal(err)
			}
			if arrived := sentText(t, x.Request); len(arrived) != 1 || arrived[0] != body {
				t.Errorf("%q arrived as %q", body, arrived)
			}
		}
		x, err := markup.Prepare(t.Context(), saying(body), noToken, now)
		if err != nil || strings.TrimSpace(body) == "" {
			return
		}
		if got := elementsOf(t, readBody(t, x.Request)); len(got) != 5 || got[2] != body {
			t.Errorf("%q arrived as %q", body, got)
		}
	})
}

// FuzzNoID compares isNoID with the pattern that says it.
func FuzzNoID(f *testing.F) {
	want := regexp.MustCompile(`(?i)^([0-]+|-\d+|null|nil|none|undefined|n/a)$`)
	for _, seed := range []string{"", "0", "-", "0-0", "-12", "-1a", "-0a", "--1", "NULL", "Undefined", "n/A", "nul", "01", "00x", "none\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if isNoID(s) != want.MatchString(s) {
			t.Errorf("%q: %v", s, isNoID(s))
		}
	})
}

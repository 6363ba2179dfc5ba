package adapters

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// ruled is a definition with a send block.
func ruled(send string) string {
	return "base_url https://x.example.com\noption host\noption extra optional\nsend {\n" + send + "\nheader X {option.host}\nheader Y {option.extra}\n}\nreply json\naccepted status 200\nid id"
}

// A value of the app is never a part of a text in another format: nothing escapes it there.
func TestJoinedValues(t *testing.T) {
	const frame, last = "where nothing would escape it", "must be the last part of its value"
	for value, want := range map[string]string{
		"sip:{sms.to}@{option.host}": "", "tel:{sms.to}": "", "{option.host}-{sms.from}": "", "by {sms.from}: {sms.body}": "", "{sms.from};{sms.to}": "",
		"{sms.body}": "", "{ no JSON {sms.to}": frame, "{option.host} [1] < & {message.id}": "", "{option.host}|{sms.user}": "", "{sms.media.0} {sms.body}": "",
		`[{"toUser":"{sms.to}","messageContent":"{sms.body}"}]`: frame, `{"to":"{sms.to}"}`: frame, `{ "to": {sms.to} }`: frame, "<to>{sms.to}</to>": frame,
		"a=1&to={sms.to}": frame, "to: {sms.to}\nx: 1": frame, "to: {sms.to}\r": frame, `"{sms.from}"`: frame, "[{sms.user}": frame, "{{sms.to}": "without { in front",
		"{sms.body} {sms.media.0}": last, "{sms.user}@{option.host}": last, "'{sms.body}'": last, "{sms.body}{sms.to}": last, "{sms.install_id}-{sms.to}": last, "{sms.media.0}|{sms.to}": last,
		"{sms.content_type}; {sms.body}": last, "{sms.disposition},{sms.to}": last, "{sms.disposition.id}:{sms.to}": last,
	} {
		for _, send := range []string{
			"POST /\nform {\nv `" + value + "`\nto {sms.to}\n}", "GET /\nquery {\nv `" + value + "`\nto {sms.to}\n}", "POST /\nmultipart {\nv `" + value + "`\nto {sms.to}\n}",
			"POST /\njson {\nv `" + value + "`\n}", "POST /\njson {\na {\nv[] `" + value + "`\n}\n}", "POST /\nxml {\nm {\nv `" + value + "`\n}\n}", "POST /\nxml {\nm {\n@v `" + value + "`\n}\n}",
			"POST /\nform {\nwhen media {\nv `" + value + "`\n}\n}", "POST /\nform {\nf json {\nv `" + value + "`\n}\n}",
		} {
			_, err := parse("own", "own", 1, ruled(send))
			got := ""
			if err != nil {
				got = err.Error()
			}
			isTree := strings.HasPrefix(value, "[{") || strings.HasPrefix(value, `{ "`) || strings.HasPrefix(value, `{"`)
			if (want == "") != (err == nil) || !strings.Contains(got, want) && !(isTree && strings.Contains(got, "contains JSON as text")) {
				t.Errorf("%s\n got %q\nwant %q", send, got, want)
			}
		}
	}
}

func TestJSONText(t *testing.T) {
	for value, refused := range map[string]bool{
		`{"a":1}`: true, `{ "a": 1 }`: true, "{\n\t\"a\":1}": true, " {\"a\":1}": true, `{}`: true, `{ }`: true, `{`: true, `[1]`: true, ` [ ]`: true, "\n[": true, `{'a':1}`: true, `{\"a\":1}`: true,
		"a {b}": false, ":{": false, "{option.host}": false, "{ a }": false, "1": false,
	} {
		_, err := parse("own", "own", 1, ruled("POST /\njson {\nv `"+value+"`\nto {sms.to}\n}"))
		if got := err != nil && strings.Contains(err.Error(), "contains JSON as text"); got != refused {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// JSON inside of a form or query is a tree like any other, and so is a list at the root of a body.
func TestNestedJSON(t *testing.T) {
	bare := saying("Hi")
	bare.From = sms.Number{}
	for _, c := range []struct {
		send, name, want string
		message          *sms.Message
	}{
		{"POST /\nform {\na b\ncontent json {\nto {sms.to}\nn int {sms.to}\no {\nt {sms.body}\n}\n}\n}", "content", `{"to":"+15551231234","n":15551231234,"o":{"t":"a\",\"to\":\"911"}}`, saying(`a","to":"911`)},
		{"GET /\nquery {\ncontent json[] {\ntoUser {sms.to}\nmessageContent {sms.body}\n}\n}", "content", `[{"toUser":"+15551231234","messageContent":"Hi"}]`, bare},
		{"POST /\nform {\ncontent json {\nfrom {sms.from}\n}\nt {sms.body}\n}", "content", "", bare},
		{"POST /\nform {\ncontent json {\nwhen {sms.from} {\nfrom {sms.from}\n}\nt {sms.body}\n}\n}", "content", `{"t":"Hi"}`, bare},
		{"POST /\njson[] {\nto {sms.to}\nwhen {sms.from} {\nfrom {sms.from}\n}\nt {sms.body}\n}", "", `[{"to":"+15551231234","t":"Hi"}]`, bare},
		{"POST /\njson[] application/vnd.x+json {\nto[] {sms.to}\nt {sms.body}\n}", "", `[{"to":["+15551231234"],"t":"Hi"}]`, bare},
	} {
		r, body := request(t, define(t, c.send, "", nil), c.message)
		if c.name != "" {
			values := r.URL.Query()
			if r.Method == "POST" {
				values, _ = url.ParseQuery(body)
			}
			if body = values.Get(c.name); c.want == "" && values.Has(c.name) {
				t.Errorf("%s: there is %s", c.send, body)
			}
		}
		if body != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.send, body, c.want)
		}
	}
	r, body := request(t, define(t, "POST /\nmultipart {\nm json[] {\nto {sms.to}\nt {sms.body}\n}\n}", "", nil), bare)
	if got := partsOf(t, r, body); len(got) != 1 || got[0] != [2]string{"m", `[{"to":"+15551231234","t":"Hi"}]`} {
		t.Errorf("got %q", got)
	}
	// A number that cannot be one is refused in there too.
	short := saying("Hi")
	short.From = sms.Number{Value: "ACME", Kind: sms.Alphanumeric}
	a := define(t, "POST /\nform {\nc json {\nn int {sms.from}\n}\nt {sms.body}\n}", "", nil)
	if _, err := a.Prepare(t.Context(), short, noToken, now); err == nil || errors.Is(err, wire.ErrNotWritable) {
		t.Errorf("got %v", err)
	}
	for send, want := range map[string]string{
		"POST /\nform {\na json {\n}\n}": "the block is empty", "POST /\nform {\na json x {\nb c\n}\n}": "is a block, but a form contains only", "POST /\nxml {\na json {\nb c\n}\n}": "a block",
		"POST /\nform[] {\na b\n}": "unknown word", "POST /\njson[] {\n}": "the body is empty", "POST /\nform {\na {\nb c\n}\n}": "a value that is JSON is written",
	} {
		if _, err := parse("own", "own", 1, ruled(send)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", send, err, want)
		}
	}
}

// Whatever a person writes, a server that reads JSON inside of a form finds the same text, and one
// recipient.
func TestNestedJSONKeepsText(t *testing.T) {
	a := define(t, "POST /\nform {\ncontent json[] {\nto {sms.to}\ntext {sms.body}\n}\n}", "", nil)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 60, -1).Draw(t, "text")
		x, err := a.Prepare(t.Context(), saying(text), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		form, err := url.ParseQuery(readBody(t, x.Request))
		var list []map[string]string
		if err == nil {
			err = json.Unmarshal([]byte(form.Get("content")), &list)
		}
		if err != nil || len(list) != 1 || list[0]["text"] != text || list[0]["to"] != "+15551231234" {
			t.Fatalf("%q: %v %v", text, list, err)
		}
	})
}

// A list of several values keeps their places: what is empty is null.
func TestListsKeepPlaces(t *testing.T) {
	bare := saying("Hi")
	bare.From = sms.Number{}
	for send, want := range map[string]string{
		"params[] {sms.from} {sms.to} {sms.body}":         `{"params":[null,"+15551231234","Hi"]}`,
		"params[] {sms.to} {sms.from} 1":                  `{"params":["+15551231234",null,1]}`,
		"params[] {option.extra} {sms.to} {sms.body}":     `{"params":[null,"+15551231234","Hi"]}`,
		"params[] {sms.to} {option.extra}":                `{"params":["+15551231234",null]}`,
		"params[] {sms.media.0} {option.extra}\nx 1":      `{"x":1}`,
		"params[] {sms.from}\nx {sms.media.0}\nb 1":       `{"b":1}`,
		"params[] \"a {sms.from}\" null {sms.to}":         `{"params":[null,null,"+15551231234"]}`,
		"o {\nparams[] {option.extra} {sms.from}\n}\nx 1": `{"x":1}`,
	} {
		d, err := parse("own", "own", 1, ruled("POST /\njson {\n"+send+"\n}"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := d.Bind("", "", map[string]string{"host": "h"})
		if err != nil {
			t.Fatal(err)
		}
		if _, body := request(t, a, bare); body != want {
			t.Errorf("%s\n got %s\nwant %s", send, body, want)
		}
	}
	for send, want := range map[string]string{
		"xml {\nm {\np[] {sms.from} {sms.to} {sms.body}\n}\n}":                 "own:8: {sms.from} may be empty",
		"xml {\nm {\np {sms.to}\np {sms.body}\n}\n}":                           "own:9: {sms.body} may be empty",
		"xml {\nm {\np[] {sms.to} {option.extra}\n}\n}":                        "own:8: {option.extra} may be empty",
		"form {\n\"p[]\" {sms.from}\n\"p[]\" {sms.to}\n}":                      "own:8: {sms.from} may be empty",
		"form {\np {sms.to}\nx 1\np {option.extra}\n}":                         "own:9: {option.extra} may be empty",
		"multipart {\np \"x{sms.from}\"\np {sms.to}\n}":                        "own:8: {sms.from} may be empty",
		"query {\np {sms.from}\np {sms.to}\n}":                                 "own:8: {sms.from} may be empty",
		"json {\nm[] {sms.media} x\n}":                                         "own:7: {sms.media} must be the only value of its list",
		"json {\nm[] {sms.to} {sms.media}\n}":                                  "own:7: {sms.media} must be the only value of its list",
		"form {\nm {sms.media.0}\nm {sms.media.1}\n}":                          "",
		"form {\nm {sms.media.0}\nm {sms.from}\n}":                             "own:8: {sms.media.0} may be empty",
		"form {\np {sms.to}\np {option.host}\np x\n}":                          "",
		"xml {\nm {\np[] {sms.to} x\nwhen {sms.from} {\np {sms.from}\n}\n}\n}": "",
	} {
		_, err := parse("own", "own", 1, ruled("POST /\n"+send))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", send, err, want)
		}
	}
}

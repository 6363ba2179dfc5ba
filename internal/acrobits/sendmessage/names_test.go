package sendmessage

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A name may be as long as its sender likes, since - and _ do not count; what is told of it is not.
func TestLongNames(t *testing.T) {
	body := `{"t` + strings.Repeat("_", 1000) + `o":"%abc%"}`
	_, err := newDecoder(t, "").Decode(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	var refusal *sms.Refusal
	if !errors.As(err, &refusal) || refusal.Variant != sms.NotReplaced || refusal.Value("name") != "sms_to" {
		t.Error(err, refusal.Value("name"))
	}
}

func TestParseNames(t *testing.T) {
	for key, want := range map[string]string{"recipent": "unknown parameter; known parameters: user, ", "sms_too=S3CR3T": `unknown parameter "sms_too", did you mean sms_to?`, "from": "", "to": "", "sms_body": ""} {
		_, err := ParseNames(map[string][]string{key: {"x"}})
		if key == "from" {
			continue // it is what templates call a user or a sender; both are renamed by their own names
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", key, err, want)
		}
	}
	for _, name := range []string{"--", "auth.", ".login", "auth..login", ".", "messages[0].to"} {
		if _, err := ParseNames(map[string][]string{"sms_to": {name}}); err == nil {
			t.Errorf("%s is a name", name)
		}
	}
}

// The same tree is read the same, whether it is JSON or XML, and a message is found at whatever
// depth.
func TestNestedAlike(t *testing.T) {
	names, err := ParseNames(map[string][]string{"user": {"auth.login_id"}})
	if err != nil {
		t.Fatal(err)
	}
	d := &Decoder{Names: names, MaxSize: params.DefaultMaxSize}
	leaves := []struct{ name, value string }{
		{"password", "12345678"}, {"to", "+15551231234"}, {"text", "Hi <&> \"there\""}, {"content_type", "text/plain"},
		{"disposition_notification", "xkXRBMCL.twvNcfC9:display"}, {"unknown", "x"}, {"sender", "+15550001111"},
	}
	rapid.Check(t, func(t *rapid.T) {
		var docs, marks []string
		for _, leaf := range append(leaves, struct{ name, value string }{"login_id", "johndow"}) {
			var escaped bytes.Buffer
			_ = xml.EscapeText(&escaped, []byte(leaf.value))
			quoted, _ := json.Marshal(leaf.value)
			doc, mark := fmt.Sprintf("%q:%s", leaf.name, quoted), "<"+leaf.name+">"+escaped.String()+"</"+leaf.name+">"
			around := rapid.SliceOfN(rapid.SampledFrom([]string{"data", "request", "sms", "item"}), 0, 4).Draw(t, "around")
			if leaf.name == "login_id" {
				around = append([]string{"auth"}, around...)
			}
			for _, outer := range around {
				if doc = "{" + doc + "}"; rapid.Bool().Draw(t, "list") {
					doc = "[" + doc + "]"
				}
				doc, mark = fmt.Sprintf("%q:%s", outer, doc), "<"+outer+">"+mark+"</"+outer+">"
			}
			docs, marks = append(docs, doc), append(marks, mark)
		}
		order := rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7}).Draw(t, "order")
		var inJSON, inXML []string
		for i, at := range order { // members of one name would take each other's place
			inJSON, inXML = append(inJSON, fmt.Sprintf(`"part%d":{%s}`, i, docs[at])), append(inXML, marks[at])
		}
		for _, r := range []*http.Request{
			post("application/json", "{"+strings.Join(inJSON, ",")+"}"),
			post("text/xml", "<m>"+strings.Join(inXML, "")+"</m>"),
		} {
			req, err := d.Decode(r)
			if err != nil || req.User != "johndow" || req.Secret.Reveal() != "12345678" || len(req.To) != 1 || req.To[0] != "+15551231234" ||
				req.Body.Reveal() != leaves[2].value || req.ContentType != "text/plain" || req.Disposition.ID == "" || req.Sender != "+15550001111" {
				t.Fatalf("%v: %+v", err, req)
			}
		}
	})
}

func TestParsePattern(t *testing.T) {
	for pattern, want := range map[string]string{
		"/send/{token}": "", "/{to}/{body}/": "", "send": "begins with /", "/{nothing}": "unknown parameter; known parameters: user, ", "/a{to}": "either a word or one {name}", "/{to": "either a word",
	} {
		if _, err := params.ParsePattern(pattern, defaultNames); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
}

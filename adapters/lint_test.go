package adapters

import (
	"fmt"
	"strings"
	"testing"
)

// whole is a definition that is right, to be spoiled.
const whole = `base_url https://api.example.com
option key secret
send {
	POST /send
	bearer {option.key}
	json {
		to {sms.to}
	}
}
reply json
accepted status 200
id id
`

// TestLint spoils a definition and looks for the line and the advice.
func TestLint(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"option key", "optoin key", `x:2: unknown word "optoin", did you mean option?`},
		{"bearer {option.key}", "bearer {option.kye}", `x:5: unknown hole "option.kye", did you mean option.key? known holes: option.key, `},
		{"bearer {option.key}", "", "option key of x is never used"},
		{"option key secret", "option key secret\noption more", "option more of x is never used"},
		{"option key secret", "option key secret\noption key", "x:3: option key appears twice"},
		{"option key secret", "option key hidden", "x:2: option key: unknown word; known words: secret, optional, in"},
		{"option key secret", "option base_url", `x:2: "base_url" is not a name for an option`},
		{"option key secret", "option when", `x:2: "when" is not a name for an option: it is a word of every adapter block, choose another`},
		{"option key secret", "option weight", `x:2: "weight" is not a name for an option`},
		{"option key secret", "option senders", `x:2: "senders" is not a name for an option`},
		{"option key secret", "option", "x:2: write: option NAME [secret] [optional] [in VALUE…]"},
		{"{sms.to}", "{sms.too}", `x:7: unknown hole "sms.too", did you mean sms.to?`},
		{"{sms.to}", "{http.request.uri}", "x:7: {http.…} is a placeholder of Caddy's"},
		{"{sms.to}", "{env.HOME}", "x:7: {env.…} is a placeholder of Caddy's"},
		{"{sms.to}", "{path}", "x:7: {path} is a placeholder of Caddy's"},
		{"{sms.to}", "{file./etc/passwd}", "x:7: {file.…} is a placeholder of Caddy's"},
		{"id id", "id #.id", "x:12: id needs at least one path (put a value that begins with # in backticks"},
		{"accepted status 200", "accepted status 200\naccepted #.ok == 1", "in backticks, or it is a comment"},
		{"to {sms.to}", `to {"a":1}`, "x:7: to contains JSON as text; write its members: to { member value }, or to[] value"},
		{"to {sms.to}", "to [1]", "x:7: to contains JSON as text; write its members: to { member value }, or to[] value"},
		{"to {sms.to}", "to", "x:7: to needs exactly one value; quote it if it has spaces (put a value"},
		{"to {sms.to}", "to a b", "x:7: to needs exactly one value; quote it if it has spaces"},
		{"to {sms.to}", "media {sms.media}", "x:7: {sms.media} is a list: write media[] {sms.media}"},
		{"to {sms.to}", "{sms.to} x", "x:7: the name of a member is fixed text"},
		{"to {sms.to}", "when weather {\na b\n}", "x:7: write after when: media, unicode, alphanumeric (the sender) or one"},
		{"to {sms.to}", "to {\n}", "x:7: the block is empty"},
		{"to {sms.to}", "to {to}", `x:7: unknown hole "to", did you mean sms.to`},
		{"to {sms.to}", "to {SMS.TO}", `x:7: unknown hole "SMS.TO", did you mean sms.to?`},
		{"to {sms.to}", "to {$HOME}", "x:7: {$…} is not replaced in a definition"},
		{"/send", "/send/{sms.body}", "x:4: {sms.body} is not allowed in a path, because it is free text"},
		{"/send", "send", "x:4: write POST and a path that begins with /; the host belongs in base_url"},
		{"bearer {option.key}", "header X-Key {option.key}\nheader X-Text {sms.body}", "x:6: {sms.body} is not allowed in a header, because it is free text"},
		{"bearer {option.key}", "basic {option.key} {sms.to}", "x:5: {sms.to} is not allowed in a credential"},
		{"bearer {option.key}", "bearer", "x:5: write: bearer TOKEN"},
		{"https://api.example.com", "https://{sms.to}.example.com", "x:1: {sms.to} is not allowed in base_url, only holes of options are"},
		{"POST /send", "POST /send\nPOST /again", "x:5: only one method is allowed; write another send block"},
		{"POST /send", "GET /send", "GET has no body"},
		{"POST /send", "", "x:3: the method and path are missing: POST /path"},
		{"POST /send", "POST /send\nfrom {sms.from}", `x:5: unknown word "from", did you mean form`},
		{"json {", "json {\na b\n}\nform {", "only one body is allowed"},
		{"send {", "send now {", "x:3: write: send { POST /path … }"},
		{"reply json", "", "say how to read the reply before accepted"},
		{"reply json", "reply yaml", "x:10: write: reply json, xml, text or pairs"},
		{"reply json", "reply json\nreply xml", "x:11: reply appears twice"},
		{"accepted status 200", "", "x:3: say which status means accepted: accepted status 200"},
		{"accepted status 200", "accepted status ok", "x:11: write an HTTP status as 201 or 2xx"},
		{"accepted status 200", "accepted status 200\naccepted state is sent", "x:12: unknown operator, did you mean ==?"},
		{"accepted status 200", "accepted status 200\naccepted state ==", "x:12: wrong number of values after =="},
		{"accepted status 200", "accepted status 200\naccepted state matches (", "is not a pattern"},
		{"id id", "", "x:3: say where to find the id of the message: id PATH, or: id generated"},
		{"id id", "id id\nid sid", "x:13: id appears twice"},
		{"id id", "id id\ncause busy 1\ncause no_credit 1", "x:14: code 1 has a cause already, busy"},
		{"id id", "id id\ncause unauthorized 1", "x:13: unknown cause; known causes: invalid_recipient, "},
		{"id id", "id id\ncause no_credits 1", "did you mean no_credit?"},
		{"id id", "id id\ncause busy", "x:13: write: cause NAME CODE"},
		{"id id", "id id\ntext max 10 letters", "x:13: write: text max N characters, septets, utf16 or octets"},
		{"id id", "id id\nnumber national", "x:13: write: number [sender|recipient]"},
		{"id id", "id id\nverified yesterday", "x:13: write: verified live DATE, spec, docs DATE or unverified"},
		{"id id", "id id\ntell code", "x:13: write: tell message"},
		{"id id", "id id\nimport /etc/passwd", "import is not allowed in a definition"},
		{"POST /send", "POST /send\nsign rot13 x", "x:5: unknown signature; known signatures: aws_v4, "},
		{"POST /send", "POST /send\nsign aws_v4 x", "x:5: write: sign aws_v4 SERVICE REGION"},
		{"id id", "id id\n}\n", "x:13: the braces do not match, this one closes nothing"},
		{"json {", "json { to x", "x:6: { in the wrong place: a block is a line that ends in {"},
		{"to {sms.to}", "to {sms.to} }", "x:7: } in the wrong place"},
		{"\t}\n}", "\t} }", "x:8: } must be alone on its line"},
		{"send {", "send\n{", "x:4: { in the wrong place"},
		{"id id", "id \"id", "x:12: a quote or backtick is not closed"},
		{"id id", "id `id", "x:12: a quote or backtick is not closed"},
		{"id id", "id <<X\nid", "a heredoc is not closed or not well-formed"},
		{"to {sms.to}", strings.Repeat("a {\n", 20) + "to {sms.to}\n" + strings.Repeat("}\n", 20), "nested blocks"},
		{"to {sms.to}", "import {sms.to}", "x:7: import is not allowed in a definition"},
		{"to {sms.to}", "to \"{sms.to\"", "x:7: a hole ends in } and has no spaces"},
		{"to {sms.to}", "to \"{sms.to x}\"", "x:7: a hole ends in } and has no spaces"},
		{"to {sms.to}", "to {sms.media.63}", `x:7: unknown hole "sms.media.63", did you mean sms.media.0 or `},
		{"to {sms.to}", "to {header.X-From}", "x:7: {header.…} is a placeholder of Caddy's"},
		{"to {sms.to}", "to {client_ip}", "x:7: {client_ip} is a placeholder of Caddy's"},
		{"to {sms.to}", "to a\nto b", "x:8: to appears twice; a list is to[] value value"},
		{"to {sms.to}", "to int 5", "x:7: int is only for a hole; write a fixed number without it: to 5"},
		{"to {sms.to}", "when media", "x:7: write: when CONDITION { … }"},
		{"to {sms.to}", "to {\na {sms.to}\n}\nwhen no media and more {\na b\n}", "x:10: write after when: media, unicode, alphanumeric (the sender) or one"},
		{"json {", "json nothing {", `x:6: this cannot be the media type of a json body`},
		{"json {", "multipart application/json {", `x:6: this cannot be the media type of a multipart body`},
		{"json {\n\t\tto {sms.to}", "form {\nto {\na b\n}", "x:7: to is a block, but a form contains only names and values; a value"},
		{"json {\n\t\tto {sms.to}", "xml {\nto {sms.to}", "x:6: an xml body has exactly one root element with a block"},
		{"json {\n\t\tto {sms.to}", "xml {\nr {\n\"a b\" {sms.to}\n}", "x:8: the name of an element may contain letters, digits"},
		{"json {\n\t\tto {sms.to}", "xml {\nr {\n@a {\nb c\n}\n}", "x:8: an attribute, and the text of an element, has one value"},
		{"json {\n\t\tto {sms.to}", "xml {\nr {\nwhen media {\n@a b\n}\n}", "x:8: an attribute is not allowed in a when block"},
		{"POST /send", "POST /send?to={sms.to}", "x:4: write parameters in query { … }, not after ? in the path"},
		{"POST /send", "POST `/send#x`", "x:4: this is not a URL path"},
		{"POST /send", "POST \"/send it\"", "x:4: this is not a URL path"},
		{"POST /send", "POST /%zz", "x:4: this is not a URL path"},
		{"POST /send", "POST /send/{sms.media.0}", "x:4: {sms.media.0} is not allowed in a path, because it is free text"},
		{"POST /send", "POST /send\nquery {\na b\n}\nquery {\nc d\n}", "x:8: query appears twice"},
		{"POST /send", "POST /send\nquery a b", "x:5: write: query { name value … }, line by line"},
		{"POST /send", "POST /send\ntext max 5 octets\ntext max 6 octets", "x:6: text max appears twice"},
		{"bearer {option.key}", "bearer {option.key}\nbasic a {option.key}", "x:6: the header Authorization appears twice"},
		{"bearer {option.key}", "bearer {option.key}\nheader x-a b\nheader X-A c", "x:7: the header X-A appears twice"},
		{"bearer {option.key}", "bearer {option.key}\nheader \"X A\" b", "x:6: the name of a header may contain letters"},
		{"bearer {option.key}", "bearer {option.key}\nheader X-A \"b\r\nc\"", "x:6: a header must be one line without control characters"},
		{"bearer {option.key}", "bearer {option.key}\nheader host example.com", "x:6: do not set the header Host: it is set in base_url"},
		{"bearer {option.key}", "bearer {option.key}\nheader Content-Type text/plain", "x:6: do not set the header Content-Type: it is set after the word of the"},
		{"bearer {option.key}", "bearer {option.key}\nsign aws_v4 sns {sms.to} a b", "x:6: {sms.to} is not allowed in a credential"},
		{"https://api.example.com", "api.example.com", "x:1: base_url must begin with https:// or http:// and a host"},
		{"https://api.example.com", "https://:443", "x:1: base_url must begin with https:// or http:// and a host"},
		{"base_url https://api.example.com", "base_url https://api.example.com\nbase_url https://x", "x:2: base_url appears twice"},
		{"base_url https://api.example.com", "base_url {\n}", "x:1: base_url must not have a block"},
		{"accepted status 200", "accepted status 302", "x:11: only 2xx can mean accepted"},
		{"accepted status 200", "accepted status 4xx", "x:11: only 2xx can mean accepted"},
		{"accepted status 200", "accepted status 200\naccepted state == {sms.to}", "x:12: holes are not allowed here: a reply is compared with fixed text"},
		{"accepted status 200", "accepted status 200\naccepted state in", "x:12: wrong number of values after in"},
		{"accepted status 200", "accepted status 200\naccepted state every", "x:12: write: accepted PATH, then one of =="},
		{"reply json\naccepted status 200\nid id", "reply xml\naccepted status 200\nid count(//id)", "x:12: this is not an XPath to an element or attribute: it leads to a value"},
		{"reply json\naccepted status 200\nid id", "reply xml\naccepted status 200\nid `//*[contains(1,2)]`", "is not an XPath to an element or attribute"},
		{"reply json\naccepted status 200\nid id", "reply xml\naccepted status 200\nid //[", `x:12: this is not an XPath to an element or attribute`},
		{"reply json\naccepted status 200\nid id", "reply text\naccepted status 200\nid `(`", "x:12: this is not a pattern: missing closing )"},
		{"reply json", "reply json ^", "x:10: write: reply json, xml, text or pairs"},
		{"id id", "id id\ncause busy 1 1", "x:13: code 1 appears twice"},
		{"id id", "id id\ncause busy when", "x:13: write: cause NAME when PATH, then one of =="},
		{"id id", "id id\nnumber e164\nnumber digits", "x:14: number appears twice"},
		{"id id", "id id\nnumber sender e164\nnumber digits", "x:14: number appears twice"},
		{"id id", "id id\ntext max 5 octets\ntext max 5 octets", "x:14: text max appears twice"},
		{"id id", "id id\ntext max -5 octets", "x:13: write: text max N characters, septets, utf16 or octets"},
		{"id id", "id id\nsource", "x:13: source needs exactly one URL or quoted sentence"},
		{"id id", "id id\ntoken {\nPOST /t\n}", "x:13: say where to find the token in the reply: access PATH"},
		{"id id", "id id\ntoken {\naccess t\n}", "x:13: the method and path are missing: POST /path"},
		{"id id", "id id\ntoken {\nPOST /t\naccess t\n}", "x:13: the token is never used, write: bearer {token}"},
		{"id id", "id id\ntoken", "x:13: write: token { POST /path … access PATH }"},
		{"id id", "id id\ntoken x {\n}", "x:13: write: token { POST /path … access PATH }"},
		{"id id", "id id\ntoken {\nPOST /t\naccess t\nwhen media\n}", "x:16: unknown word; known words: basic, "},
		{"id id", "id id\ntoken {\nPOST /t\naccess t\nform {\na {sms.to}\n}\n}", "x:13: {sms.to} is not allowed in a token block: one token is used for many messages"},
		{"id id", "id id\ntoken {\nPOST /t\naccess t\nbearer {token}\n}", "x:13: {token} is not allowed in a token block: one token is used for many messages"},
		{"id id", "id id\ntoken {\nPOST /t\naccess t\naccess u\n}", "x:16: access appears twice"},
		{"id id", "id id\ntoken {\nPOST /t\naccess t\nbase_url https://{sms.to}\n}", "x:16: {sms.to} is not allowed in base_url, only holes of options are"},
		{"bearer {option.key}", "bearer {option.key}\nheader X-Token {token}", "{token} is used, but there is no token block"},
		{"bearer {option.key}", "basic {option.key} {token}", "x:5: {token} is not allowed in a credential"},
		{"bearer {option.key}", "bearer {option.key}\nnumber e164\nnumber digits", "x:7: number appears twice"},
		{"id id", "id id\ntext max 5 octets 3 utf16", "x:13: write: text max N characters"},
		{"reply json\naccepted status 200\nid id", "reply text\naccepted status 200\nid ^OK (\\S+)$", "x:12: put the pattern in backticks"},
		{"id id", "id id\ncause invalid_recipient matches foo", "x:13: write: cause invalid_recipient when PATH matches VALUE"},
		{"id id", "id id {", "the braces do not match, one is not closed"},
	} {
		spoiled := strings.Replace(whole, c.old, c.new, 1)
		if spoiled == whole {
			t.Fatalf("%q is not in the definition", c.old)
		}
		_, err := parse("x", "x", 1, spoiled)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q:\n  error %v\n  want  %s", c.new, c.old, err, c.want)
			continue
		}
		if !strings.HasPrefix(err.Error(), "x:") {
			t.Errorf("%v names no place", err)
		}
		// The same further down in a file.
		var line int
		if _, scan := fmt.Sscanf(err.Error(), "x:%d:", &line); scan != nil {
			t.Errorf("%v names no line", err)
		}
		_, later := parse("x", "x", 101, spoiled)
		if want := strings.Replace(err.Error(), fmt.Sprintf("x:%d:", line), fmt.Sprintf("x:%d:", line+100), 1); later.Error() != want {
			t.Errorf("in line 101: %v, want %s", later, want)
		}
	}
	if _, err := parse("x", "x", 1, whole); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "X", "a b", "a.b", "a-b"} {
		if _, err := Parse(name, "x", 1, whole); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

func TestCheck(t *testing.T) {
	d, err := Builtin("twilio")
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]string{"account_sid": "AC1", "auth_token": "t"}
	for _, c := range []struct {
		options map[string]string
		base    string
		want    string
	}{
		{good, "", ""},
		{good, "https://proxy.example.com/twilio/", ""},
		{map[string]string{"account_sid": "AC1"}, "", "adapter twilio needs the option auth_token"},
		{map[string]string{"account_sid": "AC1", "auth_token": " "}, "", "adapter twilio needs the option auth_token"},
		{map[string]string{"account_sid": "AC1", "auth_token": "t", "auth_tokn": "t"}, "", `adapter twilio: unknown option "auth_tokn", did you mean auth_token?`},
		{map[string]string{"account_sid": "AC1", "auth_token": "t\r\nX: y"}, "", "option auth_token contains a control character"},
		{good, "ftp://x", "base_url must begin with https:// or http://"},
		{good, "https://x?y", "only a scheme, a host and a path"},
		{good, "://", "base_url must begin with"},
	} {
		_, err := d.Bind("", c.base, c.options)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v %s: %v, want %s", c.options, c.base, err, c.want)
		}
	}
	if _, err := Builtin("twillio"); err == nil || !strings.Contains(err.Error(), "did you mean twilio?") {
		t.Error(err)
	}
	if _, err := Builtin("../twilio"); err == nil {
		t.Error("a name is a path")
	}
}

// A definition that forgets the recipient or the text would send nothing that anybody wants.
func TestForgotten(t *testing.T) {
	for lacking, want := range map[string]string{
		"to {sms.to}":     "x:6: {sms.body} is missing",
		"text {sms.body}": "x:6: {sms.to} is missing",
	} {
		_, err := Parse("x", "x", 4, "base_url https://x\n\nsend {\nPOST /\nform {\n"+lacking+"\n}\n}\nreply json\naccepted status 200\nid id")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", lacking, err, want)
		}
	}
}

// A definition has no secret of its own: what it needs is an option.
func TestLiterals(t *testing.T) {
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := d.Literals(); len(found) > 0 {
			t.Errorf("%s has %q", name, found)
		}
	}
	d, err := Parse("own", "own", 1, "base_url http://x\noption key secret\ntoken {\nPOST /token\nform {\nclient_secret abc\ngrant_type client_credentials\n}\naccess a\n}\n"+
		"send {\nPOST /\nbearer {token}\nheader X-Api-Key abc\nheader X-Kind sms\nquery {\ntoken abc\nkey {option.key}\n}\njson {\nauth {\npassword abc\nname johndow\n}\nto {sms.to}\ntext {sms.body}\n}\n}\n"+
		"reply json\naccepted status 200\nid id")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(d.Literals(), " "), "X-Api-Key token password client_secret"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestSecretive(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "X-Api-Key": true, "X-API-Key-V2": true, "X-Token-Value": true, "X-Secret-Code": true, "X-Passcode": true, "passphrase": true,
		"userpass": true, "UserPass": true, "httpauth": true, "auth": true, "pwd": true,
		"X-Kind": false, "keyword": false, "author": false, "passthrough": false, "token_type": false, "public_key": false, "key_id": false,
	} {
		if got := Secretive(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

package adapters

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A text and its attachments go out as a whole or not at all.
func TestNothingGetsLost(t *testing.T) {
	for name, c := range map[string]struct {
		send, body string
		media      int
		want       string // the cause of a refusal
	}{
		"as many as there are places":   {"form {\nt {sms.body}\na {sms.media.0}\nb {sms.media.1}\n}", "Hi", 2, ""},
		"more than there are places":    {"form {\nt {sms.body}\na {sms.media.0}\nb {sms.media.1}\n}", "Hi", 3, "unsupported_content"},
		"a place that is left out":      {"form {\nt {sms.body}\nb {sms.media.1}\n}", "Hi", 2, "unsupported_content"},
		"a list":                        {"json {\nt {sms.body}\nm[] {sms.media}\n}", "Hi", 70, ""},
		"more than places beyond a bit": {"form {\nt {sms.body}\nm {sms.media}\n}", "Hi", 64, ""},
		"media in a group that drops":   {"json {\nt {sms.body}\nwhen unicode {\nm[] {sms.media}\n}\n}", "Hi", 1, "unsupported_content"},
		"media in a group that keeps":   {"json {\nt {sms.body}\nwhen unicode {\nm[] {sms.media}\n}\n}", "你", 1, ""},
		"media beside an empty hole":    {"json {\nt {sms.body}\nm \"{sms.media.0} {sms.media.1}\"\n}", "Hi", 1, "unsupported_content"},
		"text in a group that drops":    {"json {\nto {sms.to}\nwhen unicode {\nt {sms.body}\n}\n}", "Hi", 0, "unsupported_content"},
		"text in one of two groups":     {"form {\nwhen unicode {\nh {sms.body.utf16hex}\n}\nwhen no unicode {\nt {sms.body}\n}\n}", "你", 0, ""},
		"text beside an empty hole":     {"json {\nto {sms.to}\nt \"{sms.media.0} {sms.body}\"\n}", "Hi", 0, "unsupported_content"},
		"text in a condition only":      {"json {\nwhen {sms.body} {\nto {sms.to}\n}\nwhen unicode {\nt {sms.body}\n}\n}", "Hi", 0, "unsupported_content"},
		"an attribute":                  {"xml {\nm {\n@pic {sms.media.0}\nt {sms.body}\n}\n}", "Hi", 1, ""},
		"a picture without a text":      {"json {\nto {sms.to}\nt {sms.body}\nm[] {sms.media}\n}", "", 1, ""},
	} {
		m := saying(c.body)
		for i := range c.media {
			m.Media = append(m.Media, mediaAt(fmt.Sprintf("https://files.example.com/%d.jpg", i))...)
		}
		x, err := define(t, "POST /\n"+c.send, "", nil).Prepare(t.Context(), m, noToken, now)
		if got := causeOf(err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if err != nil {
			continue
		}
		body, _ := url.QueryUnescape(readBody(t, x.Request))
		for _, m := range m.Media {
			if url := m.URL.Reveal(); !strings.Contains(body, url) {
				t.Errorf("%s: %s is not in %s", name, url, body)
			}
		}
	}
}

// causeOf names the cause of a refusal.
func causeOf(err error) string {
	if refusal := (*sms.Refusal)(nil); errors.As(err, &refusal) {
		return refusal.Cause.String()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// Why no send block fits is told from what did not fit.
func TestReasons(t *testing.T) {
	for send, want := range map[string]string{
		"when octets <= 3\nPOST /\nform {\nt {sms.body}\n}":                   "too_long",
		"when octets <= 3\nwhen unicode\nPOST /\nform {\nt {sms.body}\n}":     "unsupported_content",
		"when unicode\nPOST /\nform {\nt {sms.body}\n}":                       "unsupported_content",
		"when no {sms.from}\nPOST /\nform {\nt {sms.body}\n}":                 "unsupported_content",
		"when {sms.from}\ntext max 3 octets\nPOST /\nform {\nt {sms.body}\n}": "too_long",
	} {
		_, err := define(t, send, "", nil).Prepare(t.Context(), saying("Hello"), noToken, now)
		if got := causeOf(err); got != want {
			t.Errorf("%q: %s, want %s", send, got, want)
		}
	}
	for _, to := range []sms.Number{{}, {Value: "ACME 1", Kind: sms.Alphanumeric}} {
		m := saying("Hello")
		m.To = to
		_, err := define(t, "POST /\nform {\nt {sms.body}\nto {sms.to}\n}", "", nil).Prepare(t.Context(), m, noToken, now)
		if got := causeOf(err); got != "invalid_recipient" {
			t.Errorf("%q: %s", to.Value, got)
		}
	}
}

// Values of the app's request that may stand in a path stay in their segment.
func TestPathSegments(t *testing.T) {
	a := define(t, "POST /u/{sms.disposition.id}/m\nform {\nt {sms.body}\n}", "", nil)
	for id, want := range map[string]string{
		"a.1": "/u/a.1/m", "a/b?c#d%e&f": "/u/a%2Fb%3Fc%23d%25e&f/m", "...": "/u/.../m", "..": "", ".": "", "": "",
	} {
		m := saying("Hello")
		m.Disposition.ID = id
		x, err := a.Prepare(t.Context(), m, noToken, now)
		if got := ""; err == nil {
			if got = x.Request.URL.EscapedPath(); got != want || x.Request.URL.RawQuery != "" {
				t.Errorf("%q: %s, want %s", id, got, want)
			}
		} else if want != "" {
			t.Errorf("%q: %v", id, err)
		}
	}
	d, err := parse("own", "own", 1, "option account\nbase_url https://x\nsend {\nPOST /{option.account}/m\nform {\nt {sms.body}\n}\n}\nreply json\naccepted status 200\nid id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Bind("", "", map[string]string{"account": ".."}); err == nil {
		t.Error("an option leads to another folder")
	}
	a, err = d.Bind("", "https://example.com/a%2Fb/", map[string]string{"account": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := request(t, a, saying("Hi")); r.URL.String() != "https://example.com/a%2Fb/x/m" {
		t.Error(r.URL)
	}
}

// Typed holes are numbers or nothing: neither an option nor a number with zeros in front changes
// what the JSON says.
func TestIntegers(t *testing.T) {
	d, err := parse("own", "own", 1, "option n\nbase_url https://x\nsend {\nPOST /\njson {\nn int {option.n}\nto int {sms.to}\nt {sms.body}\n}\n}\nreply json\naccepted status 200\nid id")
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[string]bool{"0": true, "17": true, `1,"to":2`: false, "1.5": false, "-1": false, "007": false, "x": false} {
		if _, err := d.Bind("", "", map[string]string{"n": n}); (err == nil) != want {
			t.Errorf("%q: %v", n, err)
		} else if err != nil && strings.Contains(err.Error(), n) && len(n) > 1 {
			t.Errorf("%v shows the value", err)
		}
	}
	a, err := d.Bind("", "", map[string]string{"n": "1"})
	if err != nil {
		t.Fatal(err)
	}
	m := saying("Hi")
	m.To = sms.Number{Value: "0123", Kind: sms.ShortCode}
	if _, err := a.Prepare(t.Context(), m, noToken, now); causeOf(err) != "unsupported_content" {
		t.Errorf("0123 is written as a number: %v", err)
	}
}

// A send block may be answered in another form than the others.
func TestVariantReply(t *testing.T) {
	d, err := parse("own", "own", 1, `
		base_url https://x
		send {
			when unicode
			POST /u
			form {
				t {sms.body}
			}
			reply text
			accepted status 202
			accepted matches ^OK
			id generated
		}
		send {
			POST /p
			form {
				t {sms.body}
			}
		}
		reply json
		accepted status 200
		accepted state == ok
		id id
		code code
		message message
		cause busy 1
		cause no_credit when message matches credit`)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text   string
		status int
		body   string
		want   string
	}{
		{"你", 202, "OK", "accepted none " + messageID},
		{"你", 200, `{"state":"ok","id":"7"}`, "unknown unknown "},
		{"你", 400, `{"code":1,"message":"credit"}`, "refused rejected "},
		{"Hi", 200, `{"state":"ok","id":"7"}`, "accepted none 7"},
		{"Hi", 202, "OK", "unknown unknown "},
		{"Hi", 400, `{"message":"no credit"}`, "refused no_credit "},
	} {
		x, err := a.Prepare(t.Context(), saying(c.text), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		r := x.Read(c.status, http.Header{}, []byte(c.body), true)
		if got := r.Outcome.String() + " " + r.Cause().String() + " " + r.ID; got != c.want {
			t.Errorf("%s: %d %s is %s, want %s", c.text, c.status, c.body, got, c.want)
		}
	}
}

// Quotations of a secret or of the text, in whatever encoding the provider writes them, are neither
// logged nor told.
func TestQuotations(t *testing.T) {
	const secret, body = `s3cret/<Token>+1`, "Meet me at 8 & bring the <key>, Zoë"
	const rules = "reply json\naccepted status 200\nid id\ncode code\nmessage message\ntell message\noption user\noption key secret"
	a := define(t, "POST /\nbasic {option.user} {option.key}\nform {\nt {sms.body}\n}", rules, map[string]string{"user": "johndow", "key": secret})
	pair := base64.StdEncoding.EncodeToString([]byte("johndow:" + secret))
	units := hex.EncodeToString([]byte("\x00M\x00e\x00e\x00t\x00 \x00m\x00e"))
	hidden := map[string]string{
		"basic": "Authorization: Basic " + pair, "the first of the text": body[:12], "the last of the text": body[len(body)-12:],
		"upper case": strings.ToUpper(body), "UTF-16": "Argument [hex-content] has an invalid value: [" + strings.ToUpper(units) + "]", "bytes": hex.EncodeToString([]byte(body)),
	}
	escaped := func(format string) string {
		var b strings.Builder
		for i := range len(body) {
			fmt.Fprintf(&b, format, body[i])
		}
		return b.String()
	}
	hidden["octal"], hidden["Python"], hidden["a mail"], hidden["spaced bytes"] = escaped(`\%03o`), escaped(`\x%02x`), escaped(`=%02X`), escaped(`%02x `)
	hidden["Perl"] = `Meet\x{20}me\x{20}at\x{20}8`
	hidden["a part of the secret"], hidden["a part of the pair"] = "token "+secret[:len(secret)-1], base64.StdEncoding.EncodeToString([]byte("x:"+secret))
	for name, value := range map[string]string{"secret": secret, "text": body} {
		hidden[name+" in base64, behind one"] = base64.StdEncoding.EncodeToString([]byte("x" + value + "yz"))
		hidden[name+" in base64, behind two"] = base64.StdEncoding.EncodeToString([]byte("xy" + value + "z"))
		hidden[name] = value
		hidden[name+" in a URL"] = "https://x/?a=" + url.QueryEscape(value)
		hidden[name+" in a path"] = "https://x/" + url.PathEscape(value)
		hidden[name+" in a page"] = html.EscapeString(value)
		hidden[name+" in base64"] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	read := func(text, reply string) sms.Result {
		x, err := a.Prepare(t.Context(), saying(text), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		return x.Read(400, http.Header{}, []byte(reply), true)
	}
	for name, words := range hidden {
		quoted := string(appendQuoted(words))
		for _, reply := range []string{`{"message":` + quoted + `}`, `{"code":` + quoted + `}`, `{"message":{"x":` + quoted + `}}`, `{"code":[[` + quoted + `]]}`} {
			r := read(body, reply)
			detail := strings.TrimPrefix(r.Detail, "not met: accepted status 200; it begins: ")
			if shown := r.Code + detail + r.Refusal.Words; strings.Contains(shown, words) || len(shown) > 60 || strings.Contains(r.Refusal.Words, "not shown") {
				t.Errorf("%s: %q is shown", name, shown)
			}
		}
	}
	for text, want := range map[string]string{
		"to": "The token is invalid", "Hi": "This is too much", "k": "ok", "ok": "(not shown: it repeats the message)", "Ok": "(not shown: it repeats the message)",
	} {
		words := want
		if strings.HasPrefix(want, "(") {
			words = "is ok!"
		}
		if got := read(text, `{"message":"`+words+`"}`).Detail; got != want {
			t.Errorf("%q in %q: %q, want %q", text, words, got, want)
		}
	}
}

// A text in other alphabets is not shown in another encoding either, and a one-time code from the
// text is no error code.
func TestQuotationsOfOtherTexts(t *testing.T) {
	const rules = "reply json\naccepted status 200\nid id\ncode code\nmessage message"
	a := define(t, "POST /\nform {\nt {sms.body}\n}", rules, nil)
	misread := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			b.WriteRune(rune(s[i]))
		}
		return b.String()
	}
	const cyrillic = "Привет, мир"
	for text, replies := range map[string]map[string]string{
		cyrillic:                       {cyrillic: "", misread(cyrillic): "", strings.NewReplacer("\u0080", "\u20ac", "\u0082", "\u201a").Replace(misread(cyrillic)): ""},
		"Your code is 482913":          {"forbidden word: 482913": "forbidden word: ••••••", "482913 is forbidden": "•••••• is forbidden", "x482913y": "x482913y", "bad text: code%3D482913": "", `x\n482913 bad`: "", "code&#32;&#52;82913": ""},
		"Take G-48A1 to the gate":      {"blocked 48a1 at 21:15": "blocked •••• at 21:15"},
		"Call me on extension 11 soon": nil,
	} {
		x, err := a.Prepare(t.Context(), saying(text), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		for reply, want := range replies {
			if want == "" {
				want = "(not shown: "
			}
			if r := x.Read(400, http.Header{}, []byte(`{"message":`+string(appendQuoted(reply))+`}`), true); !strings.HasPrefix(r.Detail, want) {
				t.Errorf("%q is shown as %q", reply, r.Detail)
			}
		}
		if r := x.Read(400, http.Header{}, []byte(`{"message":"error 21211: code 11"}`), true); r.Detail != "error 21211: code 11" {
			t.Errorf("%q", r.Detail)
		}
	}
}

// appendQuoted writes a JSON string.
func appendQuoted(s string) []byte {
	return []byte(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`)
}

// An id goes to the app and into the log: what is none is left away, the message stays accepted.
func TestIDs(t *testing.T) {
	a := define(t, "POST /\nbearer {option.key}\nform {\nt {sms.body}\n}", "reply json\naccepted status 200\nid id other\noption key secret", map[string]string{"key": "s3cret-token"})
	for reply, want := range map[string]string{
		`{"id":"SM0123"}`:                           "SM0123",
		`{"id":123456789012345678901}`:              "123456789012345678901",
		`{"id":0}`:                                  "",
		`{"id":false,"other":"7"}`:                  "7",
		`{"id":null,"other":"7"}`:                   "7",
		`{"id":{"a":1},"other":"7"}`:                "7",
		`{"id":[],"other":"7"}`:                     "7",
		`{"id":["8"],"other":"7"}`:                  "8",
		`{"id":[[1]]}`:                              "",
		`{"id":"two words"}`:                        "",
		`{"id":"line\nbreak"}`:                      "",
		`{"id":"\u202eabc"}`:                        "",
		`{"id":"s3cret-token"}`:                     "",
		`{"id":"Hello World"}`:                      "",
		`{"id":"x-Greetings-x"}`:                    "",
		`{"id":"` + strings.Repeat("1", 129) + `"}`: "",
	} {
		x, err := a.Prepare(t.Context(), saying("Greetings from here"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		if r := x.Read(200, http.Header{}, []byte(reply), true); r.Outcome != sms.Accepted || r.ID != want {
			t.Errorf("%.60s: %s, id %q, want %q", reply, r.Outcome, r.ID, want)
		}
	}
}

// TestNothingInsidePrints prints adapters and exchanges themselves; they hold all options and the
// text.
func TestNothingInsidePrints(t *testing.T) {
	const canary = "canary-text-of-the-message"
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		x := exchanges(t, name)[0]
		options := maps.Clone(x.Options)
		for o := range options {
			value := "canaryof" + strings.ReplaceAll(o, "_", "") // some keys have to be base64
			options[o] = value + strings.Repeat("x", -len(value)&3)
		}
		a, err := d.Bind("", x.BaseURL, options)
		if err != nil {
			t.Fatal(err)
		}
		m := saying(canary)
		sent, err := a.Prepare(t.Context(), m, noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		_, refused := a.Prepare(t.Context(), &sms.Message{Body: sms.Hide(canary)}, noToken, now)
		_, badOption := d.Bind("", x.BaseURL, map[string]string{"canary-of-a-name": "canary-of-a-value"})
		_, badURL := d.Bind("", "canary-of-a-url://", options)
		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.DebugLevel))
		for _, v := range []any{a, *a, sent, *sent, d, *d, m, *m, []any{a, sent, m}, map[string]any{"a": *a, "x": *sent}, refused, badURL} {
			fmt.Fprintf(&out, "%v %+v %#v %s %q\n", v, v, v, v, v)
			log.Info("value", zap.Any("value", v), zap.Reflect("again", v))
		}
		fmt.Fprint(&out, strings.ReplaceAll(fmt.Sprint(badOption), "canary-of-a-name", ""))
		if i := strings.Index(out.String(), "canary"); i >= 0 {
			t.Errorf("%s prints %.80q", name, out.String()[i:])
		}
	}
}

// Whatever a person writes, it changes nothing of a request but the body, or the query of an API
// that has no body.
func TestTextStaysInItsPlace(t *testing.T) {
	type fixture struct {
		adapter *Adapter
		plain   *http.Request
	}
	fixtures := map[string]fixture{}
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		a := exchanges(t, name)[0].adapter(t, d)
		x, err := a.Prepare(t.Context(), saying("plain"), noToken, now)
		if err != nil {
			t.Fatal(err)
		}
		fixtures[name] = fixture{a, x.Request}
	}
	// frame is what of a request must not depend on the text.
	frame := func(r *http.Request, signed bool) []string {
		h := r.Header.Clone()
		if kind := h.Get("Content-Type"); strings.HasPrefix(kind, "multipart/") {
			kind, _, _ = strings.Cut(kind, ";")
			h.Set("Content-Type", kind)
		}
		if signed { // over the text too
			h.Del("Authorization")
			h.Del("X-Ms-Content-Sha256")
		}
		query, _ := url.ParseQuery(r.URL.RawQuery)
		for _, name := range []string{"text", "msg", "coding", "m", "content", "message", "body", "messageContent", "messagedata"} {
			delete(query, name)
		}
		list := []string{r.Method, r.URL.Scheme, r.URL.Host, r.Host, r.URL.EscapedPath(), r.URL.Fragment, fmt.Sprint(r.URL.User), query.Encode()}
		for _, name := range slices.Sorted(maps.Keys(h)) {
			list = append(list, name+": "+strings.Join(h[name], "|"))
		}
		return list
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringN(1, 40, -1),
			rapid.SampledFrom(hostile),
			rapid.StringMatching(`[\r\n\x00"'&=?#%/.;:{}<>@ a-z+]{1,60}`),
		).Draw(t, "text")
		name := rapid.SampledFrom(Names()).Draw(t, "adapter")
		f := fixtures[name]
		x, err := f.adapter.Prepare(t.Context(), saying(text), noToken, now)
		if narrow[name] && causeOf(err) == "unsupported_content" {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(frame(f.plain, x.request.sign != nil), frame(x.Request, x.request.sign != nil)); diff != "" {
			t.Fatalf("%s: %q changes %s", name, text, diff)
		}
	})
}

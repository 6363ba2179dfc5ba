package adapters

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// noToken is for adapters that need none.
var noToken sms.Hidden

// mostUsed are the providers that most operators have.
var mostUsed = []string{
	"twilio", "telnyx", "voipms", "bandwidth", "vonage_sms", "flowroute", "plivo", "signalwire", "sinch", "infobip", "messagebird", "clicksend", "aws_sns", "bulkvs", "ringcentral",
}

// The collection is large and its files are short.
func TestCollection(t *testing.T) {
	var lines []int
	for _, name := range Names() {
		source, err := Source(name)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Count(source, "\n"))
	}
	slices.Sort(lines)
	if median := lines[len(lines)/2]; len(lines) < 45 || median >= 45 {
		t.Errorf("%d definitions of %d lines in the median", len(lines), median)
	}
}

// A failure that hides in a reply of success is one all the same, and what has no id of its own gets ours.
func TestHiddenFailures(t *testing.T) {
	hidden := 0
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range exchanges(t, name) {
			if x.Reply == nil || x.Token != nil && x.Token.Access == "" {
				continue
			}
			sent, err := x.adapter(t, d).Prepare(t.Context(), x.message(), x.token(), now)
			if err != nil {
				t.Fatal(err)
			}
			reply := sent.call.reply
			success := x.Receipt.Outcome == "accepted"
			if success && reply.generated != (x.Receipt.ID == "own") {
				t.Errorf("%s/%s: the id %q is not ours", name, x.Name, x.Receipt.ID)
			}
			if success || !inRanges(reply.status, x.Reply.Status) {
				continue
			}
			hidden++
			if len(reply.accepted) == 0 {
				t.Errorf("%s/%s: only the status is asked, and it says success", name, x.Name)
			}
		}
	}
	if hidden < 60 {
		t.Errorf("%d hidden failures are recorded", hidden)
	}
}

// TestConformance holds every built-in definition against its recorded exchanges.
func TestConformance(t *testing.T) {
	folders, err := os.ReadDir("../testdata/providers")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !slices.Contains(Names(), f.Name()) {
			t.Errorf("there are exchanges of %s, but no definition", f.Name())
		}
	}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			d, err := Builtin(name)
			if err != nil {
				t.Fatal(err)
			}
			list := exchanges(t, name)
			seen := newCoverage()
			accepted, failed := 0, 0
			for _, x := range list {
				t.Run(x.Name, func(t *testing.T) {
					x.check(t, d, seen)
				})
				if x.Receipt.Outcome == "accepted" {
					accepted++
				} else {
					failed++
				}
			}
			least := 2
			if slices.Contains(mostUsed, name) {
				least = 3
			}
			if accepted < 1 || failed < least {
				t.Errorf("%d successes and %d failures are recorded, want 1 and %d", accepted, failed, least)
			}
			for _, x := range list {
				x.replaceCodes(t, d, seen)
			}
			seen.check(t, d)
			if d.Source == "" || d.Title == "" {
				t.Error("the definition has no title or no source")
			}
		})
	}
}

// check runs one exchange through the engine.
func (x exchange) check(t *testing.T, d *Definition, seen *coverage) {
	if x.Source == "" {
		t.Error("the exchange names no source")
	}
	a, m := x.adapter(t, d), x.message()
	if x.Token != nil && !x.checkToken(t, a, seen) {
		return
	}
	sent, err := a.Prepare(t.Context(), m, x.token(), now)
	var receipt sms.Receipt
	if refusal := (*sms.Refusal)(nil); errors.As(err, &refusal) {
		receipt = sms.Receipt{Outcome: sms.Refused, Refusal: refusal}
	} else if err != nil {
		t.Fatal(err)
	} else {
		if x.Request != nil {
			checkRequest(t, x.Request, sent.Request)
			seen.variants[sent.call.variant] = true
		} else if x.Receipt.Outcome == "accepted" && x.Receipt.ID == "" {
			t.Error("a success without a request")
		}
		body := []byte(x.Reply.Body)
		receipt = sent.Read(x.Reply.Status, x.Reply.Header(), body, true)
		for i := range body { // the buffer is used again, so a receipt must keep nothing of it
			body[i] = '#'
		}
		seen.reply(sent.call.variant, answer{x.Reply.Status, x.Reply.Header(), []byte(x.Reply.Body), true}, receipt)
	}
	x.compare(t, receipt)
}

// checkToken runs the exchange that fetches the token, and reports whether there is one now.
func (x exchange) checkToken(t *testing.T, a *Adapter, seen *coverage) bool {
	r, err := a.TokenRequest(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	if x.Token.Request != nil {
		checkRequest(t, x.Token.Request, r)
	}
	token, receipt := a.ReadToken(x.Token.Reply.Status, x.Token.Reply.Header(), []byte(x.Token.Reply.Body), true, now)
	if token.Secret.Reveal() != x.Token.Access || token.Lifetime.Seconds() != x.Token.Lifetime {
		t.Errorf("the token is good for %s, want %v s", token.Lifetime, x.Token.Lifetime)
	}
	if token.Secret.Empty() {
		seen.noToken = true
		x.compare(t, receipt)
		return false
	}
	seen.token = seen.token || x.Token.Request != nil
	return true
}

// compare holds a receipt against the recorded one.
func (x exchange) compare(t *testing.T, receipt sms.Receipt) {
	t.Helper()
	want := x.Receipt
	if want.ID == "own" {
		want.ID = messageID
	}
	cause := receipt.Cause().String()
	if receipt.Outcome == sms.Accepted {
		cause = ""
	}
	if receipt.Outcome.String() != want.Outcome || cause != want.Cause || receipt.ID != want.ID || receipt.Code != want.Code {
		t.Errorf("got %s %s, id %q, code %q (%s); want %+v", receipt.Outcome, cause, receipt.ID, receipt.Code, receipt.Detail, want)
	}
}

// replaceCodes runs a recorded failure with its code replaced by every code that no exchange has.
func (x exchange) replaceCodes(t *testing.T, d *Definition, seen *coverage) {
	if x.Reply == nil || x.Receipt.Code == "" {
		return
	}
	sent, err := x.adapter(t, d).Prepare(t.Context(), x.message(), x.token(), now)
	if err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile(`\b` + regexp.QuoteMeta(x.Receipt.Code) + `\b`)
	for _, rule := range sent.call.reply.causes {
		for _, code := range rule.codes {
			if seen.rules[code] {
				continue
			}
			body := []byte(whole.ReplaceAllLiteralString(x.Reply.Body, code))
			if r := sent.Read(x.Reply.Status, http.Header{}, body, true); r.Code == code && r.Cause() == rule.cause {
				seen.rules[code] = true
			}
		}
	}
}

// coverage remembers what of a definition the exchanges have reached.
type coverage struct {
	variants map[*variant]bool
	paths    map[string]bool
	rules    map[string]bool
	// token is set if a token was fetched, noToken if one was refused
	token, noToken bool
}

func newCoverage() *coverage {
	return &coverage{variants: map[*variant]bool{}, paths: map[string]bool{}, rules: map[string]bool{}}
}

func (c *coverage) reply(v *variant, a answer, got sms.Receipt) {
	doc := v.reply.open(a)
	if doc == nil {
		// Of a reply of another kind only the status and the whole body count.
		for i, rule := range v.reply.causes {
			if rule.when != nil && (rule.when.of == "status" || rule.when.of == wholeBody) && got.Cause() == rule.cause {
				if holds, _ := rule.when.holds(nil, a, &sms.Receipt{}); holds {
					c.rules[fmt.Sprint("when ", i)] = true
					return
				}
			}
		}
		return
	}
	for _, p := range v.reply.paths() {
		if values, present := doc.values(p); present && (len(values) == 0 || strings.Join(values, "") != "") {
			c.paths[p.text] = true
		}
	}
	if got.Outcome == sms.Accepted {
		return
	}
	found := sms.Receipt{Status: a.status, Code: firstOf(doc, v.reply.code), Detail: firstOf(doc, v.reply.message)}
	for i, rule := range v.reply.causes {
		for _, code := range rule.codes {
			if code == found.Code && got.Cause() == rule.cause {
				c.rules[code] = true
				return
			}
		}
		if rule.when != nil && got.Cause() == rule.cause {
			if holds, _ := rule.when.holds(doc, a, &found); holds {
				c.rules[fmt.Sprint("when ", i)] = true
				return
			}
		}
	}
}

// check fails for everything that no exchange has reached.
func (c *coverage) check(t *testing.T, d *Definition) {
	if d.token != nil && !(c.token && c.noToken) {
		t.Error("record an exchange whose token is fetched, with its request, and one whose token is refused")
	}
	for _, v := range d.variants {
		if !c.variants[v] {
			t.Errorf("no exchange with a request reaches the variant in line %d", v.at.line)
		}
		for _, p := range v.reply.paths() {
			if !c.paths[p.text] {
				t.Errorf("the path %s hits in no exchange", p.text)
			}
		}
		for i, rule := range v.reply.causes {
			for _, code := range rule.codes {
				if !c.rules[code] {
					t.Errorf("no exchange has code %s (%s)", code, rule.cause)
				}
			}
			if rule.when != nil && !c.rules[fmt.Sprint("when ", i)] {
				t.Errorf("no exchange meets the condition of %s in cause line %d", rule.cause, i+1)
			}
		}
	}
}

// paths are all paths of a reply, but those of predicates on the whole of a text.
func (r *reply) paths() []path {
	all := slices.Concat(r.id, r.code, r.message)
	for _, p := range r.accepted {
		if p.path.text != "" {
			all = append(all, p.path)
		}
	}
	for _, rule := range r.causes {
		if rule.when != nil && rule.when.path.text != "" {
			all = append(all, rule.when.path)
		}
	}
	return all
}

// hostile are texts that must arrive as they are.
var hostile = []string{
	"{env.HOME} {sms.to} {option.auth_token} {http.request.uri}", "{{ printf }} {% x %} ${x} %s %d %00", `"quoted" 'twice' \ back`,
	"line\r\nX-Header: injected\r\n\r\nbody", "NUL\x00NUL", "U+2028\u2028 and \u2029", "</Body></Message> <![CDATA[ ]]> &amp; &to=+1",
	"👨‍👩‍👧‍👦 e\u0301 \u202eright\u202c", "; rm -rf / && `id`", "--boundary\r\nContent-Disposition: form-data", "+ +1 %2B a=b&c=d#e?f/g",
}

// TestHostileText sends what breaks templates by every request of every definition, and reads it back with decoders that
// servers use.
func TestHostileText(t *testing.T) {
	padding := strings.Repeat(" padding", 25) // beyond the limit of the first request of some
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		x := exchanges(t, name)[0]
		a := x.adapter(t, d)
		reached := map[*variant]bool{}
		for _, text := range append(hostile, strings.Repeat("0123456789", 1000)) {
			for _, c := range []struct {
				text  string
				media []string
			}{{text, nil}, {text + padding, nil}, {text, []string{"https://files.example.com/1.jpg"}}} {
				m := x.message()
				if m.Body, m.Media = sms.Hide(c.text), c.media; m.To.IsZero() || m.To.Value[1] != '1' {
					m.To = sms.Number{Value: "+15551231234", Kind: sms.Phone}
				}
				parts, err := a.Parts(m, 100)
				if c.media != nil && causeOf(err) == "unsupported_content" {
					continue
				}
				if err != nil {
					t.Errorf("%s %q: %v", name, c.text, err)
					continue
				}
				arrived := ""
				for _, part := range parts {
					sent, err := a.Prepare(t.Context(), part, x.token(), now)
					if err != nil {
						t.Fatalf("%s %q: %v", name, c.text, err)
					}
					reached[sent.call.variant] = true
					arrived += hostileText(t, a, part.Body.Reveal(), sent.Request)
				}
				want := c.text
				if a.replacer != nil {
					want = a.replacer.Replace(want)
				}
				if arrived != want {
					t.Errorf("%s: %q arrived as %q", name, want, arrived)
				}
			}
		}
		for _, c := range a.variants {
			if !reached[c.variant] {
				t.Errorf("%s: no hostile text goes through the request in line %d", name, c.variant.at.line)
			}
		}
	}
}

// hostileText finds a text in a request, as it is or in UTF-16, and nowhere that it does not belong.
func hostileText(t *testing.T, a *Adapter, text string, r *http.Request) string {
	t.Helper()
	if a.replacer != nil {
		text = a.replacer.Replace(text)
	}
	for _, place := range []string{r.URL.Path, r.URL.Host, r.Host, fmt.Sprint(r.Header)} {
		if strings.Contains(place, "injected") || strings.Contains(place, text) {
			t.Errorf("%s: the text stands in %q", a.Name, place)
		}
	}
	units := utf16.Encode([]rune(text))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = append(raw, byte(u>>8), byte(u))
	}
	if arrived := sentText(t, r); slices.Contains(arrived, text) || slices.Contains(arrived, strings.ToUpper(hex.EncodeToString(raw))) {
		return text
	}
	return "(not found)"
}

// TestNothingPrints prints everything that an exchange is made of in every way, and looks for the text and the secrets.
func TestNothingPrints(t *testing.T) {
	const canary = "canary-text-of-the-message"
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		x := exchanges(t, name)[0]
		options := map[string]string{}
		for o := range x.Options {
			options[o] = base64.StdEncoding.EncodeToString([]byte("canary-of-" + o)) // some keys have to be base64
		}
		base := x.BaseURL
		if base == "" {
			base = "https://example.com"
		}
		if name == "sandbox" {
			base = ""
		}
		a, err := d.Bind("", base, options)
		if err != nil {
			t.Fatal(err)
		}
		m := x.message()
		m.To, m.Body = sms.Number{Value: "+15551231234", Kind: sms.Phone}, sms.Hide(canary)
		sent, err := a.Prepare(t.Context(), m, x.token(), now)
		if err != nil {
			t.Fatal(err)
		}
		var secret string
		for _, o := range d.Options {
			if o.Secret {
				secret = options[o.Name]
			}
		}
		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.DebugLevel))
		for _, body := range []string{
			`{"code":"1","message":"` + canary + `"}`, `{"code":"` + secret + `","message":"` + secret + `"}`, "Error \"" + canary + "\"", "failed: " + secret,
			`<ErrorResponse><Error><Code>` + secret + `</Code><Message>` + canary + `</Message></Error></ErrorResponse>`,
		} {
			for _, status := range []int{200, 400, 500} {
				r := sent.Read(status, http.Header{}, []byte(body), true)
				fmt.Fprintf(&out, "%v %+v %#v %s\n", r, r, r, r.Refusal)
				log.Info("receipt", zap.Any("receipt", r))
			}
		}
		for _, v := range []any{m, *m, m.Body, a.secrets, a.forms()} {
			fmt.Fprintf(&out, "%v %+v %#v %s %q %x\n", v, v, v, v, v, v)
			log.Info("value", zap.Any("value", v))
		}
		fmt.Fprintf(&out, "%v %v %v", a.secrets, a.forms(), d.Options)
		if s := out.String(); strings.Contains(s, canary) || secret != "" && strings.Contains(s, secret) ||
			strings.Contains(s, hex.EncodeToString([]byte(canary))) {
			t.Errorf("%s prints the text or a secret:\n%.2000s", name, s)
		}
	}
}

// TestOnlyAcceptanceIsAccepted gives every definition replies that say nothing.
func TestOnlyAcceptanceIsAccepted(t *testing.T) {
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		x := exchanges(t, name)[0]
		m := x.message()
		m.To = sms.Number{Value: "+15551231234", Kind: sms.Phone}
		sent, err := x.adapter(t, d).Prepare(t.Context(), m, x.token(), now)
		if err != nil {
			t.Fatal(err)
		}
		good := exchanges(t, name)
		for status := 100; status < 600; status++ {
			if r := sent.call.reply; r.generated && len(r.accepted) == 0 && inRanges(r.status, status) {
				continue // the API has no body to go by
			}
			for _, body := range []string{"", " ", "<html><body>Welcome</body></html>", "<!DOCTYPE html><p>x", "garbage", "{", `{"sid":`, "\x00\xff\xfe", "<a>", "a=b&c"} {
				r := sent.Read(status, http.Header{}, []byte(body), true)
				if r.Outcome == sms.Accepted {
					t.Errorf("%s: %d %q is accepted", name, status, body)
				}
				if status >= 200 && status < 300 && r.Outcome != sms.OutcomeUnknown && d.variants[0].reply.kind != textReply {
					t.Errorf("%s: %d %q is %s %s, want unknown", name, status, body, r.Outcome, r.Cause())
				}
				if status >= 500 && r.Outcome != sms.OutcomeUnknown || status >= 300 && status < 400 && r.Cause() != sms.Misconfigured {
					t.Errorf("%s: %d %q is %s", name, status, body, r.Cause())
				}
			}
			for _, body := range []string{"{}", "[]", `"ok"`, "null", "1"} {
				if r := sent.Read(status, http.Header{}, []byte(body), true); r.Outcome == sms.Accepted {
					t.Errorf("%s: %d %q is accepted", name, status, body)
				}
			}
		}
		for _, g := range good {
			if g.Receipt.Outcome != "accepted" {
				continue
			}
			gs, err := g.adapter(t, d).Prepare(t.Context(), g.message(), g.token(), now)
			if err != nil {
				t.Fatal(err)
			}
			if r := gs.call.reply; r.generated && len(r.accepted) == 0 {
				continue
			}
			if r := gs.Read(g.Reply.Status, http.Header{}, []byte(g.Reply.Body), false); r.Outcome != sms.OutcomeUnknown {
				t.Errorf("%s: a cut reply is %s", name, r.Outcome)
			}
			for cut := range len(g.Reply.Body) {
				if kind := gs.call.reply.kind; kind == textReply || kind == pairsReply || gs.call.reply.generated {
					break // of a text any beginning may be a whole text; what was cut is told by the connection
				}
				if r := gs.Read(g.Reply.Status, http.Header{}, []byte(g.Reply.Body[:cut]), true); r.Outcome == sms.Accepted {
					t.Errorf("%s: the first %d bytes of a reply are accepted", name, cut)
				}
			}
		}
	}
}

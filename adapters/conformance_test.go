package adapters

import (
	"bytes"
	"cmp"
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

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// noToken is for adapters that need none.
var noToken sms.Hidden

// mostUsed are the providers that most operators have.
var mostUsed = []string{
	"twilio", "telnyx", "voipms", "bandwidth", "vonage_sms", "flowroute", "plivo", "signalwire", "sinch", "infobip", "messagebird", "clicksend", "aws_sns", "bulkvs", "ringcentral",
}

// narrow are the adapters whose API cannot carry every text: GSM only, or no control characters.
var narrow = map[string]bool{"freeswitch": true, "mikrotik": true}

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
	if median := lines[len(lines)/2]; len(lines) < 95 || median >= 45 {
		t.Errorf("%d definitions of %d lines in the median", len(lines), median)
	}
}

// A failure that hides in a reply of success is one all the same, and what has no id of its own
// gets ours.
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
			reply := sent.request.reply
			success := x.Result.Outcome == "accepted"
			if success && reply.generated != (x.Result.ID == "own") {
				t.Errorf("%s/%s: the id %q is not ours", name, x.Name, x.Result.ID)
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
				if x.Result.Outcome == "accepted" {
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
	sent, failed, err := x.send(t, a, m, seen)
	if failed != nil {
		x.compare(t, *failed)
		return
	}
	var result sms.Result
	if refusal := (*sms.Refusal)(nil); errors.As(err, &refusal) {
		result = sms.Result{Outcome: sms.Refused, Refusal: refusal}
	} else if err != nil {
		t.Fatal(err)
	} else {
		if x.Request != nil {
			checkRequest(t, x.Request, sent.Request)
			seen.sends[sent.request.block] = true
		} else if x.Result.Outcome == "accepted" && x.Result.ID == "" {
			t.Error("a success without a request")
		}
		body := []byte(x.Reply.Body)
		result = sent.Read(x.Reply.Status, x.Reply.Header(), body, true)
		for i := range body { // the buffer is used again, so a result must keep nothing of it
			body[i] = '#'
		}
		seen.reply(sent.request.block, answer{x.Reply.Status, x.Reply.Header(), []byte(x.Reply.Body), true, ""}, result)
	}
	x.compare(t, result)
}

// send makes the request of an exchange, after its uploads. failed is the result of an upload that
// failed.
func (x exchange) send(t *testing.T, a *Adapter, m *sms.Message, seen *coverage) (sent *Call, failed *sms.Result, err error) {
	plan, err := planOf(a, m, 1)
	if err != nil {
		return nil, nil, err
	}
	for _, upload := range x.Uploads {
		call, err := plan.UploadRequest(t.Context(), 0, x.token(), now)
		if err != nil {
			t.Fatal(err)
		}
		if upload.Request != nil {
			checkRequest(t, upload.Request, call.Request)
			seen.upload = true
		}
		r := plan.ReadUpload(0, call, upload.Reply.Status, upload.Reply.Header(), []byte(upload.Reply.Body), true)
		if r.Outcome != sms.Accepted {
			seen.noUpload = true
			return nil, &r, nil
		}
	}
	sent, err = plan.Request(t.Context(), 0, x.token(), now)
	return sent, nil, err
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
	token, result := a.ReadToken(x.Token.Reply.Status, x.Token.Reply.Header(), []byte(x.Token.Reply.Body), true, now)
	if token.Secret.Reveal() != x.Token.Access || token.Lifetime.Seconds() != x.Token.Lifetime {
		t.Errorf("the token is good for %s, want %v s", token.Lifetime, x.Token.Lifetime)
	}
	if token.Secret.Empty() {
		seen.noToken = true
		x.compare(t, result)
		return false
	}
	seen.token = seen.token || x.Token.Request != nil
	return true
}

// compare holds a result against the recorded one.
func (x exchange) compare(t *testing.T, result sms.Result) {
	t.Helper()
	want := x.Result
	if want.ID == "own" {
		want.ID = messageID
	}
	cause := result.Cause().String()
	if result.Outcome == sms.Accepted {
		cause = ""
	}
	if result.Cause() == sms.Quota && result.Scope.String() != cmp.Or(want.For, sms.ForAccount.String()) {
		t.Errorf("a quota for %s, want %+v", result.Scope, want)
	}
	if result.Outcome.String() != want.Outcome || cause != want.Cause || result.PhoneID() != want.ID || result.Code != want.Code {
		t.Errorf("got %s %s, id %q, code %q (%s); want %+v", result.Outcome, cause, result.PhoneID(), result.Code, result.Detail, want)
	}
}

// replaceCodes runs a recorded failure with its code replaced by every code that no exchange has.
func (x exchange) replaceCodes(t *testing.T, d *Definition, seen *coverage) {
	if x.Reply == nil || x.Result.Code == "" {
		return
	}
	sent, err := x.adapter(t, d).Prepare(t.Context(), x.message(), x.token(), now)
	if err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile(`\b` + regexp.QuoteMeta(x.Result.Code) + `\b`)
	for _, rule := range sent.request.reply.causes {
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

// TestHostileText sends what breaks templates by every request of every definition, and reads it
// back with decoders that servers use.
func TestHostileText(t *testing.T) {
	padding := strings.Repeat(" padding", 25) // beyond the limit of the first request of some
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		x := exchanges(t, name)[0]
		a := x.adapter(t, d)
		reached := map[*sendBlock]bool{}
		for _, text := range append(hostile, strings.Repeat("0123456789", 1000)) {
			if narrow[name] && strings.Contains(text, "\x00") {
				continue
			}
			for _, c := range []struct {
				text  string
				media []string
			}{{text, nil}, {text + padding, nil}, {text, []string{"https://files.example.com/1.jpg"}}} {
				m := x.message()
				if m.Body, m.Media = sms.Hide(c.text), withBytes(mediaAt(c.media...)); m.To.IsZero() || m.To.Value[1] != '1' {
					m.To = sms.Number{Value: "+15551231234", Kind: sms.Phone}
				}
				plan, err := planOf(a, m, 100)
				if c.media != nil && causeOf(err) == "unsupported_content" {
					continue
				}
				if narrow[name] && causeOf(err) == "unsupported_content" {
					continue
				}
				if err != nil {
					t.Errorf("%s %q: %v", name, c.text, err)
					continue
				}
				arrived := ""
				for i := range plan.Split().Parts {
					sent, err := plan.requestUploaded(t.Context(), i, x.token(), now)
					if err != nil {
						t.Fatalf("%s %q: %v", name, c.text, err)
					}
					reached[sent.request.block] = true
					arrived += hostileText(t, a, plan.Part(i).Body.Reveal(), sent.Request)
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
		for _, c := range a.sends {
			if !reached[c.block] {
				t.Errorf("%s: no hostile text goes through the request in line %d", name, c.block.at.Line)
			}
		}
	}
}

// hostileText finds a text in a request, as it is or in UTF-16, and nowhere that it does not
// belong.
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
	behind := func(value string) bool { return strings.HasSuffix(value, "|"+text) } // the last argument of a command
	if arrived := sentText(t, r); slices.Contains(arrived, text) || slices.ContainsFunc(arrived, behind) || slices.Contains(arrived, strings.ToUpper(hex.EncodeToString(raw))) {
		return text
	}
	return "(not found)"
}

// TestNothingPrints prints everything that an exchange is made of in every way, and looks for the
// text and the secrets.
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
				log.Info("result", zap.Any("result", r))
			}
		}
		for _, v := range []any{m, *m, m.Body, a.redacted, *a.redacted} {
			fmt.Fprintf(&out, "%v %+v %#v %s %q %x\n", v, v, v, v, v, v)
			log.Info("value", zap.Any("value", v))
		}
		fmt.Fprintf(&out, "%v %v", *a.redacted, d.Options)
		if s := out.String(); strings.Contains(s, canary) || secret != "" && strings.Contains(s, secret) ||
			strings.Contains(s, hex.EncodeToString([]byte(canary))) {
			t.Errorf("%s prints the text or a secret:\n%.2000s", name, s)
		}
	}
}

// span is the numbers from one up to another.
func span(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// TestOnlyAcceptanceIsAccepted gives every definition replies that say nothing.
func TestOnlyAcceptanceIsAccepted(t *testing.T) {
	for _, name := range sample(Names()) {
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
		for _, status := range slices.Concat(span(100, 104), span(199, 210), []int{226, 250, 299}, span(300, 310), span(400, 432), span(498, 530), []int{599}) {
			if r := sent.request.reply; r.generated && len(r.accepted) == 0 && inRanges(r.status, status) {
				continue // the API has no body to go by
			}
			bodies := []string{"", "<html><body>Welcome</body></html>", "garbage", "{", " ", "<!DOCTYPE html><p>x", `{"sid":`, "\x00\xff\xfe", "<a>", "a=b&c"}
			if status < 200 || status > 299 {
				bodies = bodies[:4]
			}
			for _, body := range bodies {
				r := sent.Read(status, http.Header{}, []byte(body), true)
				if r.Outcome == sms.Accepted {
					t.Errorf("%s: %d %q is accepted", name, status, body)
				}
				if status >= 200 && status < 300 && r.Outcome != sms.OutcomeUnknown && d.sends[0].reply.format != wire.Text {
					t.Errorf("%s: %d %q is %s %s, want unknown", name, status, body, r.Outcome, r.Cause())
				}
				if status >= 500 && r.Outcome != sms.OutcomeUnknown || status >= 300 && status < 400 && r.Cause() != sms.Misconfigured {
					t.Errorf("%s: %d %q is %s", name, status, body, r.Cause())
				}
			}
			for _, body := range []string{"{}", "[]", `"ok"`, "null", "1"} {
				if status < 200 || status > 299 {
					break
				}
				if name == "mikrotik" && body == "[]" { // see acceptedAnyway
					continue
				}
				if r := sent.Read(status, http.Header{}, []byte(body), true); r.Outcome == sms.Accepted {
					t.Errorf("%s: %d %q is accepted", name, status, body)
				}
			}
		}
		for _, g := range good {
			if g.Result.Outcome != "accepted" {
				continue
			}
			gs, err := g.adapter(t, d).Prepare(t.Context(), g.message(), g.token(), now)
			if err != nil {
				t.Fatal(err)
			}
			if r := gs.request.reply; r.generated && len(r.accepted) == 0 {
				continue
			}
			if r := gs.Read(g.Reply.Status, http.Header{}, []byte(g.Reply.Body), false); r.Outcome != sms.OutcomeUnknown {
				t.Errorf("%s: a cut reply is %s", name, r.Outcome)
			}
			for cut := range len(g.Reply.Body) {
				if kind := gs.request.reply.format; kind == wire.Text || kind == wire.Pairs || gs.request.reply.generated {
					break // of a text any beginning may be a whole text; what was cut is told by the connection
				}
				if r := gs.Read(g.Reply.Status, http.Header{}, []byte(g.Reply.Body[:cut]), true); r.Outcome == sms.Accepted {
					t.Errorf("%s: the first %d bytes of a reply are accepted", name, cut)
				}
			}
		}
	}
}

package push

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/push/pushtest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var device = Device{Token: sms.Hide("QVBB+/=canary"), Selector: sms.Hide("12869E0E:7C3A0D14"), App: "cz.acrobits.softphone.groundwire"}

func message() Notification {
	return Notification{
		Device: device, ID: "1764568805000001", ThreadID: "+15551231234", UserName: "+15551231234", Badge: 3, Text: sms.Hide("hi"),
	}
}

func newClient(t *testing.T, address string) *Client {
	t.Helper()
	c, err := NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A private address is allowed.
func TestSend(t *testing.T) {
	service := pushtest.New(t)
	outcome, err := newClient(t, service.URL).Send(t.Context(), message())
	if outcome != Sent || err != nil {
		t.Fatal(outcome, err)
	}
	want := []pushtest.Push{{
		Verb: "NotifyTextMessage", AppID: device.App, DeviceToken: "QVBB+/=canary", Selector: "12869E0E:7C3A0D14", Badge: 3, Sound: "default",
		UserName: "+15551231234", Message: "hi", ContentType: "text/plain", ID: "1764568805000001", ThreadID: "+15551231234",
	}}
	if diff := cmp.Diff(want, service.Pushes()); diff != "" {
		t.Error(diff)
	}
	alert := message()
	alert.Alert, alert.Selector, alert.Badge, alert.Text = true, sms.Hidden{}, 0, sms.Hide("Not delivered to +1 555 123 1234")
	if outcome, err := newClient(t, service.URL).Send(t.Context(), alert); outcome != Sent || err != nil {
		t.Error(outcome, err)
	}
	if last := service.Pushes()[1]; last.Verb != "NotifyGenericTextMessage" || last.Badge != 1 || last.Selector != "" {
		t.Errorf("%+v", last)
	}
	service.Forget("QVBB+/=canary")
	if outcome, err := newClient(t, service.URL).Send(t.Context(), message()); outcome != Gone || err != nil {
		t.Error(outcome, err)
	}
	if n := service.Notified("QVBB+/=canary")["1764568805000001"]; n != 2 || service.Invalid() != 0 {
		t.Errorf("%d notifications, %d invalid", n, service.Invalid())
	}
}

// direct carries requests to a handler without a network, so that the clock of a test can be faked.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// The reply of the service decides the outcome. Only a 5xx is tried again, with the same id.
func TestReplies(t *testing.T) {
	type reply = pushtest.Reply
	trouble := reply{Status: 503, Body: "<canary>"}
	for name, c := range map[string]struct {
		replies  []reply
		want     Outcome
		requests int
		err      string
	}{
		"accepted":                    {nil, Sent, 1, ""},
		"an older reply":              {[]reply{{Body: `{"status":200}`}}, Sent, 1, ""},
		"a code in quotes":            {[]reply{{Body: `{"code":"200"}`}}, Sent, 1, ""},
		"the token is gone":           {[]reply{{Code: 404}}, Gone, 1, ""},
		"an older reply: gone":        {[]reply{{Body: `{"status":404,"response":"canary"}`}}, Gone, 1, ""},
		"a wrong address":             {[]reply{{Status: 404, Body: "canary"}}, Failed, 1, "HTTP status 404"},
		"a redirect":                  {[]reply{{Status: 302}}, Failed, 1, "HTTP status 302"},
		"a bad request":               {[]reply{{Code: 400}}, Failed, 1, "code 400"},
		"a bad request by HTTP":       {[]reply{{Status: 400, Code: 400}}, Failed, 1, "HTTP status 400"},
		"no JSON":                     {[]reply{{Body: "canary"}}, Failed, 1, "not JSON with a code"},
		"no code":                     {[]reply{{Body: `{"canary":1}`}}, Failed, 1, "not JSON with a code"},
		"too long":                    {[]reply{{Body: `{"code":200,"response":"` + strings.Repeat("x", maxReply) + `"}`}}, Failed, 1, "too long"},
		"trouble once":                {[]reply{{Code: 500}}, Sent, 2, ""},
		"trouble twice, in two ways":  {[]reply{trouble, {Code: 503}}, Sent, 3, ""},
		"trouble, then gone":          {[]reply{trouble, {Code: 404}}, Gone, 2, ""},
		"trouble for longer":          {[]reply{trouble, trouble, trouble, {}}, Failed, 3, "HTTP status 503"},
		"trouble in JSON, for longer": {[]reply{{Code: 500}, {Code: 500}, {Code: 599}, {}}, Failed, 3, "code 599"},
	} {
		t.Run(name, func(t *testing.T) {
			service := pushtest.New(t)
			service.Next(c.replies...)
			synctest.Test(t, func(t *testing.T) {
				client := &Client{url: DefaultURL, transport: direct{service}}
				outcome, err := client.Send(t.Context(), message())
				if outcome != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s, %v; want %s, %s", outcome, err, c.want, c.err)
				}
				if err != nil && strings.Contains(err.Error(), "canary") {
					t.Error(err)
				}
			})
			pushes := service.Pushes()
			for _, p := range pushes {
				if p.ID != message().ID {
					t.Errorf("the id is %s", p.ID)
				}
			}
			if len(pushes) != c.requests {
				t.Errorf("%d requests, want %d", len(pushes), c.requests)
			}
		})
	}
}

// A service that says nothing is left after 10 seconds, and the end of the context ends the waiting.
func TestDeadline(t *testing.T) {
	silent := direct{http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		outcome, err := (&Client{url: DefaultURL, transport: silent}).Send(t.Context(), message())
		if took := time.Since(began); outcome != Failed || err == nil || err.Error() != "push service: no reply within 10s" || took != 10*time.Second {
			t.Error(outcome, err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		service := direct{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		outcome, err := (&Client{url: DefaultURL, transport: service}).Send(ctx, message())
		if outcome != Failed || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "HTTP status 500") {
			t.Error(outcome, err)
		}
	})
}

// Nothing of what comes over the connection is in the error.
func TestConnectionErrors(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = c.Write([]byte("canary\r\n\r\n"))
			_ = c.Close()
		}
	}))
	defer broken.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for address, want := range map[string]string{broken.URL: "ended without a reply", secure.URL: "certificate", closed.URL: "connection refused"} {
		outcome, err := newClient(t, address).Send(t.Context(), message())
		if outcome != Failed || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s, %v; want %s", outcome, err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, DefaultURL: true, "http://10.0.0.1:8080/push": true, "http://[::1]/": true,
		"ftp://push.example.com/": false, "push.example.com": false, "/push": false, "http://": false, "http://a:canary@push.example.com/": false,
		"http://push.example.com/#canary": false, "http://canary\x00/": false,
	} {
		_, err := NewClient(address)
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestMessage(t *testing.T) {
	const files = "application/x-acro-filetransfer+json"
	for _, c := range []struct{ contentType, text, want string }{
		{"", "hi", "hi"},
		{"", "two\nlines", "two\nlines"},
		{"", "a\x00\x1bb\xff", "ab\uFFFD"},
		{"", "", FixedText},
		{"", " \u200b\n", FixedText},
		{"", strings.Repeat("x", 200), strings.Repeat("x", 200)},
		{"", strings.Repeat("é", 201), strings.Repeat("é", 199) + "…"},
		{files, `{"body":"look","attachments":[{"content-url":"https://canary"}]}`, "look"},
		{files, `{"attachments":[{"content-type":"image/png","content-url":"https://canary"}]}`, "Photo"},
		{files, `{"attachments":[{"content-url":"https://canary"}]}`, "Photo"},
		{files, `{"body":" ","attachments":[{"content-url":"https://canary"}]}`, "Photo"},
		{files, `{"attachments":[{"content-type":"Video/mp4","content-url":"https://canary","encryption-key":"56401F49A1B2C3D4E5F60718293A4B5C"}]}`, "Video"},
		{files, `{"attachments":[{"content-type":"audio/ogg","content-url":"https://canary"}]}`, "Voice message"},
		{files, `{"attachments":[{"content-type":"application/pdf","content-url":"https://canary","filename":"canary.pdf"}]}`, "File"},
		{files, `{"attachments":`, FixedText},
		{"application/x-acro-disposition-notification", `{"message-id":"canary"}`, FixedText},
	} {
		if got := (Notification{ContentType: c.contentType, Text: sms.Hide(c.text)}).message(); got != c.want {
			t.Errorf("%s: %q is shown as %q, want %q", c.contentType, c.text, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := message()
		n.Text = sms.Hide(rapid.OneOf(rapid.String(), rapid.StringN(150, 400, -1)).Draw(t, "text"))
		n.UserName = rapid.String().Draw(t, "name")
		body, err := json.Marshal(n.payload())
		var p pushtest.Push
		if err == nil {
			err = json.Unmarshal(body, &p)
		}
		if count := utf8.RuneCountInString(p.Message); err != nil || count < 1 || count > MaxText || p.UserName != n.UserName {
			t.Fatalf("%v: %s", err, body)
		}
	})
}

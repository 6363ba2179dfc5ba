package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/push/pushtest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// recordedWebhook is a file of testdata/providers/NAME/inbound.
type recordedWebhook struct {
	Method, URL string
	Header      map[string]string
	Body        string
	Options     map[string]string
	Answer      struct {
		Status     int
		Type, Body string
	}
}

func readWebhook(t *testing.T, name string) (r recordedWebhook) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../testdata/providers/twilio/inbound", name+".json"))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r recordedWebhook) request() *http.Request {
	req := httptest.NewRequest(r.Method, r.URL, strings.NewReader(r.Body))
	req.TLS = nil // as behind a proxy
	for field, value := range r.Header {
		req.Header.Set(field, value)
	}
	return req
}

// twilioSite is a site whose webhook has the address of the recorded ones.
func twilioSite(t *testing.T, baseURL, more string) *site {
	t.Helper()
	options := readWebhook(t, "text").Options
	return receivingSite(t, "public_url https://sms.example.com\nadapter twilio {\nbase_url "+baseURL+"\naccount_sid "+options["account_sid"]+
		"\nauth_token "+options["auth_token"]+"\nwebhook_secret 0123456789abcdef0123456789abcdef\n}\n"+more+
		"\nservices {\nsend /send_message\n}")
}

// deliver delivers a webhook and checks the answer byte for byte.
func (s *site) deliver(t *testing.T, r *http.Request, status int, kind, body string) {
	t.Helper()
	w, unlogged, err := s.visit(t, r, "")
	if err != nil || w.Code != status || w.Body.String() != body || w.Header().Get("Content-Type") != kind || !unlogged {
		t.Errorf("%s: %d %v %q, %v, left out of the log %t", r.URL, w.Code, w.Header(), w.Body, err, unlogged)
	}
}

// A delivery is stored once, and answered as the definition says each time.
func TestWebhook(t *testing.T) {
	s := twilioSite(t, "http://localhost:1", "receive {\npush off\n}")
	text := readWebhook(t, "text")
	for range 3 {
		s.deliver(t, text.request(), text.Answer.Status, text.Answer.Type, text.Answer.Body)
	}
	p := s.fetch(t, "")
	if len(p.Received) != 1 || p.Received[0]["sms_text"] != "Grüße 👋 & more; 100%" || p.Received[0]["sender"] != "+15551231234" {
		t.Errorf("%v", p.Received)
	}
	picture := readWebhook(t, "picture")
	s.deliver(t, picture.request(), picture.Answer.Status, picture.Answer.Type, picture.Answer.Body)
	if p = s.fetch(t, ""); len(p.Received) != 2 || !strings.Contains(p.Received[1]["sms_text"], gateway.NotShown) {
		t.Errorf("%v", p.Received)
	}
	logged := fmt.Sprint(s.log.All())
	for _, secret := range []string{"0123456789abcdef", "Grüße", "+15551231234", "b3c9e8f7"} {
		if strings.Contains(logged, secret) {
			t.Errorf("%s is logged", secret)
		}
	}
	if !strings.Contains(logged, "message received") {
		t.Error("nothing is logged")
	}
}

// A request without the secret or the signature gets 403 without a body, and nothing is stored. A
// failure of the store gets 503, so that the provider delivers again.
func TestWebhookRefused(t *testing.T) {
	s := twilioSite(t, "http://localhost:1", "receive {\npush off\n}")
	text, forged := readWebhook(t, "text"), readWebhook(t, "forgery")
	const path = "/webhook/twilio/0123456789abcdef0123456789abcdef"
	for _, target := range []string{
		"/webhook", "/webhook/", "/webhook/twilio", "/webhook/twilio/", "/webhook/other/0123456789abcdef0123456789abcdef",
		"/webhook/twilio/0123456789abcdef0123456789abcdeF", path + "/more", "/webhook//", "/webhook/other/",
	} {
		r := text.request()
		r.URL.Path = target
		s.deliver(t, r, 403, "", "")
	}
	s.deliver(t, forged.request(), 403, "", "")
	unsigned := text.request()
	unsigned.Header.Del("X-Twilio-Signature")
	s.deliver(t, unsigned, 403, "", "")
	if p := s.fetch(t, ""); len(p.Received) != 0 {
		t.Errorf("%v", p.Received)
	}
	for name, break_ := range map[string]func(){
		"store": func() { s.gateway.Journal = awayJournal{s.gateway.Journal} },
		"panic": func() { s.gateway.Inbox = func() *inbox.Inbox { panic("canary") } },
	} {
		before := *s.gateway
		break_()
		s.deliver(t, text.request(), 503, "", "")
		if *s.gateway = before; strings.Contains(fmt.Sprint(s.log.All()), "canary") {
			t.Errorf("%s: logged", name)
		}
	}
	s.deliver(t, text.request(), text.Answer.Status, text.Answer.Type, text.Answer.Body)
}

// The secret is all that proves a webhook of a provider that does not sign.
func TestWebhookOfUnsignedProvider(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	s := receivingSite(t, "public_url https://sms.example.com\nadapter bulkvs {\nusername user\npassword other\nwebhook_secret "+secret+
		"\n}\nreceive {\npush off\n}\nservices {\nsend /send_message\n}")
	deliver := func(path string, status int) {
		t.Helper()
		r := httptest.NewRequest("POST", "https://sms.example.com"+path, strings.NewReader(`{"From": "15551231234", "To": ["15550001111"], "Message": "Hello"}`))
		r.Header.Set("Content-Type", "application/json")
		s.deliver(t, r, status, "", "")
	}
	for _, wrong := range []string{
		"", secret[1:], secret[:31], secret + "0", strings.ToUpper(secret), "0123456789abcdef0123456789abcdee", strings.Repeat("0", 32),
	} {
		deliver("/webhook/bulkvs/"+wrong, 403)
	}
	deliver("/webhook/other/"+secret, 403)
	if p := s.fetch(t, ""); len(p.Received) != 0 {
		t.Errorf("stored without the secret: %v", p.Received)
	}
	deliver("/webhook/bulkvs/"+secret, 200)
	if p := s.fetch(t, ""); len(p.Received) != 1 {
		t.Errorf("%v", p.Received)
	}
}

// awayJournal is a journal that cannot be opened.
type awayJournal struct{ gateway.Journal }

func (awayJournal) Acquire() (*journal.Journal, error) { return nil, errors.New("away") }

// A receipt finds its message. The user of a text that was not delivered gets one push.
func TestReceipts(t *testing.T) {
	service := pushtest.New(t)
	failed := readWebhook(t, "receipt-undelivered")
	_, id, _ := strings.Cut(failed.Body, "MessageSid=")
	id, _, _ = strings.Cut(id, "&")
	p := newProvider(t)
	p.say(201, `{"sid":"`+id+`","status":"queued"}`)
	s := twilioSite(t, p.URL, "receive {\npush_url "+service.URL+"\n}")
	s.ask(t, "push_token", token)
	if w := s.send(t, get(credential+"to=5551231234&body=hi")); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for range 2 {
		s.deliver(t, failed.request(), failed.Answer.Status, failed.Answer.Type, failed.Answer.Body)
	}
	pushes := waitForPushes(t, service, 1)
	if got := pushes[0]; got.Verb != "NotifyGenericTextMessage" || got.Message != "Your message to +15551231234 was not delivered." {
		t.Errorf("%+v", got)
	}
	if n := len(service.Pushes()); n != 1 {
		t.Errorf("%d pushes", n)
	}
	if !strings.Contains(fmt.Sprint(s.log.All()), "receipt") {
		t.Error("nothing is logged")
	}
}

// An invalid webhook_secret is an error when the configuration is loaded.
func TestWebhookSecret(t *testing.T) {
	for block, want := range map[string]string{
		"adapter twilio {\naccount_sid a\nauth_token b\nwebhook_secret 0123456789abcdef\n}": "webhook_secret has no meaning without receive",
		"adapter twilio {\naccount_sid a\nauth_token b\nwebhook_secret canary\n}":           "webhook_secret takes 16 to 128",
		"adapter sandbox {\nwebhook_secret 0123456789abcdef\n}\nreceive":                    "no receive block",
	} {
		_, err := provisionWith(t, filepath.Join(t.TempDir(), "journal.db"), demo+block)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", block, err)
		}
	}
}

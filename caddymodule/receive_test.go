package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/push/pushtest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// receivingSite is a site with a journal on disk whose workers run.
func receivingSite(t *testing.T, block string) *site {
	t.Helper()
	return siteWithJournal(t, filepath.Join(t.TempDir(), "journal.db"), block)
}

func siteWithJournal(t *testing.T, path, block string) *site {
	t.Helper()
	s, err := provisionWith(t, path, demo+block)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.app.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request of the app to a service.
func (s *site) ask(t *testing.T, service, query string) *httptest.ResponseRecorder {
	t.Helper()
	return s.send(t, httptest.NewRequest(http.MethodGet, "https://sms.example.com/"+service+"?"+query, nil))
}

// page is what an app reads out of the reply to a fetch.
type page struct {
	Message  string
	Received []map[string]string `json:"received_smss"`
	Unread   []map[string]string `json:"unread_smss"`
	Sent     []map[string]string `json:"sent_smss"`
}

func (s *site) fetch(t *testing.T, cursors string) page {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://sms.example.com/fetch_messages/",
		strings.NewReader(`{"username":"johndow","password":"12345678","device":"d1"`+cursors+`}`))
	r.Header.Set("Content-Type", "application/json")
	w := s.send(t, r)
	var p page
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return p
}

// arrives stores a text as a webhook does.
func (s *site) arrives(t *testing.T, from, to, text string) inbox.ID {
	t.Helper()
	j, err := s.app.journal.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	got, err := s.receiver.inbox().Receive(&inbox.Incoming{
		ID: text, From: sms.Number{Value: from, Kind: sms.Phone}, To: sms.Number{Value: to, Kind: sms.Phone}, Text: sms.Hide(text),
	})
	if err != nil {
		t.Fatal(err)
	}
	return got.Item
}

const token = "username=johndow&password=12345678&selector=s1&installid=d1&token_msgs=dG9rZW4%3D&appid_msgs=app.1"

// A text wakes the phone, which fetches it; the other device sees it too. Nothing of it is logged.
func TestConversation(t *testing.T) {
	service := pushtest.New(t)
	s := receivingSite(t, "adapter sandbox\nreceive {\npush_url "+service.URL+"\n}\nservices {\nsend /send_message\n}")
	if w := s.ask(t, "push_token", token); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	const bob = "+15551234567"
	id := s.arrives(t, bob, "+15550002222", "canary-text").String()
	pushes := waitForPushes(t, service, 1)
	want := []pushtest.Push{{
		Verb: "NotifyTextMessage", AppID: "app.1", DeviceToken: "dG9rZW4=", Selector: "s1", Badge: 1, Sound: "default",
		UserName: bob, Message: "canary-text", ContentType: "text/plain", ID: id, ThreadID: bob,
	}}
	if diff := cmp.Diff(want, pushes); diff != "" {
		t.Error(diff)
	}
	w := s.send(t, get(credential+"to="+url.QueryEscape(bob)+"&body=canary-reply"))
	sent := read(t, w).ID
	for range 2 { // two devices
		p := s.fetch(t, "")
		item := func(m map[string]string) string {
			return m["sms_id"] + " " + m["sender"] + ">" + m["recipient"] + " " + m["sms_text"] + " " + m["stream_id"]
		}
		got := []string{item(p.Received[0]), item(p.Unread[0]), item(p.Sent[0])}
		in := id + " " + bob + ">+15550002222 canary-text " + bob
		if diff := cmp.Diff([]string{in, in, sent + " +15550002222>" + bob + " canary-reply " + bob}, got); diff != "" {
			t.Error(diff)
		}
	}
	if p := s.fetch(t, `,"last_id":"`+id+`","last_sent_id":"`+sent+`"`); len(p.Received) != 0 || len(p.Sent) != 1 {
		t.Errorf("after the cursors: %v", p)
	}
	s.stop()
	logged := fmt.Sprint(s.log.All(), fmt.Sprintf("%+v", s.Handler.Receive))
	for _, secret := range []string{"canary", "dG9rZW4", "12345678", bob} {
		if strings.Contains(logged, secret) {
			t.Errorf("%s is logged", secret)
		}
	}
}

func waitForPushes(t *testing.T, service *pushtest.Service, n int) []pushtest.Push {
	t.Helper()
	begin := time.Now()
	for len(service.Pushes()) < n {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d pushes, want %d", len(service.Pushes()), n)
		}
		time.Sleep(time.Millisecond)
	}
	return service.Pushes()
}

func TestPushModes(t *testing.T) {
	service := pushtest.New(t)
	s := receivingSite(t, "adapter sandbox\nreceive {\npush hidden\npush_url "+service.URL+"\n}\nservices {\nsend /send_message\n}")
	s.ask(t, "push_token", token)
	s.arrives(t, "+15551234567", "+15550001111", "canary")
	if p := waitForPushes(t, service, 1)[0]; p.Message != "New message" || p.UserName != "+15551234567" {
		t.Errorf("%+v", p)
	}
	// A token that is no longer registered is removed.
	service.Forget("dG9rZW4=")
	s.arrives(t, "+15551234567", "+15550001111", "two")
	for begin := time.Now(); len(s.devices(t)) > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the device is still there")
		}
	}
	// An account that is removed in the app gets no push.
	s.ask(t, "push_token", token)
	if w := s.ask(t, "account_removed", token); w.Code != 200 || len(s.devices(t)) > 0 {
		t.Errorf("%d, %v", w.Code, s.devices(t))
	}
}

func (s *site) devices(t *testing.T) []inbox.Device {
	t.Helper()
	j, err := s.app.journal.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	list, err := s.receiver.inbox().Devices("johndow")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A fault of any kind is an error with a message, because an empty success means: nothing new. None
// of these requests appears in the access log.
func TestOtherServicesRefuse(t *testing.T) {
	const on = "adapter sandbox\nreceive\nservices {\nsend /send_message\n}\n"
	for _, path := range []string{"/fetch_messages", "/push_token", "/account_removed/"} {
		s := receivingSite(t, on)
		for query, want := range map[string]int{
			"username=johndow&password=wrong": 401, "": 401, "username=johndow&password=1234567&selector=s&token=t": 401,
		} {
			w, unlogged, err := s.visit(t, httptest.NewRequest(http.MethodGet, path+"?"+query, nil), "")
			if read(t, w); err != nil || w.Code != want || w.Header().Get("Server") != "" || unlogged != (query != "") {
				t.Errorf("%s?%s: %d %v %v, left out of the log %t", path, query, w.Code, w.Header(), err, unlogged)
			}
		}
		if w := s.send(t, httptest.NewRequest(http.MethodDelete, path, nil)); w.Code != 405 {
			t.Errorf("%s: %d", path, w.Code)
		}
		if s.events() != nil {
			t.Errorf("%s: a line of a message", path)
		}
		quiet := receivingSite(t, on+"stealth")
		w, _, _ := quiet.visit(t, httptest.NewRequest(http.MethodGet, path+"?username=johndow&password=wrong", nil), "")
		if w.Code != 404 || w.Body.Len() > 0 {
			t.Errorf("%s with stealth: %d %s", path, w.Code, w.Body)
		}
		off := newSite(t, demo+"adapter sandbox\nservices {\nsend /send_message\n}")
		if w, _, _ := off.visit(t, httptest.NewRequest(http.MethodGet, path, nil), ""); w.Code != 404 {
			t.Errorf("%s without receive: %d", path, w.Code)
		}
	}
}

// Wrong passwords of all services count together.
func TestLockoutOfOtherServices(t *testing.T) {
	s := receivingSite(t, "adapter sandbox\nreceive\nlockout 3 5m\nservices {\nsend /send_message\n}")
	for i := range 4 {
		path := []string{"fetch_messages", "push_token", "account_removed", "send_message"}[i]
		s.ask(t, path, fmt.Sprintf("username=johndow&password=wrong-%d&to=5551231234&body=hi", i))
	}
	if w := s.ask(t, "fetch_messages", "username=johndow&password=12345678"); w.Code != 429 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The settings of receive are checked when the configuration is loaded, too.
func TestReceiveSettings(t *testing.T) {
	for block, want := range map[string]string{
		"receive": "receive requires a journal that survives a restart: write",
	} {
		if _, err := provision(t, demo+"adapter sandbox\n"+block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", block, err)
		}
	}
	for raw, want := range map[string]string{
		`{"push":"all"}`:                    "receive: push takes",
		`{"keep":1}`:                        "receive: keep takes",
		`{"name":"a b"}`:                    "receive: name takes",
		`{"push":"off","push_url":"http:"}`: "push_url has no meaning",
		`{"push_url":"x"}`:                  "receive: push_url:",
	} {
		r := new(Receive)
		if err := json.Unmarshal([]byte(raw), r); err != nil {
			t.Fatal(err)
		}
		if err := r.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// Two sites of one journal need names; a site that Caddy has twice needs none.
func TestReceiversOfOneJournal(t *testing.T) {
	a := new(App)
	one, other := &receiver{configuration: [32]byte{1}}, &receiver{configuration: [32]byte{2}}
	if got, err := a.addReceiver(one); got != one || err != nil {
		t.Error(err)
	}
	if got, err := a.addReceiver(&receiver{configuration: [32]byte{1}}); got != one || err != nil {
		t.Errorf("the same site: %v", err)
	}
	if _, err := a.addReceiver(other); err == nil {
		t.Error("another site has the same name")
	}
	if other.name = "b"; true {
		if got, err := a.addReceiver(other); got != other || err != nil {
			t.Error(err)
		}
	}
}

// Which numbers a user fetches.
func TestReceivedNumbers(t *testing.T) {
	for _, c := range []struct {
		from, receive string
		want          string
	}{
		{"+15550001111 ACME 72227", "", "+15550001111 72227"},
		{"+15550001111 ACME", "off", ""},
		{"", "+15550002222", "+15550002222"},
		{"+15550001111", "72227 +15550002222", "72227 +15550002222"},
		{"", "ACME", "error"},
	} {
		u := &User{From: strings.Fields(c.from), Receive: strings.Fields(c.receive)}
		own, err := parseSenders(u.From, "US")
		if err != nil {
			t.Fatal(err)
		}
		list, err := u.receivedNumbers(own, "US")
		var got []string
		for _, n := range list {
			got = append(got, n.Value)
		}
		if err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

// provisionWith provisions a site with a journal in a SQLite file.
func provisionWith(t *testing.T, path, block string) (*site, error) {
	t.Helper()
	h, err := adapted(t, block)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(map[string]any{"journal": map[string]string{"journal": "sqlite", "path": path}})
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, h, &caddy.Config{AppsRaw: caddy.ModuleMap{"acrobits_sms": raw}})
}

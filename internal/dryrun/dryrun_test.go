package dryrun

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
)

func account(t *testing.T, name string, options map[string]string) *Account {
	t.Helper()
	d, err := adapters.Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	return &Account{Definition: d, Name: name, Options: options, Region: "US"}
}

var hello = Text{From: "+15550002222", To: "212 555 0123", Body: "It's $HOME & \"more\""}

// The request is shown as it goes out, with names for what is secret or not known.
func TestShow(t *testing.T) {
	for name, c := range map[string]struct {
		options map[string]string
		curl    bool
		want    []string
	}{
		"twilio": {map[string]string{"account_sid": "AC77", "auth_token": "canary-secret"}, false, []string{
			"POST https://api.twilio.com/2010-04-01/Accounts/AC77/Messages.json\n", "Authorization: Basic base64(AC77:$SMS_AUTH_TOKEN)\n", "To=%2B12125550123&From=%2B15550002222&Body=It%27s+%24HOME+%26+%22more%22\n",
		}},
		"telnyx":      {nil, true, []string{`-H 'Authorization: Bearer '"$SMS_API_KEY"`, `--data-binary '{"to":"+12125550123","from":"+15550002222","text":"It'\''s $HOME \u0026 \"more\""}'`}},
		"kannel":      {map[string]string{"username": "u", "password": "canary-secret"}, true, []string{`"$SMS_BASE_URL"'/cgi-bin/sendsms?username=u&password='"$SMS_PASSWORD"'&from=`}},
		"ringcentral": {nil, false, []string{"# the token", "assertion=$SMS_JWT", "Authorization: Bearer $SMS_TOKEN\n"}},
		"azure":       {map[string]string{"resource": "demo", "access_key": base64.StdEncoding.EncodeToString([]byte("canary-secret-key"))}, false, []string{"https://demo.communication.azure.com/sms", "Authorization: " + signature}},
		"aws_sns":     {map[string]string{"region": "us-east-1"}, false, []string{"https://sns.us-east-1.amazonaws.com/", "Authorization: " + signature}},
		"voipms":      {nil, true, []string{`--form-string 'api_password='"$SMS_API_PASSWORD"`, `--form-string 'message=It'\''s $HOME & "more"'`}},
	} {
		var out bytes.Buffer
		if err := account(t, name, c.options).Show(&out, hello, 10, c.curl); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s lacks %s:\n%s", name, want, out.String())
			}
		}
		if strings.Contains(out.String(), "canary") || strings.Contains(out.String(), "MASK") || strings.Contains(out.String(), base64.StdEncoding.EncodeToString([]byte("canary"))[:8]) {
			t.Errorf("%s shows a secret or a mask:\n%s", name, out.String())
		}
	}
	var out bytes.Buffer
	if err := account(t, "twilio", nil).Show(&out, Text{To: "ACME"}, 10, false); err == nil || !strings.Contains(err.Error(), "invalid recipient; write") {
		t.Error(err)
	}
	if err := account(t, "voipms", nil).Show(&out, Text{To: "+442079460123", From: "+15550002222", Body: "x"}, 10, false); err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Error(err)
	}
	out.Reset()
	if err := account(t, "twilio", nil).Show(&out, Text{To: "+12125550123", Body: strings.Repeat("word ", 700)}, 10, false); err != nil || strings.Count(out.String(), "# part ") != 3 || !strings.HasPrefix(out.String(), "# 3 parts, 24 segments\n") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// A recorded exchange contains nothing of the account or of people, and says how the definition reads
// it.
func TestRecordLive(t *testing.T) {
	count, owner := 0, ""
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/restapi/oauth/token" {
			_, _ = io.WriteString(w, `{"access_token":"canary-token","expires_in":3600,"refresh_token":"canary-token-for-later","deep":[{"id_token":"canary-token-of-another-kind"}],"scope":"SMS Faxes"}`)
			return
		}
		count++
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "canary=1")
		w.WriteHeader(map[bool]int{true: 201, false: 200}[strings.Contains(r.URL.Path, "Messages.json")])
		_, _ = io.WriteString(w, `{"sid":"SM123","writings":"`+strings.ReplaceAll(owner, "/", `\/`)+" "+url.QueryEscape(owner)+" "+base64.StdEncoding.EncodeToString([]byte(owner))+" "+hex.EncodeToString([]byte(owner))+r.Header.Get("Authorization")+
			`","pretty":"(212) 555-0123 or 00 1 212-555-0123","other":"+442079460000","id":4711,"status":"queued","account":"`+owner+`","to":"+12125550123","from":"15550002222","national":"2125550123"}`)
	}))
	defer p.Close()
	for name, options := range map[string]map[string]string{
		"twilio":      {"account_sid": "canary/account+1", "auth_token": "canary-secret"},
		"ringcentral": {"client_id": "canary-clients", "client_secret": "canary-secret", "jwt": "canary-jwt"},
		"aws_sns":     {"region": "us-east-1", "access_key_id": "canary", "secret_access_key": "canary-secret"},
	} {
		count, owner = 0, options["account_sid"]+options["client_id"]+options["secret_access_key"]
		a := account(t, name, options)
		a.BaseURL = p.URL
		x, err := a.RecordLive(t.Context(), hello, http.DefaultTransport)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var out bytes.Buffer
		if err := x.Write(&out); err != nil {
			t.Error(err)
		}
		text := out.String() + x.Result.String()
		x.Result.Detail = ""
		for _, private := range []string{"canary", hex.EncodeToString([]byte("canary")), "2125550123", "555-0123", "7946", "5550002222", strings.TrimPrefix(p.URL, "http://"), base64.StdEncoding.EncodeToString([]byte("canary"))[:8]} {
			if strings.Contains(text, private) {
				t.Errorf("%s: %s is recorded:\n%s", name, private, text)
			}
		}
		again, err := recording.Read(out.Bytes())
		if diff := cmp.Diff(*x, again); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
		if count != 1 {
			t.Errorf("%s: %d messages were sent", name, count)
		}
		if want := map[string]string{"twilio": "accepted", "ringcentral": "accepted", "aws_sns": "unknown"}[name]; x.Result.Outcome != want || x.Request == nil || (x.Token != nil) != (name == "ringcentral") {
			t.Errorf("%s: %+v", name, x.Result)
		}
	}
}

// A reply with a secret that cannot be replaced is not recorded, and what became of a message is
// said as it is.
func TestRecordRefuses(t *testing.T) {
	twilio := map[string]string{"account_sid": "canary-account", "auth_token": "canary-secret"}
	ringcentral := map[string]string{"client_id": "canary-client", "client_secret": "canary-secret", "jwt": "canary-jwt"}
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, c := range map[string]struct {
		adapter string
		options map[string]string
		answer  http.HandlerFunc
		want    string
	}{
		"mixed writing": {"twilio", twilio, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"sid":"SM1","of":"can\u0061ry-secret"}`)
		}, "holds a secret"},
		"no token": {"ringcentral", ringcentral, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"accessToken":"canary-live-token"}`)
		}, "finds no token"},
		"no reply":      {"twilio", twilio, hangUp, "no reply from the provider: unknown"},
		"after a token": {"ringcentral", ringcentral, hangUp, "the message was sent, but no reply came"},
	} {
		p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/oauth/token") && name != "no token" {
				_, _ = io.WriteString(w, `{"access_token":"canary-token","expires_in":3600}`)
				return
			}
			c.answer(w, r)
		}))
		defer p.Close()
		a := account(t, c.adapter, c.options)
		a.BaseURL = p.URL
		if x, err := a.RecordLive(t.Context(), hello, &http.Transport{DisableKeepAlives: true}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v %+v", name, err, x)
		}
	}
}

// A reply of an account of which nothing is known needs no options; short secrets and senders are
// replaced too.
func TestRecordWithoutOptions(t *testing.T) {
	x, err := account(t, "azure", nil).Record(hello, recording.Reply{Status: 202, Body: `{"value":[{"messageId":"7","httpStatusCode":202,"successful":true}]}`})
	if err != nil || x.Result.Outcome != "accepted" || len(x.Options) == 0 {
		t.Errorf("%v %+v", err, x)
	}
	a := account(t, "kannel", map[string]string{"username": "bob", "password": "p"})
	x, err = a.Record(Text{From: "Private", To: "+442079460123", Body: "x"}, recording.Reply{Status: 403, Body: `{"user":"bob","pass":"p","from":"Private","to":"020 7946 0123"}`})
	if err != nil || x.Message.From != "Example" || !strings.HasPrefix(x.Message.To, "+44") {
		t.Errorf("%v %+v", err, x)
	}
	for _, private := range []string{"bob", `"p"`, "Private", "7946"} {
		if strings.Contains(x.Reply.Body, private) {
			t.Errorf("%s is recorded: %s", private, x.Reply.Body)
		}
	}
}

func TestRecordReply(t *testing.T) {
	a := account(t, "twilio", map[string]string{"account_sid": "canary-account"})
	a.Options["auth_token"] = "canary-secret"
	x, err := a.Record(hello, recording.Reply{Status: 400, Body: `{"code":21211,"message":"The number +12125550123 of canary-account is not valid"}`})
	if err != nil {
		t.Fatal(err)
	}
	want := recording.Result{Outcome: "refused", Cause: "invalid_recipient", Code: "21211", Detail: x.Result.Detail}
	if x.Result != want || x.Request != nil || x.Reply.Body != `{"code":21211,"message":"The number +15551231234 of fictionalaccountsid0 is not valid"}` {
		t.Errorf("%+v %+v", x.Result, x.Reply)
	}
}

// The person who records is told how the definition reads the reply, and which lines do not hold,
// without what is private.
func TestRecordedResult(t *testing.T) {
	d, err := adapters.Parse("own", "own", 1, "base_url https://sms.example.com\noption key secret\nsend {\nPOST /send\nbearer {option.key}\nform {\nto {sms.to}\n"+
		"text {sms.body}\n}\n}\nreply text\naccepted status 200\naccepted id exists\nid `^OK (\\d+)$`\nmessage `^ERROR (.*)$`\ncause no_credit when message matches funds")
	if err != nil {
		t.Fatal(err)
	}
	a := &Account{Definition: d, Name: "own", Region: "US", Options: map[string]string{"key": "canary-secret"}}
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, "OK 12", "accepted, 12"},
		{400, "ERROR no funds", "refused, no_credit: no funds"},
		{200, "OK 12 to +12125550123 by canary-secret", `unknown: `},
	} {
		x, err := a.Record(hello, recording.Reply{Status: c.status, Body: c.body})
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Result.String(); got != c.want && (!strings.HasPrefix(got, c.want) || !strings.Contains(got, "accepted id exists")) ||
			strings.Contains(got, "canary") || strings.Contains(got, "2125550123") {
			t.Errorf("%s: %s, want %s", c.body, got, c.want)
		}
		var out bytes.Buffer
		if err := x.Write(&out); err != nil || strings.Contains(strings.ToLower(out.String()), `"detail"`) {
			t.Errorf("%v %s", err, out.String())
		}
	}
}

// Options that are numbers or chosen from a list have values that fit, in what is recorded and in
// what is shown.
func TestTypedOptions(t *testing.T) {
	d, err := adapters.Parse("own", "own", 1, `base_url https://sms.example.com
option account
option kind optional in plain fancy
option key secret
send {
	when {option.kind} == plain
	POST /send
	bearer {option.key}
	json {
		account int {option.account}
		to      {sms.to}
		text    {sms.body}
	}
}
reply json
accepted status 201
accepted id exists
id header Location
code error
cause busy 700000123`)
	if err != nil {
		t.Fatal(err)
	}
	a := &Account{Definition: d, Name: "own", Region: "US", Options: map[string]string{}}
	x, err := a.Record(hello, recording.Reply{Status: 201, Headers: map[string]string{"Location": "/m/7"}})
	if err != nil || x.Result.ID != "/m/7" {
		t.Fatalf("%v %+v", err, x)
	}
	a.Options = map[string]string{"account": "5551212"}
	x, err = a.Record(hello, recording.Reply{Status: 400, Body: `{"error":700000123,"account":5551212}`})
	if err != nil || x.Result.Code != "700000123" || x.Result.Cause != "busy" || strings.Contains(x.Reply.Body, "5551212") {
		t.Errorf("%v %+v %+v", err, x.Result, x.Reply)
	}
	var out bytes.Buffer
	a.Options = nil
	if err := a.Show(&out, hello, 10, true); err != nil || !strings.Contains(out.String(), "$SMS_ACCOUNT") {
		t.Errorf("%v %s", err, out.String())
	}
}

package adapters

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// proofs says of each scheme what it covers: the body, the address with its parameters, and the age.
var proofs = map[string]struct {
	headers       []string
	body, address bool
	window        time.Duration
}{
	"basic":         {headers: []string{"Authorization"}},
	"commio":        {headers: []string{"X-Commio-Signature"}, body: true, address: true},
	"messagebird":   {headers: []string{"MessageBird-Signature-JWT"}, body: true, address: true, window: time.Minute},
	"plivo_v2":      {headers: []string{"X-Plivo-Signature-V2", "X-Plivo-Signature-V2-Nonce"}},
	"signalwire":    {headers: []string{"X-SignalWire-Signature"}, body: true, address: true},
	"sinch":         {headers: []string{"X-Sinch-Webhook-Signature", "X-Sinch-Webhook-Signature-Nonce", "X-Sinch-Webhook-Signature-Timestamp"}, body: true},
	"smsgate":       {headers: []string{"X-Signature", "X-Timestamp"}, body: true},
	"telnyx":        {headers: []string{"Telnyx-Signature-Ed25519", "Telnyx-Timestamp"}, body: true, window: 5 * time.Minute},
	"twilio":        {headers: []string{"X-Twilio-Signature"}, body: true, address: true},
	"vonage_jwt":    {headers: []string{"Authorization"}, body: true},
	"vonage_sha256": {body: true},
}

// TestForgedDeliveries changes each recorded webhook with a proof in every way that its proof covers.
func TestForgedDeliveries(t *testing.T) {
	for _, provider := range receivers(t) {
		d, err := Builtin(provider)
		if err != nil {
			t.Fatal(err)
		}
		genuine := 0
		for _, r := range deliveries(t, provider) {
			a := r.bound(t, provider, nil)
			if r.Forged || len(a.proof.keys) == 0 {
				continue
			}
			genuine++
			t.Run(provider+"/"+r.name, func(t *testing.T) { r.forge(t, provider, d) })
		}
		if genuine == 0 && len(d.proof.keys) > 0 {
			t.Errorf("%s: no recorded webhook is proven", provider)
		}
	}
}

func (d *recordedDelivery) forge(t *testing.T, provider string, def *Definition) {
	values := map[string]string{}
	for _, o := range def.Options {
		values[o.Name] = o.value(d.Options)
	}
	scheme, _ := def.proof.scheme.bind(values)
	name, _ := scheme.fixed()
	covers, ok := proofs[name]
	if !ok {
		t.Fatalf("the scheme %s is not in the table", name)
	}
	a := d.bound(t, provider, nil)
	refused := func(what string, a *Adapter, r InboundRequest, at time.Time) {
		t.Helper()
		events, answer, err := a.ReadInbound(r, at)
		if !errors.Is(err, ErrForged) || len(events) > 0 || answer != (Answer{Status: http.StatusForbidden}) {
			t.Errorf("%s: %d events, answer %+v, %v", what, len(events), answer, err)
		}
	}
	for _, header := range covers.headers {
		r := d.request()
		r.Header.Del(header)
		refused("without "+header, a, r, d.Now)
	}
	if covers.body && len(d.Body) > 0 {
		r := d.request()
		i := strings.IndexAny(d.Body, "0123456789")
		r.Body[i] ^= 1
		refused("with another body", a, r, d.Now)
	}
	if covers.address {
		r := d.request()
		r.URL = strings.Replace(r.URL, "://sms.", "://sns.", 1)
		refused("for another address", a, r, d.Now)
	}
	if covers.window > 0 {
		refused("replayed", a, d.request(), d.Now.Add(covers.window+2*time.Minute))
	}
	for _, key := range def.proof.keys {
		option := key.optionName()
		if d.Options[option] == "" {
			continue
		}
		other := base64.StdEncoding.EncodeToString(slices.Repeat([]byte{7}, 32))
		refused("with a rotated key", d.bound(t, provider, map[string]string{option: other}), d.request(), d.Now)
		if name == "basic" {
			continue
		}
		both := d.bound(t, provider, map[string]string{option: other + " " + d.Options[option]})
		if _, _, err := both.ReadInbound(d.request(), d.Now); err != nil {
			t.Errorf("with the old key beside the new one: %v", err)
		}
	}
}

// The key of webhooks may be added to an account later.
func TestWebhookKeysIdentifyNoAccount(t *testing.T) {
	d, err := Builtin("telnyx")
	if err != nil {
		t.Fatal(err)
	}
	bind := func(options map[string]string) *Adapter {
		a, err := d.Bind("", "", options)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	without := bind(map[string]string{"api_key": "a"})
	with := bind(map[string]string{"api_key": "a", "public_key": "k"})
	other := bind(map[string]string{"api_key": "b", "public_key": "k"})
	if without.Account() != with.Account() || without.BillingKey() != with.BillingKey() || with.Account() == other.Account() {
		t.Error("the account differs by the key of webhooks, or not by its own key")
	}
}

// Without the key of a provider that always signs, nothing is received. Where the customer decides,
// the secret in the path suffices.
func TestProofOptions(t *testing.T) {
	const body = "\nreceive {\nbody form\nfrom f\nto t\ntext x\n}"
	form := InboundRequest{Method: "POST", URL: "https://sms.example.com/", Header: http.Header{}, Body: []byte("f=%2B15551231234&t=%2B15550001111&x=Hi")}
	signed := form
	signed.Header = http.Header{"X-Token": {"secret"}}
	for _, c := range []struct {
		proof, key       string
		receives         bool
		unsigned, signed bool // whether it is accepted
	}{
		{"proof header X-Token {option.key}", "", false, false, false},
		{"proof header x-token {option.key}", "secret", true, false, true},
		{"proof header X-Token {option.key}", "other", true, false, false},
		{"proof optional header X-Token {option.key}", "", true, true, true},
		{"proof optional header X-Token {option.key}", "secret", true, false, true},
		{"proof path", "", true, true, true},
	} {
		a := define(t, "POST /\nform {\nto {sms.to}\nt {sms.body}\nk {option.key}\n}", "option key optional\n"+c.proof+body, map[string]string{"key": c.key})
		if a.Receives() != c.receives || (a.LacksProof() == "key") == c.receives {
			t.Errorf("%s with %q: receives %t, lacks %q", c.proof, c.key, a.Receives(), a.LacksProof())
		}
		for r, want := range map[*InboundRequest]bool{&form: c.unsigned, &signed: c.signed} {
			if _, _, err := a.ReadInbound(*r, now); (err == nil) != want {
				t.Errorf("%s with %q: %v, %v", c.proof, c.key, r.Header, err)
			}
		}
	}
}

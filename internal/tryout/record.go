package tryout

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// What is recorded instead of real numbers, tokens and hosts.
const (
	fictionalFrom  = "+15550001111"
	fictionalTo    = "+15551231234"
	fictionalToken = "fictional-token"
	fictionalBase  = "https://sms.example.com"
)

// Record makes the exchange of a text and a reply that the provider gave to it.
func (a *Account) Record(t Text, reply recording.Reply) (*recording.Exchange, error) {
	m, err := a.message(t)
	if err != nil {
		return nil, err
	}
	return a.exchange(m, t, &recording.Exchange{Reply: &reply}, "")
}

// RecordLive sends one real message, once, and makes the exchange of it and of what the provider says.
func (a *Account) RecordLive(ctx context.Context, t Text, transport http.RoundTripper) (*recording.Exchange, error) {
	m, err := a.message(t)
	if err != nil {
		return nil, err
	}
	adapter, err := a.Definition.Bind(a.Name, a.BaseURL, a.Options)
	if err != nil {
		return nil, err
	}
	line := &tap{RoundTripper: transport}
	route := delivery.Route{Adapter: adapter, Transport: line}
	if adapter.NeedsToken() {
		route.Tokens = delivery.NewTokens()
	}
	d := &delivery.Deliverer{Timeout: delivery.DefaultTimeout, AttemptTimeout: delivery.DefaultTimeout, MaxParts: 1, Routes: []delivery.Route{route}}
	r := d.Deliver(ctx, m)
	if len(line.passed) == 0 {
		return nil, fmt.Errorf("no reply from the provider: %s (%s)", r.Cause(), r.Detail)
	}
	last := line.passed[len(line.passed)-1]
	x, access := &recording.Exchange{Request: last.request, Reply: &last.reply}, ""
	if adapter.NeedsToken() {
		first := line.passed[0]
		token, _ := adapter.ReadToken(first.reply.Status, first.reply.Header(), []byte(first.reply.Body), true, time.Now())
		access = token.Secret.Reveal()
		x.Token = &recording.Token{Request: first.request, Reply: first.reply, Access: access, Lifetime: token.Lifetime.Seconds()}
		if len(line.passed) == 1 { // there was no token, so no message was sent
			x.Request, x.Reply = nil, nil
		}
	}
	return a.exchange(m, t, x, access)
}

// passed is a request and its reply.
type passed struct {
	request *recording.Request
	reply   recording.Reply
}

// tap keeps what passes.
type tap struct {
	http.RoundTripper
	passed []passed
}

// body is a copy in memory with the original's Close.
type body struct {
	io.Reader
	io.Closer
}

func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	request, err := recording.Of(r, sent)
	if err != nil {
		return nil, err
	}
	r.Body = body{bytes.NewReader(sent), r.Body}
	reply, err := p.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, adapters.MaxReply))
	if err != nil {
		return nil, err
	}
	reply.Body = body{bytes.NewReader(text), reply.Body}
	recorded := recording.Reply{Status: reply.StatusCode, Headers: map[string]string{}, Body: string(text)}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := reply.Header.Get(name); v != "" {
			recorded.Headers[name] = v
		}
	}
	p.passed = append(p.passed, passed{request, recorded})
	return reply, nil
}

// exchange completes what was recorded: fictional options and numbers stand in it instead of the real ones, and the
// receipt is what the definition reads out of the reply.
func (a *Account) exchange(m *sms.Message, t Text, x *recording.Exchange, access string) (*recording.Exchange, error) {
	x.Source = "recorded " + time.Now().Format(time.DateOnly) + "; compare the request with the provider's documents"
	x.Message = recording.Message{From: m.From.Value, To: m.To.Value, Body: t.Body, Media: t.Media}
	x.Options, x.BaseURL = a.Options, a.BaseURL
	for _, r := range []*recording.Request{x.Request, tokenRequest(x)} {
		dropSignature(r)
	}
	clean, err := a.disguise(x, m, access)
	if err != nil {
		return nil, err
	}
	if a.Definition.HasBaseURL() && a.BaseURL == "" {
		clean.BaseURL = ""
	}
	return clean, a.judge(clean)
}

func tokenRequest(x *recording.Exchange) *recording.Request {
	if x.Token == nil {
		return nil
	}
	return x.Token.Request
}

// dropSignature drops what signs a request: it cannot be compared, and is made of the secret and the time.
func dropSignature(r *recording.Request) {
	if r == nil || r.Headers["X-Amz-Date"]+r.Headers["X-Ms-Date"] == "" {
		return
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Ms-Date", "X-Ms-Content-Sha256"} {
		delete(r.Headers, name)
	}
}

// disguise replaces everything that belongs to the account and the people.
func (a *Account) disguise(x *recording.Exchange, m *sms.Message, access string) (*recording.Exchange, error) {
	var pairs []string
	replace := func(old, with string) {
		if len(old) > 3 {
			quoted, _ := json.Marshal(old) // as the text of the exchange has it
			pairs = append(pairs, strings.Trim(string(quoted), `"`), with, old, with)
		}
	}
	for _, o := range a.Definition.Options {
		with := "fictional-" + strings.ReplaceAll(o.Name, "_", "-")
		if _, err := base64.StdEncoding.DecodeString(a.Options[o.Name]); err == nil && o.Secret && len(a.Options[o.Name]) > 16 {
			with = base64.StdEncoding.EncodeToString([]byte(with)) // some keys have to be base64
		}
		replace(a.Options[o.Name], with)
	}
	replace(access, fictionalToken)
	replace(m.ID, recording.MessageID)
	replace(strings.ReplaceAll(m.ID, "-", ""), strings.ReplaceAll(recording.MessageID, "-", ""))
	replace(strings.TrimSuffix(a.BaseURL, "/"), fictionalBase)
	for real, with := range map[sms.Number]string{m.To: fictionalTo, m.From: fictionalFrom} {
		if real.Kind == sms.Phone {
			replace(real.Value, with)
			replace(real.Value[1:], with[1:])
			if national, ok := strings.CutPrefix(real.Value, "+1"); ok {
				replace(national, with[2:])
			}
		}
	}
	hide := strings.NewReplacer(pairs...)
	for _, r := range []*recording.Request{x.Request, tokenRequest(x)} {
		if r == nil {
			continue
		}
		if encoded, ok := strings.CutPrefix(r.Headers["Authorization"], "Basic "); ok {
			if pair, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				r.Headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(hide.Replace(string(pair))))
			}
		}
	}
	var text bytes.Buffer
	if err := x.Write(&text); err != nil {
		return nil, err
	}
	clean, err := recording.Read([]byte(hide.Replace(text.String())))
	return &clean, err
}

// judge reads the reply with the definition.
func (a *Account) judge(x *recording.Exchange) error {
	adapter, err := a.Definition.Bind("", x.BaseURL, x.Options)
	if err != nil {
		return err
	}
	var r sms.Receipt
	if x.Reply == nil {
		_, r = adapter.ReadToken(x.Token.Reply.Status, x.Token.Reply.Header(), []byte(x.Token.Reply.Body), true, time.Now())
	} else {
		m, err := a.message(Text{x.Message.From, x.Message.To, x.Message.Body, x.Message.Media})
		if err != nil {
			return err
		}
		m.ID = recording.MessageID
		sent, err := adapter.Prepare(context.Background(), m, sms.Hide(fictionalToken), time.Now())
		if err != nil {
			return explain(err)
		}
		r = sent.Read(x.Reply.Status, x.Reply.Header(), []byte(x.Reply.Body), true)
	}
	x.Receipt = recording.Receipt{Outcome: r.Outcome.String(), ID: r.ID, Code: r.Code}
	if r.Outcome != sms.Accepted {
		x.Receipt.Cause = r.Cause().String()
	}
	if r.ID == recording.MessageID {
		x.Receipt.ID = "own"
	}
	return nil
}

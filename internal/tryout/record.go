package tryout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Record makes the exchange of a text and a reply that the provider gave to it.
func (a *Account) Record(t Text, reply recording.Reply) (*recording.Exchange, error) {
	m, err := a.message(t)
	if err != nil {
		return nil, err
	}
	x := &recording.Exchange{Reply: &reply}
	if err := newDisguise(a, m, sms.Hidden{}, nil).hide(x); err != nil {
		return nil, err
	}
	return x, a.complete(x, m, t, false)
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
	route := delivery.Route{Adapter: adapter, Transport: line, Account: delivery.NewAccount()}
	d := &delivery.Deliverer{Timeout: delivery.DefaultTimeout, AttemptTimeout: delivery.DefaultTimeout, MaxParts: 1, Routes: []delivery.Route{route}}
	r := d.Deliver(ctx, m, new(delivery.Untracked))
	if len(line.passed) == 0 {
		return nil, fmt.Errorf("no reply from the provider: %s (%s)", r.Cause(), r.Detail)
	}
	last := line.passed[len(line.passed)-1]
	x, token := &recording.Exchange{Reply: &last}, sms.Hidden{}
	if adapter.NeedsToken() {
		first := line.passed[0]
		access, _ := adapter.ReadToken(first.Status, first.Header(), []byte(first.Body), true, time.Now())
		x.Token, token = &recording.Token{Reply: first}, access.Secret
		if !m.Begun {
			x.Reply = nil
		} else if len(line.passed) == 1 {
			return nil, errors.New("the message was sent, but no reply came: whether it is on its way is not known")
		}
	}
	if err := newDisguise(a, m, token, adapter).hide(x); err != nil {
		return nil, err
	}
	return x, a.complete(x, m, t, true)
}

// tap keeps the replies that pass.
type tap struct {
	http.RoundTripper
	passed []recording.Reply
}

// body is a copy in memory with the original's Close.
type body struct {
	io.Reader
	io.Closer
}

func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := p.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, adapters.MaxReply+1))
	if err != nil {
		reply.Body.Close()
		return nil, err
	}
	reply.Body = body{bytes.NewReader(text), reply.Body}
	recorded := recording.Reply{Status: reply.StatusCode, Headers: map[string]string{}, Body: string(text)}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := reply.Header.Get(name); v != "" {
			recorded.Headers[name] = v
		}
	}
	p.passed = append(p.passed, recorded)
	return reply, nil
}

// complete adds to replies without anything private what a fictional account would have sent, and what the definition
// reads out of them.
func (a *Account) complete(x *recording.Exchange, real *sms.Message, t Text, requests bool) error {
	x.Source = "recorded " + time.Now().Format(time.DateOnly) + "; compare the request with the provider's documents"
	x.Message = recording.Message{From: fictionalNumber(real.From, fictionalFrom), To: fictionalNumber(real.To, fictionalTo), Body: t.Body, Media: t.Media}
	x.Options = a.fictionalOptions()
	if a.BaseURL != "" || !a.Definition.HasBaseURL() {
		x.BaseURL = fictionalBase
	}
	adapter, err := a.Definition.Bind("", x.BaseURL, x.Options)
	if err != nil {
		return err
	}
	m, err := a.message(Text{x.Message.From, x.Message.To, x.Message.Body, x.Message.Media})
	if err != nil {
		return err
	}
	m.ID, m.User, m.Received = recording.MessageID, recording.User, time.Unix(recording.Received, 0)
	var r sms.Receipt
	if x.Token != nil {
		var token adapters.Token
		reply := x.Token.Reply
		token, r = adapter.ReadToken(reply.Status, reply.Header(), []byte(reply.Body), true, time.Now())
		x.Token.Access, x.Token.Lifetime = token.Secret.Reveal(), token.Lifetime.Seconds()
		sent, err := adapter.TokenRequest(context.Background(), m.Received)
		if err != nil {
			return err
		}
		if x.Token.Request, err = written(sent, false); err != nil {
			return err
		}
	}
	if x.Reply != nil {
		sent, err := adapter.Prepare(context.Background(), m, sms.Hide(fictionalToken), m.Received)
		if err != nil {
			return explain(err)
		}
		if requests {
			if x.Request, err = written(sent.Request, sent.Signed()); err != nil {
				return err
			}
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

// written is a request as it is recorded. What signs it is dropped: it is made of the time.
func written(r *http.Request, signed bool) (*recording.Request, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	out, err := recording.Of(r, text)
	if err == nil && signed {
		for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Ms-Date", "X-Ms-Content-Sha256"} {
			delete(out.Headers, name)
		}
	}
	return out, err
}

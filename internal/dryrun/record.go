package dryrun

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Record makes the exchange of a text and the provider's reply to it.
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

// RecordLive sends one real message, once, and makes the exchange of the message and the provider's
// reply.
func (a *Account) RecordLive(ctx context.Context, t Text, transport http.RoundTripper) (*recording.Exchange, error) {
	m, err := a.message(t)
	if err != nil {
		return nil, err
	}
	adapter, err := a.Definition.Bind(a.Name, a.BaseURL, a.Options)
	if err != nil {
		return nil, err
	}
	line := &tap{RoundTripper: transport, headers: append([]string{"Content-Type", "Retry-After", "Date"}, a.Definition.Headers()...)}
	route := delivery.Route{Adapter: adapter, Transport: line, Account: delivery.NewAccount()}
	d := &delivery.Deliverer{Timeout: delivery.DefaultTimeout, AttemptTimeout: delivery.DefaultTimeout, MaxParts: 1, Routes: []delivery.Route{route}}
	log := new(delivery.Untracked)
	r := d.Deliver(ctx, m, log)
	if len(line.passed) == 0 {
		return nil, fmt.Errorf("no reply from the provider: %s (%s)", r.Cause(), r.Detail)
	}
	last := line.passed[len(line.passed)-1]
	x, token := &recording.Exchange{Reply: &last}, sms.Hidden{}
	before := 0 // replies before that to the message
	if adapter.NeedsToken() {
		before++
	}
	if plan, refusal := adapter.Plan(m, 1); refusal == nil {
		for _, reply := range line.passed[min(before, len(line.passed)):min(before+plan.Uploads(0), len(line.passed))] {
			x.Uploads = append(x.Uploads, recording.Upload{Reply: reply})
		}
	}
	if before += len(x.Uploads); !log.Attempted() {
		x.Reply = nil
	} else if len(line.passed) <= before {
		return nil, errors.New("the message was sent, but no reply came: whether it is on its way is not known")
	}
	if adapter.NeedsToken() {
		first := line.passed[0]
		access, _ := adapter.ReadToken(first.Status, first.Header(), []byte(first.Body), true, time.Now())
		x.Token, token = &recording.Token{Reply: first}, access.Secret
	}
	if err := newDisguise(a, m, token, adapter).hide(x); err != nil {
		return nil, err
	}
	return x, a.complete(x, m, t, true)
}

// tap is a transport that keeps a copy of each reply.
type tap struct {
	http.RoundTripper
	headers []string // the names of the headers to keep
	passed  []recording.Reply
}

// RoundTrip implements http.RoundTripper. The body of the returned reply is already in memory and
// decompressed.
func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := roundtrip.Do(p.RoundTripper, r, nil, adapters.MaxReply)
	if err = cmp.Or(err, reply.Err); err != nil {
		return nil, err
	}
	recorded := recording.Reply{Status: reply.Status, Headers: map[string]string{}, Body: string(reply.Body)}
	for _, name := range p.headers {
		if v := reply.Header.Get(name); v != "" {
			recorded.Headers[name] = v
		}
	}
	p.passed = append(p.passed, recorded)
	reply.Header.Del("Content-Encoding")
	return &http.Response{
		StatusCode: reply.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: reply.Header, Request: r,
		Body: io.NopCloser(bytes.NewReader(reply.Body)), ContentLength: int64(len(reply.Body)),
	}, nil
}

// complete adds to disguised replies the requests of a fictional account, and the result that the
// definition reads from the replies.
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
	var r sms.Result
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
	if x.Reply != nil || len(x.Uploads) > 0 {
		if r, err = completeSend(x, adapter, m, requests); err != nil {
			return err
		}
	}
	x.Result = recording.Result{Outcome: r.Outcome.String(), ID: r.PhoneID(), Code: r.Code, Detail: r.Detail}
	if r.Outcome != sms.Accepted {
		x.Result.Cause = r.Cause().String()
		if r.Cause() == sms.Quota && r.Scope != sms.ForAccount {
			x.Result.For = r.Scope.String()
		}
	}
	if r.PhoneID() == recording.MessageID {
		x.Result.ID = "own"
	}
	return nil
}

// completeSend adds the requests of uploads and of the message, and returns the result of the last
// reply.
func completeSend(x *recording.Exchange, adapter *adapters.Adapter, m *sms.Message, requests bool) (r sms.Result, err error) {
	plan, refusal := adapter.Plan(m, 1)
	if refusal != nil {
		return r, explain(refusal)
	}
	token := sms.Hide(fictionalToken)
	for i := range x.Uploads {
		sent, err := plan.UploadRequest(context.Background(), 0, token, m.Received)
		if err != nil {
			return r, explain(err)
		}
		reply := &x.Uploads[i].Reply
		if r = plan.ReadUpload(0, sent, reply.Status, reply.Header(), []byte(reply.Body), true); requests {
			if x.Uploads[i].Request, err = written(sent.Request, sent.Signed()); err != nil {
				return r, err
			}
		}
	}
	if x.Reply == nil {
		return r, nil
	}
	for plan.Uploads(0) > 0 {
		plan.Uploaded(0, "file.jpg")
	}
	sent, err := plan.Request(context.Background(), 0, token, m.Received)
	if err != nil {
		return r, explain(err)
	}
	if requests {
		if x.Request, err = written(sent.Request, sent.Signed()); err != nil {
			return r, err
		}
	}
	return sent.Read(x.Reply.Status, x.Reply.Header(), []byte(x.Reply.Body), true), nil
}

// written returns the recorded form of a request. It omits the headers of a signature, because they
// change with the time.
func written(r *http.Request, signed bool) (*recording.Request, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	out, err := recording.NewRequest(r, text)
	if err == nil && signed {
		for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Ms-Date", "X-Ms-Content-Sha256"} {
			delete(out.Headers, name)
		}
	}
	return out, err
}

//go:build !race

package caddymodule

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// message takes a request through all that is ours and costs anything: decode, number, build request, read reply, reply.
func (s *site) message(t testing.TB, r *http.Request) {
	request, err := s.decoder.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	to, ok := s.gateway.Numbers.Recipient(request.To[0], "US")
	if !ok {
		t.Fatal("no recipient")
	}
	m := &sms.Message{
		ID: "8d0c6b0e-0d8e-4a42-a3a3-6a1f3c2f1d10", To: to, From: sms.Number{Value: "+15550001111", Kind: sms.Phone}, Body: request.Body,
	}
	charge := limit.Charge{Rules: wide, Usage: limit.Usage{User: "johndow", Country: destination.Country(to, "US"), Segments: text.Segments(m.Body.Reveal())}}
	if benchCounters.Apply(&charge, time.Now()); charge.Exceeded != nil {
		t.Fatal(charge.Exceeded.Rule)
	}
	plan, refusal := s.gateway.Deliverer.Routes[0].Adapter.Plan(m, 10)
	if refusal != nil || plan.Split().Parts != 1 {
		t.Fatal(refusal)
	}
	sent, err := plan.Request(context.Background(), 0, sms.Hidden{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	result := sent.Read(201, twilioHeader, twilioReply, true)
	if result.Outcome != sms.Accepted {
		t.Fatal(result.Detail)
	}
	if err := s.replier.Accept(discard{}, request.Form, result.ID); err != nil {
		t.Fatal(err)
	}
}

var benchCounters = limit.NewCounters()

// wide are the default limits, wide enough for a benchmark.
var wide = []limit.Rule{
	{Scope: limit.User, Unit: limit.Messages, Period: limit.Minute, Max: math.MaxInt32},
	{Scope: limit.User, Unit: limit.Segments, Period: limit.Day, Max: math.MaxInt32},
	{Scope: limit.Site, Unit: limit.Segments, Period: limit.Day, Max: math.MaxInt32},
}

var (
	twilioHeader = http.Header{"Content-Type": {"application/json"}}
	twilioReply  = []byte(`{"account_sid":"AC1","body":"Hello World","error_code":null,"error_message":null,"num_segments":"1","sid":"SM1","status":"queued"}`)
)

// discard is a ResponseWriter that costs nothing.
type discard struct{}

var discarded = http.Header{}

func (discard) Header() http.Header         { return discarded }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func requestTo(to string) *http.Request {
	return post("application/json", `{"username":"johndow","password":"12345678","sms_to":"`+to+`","sms_body":"Hello World","content_type":"text/plain","disposition_notification":"x:display"}`)
}

// TestAllocations keeps what a message costs within its budget: 60 allocations for a recipient seen before, 150 for a
// new one.
func TestAllocations(t *testing.T) {
	p := newProvider(t)
	s := p.site(t, "")
	n := 0
	fresh := func() string { n++; return fmt.Sprintf("+1555%07d", n) }
	for name, c := range map[string]struct {
		to   func() string
		most float64
	}{
		"known": {func() string { return "+15551231234" }, 60},
		"new":   {fresh, 150},
	} {
		whole := testing.AllocsPerRun(200, func() { s.message(t, requestTo(c.to())) })
		if cost := whole - testing.AllocsPerRun(200, func() { requestTo(c.to()) }); cost > c.most {
			t.Errorf("%s: %v allocations, want at most %v", name, cost, c.most)
		} else {
			t.Logf("%s recipient: %v allocations", name, cost)
		}
	}
}

// atOnce is a provider that answers before anything is sent.
type atOnce struct{}

func (atOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	return &http.Response{
		StatusCode: http.StatusCreated, Header: twilioHeader, Body: io.NopCloser(bytes.NewReader(twilioReply)), ContentLength: int64(len(twilioReply)),
	}, nil
}

// BenchmarkServe takes messages through the whole handler, as Caddy hands them over, with the event line on. What it takes to make
// and prepare a request is measured apart.
func BenchmarkServe(b *testing.B) {
	p := newProvider(b)
	s := p.site(b, "bursts off")
	s.gateway.Deliverer.Routes[0].Transport = atOnce{}
	s.gateway.Limits = wide
	s.logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
	n := 0
	next := func() *http.Request {
		n++
		r := post("application/json", fmt.Sprintf(`{"username":"johndow","password":"12345678","sms_to":"+1555123%04d","sms_body":"Hello World",`+
			`"content_type":"text/plain","disposition_notification":"%d:display"}`, n%1000, n))
		return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), discard{}, &caddyhttp.Server{})
	}
	if w := httptest.NewRecorder(); s.ServeHTTP(w, next(), nil) != nil || w.Code != http.StatusOK {
		b.Fatal(w.Code, w.Body)
	}
	b.Run("prepare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			next()
		}
	})
	b.Run("serve", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := s.ServeHTTP(discard{}, next(), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

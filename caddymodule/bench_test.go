//go:build !race

package caddymodule

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// message takes a request through all that is ours and costs anything: decode, number, build request, read reply, reply.
func (s *site) message(t testing.TB, r *http.Request) {
	request, err := s.decoder.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	to, ok := s.numbers.Recipient(request.To[0], "US")
	if !ok {
		t.Fatal("no recipient")
	}
	m := &sms.Message{
		ID: "8d0c6b0e-0d8e-4a42-a3a3-6a1f3c2f1d10", To: to, From: sms.Number{Value: "+15550001111", Kind: sms.Phone}, Body: request.Body,
	}
	claim := limit.Claim{Rules: wide, Use: limit.Use{User: "johndow", Country: destination.Country(to, "US"), Segments: text.Segments(m.Body.Reveal())}}
	if benchCounters.Take(&claim, time.Now()); claim.Exceeded != nil {
		t.Fatal(claim.Exceeded.Rule)
	}
	parts, err := s.deliverer.Routes[0].Adapter.Parts(m, 10)
	if err != nil || len(parts) != 1 {
		t.Fatal(err)
	}
	sent, err := s.deliverer.Routes[0].Adapter.Prepare(context.Background(), m, sms.Hidden{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	receipt := sent.Read(201, twilioHeader, twilioReply, true)
	if receipt.Outcome != sms.Accepted {
		t.Fatal(receipt.Detail)
	}
	if err := s.replier.Accept(discard{}, request.Form, receipt.ID); err != nil {
		t.Fatal(err)
	}
}

var benchCounters = limit.NewCounters()

// wide are the default limits, wide enough for a benchmark.
var wide = []limit.Rule{
	{Scope: limit.User, Unit: limit.Messages, Period: limit.Minute, Most: math.MaxInt32},
	{Scope: limit.User, Unit: limit.Segments, Period: limit.Day, Most: math.MaxInt32},
	{Scope: limit.Site, Unit: limit.Segments, Period: limit.Day, Most: math.MaxInt32},
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

func BenchmarkMessage(b *testing.B) {
	p := newProvider(b)
	s := p.site(b, "")
	b.ReportAllocs()
	for b.Loop() {
		s.message(b, requestTo("+15551231234"))
	}
}

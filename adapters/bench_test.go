//go:build !race

package adapters

import (
	"io"
	"net/http"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// round prepares the message of a provider's first success and reads its reply.
func round(t testing.TB, name string) func() {
	d, err := Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges(t, name) {
		if x.Receipt.Outcome != "accepted" || x.Request == nil {
			continue
		}
		a, m, reply := x.adapter(t, d), x.message(), []byte(x.Reply.Body)
		header := http.Header{"Content-Type": {x.Reply.Headers["Content-Type"]}}
		return func() {
			sent, err := a.Prepare(t.Context(), m, noToken, now)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, sent.Request.Body)
			if r := sent.Read(x.Reply.Status, header, reply, true); r.Outcome != sms.Accepted {
				t.Fatal(r.Cause())
			}
		}
	}
	t.Fatalf("%s has no success", name)
	return nil
}

func BenchmarkRound(b *testing.B) {
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			run := round(b, name)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

// TestAllocations keeps building a request and reading the reply cheap. Signatures, multipart and XML are libraries' own.
func TestAllocations(t *testing.T) {
	most := map[string]float64{"aws_eum": 90, "aws_sns": 200, "azure": 60, "commio": 100, "voipms": 130, "zadarma": 60}
	for _, name := range Names() {
		limit := most[name]
		if limit == 0 {
			limit = 30
		}
		if n := testing.AllocsPerRun(50, round(t, name)); n > limit {
			t.Errorf("%s: %v allocations, want at most %v", name, n, limit)
		} else {
			t.Logf("%s: %v allocations", name, n)
		}
	}
}

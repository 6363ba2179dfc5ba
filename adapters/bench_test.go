//go:build !race

package adapters

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

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

// TestAllocations keeps building a request and reading the reply cheap. Signatures and XML are libraries' own.
func TestAllocations(t *testing.T) {
	var all []float64
	most := map[string]float64{"aws_eum": 90, "aws_sns": 200, "azure": 60, "zadarma": 60}
	for _, name := range Names() {
		limit := most[name]
		if limit == 0 {
			limit = 30
		}
		n := testing.AllocsPerRun(50, round(t, name))
		if n > limit {
			t.Errorf("%s: %v allocations, want at most %v", name, n, limit)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	t.Logf("%v allocations in the median, %v at most", all[len(all)/2], all[len(all)-1])
	if all[len(all)/2] > 40 || all[len(all)-1] > 200 {
		t.Error("want at most 40 in the median and 200 at most")
	}
}

// TestSpeed compares building a request and reading the reply with what encoding/json takes for the reply alone, in the
// same moments: all definitions together, and each by itself that does not sign. A signature is made by the provider's own
// signer, which takes longer than all the rest.
func TestSpeed(t *testing.T) {
	var ratios []float64
	var all, allTheirs time.Duration
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		run, reply := round(t, name), firstReply(t, name)
		var any any
		if d.variants[0].reply.kind != jsonReply || json.Unmarshal(reply, &any) != nil {
			continue // no JSON to compare with
		}
		ours, theirs, ratio := time.Hour, time.Hour, 0.0
		for i := 0; i < 25 || ratio > 5 && i < 250; i++ { // the shortest, because whatever else the machine does only adds to it
			ours = min(ours, timeOf(run))
			theirs = min(theirs, timeOf(func() { _ = json.Unmarshal(reply, &any) }))
			ratio = float64(ours) / float64(theirs)
		}
		all, allTheirs = all+ours, allTheirs+theirs
		switch {
		case ratio > 5 && d.variants[0].sign == nil:
			t.Errorf("%s: %.1f times json.Unmarshal, want at most 5", name, ratio)
		case ratio > 2.5:
			t.Logf("%s: %.1f times json.Unmarshal", name, ratio)
		}
		ratios = append(ratios, ratio)
	}
	whole := float64(all) / float64(allTheirs)
	if whole > 5 {
		t.Errorf("all definitions together: %.1f times json.Unmarshal, want at most 5", whole)
	}
	slices.Sort(ratios)
	t.Logf("%.1f times json.Unmarshal together, %.1f in the median of %d, from %.1f to %.1f", whole, ratios[len(ratios)/2], len(ratios), ratios[0], ratios[len(ratios)-1])
}

func timeOf(f func()) time.Duration {
	began := time.Now()
	for range 100 {
		f()
	}
	return time.Since(began)
}

// firstReply is the body that round reads.
func firstReply(t testing.TB, name string) []byte {
	for _, x := range exchanges(t, name) {
		if x.Receipt.Outcome == "accepted" && x.Request != nil {
			return []byte(x.Reply.Body)
		}
	}
	t.Fatalf("%s has no success", name)
	return nil
}

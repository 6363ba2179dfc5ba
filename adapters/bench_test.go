//go:build !race

package adapters

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// round prepares the message of a provider's first success and reads its reply.
func round(t testing.TB, name string) func() {
	d, err := Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges(t, name) {
		if x.Result.Outcome != "accepted" || x.Request == nil {
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

// BenchmarkRead reads a success of Twilio in the length of its real replies, in which no value is
// short enough to be skipped.
func BenchmarkRead(b *testing.B) {
	d, err := Builtin("twilio")
	if err != nil {
		b.Fatal(err)
	}
	sid, message := "AC"+strings.Repeat("a", 32), "SM5ef8732a3c49700934481addd5ce1659"
	a, err := d.Bind("", "", map[string]string{"account_sid": sid, "auth_token": "0123456789abcdef0123456789abcdef"})
	if err != nil {
		b.Fatal(err)
	}
	uri := "/2010-04-01/Accounts/" + sid + "/Messages/" + message
	reply := []byte(`{"account_sid":"` + sid + `","api_version":"2010-04-01","body":"Hello World","date_created":"Thu, 24 Aug 2023 05:01:45 +0000",` +
		`"date_sent":null,"date_updated":"Thu, 24 Aug 2023 05:01:45 +0000","direction":"outbound-api","error_code":null,"error_message":null,` +
		`"from":"+15550001111","num_media":"0","num_segments":"1","price":null,"price_unit":null,"messaging_service_sid":null,"sid":"` + message +
		`","status":"queued","subresource_uris":{"media":"` + uri + `/Media.json"},"to":"+15551231234","uri":"` + uri + `.json"}`)
	m := &sms.Message{ID: "1", From: sms.Number{Value: "+15550001111", Kind: sms.Phone}, To: sms.Number{Value: "+15551231234", Kind: sms.Phone},
		Body: sms.Hide("Hello World, this is a text of the usual length.")}
	sent, err := a.Prepare(b.Context(), m, noToken, now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := sent.Read(201, nil, reply, true); r.ID != message {
			b.Fatal(r)
		}
	}
}

// TestAllocations keeps building a request and reading the reply cheap. Signatures and XML are
// libraries' own.
func TestAllocations(t *testing.T) {
	var all []float64
	most := map[string]float64{"aws_eum": 90, "aws_sns": 200, "azure": 60, "betamax": 200, "freeswitch": 140, "ozeki": 200, "zadarma": 60}
	for _, name := range Names() {
		limit := most[name]
		if limit == 0 {
			limit = 34 // of which 10 are for judging the id in all encodings
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

// TestSpeed compares building a request and reading the reply with what encoding/json takes for the
// reply alone, in the same moments: all definitions together, and each by itself that does not
// sign. A signature is made by the provider's own signer, which takes longer than all the rest.
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
		if d.sends[0].reply.format != wire.JSON || json.Unmarshal(reply, &any) != nil {
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
		case ratio > 5 && d.sends[0].request.sign == nil && len(reply) > 100: // one field is read within a microsecond, and its id judged in three
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
		if x.Result.Outcome == "accepted" && x.Request != nil {
			return []byte(x.Reply.Body)
		}
	}
	t.Fatalf("%s has no success", name)
	return nil
}

package adapters

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// recordedDelivery is a webhook in testdata/providers/NAME/inbound.
type recordedDelivery struct {
	Source  string            `json:"source"`
	Options map[string]string `json:"options"`
	Now     time.Time         `json:"now"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Header  map[string]string `json:"header"`
	Body    string            `json:"body"`
	Events  []recordedEvent   `json:"events"`
	Answer  recordedAnswer    `json:"answer"`
	// Forged is set if the webhook must be refused.
	Forged bool `json:"forged"`

	name string
}

type recordedEvent struct {
	Kind      string          `json:"kind"`
	From      string          `json:"from,omitempty"`
	To        string          `json:"to,omitempty"`
	Others    []string        `json:"others,omitempty"`
	Text      string          `json:"text,omitempty"`
	ID        string          `json:"id,omitempty"`
	Time      string          `json:"time,omitempty"`
	Media     []recordedMedia `json:"media,omitempty"`
	Part      *InboundPart    `json:"part,omitempty"`
	Reference string          `json:"reference,omitempty"`
	Delivery  string          `json:"delivery,omitempty"`
	Status    string          `json:"status,omitempty"`
	Code      string          `json:"code,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	Cause     string          `json:"cause,omitempty"`
}

type recordedMedia struct {
	URL  string `json:"url,omitempty"`
	Data []byte `json:"data,omitempty"`
	Type string `json:"type,omitempty"`
}

type recordedAnswer struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Body   string `json:"body"`
}

// recorded writes an event as recordings do.
func recorded(e *Inbound) recordedEvent {
	r := recordedEvent{Kind: "message", From: e.From.Value, To: e.To.Value, Text: e.Text.Reveal(), ID: e.ID, Reference: e.Reference,
		Status: e.Status, Code: e.Code, Detail: e.Detail}
	if e.Kind == InboundReceipt {
		r.Kind, r.Delivery = "receipt", e.Delivery.String()
	}
	if e.Cause != sms.NoCause {
		r.Cause = e.Cause.String()
	}
	if !e.Time.IsZero() {
		r.Time = e.Time.Format(time.RFC3339Nano)
	}
	for _, n := range e.Others {
		r.Others = append(r.Others, n.Value)
	}
	for _, m := range e.Media {
		r.Media = append(r.Media, recordedMedia{m.URL.Reveal(), m.Data, m.Type})
	}
	if e.Part.Of > 0 {
		r.Part = &e.Part
	}
	return r
}

func deliveries(t testing.TB, provider string) (list []recordedDelivery) {
	t.Helper()
	files, err := filepath.Glob("../testdata/providers/" + provider + "/inbound/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := recordedDelivery{name: strings.TrimSuffix(filepath.Base(file), ".json")}
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, d)
	}
	return list
}

func (d *recordedDelivery) request() InboundRequest {
	r := InboundRequest{Method: d.Method, URL: d.URL, Header: make(http.Header), Body: []byte(d.Body)}
	for name, value := range d.Header {
		r.Header.Set(name, value)
	}
	return r
}

// bound binds a definition with the options of the recording and others in their place.
func (d *recordedDelivery) bound(t testing.TB, provider string, others map[string]string) *Adapter {
	t.Helper()
	def, err := Builtin(provider)
	if err != nil {
		t.Fatal(err)
	}
	options := maps.Clone(d.Options)
	maps.Copy(options, others)
	base := ""
	if !def.HasBaseURL() {
		base = "http://gateway.example.com"
	}
	a, err := def.Bind("", base, options)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// receivers are the built-in definitions that receive.
func receivers(t testing.TB) (names []string) {
	t.Helper()
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.inbound) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// TestDeliveries reads the recorded webhooks of all definitions.
func TestDeliveries(t *testing.T) {
	for _, provider := range receivers(t) {
		read := map[int]bool{}
		for _, d := range deliveries(t, provider) {
			t.Run(provider+"/"+d.name, func(t *testing.T) {
				if d.Source == "" {
					t.Error("the recording names no source")
				}
				a := d.bound(t, provider, nil)
				request := d.request()
				events, answer, err := a.ReadInbound(request, d.Now)
				if d.Forged != errors.Is(err, ErrForged) || !d.Forged && err != nil {
					t.Fatalf("got %v", err)
				}
				var got []recordedEvent
				for i := range events {
					got = append(got, recorded(&events[i]))
				}
				if diff := cmp.Diff(d.Events, got); diff != "" {
					t.Error(diff)
				}
				if got := answer.recorded(); got != d.Answer {
					t.Errorf("the answer is %+v, want %+v", got, d.Answer)
				}
				for _, b := range a.def.inbound {
					doc := b.open(&request, query(&request))
					read[b.at.Line] = read[b.at.Line] || doc != nil && len(events) > 0 && (events[0].Kind == InboundReceipt) == b.isReceipt
				}
			})
		}
		d, err := Builtin(provider)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range d.inbound {
			if !read[b.at.Line] {
				t.Errorf("%s: no recording reaches the block in line %d", provider, b.at.Line)
			}
		}
	}
}

func (a Answer) recorded() recordedAnswer { return recordedAnswer{a.Status, a.ContentType, a.Body} }

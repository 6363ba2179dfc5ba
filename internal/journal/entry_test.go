package journal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// What a claim finds, by what is remembered of the message.
func TestFound(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	hourAgo, later, before := now.Add(-time.Hour), now.Add(time.Second), now.Add(-time.Second)
	for name, c := range map[string]struct {
		entry Entry
		want  finding
	}{
		"nothing":                       {Entry{}, nothing},
		"pending here":                  {Entry{State: Pending, Owner: "me", Begun: hourAgo}, nothing},
		"pending here, parts sent":      {Entry{State: Pending, Owner: "me", IDs: []string{"1"}, Split: sms.Split{Parts: 2}}, partial},
		"pending elsewhere":             {Entry{State: Pending, Owner: "other"}, away},
		"pending, nobody's":             {Entry{State: Pending}, abandoned},
		"accepted":                      {Entry{State: Accepted, Until: later}, ended},
		"accepted long ago":             {Entry{State: Accepted, Until: before}, nothing},
		"accepted, the phone knows":     {Entry{State: Accepted}, nothing},
		"unknown":                       {Entry{State: Unknown, Until: later}, ended},
		"unknown long ago":              {Entry{State: Unknown, Until: before}, nothing},
		"refused":                       {Entry{State: Refused, Until: later, Begun: hourAgo}, refused},
		"refused, its window over":      {Entry{State: Refused, Until: before, Begun: hourAgo}, refused},
		"refused long ago":              {Entry{State: Refused, Until: before, Begun: now.Add(-Retention)}, nothing},
		"refused in the middle":         {Entry{State: Refused, Until: later, Begun: hourAgo, IDs: []string{"1"}, Split: sms.Split{Parts: 2}}, partial},
		"refused in the middle, before": {Entry{State: Refused, Until: before, Begun: hourAgo, IDs: []string{"1"}, Split: sms.Split{Parts: 2}}, nothing},
	} {
		if got := found(&c.entry, "me", now); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// A repeat is told the truth about what became of the message.
func TestReceipt(t *testing.T) {
	for name, c := range map[string]struct {
		entry Entry
		want  sms.Receipt
	}{
		"accepted": {
			Entry{State: Accepted, Adapter: "a", IDs: []string{"1", "2"}, Split: sms.Split{Parts: 2}},
			sms.Receipt{Outcome: sms.Accepted, ID: "1", Adapter: "a", Parts: 2, Repeat: true},
		},
		"accepted without an id": {
			Entry{State: Accepted, Adapter: "a", IDs: []string{""}, Split: sms.Split{Parts: 1}},
			sms.Receipt{Outcome: sms.Accepted, Adapter: "a", Parts: 1, Repeat: true},
		},
		"unknown": {
			Entry{State: Unknown, Adapter: "a"}, sms.Receipt{Refusal: sms.Refuse(sms.Unknown), Adapter: "a", Repeat: true},
		},
		"unknown in the middle": {
			Entry{State: Unknown, IDs: []string{"1"}, Split: sms.Split{Parts: 3}}, sms.Receipt{Refusal: sms.PartlySent(1, 3), Parts: 3, Repeat: true},
		},
		"refused": {
			Entry{State: Refused, Cause: sms.NoCredit}, sms.Receipt{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Repeat: true},
		},
		"refused in the middle": {
			Entry{State: Refused, Cause: sms.NoCredit, IDs: []string{"1"}, Split: sms.Split{Parts: 3}}, sms.Receipt{Refusal: sms.PartlySent(1, 3), Parts: 3, Repeat: true},
		},
	} {
		if diff := cmp.Diff(c.want, c.entry.Receipt()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// All that makes a text another one is part of its key.
func TestKey(t *testing.T) {
	secret, other := keyed.NewKey(), keyed.NewKey()
	base := func() *sms.Message {
		return &sms.Message{
			ID: "id", Reference: "ref", User: "johndow", InstallID: "phone", Body: sms.Hide("hello"), ContentType: "text/plain",
			From: sms.Number{Value: "+15550001111", Kind: sms.Phone}, To: sms.Number{Value: "+15551231234", Kind: sms.Phone},
			Disposition: sms.Disposition{ID: "1"}, Media: []string{"https://example.com/1.jpg"},
		}
	}
	seen := map[Key]string{keyOf(&secret, base()): "base"}
	for name, change := range map[string]func(*sms.Message){
		"user":         func(m *sms.Message) { m.User = "alice" },
		"installation": func(m *sms.Message) { m.InstallID = "tablet" },
		"sender":       func(m *sms.Message) { m.From.Value = "+15550002222" },
		"recipient":    func(m *sms.Message) { m.To.Value = "+15551231235" },
		"text":         func(m *sms.Message) { m.Body = sms.Hide("hello!") },
		"content type": func(m *sms.Message) { m.ContentType = "application/x" },
		"app's id":     func(m *sms.Message) { m.Disposition.ID = "2" },
		"no id":        func(m *sms.Message) { m.Disposition.ID = "" },
		"media":        func(m *sms.Message) { m.Media = append(m.Media, "https://example.com/2.jpg") },
	} {
		m := base()
		change(m)
		k := keyOf(&secret, m)
		if same, ok := seen[k]; ok {
			t.Errorf("%s has the key of %s", name, same)
		}
		seen[k] = name
	}
	again := base()
	again.ID, again.Reference, again.Received = "id2", "ref2", time.Now()
	if seen[keyOf(&secret, again)] != "base" {
		t.Error("a repeat has another key")
	}
	if keyOf(&other, base()) == keyOf(&secret, base()) {
		t.Error("the secret makes no difference")
	}
}

package journal

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// TestFound covers each finding of a claim by the state of the entry.
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
		"pending elsewhere":             {Entry{State: Pending, Owner: "other"}, elsewhere},
		"pending, nobody's":             {Entry{State: Pending}, abandoned},
		"collecting, nobody's":          {Entry{State: Pending, Collecting: true}, refused},
		"collecting elsewhere":          {Entry{State: Pending, Collecting: true, Owner: "other"}, elsewhere},
		"accepted":                      {Entry{State: Accepted, Until: later}, ended},
		"accepted long ago":             {Entry{State: Accepted, Until: before}, nothing},
		"accepted, the phone knows":     {Entry{State: Accepted}, nothing},
		"unknown":                       {Entry{State: MaybeSent, Until: later}, ended},
		"unknown long ago":              {Entry{State: MaybeSent, Until: before}, nothing},
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
func TestResult(t *testing.T) {
	for name, c := range map[string]struct {
		entry Entry
		want  sms.Result
	}{
		"accepted": {
			Entry{State: Accepted, Adapter: "a", IDs: []string{"1", "2"}, Split: sms.Split{Parts: 2}},
			sms.Result{Outcome: sms.Accepted, ID: "1", Adapter: "a", Parts: 2, Duplicate: true},
		},
		"accepted without an id": {
			Entry{State: Accepted, Adapter: "a", IDs: []string{""}, Split: sms.Split{Parts: 1}},
			sms.Result{Outcome: sms.Accepted, Adapter: "a", Parts: 1, Duplicate: true},
		},
		"unknown": {
			Entry{State: MaybeSent, Adapter: "a"}, sms.Result{Refusal: sms.Refuse(sms.Unconfirmed), Adapter: "a", Duplicate: true},
		},
		"unknown in the middle": {
			Entry{State: MaybeSent, IDs: []string{"1"}, Split: sms.Split{Parts: 3}}, sms.Result{Refusal: sms.PartlySent(1, 3), Parts: 3, Duplicate: true},
		},
		"refused": {
			Entry{State: Refused, Cause: sms.NoCredit}, sms.Result{Outcome: sms.Refused, Refusal: sms.Refuse(sms.NoCredit), Duplicate: true},
		},
		"refused in the middle": {
			Entry{State: Refused, Cause: sms.NoCredit, IDs: []string{"1"}, Split: sms.Split{Parts: 3}}, sms.Result{Refusal: sms.PartlySent(1, 3), Parts: 3, Duplicate: true},
		},
	} {
		if diff := cmp.Diff(c.want, c.entry.Result()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// All that makes a text another one is part of its key.
func TestKey(t *testing.T) {
	secret, other := mac.NewKey(), mac.NewKey()
	base := func() *sms.Message {
		return &sms.Message{
			ID: "id", Reference: "ref", User: "johndow", InstallID: "phone", Body: sms.Hide("hello"), ContentType: "text/plain",
			From: sms.Number{Value: "+15550001111", Kind: sms.Phone}, To: sms.Number{Value: "+15551231234", Kind: sms.Phone},
			Disposition: sms.Disposition{ID: "1"}, Media: []sms.Media{{URL: sms.Hide("https://example.com/1.jpg")}},
		}
	}
	all := map[string]func(*sms.Message){
		"user":         func(m *sms.Message) { m.User = "alice" },
		"installation": func(m *sms.Message) { m.InstallID = "tablet" },
		"sender":       func(m *sms.Message) { m.From.Value = "+15550002222" },
		"recipient":    func(m *sms.Message) { m.To.Value = "+15551231235" },
		"address":      func(m *sms.Message) { m.Site = "other.example.com/send" },
		"text":         func(m *sms.Message) { m.Body = sms.Hide("hello!") },
		"content type": func(m *sms.Message) { m.ContentType = "application/x" },
		"files":        func(m *sms.Message) { m.FilesDigest = "digest" },
		"app's id":     func(m *sms.Message) { m.Disposition.ID = "2" },
		"media":        func(m *sms.Message) { m.Media = append(m.Media, sms.Media{URL: sms.Hide("https://example.com/2.jpg")}) },
	}
	// distinct checks that nothing but these parts makes another key, or digest of a text.
	distinct := func(what string, of func(m *sms.Message) any, parts ...string) {
		t.Helper()
		seen := map[any]string{of(base()): "base"}
		for name, change := range all {
			m := base()
			change(m)
			same, known := seen[of(m)]
			if is := slices.Contains(parts, name); is == known {
				t.Errorf("%s: %s makes another: %t, that of %s", what, name, !known, same)
			}
			seen[of(m)] = name
		}
	}
	distinct("key", func(m *sms.Message) any { return keyOf(&secret, m) }, "user", "installation", "sender", "recipient", "address", "text", "content type", "files")
	distinct("key of an id", func(m *sms.Message) any { return idKeyOf(&secret, m) }, "user", "installation", "sender", "recipient", "app's id")
	distinct("text", func(m *sms.Message) any { return textOf(&secret, m) }, "text", "files")
	again := base()
	again.ID, again.Reference, again.Received = "id2", "ref2", time.Now()
	if keyOf(&secret, again) != keyOf(&secret, base()) || idKeyOf(&secret, again) != idKeyOf(&secret, base()) {
		t.Error("a repeat has another key")
	}
	if keyOf(&other, base()) == keyOf(&secret, base()) || idKeyOf(&other, base()) == idKeyOf(&secret, base()) || textOf(&other, base()) == textOf(&secret, base()) {
		t.Error("the secret makes no difference")
	}
}

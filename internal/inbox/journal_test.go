package inbox_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
)

// A message that the journal stores and the inbox gets is one row, in whatever order they write.
func TestSentWithJournal(t *testing.T) {
	for _, c := range []struct {
		name      string
		keep      time.Duration
		sentFirst bool
		result    sms.Result
		want      []string
	}{
		{"kept", 100 * 24 * time.Hour, false, sms.Result{Outcome: sms.Accepted, Adapter: "a", ID: "SM1", Parts: 1}, []string{"2|a|[\"SM1\"]|true|true"}},
		{"kept, sent first", time.Hour, true, sms.Result{Outcome: sms.Accepted, Adapter: "a", ID: "SM1", Parts: 1}, []string{"2|a|[\"SM1\"]|true|false"}},
		{"not kept", 0, false, sms.Result{Outcome: sms.Accepted, Adapter: "a", ID: "SM1", Parts: 1}, []string{"2|a|[\"SM1\"]|true|false"}},
		{"unknown", time.Hour, false, sms.Result{Refusal: sms.Refuse(sms.Unconfirmed)}, []string{"4|a|null|false|false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			s, err := sqlite.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			j, err := journal.Open(s, func(journal.Entry) {}, func(err error) { t.Error(err) })
			if err != nil {
				t.Fatal(err)
			}
			defer j.Release()
			b := inbox.New(s, inbox.Options{Gateway: "g", Keep: 90 * 24 * time.Hour})
			m := &sms.Message{ID: "1", User: "johndow", From: phone(number), To: phone(other), Body: sms.Hide("hi")}
			claim, _, err := j.Begin(t.Context(), time.Now().Add(time.Minute), m, journal.Options{Keep: c.keep})
			if err != nil || !claim.Won() {
				t.Fatal(err)
			}
			out := &inbox.Outgoing{Message: m, Adapter: "a", Unknown: c.result.Outcome != sms.Accepted}
			if !out.Unknown {
				out.IDs = []string{"SM1"}
				claim.Part("a", "SM1", sms.Split{Parts: 1})
			}
			sent := func() {
				if _, err := b.Sent(out); err != nil {
					t.Error(err)
				}
			}
			if c.sentFirst {
				sent()
			}
			claim.End(c.result)
			if !c.sentFirst {
				sent()
			}
			if got := rows(t, path); !cmp.Equal(got, c.want) {
				t.Error(cmp.Diff(c.want, got))
			}
		})
	}
}

// rows returns what the file has of sent messages: whether each is an item, and is kept for longer
// than 90 days.
func rows(t *testing.T, path string) (list []string) {
	db, err := database.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT state || '|' || adapter || '|' || ids || '|' || CASE WHEN item > 0 THEN 'true' ELSE 'false' END || '|' || "+
		"CASE WHEN until > ? THEN 'true' ELSE 'false' END FROM acrobits_sms_messages", time.Now().Add(91*24*time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		list = append(list, row)
	}
	return list
}

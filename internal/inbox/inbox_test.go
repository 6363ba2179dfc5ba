package inbox_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox/inboxtest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestInbox(t *testing.T) {
	seen := new(sync.Map)
	inboxtest.Run(t, func(t *testing.T) inboxtest.Place {
		path := filepath.Join(t.TempDir(), "journal.db")
		return inboxtest.Place{
			Open: func(t *testing.T) inbox.Store { return explained{open(t, path), t, seen} },
			DB: func() *sql.DB {
				db, err := database.OpenToWrite(path)
				if err != nil {
					t.Fatal(err)
				}
				return db
			},
		}
	})
}

// After erase, the file has no byte of a text, of the address of a picture, or of a push token.
func TestErasedIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	s, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b := inbox.New(s, inbox.Options{Gateway: "g", Keep: time.Hour})
	for _, f := range []func() error{
		func() error { return b.Authenticated("johndow", []string{number}) },
		func() error {
			return b.AddDevice(&inbox.Device{User: "johndow", Selector: "1", Token: sms.Hide("canary-token")})
		},
		func() error {
			_, err := b.Receive(&inbox.Incoming{From: phone(other), To: phone(number), Text: sms.Hide("canary-text"),
				Media: []sms.Hidden{sms.Hide("https://canary-media.example/")}})
			return err
		},
		func() error {
			_, err := b.Receive(&inbox.Incoming{From: phone(other), To: phone(number), Text: sms.Hide("canary-part"),
				Part: inbox.Part{Reference: "1", Number: 1, Of: 2}})
			return err
		},
		func() error { _, err := b.EraseUser("johndow"); return err },
		func() error { _, err := b.EraseNumber(number); return err },
		s.Close,
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil || bytes.Contains(content, []byte("canary")) {
		t.Errorf("the file still has what was erased, %v", err)
	}
}

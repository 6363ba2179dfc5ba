package journal_test

import (
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal/journaltest"
)

func TestMemory(t *testing.T) {
	journaltest.Run(t, func(*testing.T) journaltest.Place {
		return journaltest.Place{Open: func() (journal.Store, error) { return journal.NewMemory(), nil }}
	})
}

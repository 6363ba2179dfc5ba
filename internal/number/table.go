package number

import (
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Table remembers recipients, since reading one costs more than everything else that happens to a request.
type Table struct {
	known *recent.Table[written, sms.Number]
}

// written is a number as an app wrote it, for somebody of a region.
type written struct{ raw, region string }

// NewTable makes an empty table.
func NewTable() *Table {
	return &Table{recent.NewTable[written, sms.Number](4096)}
}

// Recipient is the function Recipient, remembered.
func (t *Table) Recipient(raw, region string) (sms.Number, bool) {
	if n, ok := t.known.Get(written{raw, region}); ok {
		return n, true
	}
	n, ok := Recipient(raw, region)
	if ok {
		t.known.Put(written{raw, region}, n)
	}
	return n, ok
}

package number

import (
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Table remembers recipients of one region, since reading one costs more than everything else that happens to a
// request.
type Table struct {
	region string
	known  *recent.Table[string, sms.Number]
}

// NewTable makes a table for the numbers of one region.
func NewTable(region string) *Table {
	return &Table{region: region, known: recent.NewTable[string, sms.Number](4096)}
}

// Recipient is the function Recipient, remembered.
func (t *Table) Recipient(raw string) (sms.Number, bool) {
	if n, ok := t.known.Get(raw); ok {
		return n, true
	}
	n, ok := Recipient(raw, t.region)
	if ok {
		t.known.Put(raw, n)
	}
	return n, ok
}

package number

import (
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Cache caches parsed recipients, because parsing a recipient costs more than all other work on a
// request.
type Cache struct {
	known *cache.Table[written, sms.Number]
}

// written is a number as an app wrote it, and the region of the user.
type written struct{ raw, region string }

// NewCache makes an empty cache.
func NewCache() *Cache {
	return &Cache{cache.NewTable[written, sms.Number](4096)}
}

// Recipient is the function Recipient with cached results.
func (t *Cache) Recipient(raw, region string) (sms.Number, bool) {
	if n, ok := t.known.Get(written{raw, region}); ok {
		return n, true
	}
	n, ok := Recipient(raw, region)
	if ok {
		t.known.Put(written{raw, region}, n)
	}
	return n, ok
}

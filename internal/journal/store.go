package journal

import (
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
)

// StoreTimeout bounds how long a store waits for its disk or server.
const StoreTimeout = 5 * time.Second

// Store stores entries and the counts of limits. All processes that share the entries use one clock
// of the store. Each call is atomic, also against other processes, and gives up after StoreTimeout.
// After an error of Update, the change may or may not be stored.
type Store interface {
	// Secret is the secret of all keys. It is the same for all processes that share the entries.
	Secret() *mac.Key
	// Update applies a change to the entry of a key. If there is no entry, the change gets the zero
	// Entry. If the lease of the entry's owner has ended, the change gets the entry without an
	// Owner. A replaced entry is stored under its HistoryKey. Update returns when the change is
	// durable. With lazy, it may return earlier, once the change is certain to become durable
	// before any later change does.
	Update(key Key, lazy bool, change Change) error
	// Count applies a charge to the counts of its rules. It is lazy.
	Count(charge *limit.Charge) error
	// Blocks returns the blocks of users. Block adds a block; if the user is blocked on that site
	// already, it changes nothing. Unblock removes the block of a user on one site. Without a host,
	// it removes all blocks of the user.
	Blocks() ([]block.Block, error)
	Block(b block.Block) error
	Unblock(b block.Block) (removed int, err error)
	// SaveLogin stores the time when a user last logged in from a network. For each user, the store
	// keeps the last lockout.MaxKnownNetworks networks. SaveLogin is lazy. Logins returns the
	// logins since a time, at most the last MaxLogins. A store that ends with its process stores no
	// logins: the Journal has them in memory.
	SaveLogin(l Login) error
	Logins(since time.Time) ([]Login, error)
	// Find returns the entries with a reference.
	Find(reference string) ([]Entry, error)
	// Maintain renews the owner's lease, ends the leases that were not renewed in time, and forgets
	// what is older than Retention. It marks the entries that were lost with their owners, and
	// returns those that may have been sent.
	Maintain(owner string) (lost []Entry, err error)
	// EndLease ends the owner's lease, unless the owner has pending entries.
	EndLease(owner string) error
	// Older reports whether there are entries of older versions of the program, which used other
	// keys for messages with app ids.
	Older() (bool, error)
	// Size returns the number of entries.
	Size() (int, error)
	// Close closes the store.
	Close() error
}

package journal

import (
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
)

// Patience is for how long a store waits for what it is kept in.
const Patience = 5 * time.Second

// Store keeps entries, and the counts of limits, by one clock of its own. What it does is done as a whole or not at all, whoever else uses the same
// entries, and given up after Patience. An error of Update means that the change may have been kept or not.
type Store interface {
	// Secret is that of all keys, the same for all who share the entries.
	Secret() *keyed.Key
	// Update changes the entry of a key, which is of the zero state if there is none, and whose owner is empty if that
	// owner's lease has ended. An entry that is Displaced is kept. It returns when the change is durable, or, if it is lazy, when it is sure to become so
	// before any change that follows.
	Update(key Key, lazy bool, change Change) error
	// Count takes a claim from the counts of its rules. It is lazy.
	Count(claim *limit.Claim) error
	// Find returns the entries with a reference.
	Find(reference string) ([]Entry, error)
	// Tend renews the owner's lease, ends the leases that were not renewed in time, forgets what is older than Retention
	// and returns the entries that were lost with their owners.
	Tend(owner string) (lost []Entry, err error)
	// Leave ends the owner's lease, unless it has pending entries.
	Leave(owner string) error
	// Size is how many entries there are.
	Size() (int, error)
	// Close ends the use of the entries.
	Close() error
}

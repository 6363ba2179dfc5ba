// Package journal recognises duplicates. A message is claimed before it is sent, and its result is
// stored. So the same message is sent once, even by several processes and after a crash.
//
// A message whose outcome is unknown must never be sent again within its window. Nothing may be
// sent before the store has accepted the message as pending. The gateway claims and ends messages;
// delivery stores their parts through the Claim. A Journal is safe for concurrent use. A Claim
// belongs to one request; only the requests that wait for its result may read it too.
package journal

import (
	"cmp"
	"crypto/cipher"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
)

// While the lease of a process lasts, other processes do not touch its pending messages.
const (
	Lease         = 30 * time.Second // its duration after a renewal
	RenewInterval = 5 * time.Second  // the time between two renewals
)

// ErrUnavailable means that the store does not accept changes. Nothing may be sent then.
var ErrUnavailable = errors.New("the journal cannot be written")

// Journal is the journal of one process, in a store that other processes may share. It is safe for
// concurrent use.
type Journal struct {
	store  Store
	owner  string
	cipher cipher.AEAD // of private ids
	// lost is called for each message whose process has ended, failed for each error of the store.
	lost   func(Entry)
	failed func(error)

	mu       sync.Mutex
	inFlight map[Key]*Claim
	renewed  time.Time // when the last renewal of the lease began

	blocks   atomic.Pointer[block.Set] // as read last
	blocking sync.Mutex                // held while blocks are read or changed
	logins   *logins
	older    bool // an older version has stored messages under other keys

	closing chan struct{} // ends the loops; nil if no other process can use the store
	loops   sync.WaitGroup
	users   int // uses that are not released; each message in flight is one
}

// Open opens the journal in a store. It calls lost for each message that was lost with its process.
// It calls failed for each error of the store that no request returns. The caller holds one use of
// the journal, and ends it with Release.
func Open(store Store, lost func(Entry), failed func(error)) (*Journal, error) {
	j := &Journal{
		store: store, owner: uuid.NewString(), lost: lost, failed: failed,
		inFlight: make(map[Key]*Claim), users: 1, logins: newLogins(), cipher: newCipher(store.Secret()),
	}
	err := cmp.Or(j.maintain(), j.readBlocks(), j.readLogins())
	if err == nil {
		j.older, err = store.Older()
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if _, alone := store.(*Memory); !alone {
		j.closing = make(chan struct{})
		j.every(RenewInterval, func() {
			if err := j.maintain(); err != nil {
				j.failed(err)
			}
		})
		j.every(BlocksInterval, func() { _ = j.readBlocks() }) // maintain reports a store that is unavailable
		j.every(LoginsInterval, func() { _ = j.readLogins() })
	}
	return j, nil
}

// every calls f at an interval until the journal is closed.
func (j *Journal) every(interval time.Duration, f func()) {
	j.loops.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-j.closing:
				return
			case <-ticker.C:
				f()
			}
		}
	})
}

// maintain renews the lease, and tries again to store the changes that the store did not accept.
func (j *Journal) maintain() error {
	began := time.Now()
	lost, err := j.store.Maintain(j.owner)
	for _, e := range lost {
		j.lost(e)
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.renewed = began
	var late []*Claim
	for _, t := range j.inFlight {
		if t.state == unstored {
			late = append(late, t)
		}
	}
	j.mu.Unlock()
	for _, t := range late {
		if err := t.store(); err != nil {
			return err
		}
	}
	return nil
}

// leased reports whether other processes still respect this process's lease. It is true if no other
// process can use the store.
func (j *Journal) leased() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closing == nil || time.Since(j.renewed) < 2*RenewInterval
}

// Acquire keeps the journal open until Release. It reports false if the journal is closed.
func (j *Journal) Acquire() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.users == 0 {
		return false
	}
	j.users++
	return true
}

// Release ends one use of the journal; the last one closes it.
func (j *Journal) Release() {
	j.mu.Lock()
	j.users--
	last := j.users == 0
	j.mu.Unlock()
	if !last {
		return
	}
	if j.closing != nil {
		close(j.closing)
		j.loops.Wait()
	}
	if err := errors.Join(j.maintain(), j.store.EndLease(j.owner), j.store.Close()); err != nil {
		j.failed(err)
	}
}

// Count applies a charge to the counts of its rules.
func (j *Journal) Count(charge *limit.Charge) error { return j.store.Count(charge) }

// Find returns the stored entries with a reference.
func (j *Journal) Find(reference string) ([]Entry, error) {
	found, err := j.store.Find(reference)
	seen := make(map[string]bool)
	return slices.DeleteFunc(found, func(e Entry) bool { // a restored entry is also under its HistoryKey
		again := seen[e.ID]
		seen[e.ID] = true
		return again
	}), err
}

// Size returns the number of stored messages, and the number of messages in flight in this process.
func (j *Journal) Size() (remembered, onTheirWay int, err error) {
	j.mu.Lock()
	onTheirWay = len(j.inFlight)
	j.mu.Unlock()
	remembered, err = j.store.Size()
	return remembered, onTheirWay, err
}

package journal

import (
	"slices"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
)

// Bounds of a Memory. Messages in flight are not counted.
const (
	MaxRemembered = 100_000  // messages
	ringBytes     = 20 << 20 // enough for MaxRemembered entries with provider ids of the usual length
)

// Memory is a store in the memory of one process. When it is full, it forgets the oldest messages.
type Memory struct {
	secret   mac.Key
	counters *limit.Counters

	mu      sync.Mutex
	pending map[Key]*Entry
	ended   archive
	entry   Entry // the entry that Update is changing; reused
	blocks  []block.Block
}

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{secret: mac.NewKey(), counters: limit.NewCounters(), pending: make(map[Key]*Entry), ended: newArchive(ringBytes)}
}

// Secret implements Store.
func (m *Memory) Secret() *mac.Key { return &m.secret }

// Update implements Store.
func (m *Memory) Update(key Key, _ bool, change Change) error {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e, pending := m.pending[key]
	if ack, is := change.(Acknowledgement); is && !pending {
		m.ended.acknowledge(key, ack.Acknowledges())
		return nil
	}
	known := false
	if !pending {
		e = &m.entry
		if known = m.ended.get(key, e); !known {
			*e = Entry{}
		}
	}
	before := *e
	if !change.Apply(e, now) {
		return nil
	}
	if to, is := HistoryKey(&before, e); is {
		m.ended.put(to, &before)
	}
	switch {
	case e.State == Pending && !pending:
		begun := *e
		m.pending[key] = &begun
		if known {
			m.ended.remove(key)
		}
	case e.State == Pending:
	case e.State == None:
		delete(m.pending, key)
		m.ended.remove(key)
	default:
		delete(m.pending, key)
		m.ended.put(key, e)
		m.ended.forget(MaxRemembered, now.Add(-Retention))
	}
	return nil
}

// Count implements Store.
func (m *Memory) Count(charge *limit.Charge) error {
	m.counters.Apply(charge, time.Now())
	return nil
}

// Blocks implements Store.
func (m *Memory) Blocks() ([]block.Block, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.blocks), nil
}

// Block implements Store.
func (m *Memory) Block(b block.Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case slices.ContainsFunc(m.blocks, func(other block.Block) bool { return other.User == b.User && other.Host == b.Host }):
		return nil
	case len(m.blocks) >= block.Max:
		return block.ErrFull
	}
	m.blocks = append(m.blocks, b)
	return nil
}

// Unblock implements Store.
func (m *Memory) Unblock(b block.Block) (removed int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.blocks)
	m.blocks = slices.DeleteFunc(m.blocks, func(other block.Block) bool {
		return other.User == b.User && (other.Host == b.Host || b.Host == "")
	})
	return before - len(m.blocks), nil
}

// SaveLogin implements Store.
func (m *Memory) SaveLogin(Login) error { return nil }

// Logins implements Store.
func (m *Memory) Logins(time.Time) ([]Login, error) { return nil, nil }

// Find implements Store.
func (m *Memory) Find(reference string) (found []Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.pending {
		if e.Reference == reference {
			found = append(found, *e)
		}
	}
	var e Entry
	for key := range m.ended.at {
		if m.ended.get(key, &e); e.Reference == reference {
			found = append(found, e)
		}
	}
	return found, nil
}

// Maintain implements Store. It does nothing: leases are not needed by a single process, and Update
// forgets old entries.
func (m *Memory) Maintain(string) ([]Entry, error) { return nil, nil }

// EndLease implements Store.
func (m *Memory) EndLease(string) error { return nil }

// Older implements Store.
func (m *Memory) Older() (bool, error) { return false, nil }

// Size implements Store.
func (m *Memory) Size() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending) + len(m.ended.at), nil
}

// Close implements Store.
func (m *Memory) Close() error { return nil }

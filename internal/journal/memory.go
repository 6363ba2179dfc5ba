package journal

import (
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
)

// What a Memory remembers at most, messages on their way aside.
const (
	Remembered = 100_000  // messages
	ringSize   = 20 << 20 // bytes, which those need where a provider's ids are no longer than usual
)

// Memory is a store in the memory of one process. When it is full it forgets the oldest messages.
type Memory struct {
	secret   keyed.Key
	counters *limit.Counters

	mu      sync.Mutex
	pending map[Key]*Entry
	ended   archive
	entry   Entry // that is being changed
}

// NewMemory makes a store that remembers nothing.
func NewMemory() *Memory {
	return &Memory{secret: keyed.NewKey(), counters: limit.NewCounters(), pending: make(map[Key]*Entry), ended: newArchive(ringSize)}
}

// Secret implements Store.
func (m *Memory) Secret() *keyed.Key { return &m.secret }

// Update implements Store.
func (m *Memory) Update(key Key, _ bool, change Change) error {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e, pending := m.pending[key]
	if !pending {
		e = &m.entry
		if !m.ended.get(key, e) {
			*e = Entry{}
		}
	}
	before := *e
	if !change.Apply(e, now) {
		return nil
	}
	if to, is := Displaced(&before, e); is {
		m.ended.put(to, &before)
	}
	switch {
	case e.State == Pending && !pending:
		begun := *e
		m.pending[key] = &begun
		m.ended.remove(key)
	case e.State == Pending:
	case e.State == None:
		delete(m.pending, key)
		m.ended.remove(key)
	default:
		delete(m.pending, key)
		m.ended.put(key, e)
		m.ended.forget(Remembered, now.Add(-Retention))
	}
	return nil
}

// Count implements Store.
func (m *Memory) Count(claim *limit.Claim) error {
	m.counters.Take(claim, time.Now())
	return nil
}

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

// Tend implements Store. With the process everything is lost, and what is too old is forgotten when something new comes.
func (m *Memory) Tend(string) ([]Entry, error) { return nil, nil }

// Leave implements Store.
func (m *Memory) Leave(string) error { return nil }

// Size implements Store.
func (m *Memory) Size() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending) + len(m.ended.at), nil
}

// Close implements Store.
func (m *Memory) Close() error { return nil }

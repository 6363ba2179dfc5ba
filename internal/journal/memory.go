package journal

import (
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
)

// Remembered is how many messages a Memory remembers, those on their way aside.
const Remembered = 100_000

// Memory is a store in the memory of one process. When it is full it forgets the oldest messages.
type Memory struct {
	secret   keyed.Key
	counters *limit.Counters

	mu      sync.Mutex
	entries map[Key]*Entry
	order   []begun // of the entries, and of those whose place others have taken
	first   int     // the oldest in order
}

type begun struct {
	key Key
	at  int64 // Unix time in nanoseconds
}

// NewMemory makes a store that remembers nothing.
func NewMemory() *Memory {
	return &Memory{secret: keyed.NewKey(), counters: limit.NewCounters(), entries: make(map[Key]*Entry)}
}

// Secret implements Store.
func (m *Memory) Secret() *keyed.Key { return &m.secret }

// Update implements Store.
func (m *Memory) Update(key Key, _ bool, change Change) error {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[key]
	if e == nil {
		e = new(Entry)
		if change.Apply(e, now) {
			m.entries[key] = e
			m.order = append(m.order, begun{key, e.Begun.UnixNano()})
			m.forget(now)
		}
		return nil
	}
	before := e.Begun
	change.Apply(e, now)
	switch {
	case e.State == None:
		delete(m.entries, key)
	case !e.Begun.Equal(before):
		m.order = append(m.order, begun{key, e.Begun.UnixNano()})
	}
	return nil
}

// Count implements Store.
func (m *Memory) Count(claim *limit.Claim) error {
	m.counters.Take(claim, time.Now())
	return nil
}

// forget drops what is too old or too much.
func (m *Memory) forget(now time.Time) {
	for looked := len(m.order) - m.first; looked > 0; looked-- {
		oldest := m.order[m.first]
		e := m.entries[oldest.key]
		is := e != nil && e.Begun.UnixNano() == oldest.at
		if is && len(m.entries) <= Remembered && now.UnixNano()-oldest.at < int64(Retention) {
			break
		}
		m.first++
		switch {
		case is && e.State == Pending:
			m.order = append(m.order, oldest)
		case is:
			delete(m.entries, oldest.key)
		}
	}
	if m.first > len(m.order)/4 {
		m.order = m.order[:copy(m.order, m.order[m.first:])]
		m.first = 0
	}
}

// Find implements Store.
func (m *Memory) Find(reference string) (found []Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.Reference == reference {
			found = append(found, *e)
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
	return len(m.entries), nil
}

// Close implements Store.
func (m *Memory) Close() error { return nil }

// Package recent remembers a bounded number of things that were looked up lately.
package recent

import "sync"

// Table is a map of bounded size, safe for concurrent use. It holds two generations: when the young one is full it
// becomes the old one, and the old one goes. What is asked for stays.
type Table[K comparable, V any] struct {
	size       int
	mu         sync.Mutex
	young, old map[K]V
}

// NewTable makes a table that holds at least the last size things and at most twice as many.
func NewTable[K comparable, V any](size int) *Table[K, V] {
	return &Table[K, V]{size: size, young: make(map[K]V)}
}

// Get returns what is remembered under the key.
func (t *Table[K, V]) Get(key K) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.young[key]
	if !ok {
		if v, ok = t.old[key]; ok {
			t.put(key, v)
		}
	}
	return v, ok
}

// Put remembers a value.
func (t *Table[K, V]) Put(key K, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(key, v)
}

func (t *Table[K, V]) put(key K, v V) {
	if len(t.young) >= t.size {
		t.old, t.young = t.young, make(map[K]V, t.size)
	}
	t.young[key] = v
}

// Package cache keeps a bounded number of values that were used lately.
//
// A Table never grows beyond twice its size, whatever keys strangers choose, and never expires a
// value by time. A Remote adds times and failures to it, for values that are fetched: users of a
// service or database, keys, tokens. Both are safe for concurrent use.
package cache

import "sync"

// Table is a map of bounded size with two generations: when the young one is full it becomes the
// old one, and the old one is dropped. A value that is read stays.
type Table[K comparable, V any] struct {
	size       int
	mu         sync.Mutex
	young, old map[K]V
}

// NewTable makes a table that keeps at least the last size values and at most twice as many.
func NewTable[K comparable, V any](size int) *Table[K, V] {
	return &Table[K, V]{size: size, young: make(map[K]V)}
}

// Get returns the value of a key.
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

// Put stores a value, in the place of the one before.
func (t *Table[K, V]) Put(key K, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(key, v)
}

// Delete removes a key.
func (t *Table[K, V]) Delete(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.young, key)
	delete(t.old, key)
}

func (t *Table[K, V]) put(key K, v V) {
	if len(t.young) >= t.size {
		t.old, t.young = t.young, make(map[K]V, t.size)
	}
	t.young[key] = v
}

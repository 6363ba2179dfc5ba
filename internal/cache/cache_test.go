package cache

import "testing"

// The table is bounded, and what is asked for stays.
func TestBounded(t *testing.T) {
	const size = 100
	table := NewTable[int, int](size)
	for i := range 30 * size {
		table.Put(i, i)
		if v, ok := table.Get(0); !ok || v != 0 {
			t.Fatalf("what is asked for is gone after %d others", i)
		}
		if n := len(table.young) + len(table.old); n > 2*size {
			t.Fatalf("%d entries, at most %d", n, 2*size)
		}
	}
	if _, ok := table.Get(1); ok {
		t.Error("an old entry that nobody asks for is still there")
	}
	if v, ok := table.Get(30*size - size); !ok || v != 30*size-size {
		t.Error("one of the last entries is gone")
	}
}

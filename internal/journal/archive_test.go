package journal

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// record is an entry that should be in an archive.
type record struct {
	key   Key
	entry Entry
	at    int // how much was written before it
	size  int
}

// ledger is an archive, and what should be in it, the oldest first.
type ledger struct {
	archive
	records []record
	written int // bytes in all, the empty rests of rounds aside
	largest int
}

// place is where the record of a key is in the list, -1 if there is none.
func (l *ledger) place(key Key) int {
	return slices.IndexFunc(l.records, func(r record) bool { return r.key == key })
}

func (l *ledger) strike(key Key) {
	l.records = slices.DeleteFunc(l.records, func(r record) bool { return r.key == key })
}

// write puts an entry. One that needs as much room as the one before stands where that did, any other is the newest.
func (l *ledger) write(key Key, e Entry) {
	l.put(key, &e)
	size := len(l.record)
	if i := l.place(key); i >= 0 && l.records[i].size == size {
		l.records[i].entry = e
		return
	}
	l.strike(key)
	if size <= len(l.ring) {
		l.records = append(l.records, record{key, e, l.written, size})
		l.written, l.largest = l.written+size, max(l.largest, size)
	}
}

// lose forgets what has had to make room: the oldest, and none that there was room for. The rest of a round that stays empty is
// smaller than the largest record.
func (l *ledger) lose(t *rapid.T) {
	for len(l.records) > 0 {
		oldest := l.records[0]
		if _, ok := l.at[oldest.key]; ok {
			break
		}
		if l.written-oldest.at+l.largest <= len(l.ring) {
			t.Fatalf("%v is gone, and there was room for it", oldest.entry)
		}
		l.records = l.records[1:]
	}
}

// check says whether all that should be there is, as it was put, and nothing else.
func (l *ledger) check(t *rapid.T) {
	for _, want := range l.records {
		var got Entry
		if !l.get(want.key, &got) {
			t.Fatalf("%v is gone before an older one", want.entry)
		}
		if diff := cmp.Diff(want.entry, got); diff != "" {
			t.Fatal(diff)
		}
	}
	if n := len(l.archive.at); n != len(l.records) {
		t.Fatalf("there are %d entries, want %d", n, len(l.records))
	}
	if used := int(l.end - l.begin); used < 0 || used > len(l.ring) {
		t.Fatalf("%d bytes of %d are in use", used, len(l.ring))
	}
}

// Each entry is found as it was put, after any sequence of puts and removals, and the oldest make room.
func TestArchive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &ledger{archive: newArchive(rapid.IntRange(150, 2000).Draw(rt, "ring"))}
		count := 0
		moment := func() time.Time { return l.born.Add(time.Duration(count) * time.Second) }
		text := func(most int) string {
			letter := string(rune('a' + count%26)) // another one each time, so that damage is seen
			return strings.Repeat(letter, rapid.IntRange(0, most).Draw(rt, "length"))
		}
		key := func() Key { return Key{byte(rapid.IntRange(1, 12).Draw(rt, "key"))} }
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				count++
				e := Entry{
					ID: text(20), Reference: text(8), Adapter: text(4), User: text(4), Code: text(3), Detail: text(9), Segments: count, Begun: moment(), Window: time.Duration(count) * time.Second,
					State: State(rapid.IntRange(int(Accepted), int(MaybeSent)).Draw(rt, "state")), Cause: sms.Unconfirmed, Named: rapid.Bool().Draw(rt, "named"),
				}
				if rapid.Bool().Draw(rt, "remembered") {
					e.Until = e.Begun.Add(time.Hour)
				}
				for range rapid.IntRange(0, 3).Draw(rt, "parts") {
					e.Split.Parts, e.IDs = e.Split.Parts+1, append(e.IDs, text(300))
				}
				e.Split.Cuts = rapid.Int64().Draw(rt, "cuts")
				k := key()
				l.write(k, e)
				l.lose(rt)
				if _, ok := l.at[k]; ok != (len(l.record) <= len(l.ring)) {
					rt.Fatalf("the entry that was put, of %d bytes, is there: %t", len(l.record), ok)
				}
			},
			"acknowledge": func(rt *rapid.T) { // in place, as if it were unpacked and put again
				k := key()
				i := l.place(k)
				if i < 0 {
					l.acknowledge(k, "")
					return
				}
				e := &l.records[i].entry
				if rapid.Bool().Draw(rt, "same id") {
					l.acknowledge(k, e.ID)
					e.acknowledge()
				} else {
					l.acknowledge(k, e.ID+"!")
				}
			},
			"remove": func(*rapid.T) {
				k := key()
				l.remove(k)
				l.strike(k)
			},
			"forget": func(rt *rapid.T) {
				most, before := rapid.IntRange(0, 12).Draw(rt, "most"), l.born.Add(time.Duration(count-rapid.IntRange(0, 20).Draw(rt, "age"))*time.Second)
				l.forget(most, before)
				for len(l.records) > 0 && (len(l.records) > most || l.records[0].entry.Begun.Before(before)) {
					l.records = l.records[1:]
				}
			},
			"": l.check,
		})
	})
}

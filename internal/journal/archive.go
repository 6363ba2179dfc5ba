package journal

import (
	"encoding/binary"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// archive keeps entries that have ended, packed one after the other in blocks, in the order in which they were put there. There
// is nothing in it that the garbage collector has to look through, however many they are.
type archive struct {
	at     map[Key]place
	blocks [][]byte
	first  uint32 // the number of the first block
	oldest int    // where in it the oldest record begins
	kept   int    // how many records there are, those included whose place others have taken
	record []byte // the last one that was put here
	born   time.Time
}

// place is where a record is: in which block, counted from the first there ever was, and from which byte on.
type place struct{ block, offset uint32 }

// blockSize is that of a block, unless a record needs a larger one.
const blockSize = 64 << 10

func newArchive() archive { return archive{at: make(map[Key]place), born: time.Now()} }

// get reads the entry of a key.
func (a *archive) get(key Key, e *Entry) (ok bool) {
	p, ok := a.at[key]
	if ok {
		a.unpack(record(a.blocks[p.block-a.first][p.offset:]), e)
	}
	return ok
}

// put keeps the entry of a key in the place of the one before.
func (a *archive) put(key Key, e *Entry) {
	a.pack(key, e)
	a.add(key, a.record)
}

func (a *archive) add(key Key, r []byte) {
	last := len(a.blocks) - 1
	if last < 0 || cap(a.blocks[last])-len(a.blocks[last]) < len(r) {
		a.blocks = append(a.blocks, make([]byte, 0, max(len(r), blockSize)))
		last++
	}
	a.at[key] = place{a.first + uint32(last), uint32(len(a.blocks[last]))}
	a.blocks[last] = append(a.blocks[last], r...)
	a.kept++
}

// remove forgets the entry of a key.
func (a *archive) remove(key Key) { delete(a.at, key) }

// forget drops the oldest entries, as long as there are too many or they were begun before a time. Where too many records
// have lost their place to others, those that stand before them move to the end.
func (a *archive) forget(most int, before time.Time) {
	for a.kept > 0 {
		r := record(a.blocks[0][a.oldest:])
		key := r.key()
		is := a.at[key] == place{a.first, uint32(a.oldest)}
		over := len(a.at) > most || a.moment(r.begun()).Before(before)
		if is && !over && a.kept <= 2*len(a.at)+1000 {
			return
		}
		a.kept--
		if a.oldest += len(r); a.oldest == len(a.blocks[0]) {
			a.blocks[0] = nil
			a.blocks, a.first, a.oldest = a.blocks[1:], a.first+1, 0
		}
		switch {
		case is && over:
			a.remove(key)
		case is:
			a.add(key, r)
		}
	}
}

// all yields each entry. It is another one only until the next.
func (a *archive) all(yield func(*Entry) bool) {
	var e Entry
	for key := range a.at {
		if a.get(key, &e); !yield(&e) {
			return
		}
	}
}

// packed is a record: its length in 4 bytes, the key, and the entry, which begins with the time when it was begun.
type packed []byte

const lengthSize = 4

// record cuts the first record off what begins with one.
func record(b []byte) packed { return b[:binary.LittleEndian.Uint32(b)] }

func (p packed) key() Key { return Key(p[lengthSize:]) }

func (p packed) entry() []byte { return p[lengthSize+len(Key{}):] }

func (p packed) begun() int64 {
	n, _ := binary.Varint(p.entry())
	return n
}

// since is how times are packed, so that they are those of a clock that nobody sets.
func (a *archive) since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return int64(t.Sub(a.born)) + 1
}

func (a *archive) moment(since int64) (t time.Time) {
	if since != 0 {
		t = a.born.Add(time.Duration(since - 1))
	}
	return t
}

// pack makes the record of an entry, without its owner: it has none.
func (a *archive) pack(key Key, e *Entry) {
	named := int64(0)
	if e.Named {
		named = 1
	}
	b := append(a.record[:0], 0, 0, 0, 0)
	b = append(b, key[:]...)
	for _, n := range [...]int64{
		a.since(e.Begun), a.since(e.Until), int64(e.Window), int64(e.State), int64(e.Cause), named, int64(e.Parts), int64(len(e.IDs)),
	} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range [...]string{e.ID, e.Reference, e.Adapter} {
		b = appendString(b, s)
	}
	for _, id := range e.IDs {
		b = appendString(b, id)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	a.record = b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

// unpack reads the entry of a record.
func (a *archive) unpack(p packed, e *Entry) {
	b := p.entry()
	rest := string(b) // of which all strings are parts
	number := func() int64 {
		n, size := binary.Varint(b[len(b)-len(rest):])
		rest = rest[size:]
		return n
	}
	text := func() (s string) {
		n := number()
		s, rest = rest[:n], rest[n:]
		return s
	}
	*e = Entry{Begun: a.moment(number()), Until: a.moment(number()), Window: time.Duration(number())}
	e.State, e.Cause, e.Named, e.Parts = State(number()), sms.Cause(number()), number() == 1, int(number())
	if ids := number(); ids > 0 {
		e.IDs = make([]string, ids)
	}
	e.ID, e.Reference, e.Adapter = text(), text(), text()
	for i := range e.IDs {
		e.IDs[i] = text()
	}
}

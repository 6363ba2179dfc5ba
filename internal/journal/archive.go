package journal

import (
	"encoding/binary"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// archive keeps entries that have ended, packed one after the other in a ring of bytes: what is new takes the place of what is
// oldest. There is nothing in it that the garbage collector has to look through.
type archive struct {
	at     map[Key]int64 // where the record of a key begins
	ring   []byte
	begin  int64 // of the oldest record, counted from the first byte ever written
	end    int64 // of the newest
	record []byte
	born   time.Time
}

func newArchive(size int) archive {
	return archive{at: make(map[Key]int64), ring: make([]byte, size), born: time.Now()}
}

// get reads the entry of a key.
func (a *archive) get(key Key, e *Entry) (ok bool) {
	at, ok := a.at[key]
	if ok {
		a.unpack(a.recordAt(at), e)
	}
	return ok
}

// put keeps the entry of a key in the place of the one before. One that is larger than the ring is not kept.
func (a *archive) put(key Key, e *Entry) {
	a.pack(key, e)
	size := len(a.record)
	if at, ok := a.at[key]; ok && len(a.recordAt(at)) == size {
		copy(a.recordAt(at), a.record)
		return
	}
	if size > len(a.ring) {
		a.remove(key)
		return
	}
	if left := len(a.ring) - a.place(a.end); left < size { // the rest of this round stays empty
		a.makeRoom(left)
		if left >= lengthSize {
			binary.LittleEndian.PutUint32(a.ring[a.place(a.end):], 0)
		}
		a.end += int64(left)
	}
	a.makeRoom(size)
	copy(a.ring[a.place(a.end):], a.record)
	a.at[key] = a.end
	a.end += int64(size)
}

// remove forgets the entry of a key.
func (a *archive) remove(key Key) { delete(a.at, key) }

// makeRoom drops the oldest entries until there is room for so many bytes.
func (a *archive) makeRoom(size int) {
	for int(a.end-a.begin)+size > len(a.ring) {
		a.drop()
	}
}

// forget drops the oldest entries while there are too many, or they were begun before a time.
func (a *archive) forget(most int, before time.Time) {
	for a.begin < a.end {
		r := a.recordAt(a.begin)
		if r != nil && len(a.at) <= most && !a.moment(r.begun()).Before(before) {
			return
		}
		a.drop()
	}
}

// drop drops the oldest record, or the rest of a round that is empty.
func (a *archive) drop() {
	r := a.recordAt(a.begin)
	if r == nil {
		a.begin += int64(len(a.ring) - a.place(a.begin))
		return
	}
	if key := r.key(); a.isAt(key, a.begin) {
		a.remove(key)
	}
	a.begin += int64(len(r))
}

// place is where in the ring a byte stands.
func (a *archive) place(at int64) int { return int(at % int64(len(a.ring))) }

// isAt reports whether the record of a key is there, and no other has taken its place.
func (a *archive) isAt(key Key, at int64) bool {
	is, ok := a.at[key]
	return ok && is == at
}

// recordAt is the record that begins there, nil if the rest of the round is empty.
func (a *archive) recordAt(at int64) packed {
	rest := a.ring[a.place(at):]
	if len(rest) < lengthSize {
		return nil
	}
	size := binary.LittleEndian.Uint32(rest)
	if size == 0 {
		return nil
	}
	return rest[:size]
}

// packed is a record: its length in 4 bytes, the key, and the entry, which begins with the time when it was begun.
type packed []byte

const lengthSize = 4

func (p packed) key() Key { return Key(p[lengthSize:]) }

func (p packed) entry() []byte { return p[lengthSize+len(Key{}):] }

func (p packed) begun() int64 { return int64(binary.LittleEndian.Uint64(p.entry())) }

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

// pack makes the record of an entry, without its owner: it has none. Its size does not depend on times.
func (a *archive) pack(key Key, e *Entry) {
	named := int64(0)
	if e.Named {
		named = 1
	}
	b := append(a.record[:0], 0, 0, 0, 0)
	b = append(b, key[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.since(e.Begun)))
	b = binary.LittleEndian.AppendUint64(b, uint64(a.since(e.Until)))
	for _, n := range [...]int64{int64(e.Window), int64(e.State), int64(e.Cause), named, int64(e.Split.Parts), e.Split.Cuts, int64(len(e.IDs))} {
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
	*e = Entry{Begun: a.moment(p.begun()), Until: a.moment(int64(binary.LittleEndian.Uint64(b[8:])))}
	b = b[16:]
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
	e.Window = time.Duration(number())
	e.State, e.Cause, e.Named = State(number()), sms.Cause(number()), number() == 1
	e.Split = sms.Split{Parts: int(number()), Cuts: number()}
	if ids := number(); ids > 0 {
		e.IDs = make([]string, ids)
	}
	e.ID, e.Reference, e.Adapter = text(), text(), text()
	for i := range e.IDs {
		e.IDs[i] = text()
	}
}

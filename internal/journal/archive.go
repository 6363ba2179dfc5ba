package journal

import (
	"encoding/binary"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// archive stores ended entries as packed records in a ring of bytes. New records overwrite the
// oldest ones. The ring contains no pointers, so the garbage collector does not scan it.
type archive struct {
	at     map[Key]int64 // position of the current record of each key
	ring   []byte
	begin  int64 // position of the oldest record, counted from the first byte ever written
	end    int64 // position after the newest record
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

// put stores the entry of a key, instead of the earlier one. An entry larger than the ring is not
// stored.
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
	if left := len(a.ring) - a.place(a.end); left < size { // the end of the ring is too short for the record
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

// makeRoom drops the oldest entries until the ring has size free bytes.
func (a *archive) makeRoom(size int) {
	for int(a.end-a.begin)+size > len(a.ring) {
		a.drop()
	}
}

// forget drops the oldest entries while there are more than most, or the oldest was begun before
// the given time.
func (a *archive) forget(most int, before time.Time) {
	for a.begin < a.end {
		r := a.recordAt(a.begin)
		if r != nil && len(a.at) <= most && !a.moment(r.begun()).Before(before) {
			return
		}
		a.drop()
	}
}

// drop drops the oldest record. If the oldest bytes are the unused end of the ring, it drops these.
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

// place is the index in the ring of a byte position.
func (a *archive) place(at int64) int { return int(at % int64(len(a.ring))) }

// isAt reports whether the current record of the key begins at this position.
func (a *archive) isAt(key Key, at int64) bool {
	is, ok := a.at[key]
	return ok && is == at
}

// recordAt returns the record that begins at this position, or nil at the unused end of the ring.
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

// packed is a record: its length in 4 bytes, the key, and the packed entry. The entry's first field
// is the time Begun.
type packed []byte

const lengthSize = 4

func (p packed) key() Key { return Key(p[lengthSize:]) }

func (p packed) entry() []byte { return p[lengthSize+len(Key{}):] }

func (p packed) begun() int64 { return int64(binary.LittleEndian.Uint64(p.entry())) }

// since packs a time as the nanoseconds since the archive was made, so that changes of the system
// clock do not matter.
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

// Offsets of the fields that are changed in place, from the beginning of the packed entry.
const (
	untilAt = 8
	stateAt = 24
	flagsAt = 25
	idAt    = 26
)

// pack writes the record of an entry to a.record. It omits Owner, since an ended entry has none.
// The size does not depend on the times, State and Flags, so that these can be changed in place.
func (a *archive) pack(key Key, e *Entry) {
	b := append(a.record[:0], 0, 0, 0, 0)
	b = append(b, key[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.since(e.Begun)))
	b = binary.LittleEndian.AppendUint64(b, uint64(a.since(e.Until)))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Text))
	b = appendString(append(b, byte(e.State), byte(e.Flags())), e.ID)
	for _, n := range [...]int64{int64(e.Window), int64(e.Cause), int64(e.Segments), int64(e.Split.Parts), e.Split.Cuts, int64(len(e.IDs))} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range [...]string{e.Reference, e.User, e.Adapter, e.Code, e.Detail} {
		b = appendString(b, s)
	}
	for _, id := range e.IDs {
		b = appendString(b, id)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	a.record = b
}

// acknowledge is Entry.acknowledge for the entry with a key and an id, if it exists. It does not
// unpack the entry.
func (a *archive) acknowledge(key Key, id string) {
	at, ok := a.at[key]
	if !ok {
		return
	}
	b := a.recordAt(at).entry()
	if n, size := binary.Varint(b[idAt:]); string(b[idAt+size:][:n]) != id {
		return
	}
	e := Entry{State: State(b[stateAt]), Until: a.moment(int64(binary.LittleEndian.Uint64(b[untilAt:])))}
	e.SetFlags(int(b[flagsAt]))
	if e.acknowledge() {
		binary.LittleEndian.PutUint64(b[untilAt:], uint64(a.since(e.Until)))
		b[flagsAt] = byte(e.Flags())
	}
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

// unpack reads the entry of a record.
func (a *archive) unpack(p packed, e *Entry) {
	b := p.entry()
	*e = Entry{
		Begun: a.moment(p.begun()), Until: a.moment(int64(binary.LittleEndian.Uint64(b[untilAt:]))), Text: int64(binary.LittleEndian.Uint64(b[16:])),
		State: State(b[stateAt]),
	}
	e.SetFlags(int(b[flagsAt]))
	b = b[idAt:]
	rest := string(b) // all strings of the entry share its memory
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
	e.ID = text()
	e.Window, e.Cause, e.Segments = time.Duration(number()), sms.Cause(number()), int(number())
	e.Split = sms.Split{Parts: int(number()), Cuts: number()}
	if ids := number(); ids > 0 {
		e.IDs = make([]string, ids)
	}
	e.Reference, e.User, e.Adapter, e.Code, e.Detail = text(), text(), text(), text(), text()
	for i := range e.IDs {
		e.IDs[i] = text()
	}
}

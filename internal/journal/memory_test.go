package journal

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func openMemory(t testing.TB) *Journal {
	t.Helper()
	j, err := Open(NewMemory(), func(Entry) {}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Release)
	return j
}

// send takes a message through the journal.
func (j *Journal) send(m *sms.Message, id string) {
	claim, _, err := j.begin(m)
	if err != nil || !claim.Won() {
		panic("not begun")
	}
	claim.Part("a", id, sms.Split{Parts: 1})
	claim.End(accepted)
	if m.Disposition.ID == "" {
		claim.ReplyAcknowledged()
	}
}

// A day is remembered, and 100,000 messages in at most 30 MB.
func TestMemoryIsBounded(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	j := openMemory(t)
	slow, _, _ := j.begin(textMessage("slow"))
	m := textMessage("")
	for i := range 3 * MaxRemembered {
		m.ID, m.Reference = fmt.Sprintf("%036d", i), fmt.Sprintf("%08d", i)
		m.Disposition.ID = m.ID
		j.send(m, fmt.Sprintf("SM%032d", i))
	}
	size := heap() - before
	t.Logf("%d messages in %.1f MB", MaxRemembered, float64(size)/1e6)
	if size > 30_000_000 {
		t.Errorf("%d bytes", size)
	}
	slow.End(accepted)
	if claim, _, _ := j.begin(textMessage("slow")); claim.Won() {
		t.Error("what was on its way was forgotten")
	}
	if n, _ := j.store.Size(); n != MaxRemembered {
		t.Errorf("%d messages are remembered", n)
	}
	if found, _ := j.Find(m.Reference); len(found) != 1 || found[0].IDs[0] != fmt.Sprintf("SM%032d", 3*MaxRemembered-1) {
		t.Errorf("the last: %v", found)
	}
	if found, _ := j.Find("00000000"); len(found) != 0 {
		t.Error("the first is remembered")
	}
	runtime.KeepAlive(j)
}

// Entries older than a day are forgotten.
func TestMemoryForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openMemory(t)
		j.send(textMessage("old"), "1")
		time.Sleep(Retention + time.Second)
		j.send(textMessage("new"), "2")
		if n, _ := j.store.Size(); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

// TestAllocations keeps what the journal costs a message within its budget of 4.
func TestAllocations(t *testing.T) {
	j, m := openMemory(t), textMessage("")
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	i := 0
	n := testing.AllocsPerRun(500, func() {
		m.Disposition.ID = ids[i]
		i++
		j.send(m, "sms-1")
	})
	if n > 4 {
		t.Errorf("%v allocations", n)
	}
	t.Logf("%v allocations", n)
}

// BenchmarkMemory is what the journal costs a message whose reply reaches the phone: a new id each time, and the same
// words without one. Delivery asks for both ids of a part.
func BenchmarkMemory(b *testing.B) {
	for _, named := range []bool{true, false} {
		b.Run(fmt.Sprintf("id=%t", named), func(b *testing.B) {
			j, m := openMemory(b), textMessage("")
			b.ReportAllocs()
			var number [8]byte
			for n := uint64(0); b.Loop(); n++ {
				if named {
					m.Disposition.ID = string(binary.BigEndian.AppendUint64(number[:0], n))
				}
				claim, _, err := j.begin(m)
				if err != nil || !claim.Won() {
					b.Fatal("not begun")
				}
				claim.Part("a", "sms-1", sms.Split{Parts: 1})
				_, _ = claim.ProviderID(), claim.PrivateID()
				claim.End(accepted)
				claim.ReplyAcknowledged()
			}
		})
	}
}

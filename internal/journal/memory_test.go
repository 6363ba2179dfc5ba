package journal

import (
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
	turn, _, err := j.begin(m)
	if err != nil || !turn.Mine() {
		panic("not begun")
	}
	turn.Part("a", id, sms.Split{Parts: 1})
	turn.End(accepted)
	if m.Disposition.ID == "" {
		turn.Reached()
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
	for i := range 3 * Remembered {
		m.ID, m.Reference = fmt.Sprintf("%036d", i), fmt.Sprintf("%08d", i)
		m.Disposition.ID = m.ID
		j.send(m, fmt.Sprintf("SM%032d", i))
	}
	size := heap() - before
	t.Logf("%d messages in %.1f MB", Remembered, float64(size)/1e6)
	if size > 30_000_000 {
		t.Errorf("%d bytes", size)
	}
	slow.End(accepted)
	if turn, _, _ := j.begin(textMessage("slow")); turn.Mine() {
		t.Error("what was on its way was forgotten")
	}
	if n, _ := j.store.Size(); n != Remembered {
		t.Errorf("%d messages are remembered", n)
	}
	if found, _ := j.Find(m.Reference); len(found) != 1 || found[0].IDs[0] != fmt.Sprintf("SM%032d", 3*Remembered-1) {
		t.Errorf("the last: %v", found)
	}
	if found, _ := j.Find("00000000"); len(found) != 0 {
		t.Error("the first is remembered")
	}
	runtime.KeepAlive(j)
}

// What is a day old is forgotten.
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

// TestAllocations keeps what the journal costs a message within its budget of 5.
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
	if n > 5 {
		t.Errorf("%v allocations", n)
	}
	t.Logf("%v allocations", n)
}

func BenchmarkMemory(b *testing.B) {
	j, m := openMemory(b), textMessage("")
	b.ReportAllocs()
	for b.Loop() {
		j.send(m, "sms-1")
	}
}

package sqlite

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// change is what a function does to an entry.
type change func(e *journal.Entry, now time.Time) bool

func (c change) Apply(e *journal.Entry, now time.Time) bool { return c(e, now) }

func key(n uint64) (k journal.Key) {
	binary.BigEndian.PutUint64(k[:], n*0x9e3779b97f4a7c15)
	return k
}

// message makes the changes of one message: the claim, which is durable, its result, and the
// acknowledged reply.
func message(t testing.TB, s *Store, n uint64) {
	for step := range 3 {
		if err := s.Update(key(n), step > 0, change(func(e *journal.Entry, now time.Time) bool {
			switch step {
			case 0:
				*e = journal.Entry{
					ID: "7b4dd7ed-4b5d-4b2a-9c39-5b4c4a3c1b2a", Reference: "7K3M-9QPX", State: journal.Pending, Owner: "1",
					Begun: now, Window: time.Minute,
				}
			case 1:
				e.State, e.Owner, e.Until, e.Adapter, e.Split.Parts = journal.Accepted, "", now.Add(e.Window), "twilio", 1
				e.IDs = []string{"SM5ef8732a3c49700934481addd5ce1659"}
			case 2:
				e.Until = time.Time{}
			}
			return true
		})); err != nil {
			t.Error(err)
			return
		}
	}
}

// load stores n messages by 64 goroutines.
func load(t testing.TB, s *Store, n int) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				message(t, s, uint64(i))
			}
		})
	}
	all.Wait()
}

// syncTime is the time that the disk needs for a write and an fsync of one page.
func syncTime(t testing.TB, dir string) time.Duration {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const times = 50
	began := time.Now()
	for range times {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began) / times
}

// checkpoints is the number of times that SQLite has restarted the WAL.
// https://www.sqlite.org/fileformat2.html#walformat
func checkpoints(t testing.TB, s *Store) int {
	f, err := os.Open(s.path + "-wal") // not locked by anybody
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var header [32]byte
	if _, err := f.Read(header[:]); err != nil {
		t.Fatal(err)
	}
	return int(binary.BigEndian.Uint32(header[12:]))
}

// Where 64 wait at once, at least 20 messages ride on one fsync. Counted are the transactions that
// wait for the disk, and what SQLite does beside them each time that it begins the file beside the
// database anew: an fsync of that file before it is copied, one of the database after it, and one
// of the first line of the new file. That these are all was seen with strace.
func TestMessagesPerSync(t *testing.T) {
	s := open(t)
	defer closes(t, s)
	const messages = 2000
	began := time.Now()
	load(t, s, messages)
	took := time.Since(began)
	syncs := int(s.syncs.Load()) + 3*checkpoints(t, s)
	t.Logf("%d messages, each of three changes, on %d fsyncs: %d on one; %.0f messages/s; an fsync takes %v here",
		messages, syncs, messages/syncs, messages/took.Seconds(), syncTime(t, filepath.Dir(s.path)))
	if messages/syncs < 20 {
		t.Errorf("%d messages ride on one fsync", messages/syncs)
	}
}

func BenchmarkUpdate(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(filepath.Join(dir, "journal.db"))
	if err != nil {
		b.Fatal(err)
	}
	before := s.syncs.Load()
	b.ResetTimer()
	load(b, s, b.N)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/float64(s.syncs.Load()-before), "messages/commit")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(syncTime(b, dir).Nanoseconds()), "ns/fsync")
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}

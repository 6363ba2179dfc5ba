//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	journalsqlite "github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
)

const (
	senders = 64
	each    = 30
)

// TestJournalSenders is the process whose system calls are counted: it sends messages, 64 at once.
func TestJournalSenders(t *testing.T) {
	path := os.Getenv("JOURNAL_TO_SYNC")
	if path == "" {
		return // it is not that process
	}
	s, err := journalsqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(s, func(journal.Entry) {}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for n := range each {
				m := &sms.Message{ID: string(rune('a'+i)) + string(rune('a'+n)), User: "johndow", To: sms.Number{Value: "+15551231234", Kind: sms.Phone}}
				m.Body = sms.Hide(m.ID)
				claim, _, err := j.Begin(t.Context(), time.Now().Add(time.Minute), m, journal.Options{Window: time.Minute})
				if err != nil || !claim.Won() {
					t.Error("not begun", err)
					return
				}
				claim.Part("twilio", "SM"+m.ID, sms.Split{Parts: 1})
				claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "twilio", ID: "SM" + m.ID, Parts: 1})
				claim.ReplyAcknowledged()
			}
		})
	}
	all.Wait()
	j.Release()
}

// Counted by the kernel: where 64 send at once at least 20 messages ride on one fsync, and as no more than 64 can wait for one,
// there are enough of them for each message to be on the disk before it is sent.
func TestJournalSyncs(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", trace, os.Args[0], "-test.run=^TestJournalSenders$")
	cmd.Env = environment(t, "JOURNAL_TO_SYNC="+filepath.Join(t.TempDir(), "journal.db"))
	if out, err := cmd.CombinedOutput(); strings.Contains(string(out), "Operation not permitted") {
		t.Logf("this machine lets nobody count system calls: %s", out)
		return
	} else if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	syncs := strings.Count(string(text), "sync(")
	const messages = senders * each
	t.Logf("%d messages on %d fsyncs: %.1f on one", messages, syncs, messages/float64(syncs))
	if syncs < messages/senders || syncs > messages/20 {
		t.Errorf("%d fsyncs for %d messages", syncs, messages)
	}
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		path := filepath.Join(t.TempDir(), "journal ü.db")
		return storetest.Place{
			Open: func() (journal.Store, error) { return Open(path) },
			DB:   func() *sql.DB { return other(t, path) },
		}
	})
}

// other opens the file as another program.
func other(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := database.OpenToWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closes(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func accept(e *journal.Entry, now time.Time) bool {
	*e = journal.Entry{
		ID: "id", Reference: "ref", State: journal.Accepted, Begun: now, Until: now.Add(time.Hour), Adapter: strings.Repeat("x", 100),
	}
	return true
}

// The room of what is forgotten is given back.
func TestCompaction(t *testing.T) {
	s := open(t)
	old := time.Now().Add(-2 * journal.Retention)
	load(t, s, 4000)
	size := func() int64 {
		if _, err := s.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(s.path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	full := size()
	if _, err := s.db.Exec("UPDATE acrobits_sms_entries SET begun = ?, until = ?", old.UnixMilli(), old.UnixMilli()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Maintain("a"); err != nil {
		t.Fatal(err)
	}
	if left := size(); full < 500_000 || left > full/4 {
		t.Errorf("%d bytes, %d after all is forgotten", full, left)
	}
	closes(t, s)
}

// The text of a message that is deleted does not stay in the file.
func TestDeletedTextIsGone(t *testing.T) {
	s := open(t)
	j, err := journal.Open(s, func(journal.Entry) {}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, outcome := range []sms.Outcome{sms.Accepted, sms.Refused} {
		m := &sms.Message{ID: outcome.String(), User: "johndow", Body: sms.Hide(strings.Repeat(outcome.String()+" text ", 9))}
		claim, _, err := j.Begin(t.Context(), time.Now().Add(time.Minute), m, journal.Options{Keep: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		claim.End(sms.Result{Outcome: outcome, Refusal: sms.Refuse(sms.NoCredit)})
	}
	j.Release()
	content, err := os.ReadFile(s.path)
	if err != nil || !strings.Contains(string(content), "accepted text") || strings.Contains(string(content), "refused text") {
		t.Errorf("%v, or what was refused is still there", err)
	}
}

// That a message is about to be sent is on the disk before it is; how it ended comes there with the next that is.
func TestPendingIsDurable(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(filepath.Join(dir, "journal.db"))
		if err != nil {
			t.Fatal(err)
		}
		j, err := journal.Open(s, func(journal.Entry) {}, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		defer j.Release()
		for n := range int32(3) {
			before := s.syncs.Load()
			m := &sms.Message{ID: string('a' + n), User: "johndow", Body: sms.Hide(string('a' + n))}
			claim, _, err := j.Begin(t.Context(), time.Now().Add(time.Minute), m, journal.Options{})
			if err != nil || !claim.Won() || s.syncs.Load() != before+1 {
				t.Errorf("begun after %d syncs, %v", s.syncs.Load()-before, err)
			}
			claim.Part("a", "1", sms.Split{Parts: 1})
			claim.End(sms.Result{Outcome: sms.Accepted, Adapter: "a", ID: "1", Parts: 1})
			if s.syncs.Load() != before+1 {
				t.Error("the end has waited for the disk")
			}
		}
	})
}

// Nobody else reads the journal, and after the end it is one file.
func TestFiles(t *testing.T) {
	s := open(t)
	if err := s.Update(key(1), false, change(accept)); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(s.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has the mode %v", info.Name(), mode)
		}
	}
	closes(t, s)
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(s.path), "*")); len(files) != 1 {
		t.Errorf("the end leaves %v", files)
	}
}

// Errors about a path say what to do.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "journal.db"): "there is no folder " + filepath.Join(dir, "none") + ": create it, or write another path",
		filepath.Join(text, "journal.db"):        "there is no folder " + text,
		dir:                                      "is a folder: write the path of a file in it",
		text:                                     "is no SQLite database: write the path of another file",
		"/proc/journal.db":                       "there is no folder /proc",
	} {
		s, err := Open(path)
		if err == nil {
			closes(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	s := &Store{path: "p"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fs.ErrPermission, "let this process write the file and its folder"},
		{syscall.EROFS, "let this process write the file and its folder"},
		{syscall.ENOSPC, "make room"},
		{context.DeadlineExceeded, "locked by another program"},
	} {
		if err := s.explain(c.err); !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

// A file that somebody removes takes nothing any more, until it is there again: what was written to it would be gone with the process.
func TestFileIsGone(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(filepath.Join(dir, "sms.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, step := range []struct {
		do   func() error
		gone bool
	}{
		{func() error { return nil }, false},
		{func() error { return os.Rename(s.path, filepath.Join(dir, "away")) }, true},
		{func() error { return os.WriteFile(s.path, nil, 0o600) }, true},
		{func() error { return os.Rename(filepath.Join(dir, "away"), s.path) }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Maintain("me"); (err != nil) != step.gone || step.gone && !strings.Contains(err.Error(), "restart Caddy") {
			t.Errorf("gone is %t: %v", step.gone, err)
		}
	}
}

// A relative path is one from the working directory.
func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	for range 2 {
		s, err := Open("journal.db")
		if err != nil {
			t.Fatal(err)
		}
		closes(t, s)
	}
	if _, err := os.Stat("journal.db"); err != nil {
		t.Error(err)
	}
}

// A change whose waiting was given up is never made, however long another program keeps the file.
func TestGivenUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(filepath.Join(dir, "journal.db"))
		if err != nil {
			t.Fatal(err)
		}
		db := other(t, s.path)
		defer db.Close()
		if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var made atomic.Int32
		var all sync.WaitGroup
		for n := range uint64(8) {
			all.Go(func() {
				err := s.Update(key(n), n%2 == 0, change(func(e *journal.Entry, now time.Time) bool {
					made.Add(1)
					return accept(e, now)
				}))
				if !errors.Is(err, errWait) {
					t.Errorf("a file that is locked: %v", err)
				}
			})
		}
		all.Wait()
		if waited := time.Since(began); waited != journal.StoreTimeout {
			t.Errorf("given up after %v", waited)
		}
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(key(100), false, change(accept)); err != nil {
			t.Error(err)
		}
		if n, err := s.Size(); n != 1 || err != nil || made.Load() > 0 {
			t.Errorf("%d entries, %d changes, %v", n, made.Load(), err)
		}
		closes(t, s)
	})
}

// Lazy changes are seen by others at once, and are on the disk after the delay.
func TestDelay(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(filepath.Join(dir, "journal.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, s)
		for n := range uint64(5) {
			if err := s.Update(key(n), true, change(accept)); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := s.Size(); n != 5 || err != nil {
			t.Errorf("%d entries are seen, %v", n, err)
		}
		synctest.Wait()
		if s.syncs.Load() != 0 {
			t.Error("lazy changes have waited for the disk")
		}
		time.Sleep(delay)
		synctest.Wait()
		if n := s.syncs.Load(); n != 1 {
			t.Errorf("after the delay the disk was waited for %d times", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := s.syncs.Load(); n != 1 {
			t.Errorf("the disk was waited for %d times without a reason", n)
		}
	})
}

// A disk that takes nothing more fails those who wait and harms nothing else, and what was said to be kept is there.
func TestDiskFull(t *testing.T) {
	s := open(t)
	var kept, failed [64]atomic.Int32
	fill := func(from, to int) {
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				for n := from; n < to; n++ {
					if err := s.Update(key(uint64(1+i)), n%2 == 0, change(func(e *journal.Entry, now time.Time) bool {
						accept(e, now)
						e.Split.Parts = n
						return true
					})); err == nil {
						kept[i].Store(int32(n))
					} else {
						failed[i].Add(1)
					}
				}
			})
		}
		all.Wait()
	}
	fill(0, 10)
	info, err := os.Stat(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(info.Size()) + 100_001, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	fill(10, 20)
	err = s.Update(key(1000), false, change(accept))
	if restored := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); restored != nil {
		t.Fatal(restored)
	}
	if err == nil {
		t.Error("written on a full disk")
	}
	t.Log(err)
	check := func() {
		t.Helper()
		for i := range kept {
			if err := s.Update(key(uint64(1+i)), false, change(func(e *journal.Entry, _ time.Time) bool {
				if e.Split.Parts < int(kept[i].Load()) {
					t.Errorf("entry %d is at %d, and %d was said to be kept", i, e.Split.Parts, kept[i].Load())
				}
				return false
			})); err != nil {
				t.Error(err)
			}
		}
	}
	check()
	fill(20, 30)
	for i := range kept {
		if n := kept[i].Load(); n != 29 {
			t.Errorf("the last change of entry %d is %d after there is room again", i, n)
		}
	}
	closes(t, s)
	if s, err = Open(s.path); err != nil {
		t.Fatal(err)
	}
	check()
	intact(t, s.path)
	closes(t, s)
}

// That there is no room is said.
func TestNoRoom(t *testing.T) {
	s := open(t)
	defer closes(t, s)
	if err := s.conn.exec("PRAGMA max_page_count = 20"); err != nil {
		t.Fatal(err)
	}
	var err error
	for n := uint64(0); n < 1000 && err == nil; n++ {
		err = s.Update(key(n), true, change(accept))
	}
	if err == nil || !strings.Contains(err.Error(), "the disk is full: make room") {
		t.Error(err)
	}
}

func intact(t *testing.T, path string) {
	t.Helper()
	db := other(t, path)
	defer db.Close()
	var said string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		t.Errorf("the file is damaged: %s, %v", said, err)
	}
}

// The file beside the database does not grow, also while somebody reads.
func TestBounded(t *testing.T) {
	s := open(t)
	defer closes(t, s)
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := s.Find("another"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	load(t, s, 2000)
	close(done)
	reader.Wait()
	info, err := os.Stat(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 32<<20 || checkpoints(t, s) == 0 {
		t.Errorf("it has %d bytes and was begun anew %d times", info.Size(), checkpoints(t, s))
	}
	t.Logf("%d kB, begun anew %d times", info.Size()>>10, checkpoints(t, s))
}

// Two processes with much to write do not keep each other from it.
func TestTwoProcesses(t *testing.T) {
	first := open(t)
	defer closes(t, first)
	second, err := Open(first.path)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, second)
	var longest atomic.Int64
	var all sync.WaitGroup
	for i, s := range []*Store{first, second} {
		for g := range 32 {
			all.Go(func() {
				for n := range 20 {
					began := time.Now()
					message(t, s, uint64(1+n+100*g+10_000*i))
					for d := time.Since(began).Nanoseconds(); ; {
						if was := longest.Load(); d <= was || longest.CompareAndSwap(was, d) {
							break
						}
					}
				}
			})
		}
	}
	all.Wait()
	if n, err := first.Size(); n != 2*32*20 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	t.Logf("the longest message took %v", time.Duration(longest.Load()))
}

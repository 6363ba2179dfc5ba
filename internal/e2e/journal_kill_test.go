//go:build e2e

package e2e

import (
	"bufio"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	journalsqlite "github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
)

// writers is how many there are at once in a process that is killed.
const writers = 32

// TestJournalWriters is the process that is killed: each writer changes an entry again and again,
// and tells each change when it is kept. Every third is lazy; those outlive the process too.
func TestJournalWriters(t *testing.T) {
	path, first := os.Getenv("JOURNAL"), os.Getenv("FIRST")
	if path == "" {
		return // it is not that process
	}
	n, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	s, err := journalsqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range writers {
		go func() {
			for n := n; ; n++ {
				if err := s.Update(journalKey(i), n%3 == 0, set(n)); err != nil {
					fmt.Println("failed", err)
					os.Exit(1)
				}
				fmt.Println("kept", i, n)
			}
		}()
	}
	select {}
}

// A process is killed again and again while it writes. The file stays intact, and contains every
// change that was reported as stored. The environment's KILLS is the number of kills.
func TestJournalKilled(t *testing.T) {
	kills, err := strconv.Atoi(cmp.Or(os.Getenv("KILLS"), "10"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	var kept [writers]int
	total, lines := 0, 0
	for range kills {
		first := 1
		for _, n := range kept {
			first = max(first, n+1)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestJournalWriters$")
		cmd.Env, cmd.Stderr = environment(t, "JOURNAL="+path, "FIRST="+strconv.Itoa(first)), os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		left := 1 + rand.N(20_000) // up to some checkpoints
		for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
			var i, n int
			if _, err := fmt.Sscanf(scanner.Text(), "kept %d %d", &i, &n); err != nil {
				t.Errorf("the process says %q", scanner.Text())
				break
			}
			kept[i] = n
			if left--; left == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				total++
			}
		}
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatal(err)
		}
		checkKept(t, path, kept[:])
	}
	t.Logf("%d kills, %d changes kept", total, lines)
}

func checkKept(t *testing.T, path string, kept []int) {
	t.Helper()
	s, err := journalsqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range kept {
		var g get
		if err := s.Update(journalKey(i), false, &g); err != nil || g.Split.Parts < n || g.Split.Parts > n+1 {
			t.Errorf("entry %d is at %d, and %d was the last that was said to be kept; %v", i, g.Split.Parts, n, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	var said string
	if err := open(t, "sqlite", path).QueryRow("PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		t.Errorf("the file is damaged: %s, %v", said, err)
	}
}

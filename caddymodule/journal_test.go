package caddymodule

import (
	"os"
	"path/filepath"
	"testing"
)

// The operator is warned of a journal that others may read. One that is made is for nobody else.
func TestExposedJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sms.db")
	store, err := (&SQLiteJournal{path: path, Path: path}).open()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if isExposed(path) {
		t.Error("others may read a new journal")
	}
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: true, 0o606: true, 0o400: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got := isExposed(path); got != want {
			t.Errorf("%o is exposed: %t", mode, got)
		}
	}
}

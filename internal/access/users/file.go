package users

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// checkInterval is the shortest time between two checks whether a file has changed.
	checkInterval = time.Second

	// maxFile is the maximum size of a users file in bytes.
	maxFile = 64 << 20
)

// File keeps the users of a file that may change. The file is read again when it has changed. If
// the new version cannot be read, File keeps the users of the previous version. A File is safe for
// concurrent use.
type File struct{ watched[List] }

var _ Users = (*File)(nil)

// OpenFile reads the users of a file. After each later change report is called with nil if the new
// version was loaded, or once with the error if not.
func OpenFile(path string, parse func([]byte) (*List, error), report func(error)) (*File, error) {
	f := &File{watched[List]{path: path, parse: parse, report: report}}
	return f, f.read()
}

// Authenticate implements Users.
func (f *File) Authenticate(ctx context.Context, c Credential) (*User, error) {
	f.reloadIfChanged(time.Now())
	return f.current.Load().Authenticate(ctx, c)
}

// Find implements Finder.
func (f *File) Find(name string) (*User, error) {
	f.reloadIfChanged(time.Now())
	return f.current.Load().Find(name)
}

// WithoutProof implements ProofSupport, for the version that was read last.
func (f *File) WithoutProof() int { return f.current.Load().WithoutProof() }

// watched is the parsed content of a file that is read again when it changes.
type watched[T any] struct {
	path    string
	parse   func([]byte) (*T, error)
	report  func(error)
	current atomic.Pointer[T]

	mu          sync.Mutex // held while the file is checked
	next        time.Time
	loaded      os.FileInfo // the version that was read last, nil to read it again
	lastFailure string      // the last failure
}

// reloadIfChanged reads the file if it has changed. Concurrent callers go on with the current
// version.
func (f *watched[T]) reloadIfChanged(now time.Time) {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if now.Before(f.next) {
		return
	}
	f.next = now.Add(checkInterval)
	if info, err := os.Stat(f.path); err == nil && f.loaded != nil && isSame(info, f.loaded) {
		return
	}
	failure := ""
	err := f.read()
	if err == errChanging {
		return
	}
	if err != nil {
		failure = err.Error()
	}
	if failure == "" || failure != f.lastFailure || f.loaded != nil { // each version is parsed once, so its error is new
		f.report(err)
	}
	f.lastFailure = failure
}

func isSame(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// errChanging is returned if the file changed while it was read.
var errChanging = errors.New("the file is being written")

// read reads and parses the file. A file that cannot be read is retried at the next check. A file
// that cannot be parsed is not read again until it changes.
func (f *watched[T]) read() error {
	f.loaded = nil
	before, err := os.Stat(f.path)
	switch {
	case err != nil:
		return err
	case !before.Mode().IsRegular():
		return errors.New("it is no regular file")
	case before.Size() > maxFile:
		return fmt.Errorf("it has more than %d bytes", maxFile)
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	if after, err := os.Stat(f.path); err != nil || !isSame(before, after) {
		return errChanging
	}
	f.loaded = before
	read, err := f.parse(data)
	if err == nil {
		f.current.Store(read)
	}
	return err
}

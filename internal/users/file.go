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
	// lookAgain is how often a file is looked at, when somebody asks.
	lookAgain = time.Second

	// maxFile is how many bytes a file of users has at most.
	maxFile = 64 << 20
)

// File keeps the users of a file that may change. It is read again when it has changed; a version that cannot be read
// changes nothing. It is safe for concurrent use.
type File struct{ watched[List] }

var _ Users = (*File)(nil)

// OpenFile reads the users of a file. report is told of each later version that it counts, by nil, or once why not.
func OpenFile(path string, parse func([]byte) (*List, error), report func(error)) (*File, error) {
	f := &File{watched[List]{path: path, parse: parse, report: report}}
	return f, f.read()
}

// Authenticate implements Users.
func (f *File) Authenticate(ctx context.Context, c Credential) (*User, error) {
	f.look(time.Now())
	return f.now.Load().Authenticate(ctx, c)
}

// Find implements Finder.
func (f *File) Find(name string) (*User, error) {
	f.look(time.Now())
	return f.now.Load().Find(name)
}

// Unprovable implements Provable, for the version that was read last.
func (f *File) Unprovable() int { return f.now.Load().Unprovable() }

// watched is what stands in a file.
type watched[T any] struct {
	path   string
	parse  func([]byte) (*T, error)
	report func(error)
	now    atomic.Pointer[T]

	mu   sync.Mutex // held by whoever looks
	next time.Time
	seen os.FileInfo // the version that was read last, nil if it has to be read
	told string      // the last failure
}

// look reads the file if it has changed. Others who come meanwhile go on with what there is.
func (f *watched[T]) look(now time.Time) {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if now.Before(f.next) {
		return
	}
	f.next = now.Add(lookAgain)
	if info, err := os.Stat(f.path); err == nil && f.seen != nil && isSame(info, f.seen) {
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
	if failure == "" || failure != f.told || f.seen != nil { // a version that makes no sense is another one each time
		f.report(err)
	}
	f.told = failure
}

func isSame(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// errChanging says that somebody is writing the file.
var errChanging = errors.New("the file is being written")

// read reads the file. One that cannot be read is tried again, one that was read and makes no sense is not.
func (f *watched[T]) read() error {
	f.seen = nil
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
	f.seen = before
	read, err := f.parse(data)
	if err == nil {
		f.now.Store(read)
	}
	return err
}

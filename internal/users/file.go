package users

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookAgain is how often a file is looked at, when somebody asks.
const lookAgain = time.Second

// File keeps the users of a file that may change. It is read again when it has changed; a version that cannot be read
// changes nothing. It is safe for concurrent use.
type File struct {
	path   string
	parse  func([]byte) (*List, error)
	report func(error)
	list   atomic.Pointer[List]

	mu   sync.Mutex // held by whoever looks
	next time.Time
	seen os.FileInfo // the version that was read last, nil if there was none
}

var _ Users = (*File)(nil)

// OpenFile reads the users of a file. Once for each later version, report is told that it counts, by nil, or why not.
func OpenFile(path string, parse func([]byte) (*List, error), report func(error)) (*File, error) {
	f := &File{path: path, parse: parse, report: report}
	return f, f.read()
}

// Authenticate implements Users.
func (f *File) Authenticate(ctx context.Context, c Credential) (*User, error) {
	f.look(time.Now())
	return f.list.Load().Authenticate(ctx, c)
}

// look reads the file if it has changed. Others who come meanwhile go on with the users that there are.
func (f *File) look(now time.Time) {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if now.Before(f.next) {
		return
	}
	f.next = now.Add(lookAgain)
	info, err := os.Stat(f.path)
	switch {
	case err == nil && f.seen != nil && os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size():
	case err != nil && f.seen == nil: // gone, and said so
	default:
		f.report(f.read())
	}
}

func (f *File) read() error {
	f.seen = nil
	info, err := os.Stat(f.path) // before it is read, so that a change meanwhile is seen
	if err != nil {
		return err
	}
	f.seen = info
	data, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	list, err := f.parse(data)
	if err == nil {
		f.list.Store(list)
	}
	return err
}

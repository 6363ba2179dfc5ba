// Package sqlite keeps the journal in a file.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal/tables"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
)

// most is how many readers there are beside the writer.
const most = 4

// https://www.sqlite.org/lang.html
var dialect = tables.New(tables.Dialect{
	Blob:  "BLOB",
	Known: "SELECT count(*) FROM sqlite_master WHERE name = 'acrobits_sms_version'",
})

// Store is a journal in a file, which several processes may share. All that is written is written by one goroutine.
type Store struct {
	path   string
	file   os.FileInfo // of the file when it was opened
	secret keyed.Key
	db     *sql.DB // to read
	writer
}

var _ journal.Store = (*Store)(nil)

// Open opens the journal in a file, and makes the file if there is none. The folder must be there.
func Open(path string) (*Store, error) {
	s := &Store{path: path}
	if err := s.open(); err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// CheckFolder says what is wrong with the folder that a journal is to be in. It makes nothing.
func CheckFolder(path string) error {
	_, err := os.Stat(filepath.Dir(path))
	return (&Store{path: path}).explain(err)
}

// making is held while a file is made: closing it ends the locks of whoever has opened it meanwhile in this process.
// https://www.sqlite.org/howtocorrupt.html (2.2)
var making sync.Mutex

// make makes the file, for nobody else to read.
func (s *Store) make() error {
	making.Lock()
	defer making.Unlock()
	switch info, err := os.Stat(s.path); {
	case err == nil && info.IsDir():
		return syscall.EISDIR
	case err == nil:
		return nil
	}
	if _, err := os.Stat(filepath.Dir(s.path)); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *Store) open() error {
	if err := s.make(); err != nil {
		return err
	}
	db, err := database.OpenToWrite(s.path)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1 + most)
	db.SetMaxIdleConns(1 + most)
	db.SetConnMaxIdleTime(time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), journal.Patience)
	defer cancel()
	s.db = db
	for {
		err := s.prepare(ctx)
		if err == nil {
			break
		}
		if !busy(err) || ctx.Err() != nil { // others may be opening it too
			return errors.Join(err, db.Close())
		}
		pause()
	}
	if s.file, err = os.Stat(s.path); err != nil {
		return errors.Join(err, s.conn.Close(), db.Close())
	}
	s.start()
	return nil
}

// prepare makes the connection of the writer, and the tables.
func (s *Store) prepare(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	s.conn = connection{conn, make(map[string]*sql.Stmt)}
	err = s.conn.setUp(ctx)
	if err == nil {
		s.secret, err = dialect.Migrate(ctx, func(work func(tables.Querier) error) error {
			if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
				return err
			}
			err := work(conn)
			if err == nil {
				_, err = conn.ExecContext(ctx, "COMMIT")
			}
			if err != nil {
				_, _ = conn.ExecContext(ctx, "ROLLBACK")
			}
			return err
		})
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	return nil
}

// Secret implements journal.Store.
func (s *Store) Secret() *keyed.Key { return &s.secret }

// Update implements journal.Store.
func (s *Store) Update(key journal.Key, lazy bool, change journal.Change) error {
	return s.explain(s.do(lazy, func(now time.Time) error {
		return dialect.Update(context.Background(), &s.conn, key, now, change)
	}))
}

// Count implements journal.Store.
func (s *Store) Count(claim *limit.Claim) error {
	return s.explain(s.do(true, func(now time.Time) error {
		return dialect.Count(context.Background(), &s.conn, &s.secret, now, claim)
	}))
}

// errReplaced says that what is written would be lost with this process.
var errReplaced = errors.New("was removed or replaced while it is in use: put it back, or restart Caddy")

// Tend implements journal.Store.
func (s *Store) Tend(owner string) (lost []journal.Entry, err error) {
	if file, err := os.Stat(s.path); err != nil || !os.SameFile(file, s.file) {
		return nil, s.explain(errReplaced)
	}
	began := time.Now()
	err = s.do(false, func(now time.Time) (err error) {
		lost, err = dialect.Tend(context.Background(), &s.conn, owner, now)
		return err
	})
	if err != nil {
		return lost, s.explain(err)
	}
	for forgotten := int64(tables.Batch); err == nil && forgotten == tables.Batch && time.Since(began) < journal.Patience; {
		err = s.do(true, func(now time.Time) (err error) {
			if forgotten, err = dialect.Forget(context.Background(), &s.conn, now); err != nil || forgotten == 0 {
				return err
			}
			return s.conn.exec(compact)
		})
	}
	return lost, s.explain(err)
}

// compact gives back the room of what was forgotten, in pages of 4 KB.
// https://www.sqlite.org/pragma.html#pragma_incremental_vacuum
const compact = "PRAGMA incremental_vacuum(1000)"

// Leave implements journal.Store.
func (s *Store) Leave(owner string) error {
	return s.explain(s.do(false, func(time.Time) error { return dialect.Leave(context.Background(), &s.conn, owner) }))
}

// Find implements journal.Store.
func (s *Store) Find(reference string) ([]journal.Entry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.Patience)
	defer cancel()
	found, err := dialect.Find(ctx, s.db, reference)
	return found, s.explain(err)
}

// Size implements journal.Store.
func (s *Store) Size() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.Patience)
	defer cancel()
	n, err := dialect.Size(ctx, s.db)
	return n, s.explain(err)
}

// Close implements journal.Store. If nobody else has the file open, all of the journal is in it then, and not beside it.
func (s *Store) Close() error {
	return s.explain(errors.Join(s.stop(), s.conn.Close(), s.db.Close()))
}

// explain says what an operator can do about an error.
func (s *Store) explain(err error) error {
	var advice string
	switch code := code(err); {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EISDIR):
		advice = "is a folder: write the path of a file in it"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("the journal %s cannot be made: there is no folder %s: create it, or write another path", s.path, filepath.Dir(s.path))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS),
		code == lib.SQLITE_READONLY, code == lib.SQLITE_PERM, code == lib.SQLITE_CANTOPEN:
		advice = "cannot be written: let this process write the file and its folder, or write another path"
	case code == lib.SQLITE_FULL, errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		advice = "cannot be written because the disk is full: make room"
	case code == lib.SQLITE_NOTADB:
		advice = "is no SQLite database: write the path of another file, which is made if there is none"
	case code == lib.SQLITE_CORRUPT:
		advice = "is damaged: restore it, or move it away for a new one to be made"
	case code == lib.SQLITE_BUSY, code == lib.SQLITE_LOCKED, errors.Is(err, context.DeadlineExceeded):
		advice = "is kept locked by another program: end that one"
	case code == lib.SQLITE_IOERR:
		advice = "cannot be read or written: look for errors of the disk in the log of the system"
	default:
		return fmt.Errorf("the journal %s %w", s.path, err)
	}
	return fmt.Errorf("the journal %s %s (%w)", s.path, advice, err)
}

// code is SQLite's for an error, without the details of extended ones.
// https://www.sqlite.org/rescode.html
func code(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

func busy(err error) bool { return code(err) == lib.SQLITE_BUSY }

// pause waits before a lock is tried again. SQLite itself waits for longer and longer, and comes too late for the moments that
// a process leaves to others when it has much to write.
func pause() { time.Sleep(500*time.Microsecond + rand.N(time.Millisecond)) }

// Package sqlite is the store of the journal in a SQLite file.
//
// A change that is returned as durable must survive a loss of power, and no byte of a deleted
// message may stay in the file. The configuration opens the store, the journal calls it. A Store is
// safe for concurrent use; several processes may use the same file.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
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

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// maxReaders is the number of connections for readers, in addition to the writer's.
const maxReaders = 4

//go:embed migrations/*.sql additions/*.sql
var migrations embed.FS

// https://www.sqlite.org/lang.html
var dialect = tables.New(tables.Dialect{
	Files: migrations,
	Known: "SELECT count(*) FROM sqlite_master WHERE name = ?",
})

// Store is a journal in a file, which several processes may share. One goroutine does all writes.
type Store struct {
	path   string
	file   os.FileInfo // identifies the file that was opened
	secret mac.Key
	db     *sql.DB // for reading
	writer
	scrubber scrubber
}

var _ journal.Store = (*Store)(nil)

// Open opens the journal in a file, and creates the file if it does not exist. The folder must
// exist.
func Open(path string) (*Store, error) {
	s := &Store{path: path}
	if err := s.open(); err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// CheckFolder returns an error if the folder of a journal is missing or unusable. It creates
// nothing.
func CheckFolder(path string) error {
	_, err := os.Stat(filepath.Dir(path))
	return (&Store{path: path}).explain(err)
}

// making is held while a file is created. POSIX drops all locks of a process on a file when the
// process closes any descriptor of it. Without this mutex, the close in make would drop the locks
// of a connection that another goroutine has opened.
// https://www.sqlite.org/howtocorrupt.html (2.2)
var making sync.Mutex

// make creates the file, readable by this system user only.
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
	db.SetMaxOpenConns(1 + maxReaders)
	db.SetMaxIdleConns(1 + maxReaders)
	db.SetConnMaxIdleTime(time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	s.db = db
	for {
		err := s.prepare(ctx)
		if err == nil {
			break
		}
		if !busy(err) || ctx.Err() != nil { // another process may be opening it
			return errors.Join(err, db.Close())
		}
		pause()
	}
	if s.file, err = os.Stat(s.path); err != nil {
		return errors.Join(err, s.conn.Close(), db.Close())
	}
	s.scrubber.interval, s.scrubber.ended = scrubInterval, time.Now()
	s.start()
	return nil
}

// prepare opens the writer's connection and creates or migrates the tables.
func (s *Store) prepare(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	s.conn.Conn, s.conn.prepared = conn, make(map[string]*sql.Stmt)
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
func (s *Store) Secret() *mac.Key { return &s.secret }

// Update implements journal.Store.
func (s *Store) Update(key journal.Key, lazy bool, change journal.Change) error {
	return s.explain(s.do(lazy, func(now time.Time) error {
		return dialect.Update(context.Background(), &s.conn, key, now, change)
	}))
}

// Count implements journal.Store.
func (s *Store) Count(charge *limit.Charge) error {
	return s.explain(s.do(true, func(now time.Time) error {
		return dialect.Count(context.Background(), &s.conn, &s.secret, now, charge)
	}))
}

// errReplaced means that the path no longer names the open file, so that changes would be lost with
// this process.
var errReplaced = errors.New("was removed or replaced while it is in use: put it back, or restart Caddy")

// Maintain implements journal.Store.
func (s *Store) Maintain(owner string) (lost []journal.Entry, err error) {
	if file, err := os.Stat(s.path); err != nil || !os.SameFile(file, s.file) {
		return nil, s.explain(errReplaced)
	}
	began := time.Now()
	err = s.do(false, func(now time.Time) (err error) {
		lost, err = dialect.Maintain(context.Background(), &s.conn, owner, now)
		return err
	})
	if err != nil {
		return lost, s.explain(err)
	}
	for forgotten := int64(tables.Batch); err == nil && forgotten == tables.Batch && time.Since(began) < journal.StoreTimeout; {
		err = s.do(true, func(now time.Time) (err error) {
			if forgotten, err = dialect.Forget(context.Background(), &s.conn, now); err != nil || forgotten == 0 {
				return err
			}
			return s.conn.exec(compact)
		})
	}
	if err == nil {
		err = s.scrub()
	}
	return lost, s.explain(err)
}

// compact returns up to 1000 free pages, of 4 KB each, to the file system.
// https://www.sqlite.org/pragma.html#pragma_incremental_vacuum
const compact = "PRAGMA incremental_vacuum(1000)"

// EndLease implements journal.Store.
func (s *Store) EndLease(owner string) error {
	return s.explain(s.do(false, func(time.Time) error { return dialect.EndLease(context.Background(), &s.conn, owner) }))
}

// Blocks implements journal.Store.
func (s *Store) Blocks() ([]block.Block, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	blocks, err := dialect.Blocks(ctx, s.db)
	return blocks, s.explain(err)
}

// Block implements journal.Store.
func (s *Store) Block(b block.Block) error {
	return s.explain(s.do(false, func(time.Time) error { return dialect.Block(context.Background(), &s.conn, b) }))
}

// Unblock implements journal.Store.
func (s *Store) Unblock(b block.Block) (removed int, err error) {
	err = s.do(false, func(time.Time) (err error) {
		removed, err = dialect.Unblock(context.Background(), &s.conn, b)
		return err
	})
	return removed, s.explain(err)
}

// SaveLogin implements journal.Store.
func (s *Store) SaveLogin(l journal.Login) error {
	return s.explain(s.do(true, func(time.Time) error { return dialect.SaveLogin(context.Background(), &s.conn, l) }))
}

// Logins implements journal.Store.
func (s *Store) Logins(since time.Time) ([]journal.Login, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	list, err := dialect.Logins(ctx, s.db, since)
	return list, s.explain(err)
}

// Write replaces the placeholders of a statement.
func (s *Store) Write(statement string) string { return dialect.Write(statement) }

// Transact runs work in a transaction, one after the other, also against other processes. It returns
// when the changes are durable, with lazy at the commit.
func (s *Store) Transact(lazy bool, work tables.Work) error {
	return s.explain(s.do(lazy, func(now time.Time) error { return work(context.Background(), &s.conn, now) }))
}

// Read runs work that changes nothing. Each statement sees what was committed before it.
func (s *Store) Read(work tables.Work) error {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	return s.explain(work(ctx, s.db, time.UnixMilli(time.Now().UnixMilli())))
}

// Find implements journal.Store.
func (s *Store) Find(reference string) ([]journal.Entry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	found, err := dialect.Find(ctx, s.db, reference)
	return found, s.explain(err)
}

// Older implements journal.Store.
func (s *Store) Older() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	is, err := dialect.Older(ctx, s.db)
	return is, s.explain(err)
}

// Size implements journal.Store.
func (s *Store) Size() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	n, err := dialect.Size(ctx, s.db)
	return n, s.explain(err)
}

// Close implements journal.Store. If no other process has the file open, SQLite moves the WAL into
// the file and deletes the WAL.
func (s *Store) Close() error {
	return s.explain(errors.Join(s.stop(), s.conn.Close(), s.db.Close()))
}

// shown is the path for an error. It is empty if the path has no usual ending of a database file: a
// word that is no path may be a secret.
func (s *Store) shown() string {
	return suggest.QuotePath(s.path, ".db", ".db3", ".sqlite", ".sqlite3")
}

// withoutPath removes the path from a file error.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// explain adds to an error what an operator can do about it.
func (s *Store) explain(err error) error {
	var advice string
	switch code := code(err); {
	case err == nil:
		return nil
	case errors.Is(err, block.ErrFull):
		return err
	case errors.Is(err, syscall.EISDIR):
		advice = "is a folder: write the path of a file in it"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		folder := ""
		if s.shown() != "" {
			folder = " " + filepath.Dir(s.path)
		}
		return fmt.Errorf("the journal%s cannot be made: there is no folder%s: create it, or write another path", s.shown(), folder)
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
		advice = "is locked by another program: end that program"
	case code == lib.SQLITE_IOERR:
		advice = "cannot be read or written: look for errors of the disk in the log of the system"
	default:
		return fmt.Errorf("the journal%s %w", s.shown(), withoutPath(err))
	}
	return fmt.Errorf("the journal%s %s (%w)", s.shown(), advice, withoutPath(err))
}

// code is SQLite's primary result code of an error, without the bits of extended codes.
// https://www.sqlite.org/rescode.html
func code(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

func busy(err error) bool { return code(err) == lib.SQLITE_BUSY }

// pause waits before a lock is tried again. SQLite's own busy handler waits longer after each try,
// and so misses the short gaps that a busy writer leaves to other processes.
func pause() { time.Sleep(500*time.Microsecond + rand.N(time.Millisecond)) }

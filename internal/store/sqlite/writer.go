package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

const (
	// maxJobs is the largest number of jobs in one transaction.
	maxJobs = 256

	// delay bounds how long a committed lazy job may wait for its fsync. A loss of power loses at
	// most the lazy jobs of this time.
	delay = 50 * time.Millisecond
)

var (
	errWait    = errors.New("was not written in time: the disk is slow, or another program has locked it; nothing was stored")
	errUnknown = errors.New("was not written in time: the disk is slow; the change may or may not be stored")
	errClosed  = errors.New("is closed")
)

// writer is the goroutine that writes. Jobs that wait in the queue at the same time share a
// transaction, in the order of the queue.
//
// A committed job is visible to all readers and survives the end of this process. A lazy job
// returns at the commit. Every other job returns after an fsync of the WAL, so that it also
// survives a loss of power; all jobs that wait share one fsync. A lazy job gets its fsync within
// the delay.
type writer struct {
	conn    connection
	queue   chan *job
	closing chan struct{}
	ended   chan struct{}
	cuts    chan chan cutResult // requests for a checkpoint that truncates the WAL

	waiting  []*job       // jobs that are committed and wait for the fsync
	unsynced bool         // there are committed transactions without an fsync
	failed   error        // the error of the last fsync or checkpoint, nil after a success
	syncs    atomic.Int32 // number of fsyncs, without those of checkpoints
}

// job is work within a transaction. work is called again if that transaction could not be
// committed.
type job struct {
	work func(now time.Time) error
	lazy bool
	done chan error // has room for 1 error, so that the writer never blocks

	mu        sync.Mutex // held while work runs
	begun     bool
	withdrawn bool
}

func (j *job) run() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.withdrawn {
		return nil
	}
	j.begun = true
	return j.work(time.UnixMilli(time.Now().UnixMilli()))
}

// withdraw ends the wait for a job. A job that has not begun is never run.
func (j *job) withdraw() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.withdrawn = true
	select {
	case err := <-j.done:
		return err
	default:
	}
	if j.begun {
		return errUnknown
	}
	return errWait
}

func (j *job) isWithdrawn() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.withdrawn
}

func (w *writer) start() {
	w.queue, w.closing, w.ended, w.cuts = make(chan *job), make(chan struct{}), make(chan struct{}), make(chan chan cutResult)
	w.conn.deleted.Store(true) // a process that was killed may have left remains
	go w.write()
}

// stop ends the writer after an fsync of all that was committed.
func (w *writer) stop() error {
	close(w.closing)
	<-w.ended
	return w.failed
}

// do runs work in a transaction of the writer. It returns after the commit if lazy, else after the
// fsync.
func (w *writer) do(lazy bool, work func(now time.Time) error) error {
	j := &job{work: work, lazy: lazy, done: make(chan error, 1)}
	patience := time.NewTimer(journal.StoreTimeout)
	defer patience.Stop()
	select {
	case w.queue <- j:
	case <-w.closing:
		return errClosed
	case <-patience.C:
		return errWait
	}
	select {
	case err := <-j.done:
		return err
	case <-patience.C:
		return j.withdraw()
	}
}

func (w *writer) write() {
	defer close(w.ended)
	var late <-chan time.Time
	for {
		select {
		case j := <-w.queue:
			w.serve(w.gather([]*job{j}))
		case <-late:
			late = nil
			w.sync()
		case done := <-w.cuts:
			done <- w.checkpoint()
		case <-w.closing:
			for patience := time.Now().Add(journal.StoreTimeout); w.unsynced && time.Now().Before(patience); {
				if w.sync(); w.unsynced {
					pause()
				}
			}
			if w.conn.deleted.Load() {
				w.failed = cmp.Or(w.failed, w.checkpoint().err)
			}
			return
		}
		switch {
		case !w.unsynced:
			late = nil
		case late == nil:
			late = time.After(delay)
		}
	}
}

// gather adds the jobs that wait in the queue.
func (w *writer) gather(jobs []*job) []*job {
	for len(jobs) < maxJobs {
		select {
		case j := <-w.queue:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// serve commits jobs, and those that arrive meanwhile, before it waits for the fsync.
func (w *writer) serve(jobs []*job) {
	for done := 0; len(jobs) > 0; jobs = w.gather(jobs[:0]) {
		done += len(jobs)
		w.commit(jobs)
		if len(w.waiting) == 0 || done >= maxJobs {
			break
		}
		runtime.Gosched() // lets goroutines that are about to add a job run
	}
	if len(w.waiting) > 0 {
		w.sync()
	}
}

// commit runs jobs in one transaction. A job that fails gets its error, and the others run again
// without it.
func (w *writer) commit(jobs []*job) {
	for len(jobs) > 0 {
		culprit, err := w.try(jobs)
		if culprit >= 0 {
			jobs[culprit].done <- err
			jobs = slices.Delete(jobs, culprit, culprit+1)
			continue
		}
		for _, j := range jobs {
			if err != nil || j.lazy {
				j.done <- err
			} else {
				w.waiting = append(w.waiting, j)
			}
		}
		w.unsynced = w.unsynced || err == nil
		return
	}
}

// try runs jobs in one transaction, until one fails. culprit is the index of that job, -1 if none
// failed.
func (w *writer) try(jobs []*job) (culprit int, err error) {
	if err := w.patiently("BEGIN IMMEDIATE", jobs); err != nil {
		return -1, err
	}
	culprit = slices.IndexFunc(jobs, func(j *job) bool {
		err = j.run()
		return err != nil
	})
	if culprit < 0 {
		err = w.conn.exec("COMMIT")
	}
	if err != nil {
		_ = w.conn.exec("ROLLBACK") // after some errors SQLite has rolled back already
	}
	return culprit, err
}

// sync waits until all that was committed is on the disk. With synchronous = FULL, SQLite calls
// fsync only for a transaction that changes something. So sync changes `user_version`, and the
// fsync of the WAL includes all earlier transactions.
func (w *writer) sync() {
	statement := fmt.Sprintf("PRAGMA synchronous = FULL; PRAGMA user_version = %d; PRAGMA synchronous = NORMAL", w.syncs.Add(1))
	err := w.patiently(statement, w.waiting)
	for _, j := range w.waiting {
		j.done <- err
	}
	clear(w.waiting)
	w.waiting, w.unsynced, w.failed = w.waiting[:0], err != nil, err
}

// cutResult reports whether the checkpoint truncated the WAL.
type cutResult struct {
	done bool
	err  error
}

// cut runs a checkpoint: it copies the WAL into the database file and truncates the WAL. It reports
// false if a reader of an older snapshot, or another writer, prevents that.
func (w *writer) cut() (bool, error) {
	result := make(chan cutResult, 1)
	patience := time.NewTimer(journal.StoreTimeout)
	defer patience.Stop()
	select {
	case w.cuts <- result:
		r := <-result
		return r.done, r.err
	case <-w.closing:
		return false, errClosed
	case <-patience.C:
		return false, errWait
	}
}

// cutTries bounds the tries of a checkpoint that others prevent: messages wait meanwhile.
const cutTries = 20

// https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
func (w *writer) checkpoint() (r cutResult) {
	for range cutTries {
		var hindered, pages, copied int
		r.err = w.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&hindered, &pages, &copied)
		switch {
		case busy(r.err):
			r.err = nil
		case r.err != nil:
			return r
		case hindered == 0:
			r.done = true
			return r
		}
		pause()
	}
	return r
}

// patiently executes a statement. While another process holds the lock, it tries again as long as a
// caller still waits for one of the jobs.
func (w *writer) patiently(statement string, jobs []*job) error {
	for {
		err := w.conn.exec(statement)
		if !busy(err) || !slices.ContainsFunc(jobs, func(j *job) bool { return !j.isWithdrawn() }) {
			return err
		}
		pause()
	}
}

// connection prepares each statement once.
type connection struct {
	*sql.Conn
	prepared map[string]*sql.Stmt
	deleted  atomic.Bool // a message may have been deleted since the last search for remains
}

// setUp sets the pragmas. In WAL mode, readers and the writer do not wait for each other, and with
// synchronous = NORMAL a commit does not wait for an fsync: sync does that. SQLite starts the WAL
// again from its beginning after 1000 pages, and truncates a WAL that grew beyond 8 MB.
// secure_delete overwrites deleted rows and free pages; auto_vacuum lets free pages be returned to
// the file system.
// https://www.sqlite.org/wal.html https://www.sqlite.org/pragma.html#pragma_secure_delete
func (c *connection) setUp(ctx context.Context) error {
	if _, err := c.Conn.ExecContext(ctx, "PRAGMA auto_vacuum = INCREMENTAL"); err != nil { // has no effect once there are tables
		return err
	}
	var mode string
	if err := c.Conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return errors.New("is in a folder that is not on a disk of this machine: write a path on one")
	}
	_, err := c.Conn.ExecContext(ctx, "PRAGMA busy_timeout = 0; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; "+
		"PRAGMA journal_size_limit = 8388608")
	return err
}

func (c *connection) exec(statement string) error {
	_, err := c.Conn.ExecContext(context.Background(), statement)
	return err
}

// Close closes the statements and the connection. SQLite keeps a connection open while it has an
// open statement, and database/sql does not close statements of a Conn.
func (c *connection) Close() error {
	var err error
	for _, stmt := range c.prepared {
		err = errors.Join(err, stmt.Close())
	}
	return errors.Join(err, c.Conn.Close())
}

func (c *connection) prepare(ctx context.Context, statement string) (*sql.Stmt, error) {
	if stmt := c.prepared[statement]; stmt != nil {
		return stmt, nil
	}
	stmt, err := c.PrepareContext(ctx, statement)
	if err == nil {
		c.prepared[statement] = stmt
	}
	return stmt, err
}

// QueryContext implements tables.Querier.
func (c *connection) QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	stmt, err := c.prepare(ctx, statement)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// ExecContext implements tables.Querier.
func (c *connection) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	stmt, err := c.prepare(ctx, statement)
	if err != nil {
		return nil, err
	}
	result, err := stmt.ExecContext(ctx, args...)
	if err == nil && tables.DeletesPrivate(statement) {
		if n, err := result.RowsAffected(); n > 0 || err != nil {
			c.deleted.Store(true)
		}
	}
	return result, err
}

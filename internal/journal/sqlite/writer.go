package sqlite

import (
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
)

const (
	// mostJobs is how many jobs one transaction has at most.
	mostJobs = 256

	// delay is for how long what is lazy may be lost with the power of the machine.
	delay = 50 * time.Millisecond
)

var (
	errWait    = errors.New("is not written in time: the disk is slow, or another program has locked it; nothing was written down")
	errUnknown = errors.New("is not written in time: the disk is slow; what was to be written down may be")
	errClosed  = errors.New("is closed")
)

// writer is the goroutine that writes. Jobs that come together share a transaction, in the order in which they come. When it is
// committed, all see it, and it survives the end of this process: lazy jobs return then. The others wait for the disk, all of
// them at once, so that it survives the end of the machine too. Nothing that is lazy is without that for longer than the delay.
type writer struct {
	conn    connection
	queue   chan *job
	closing chan struct{}
	ended   chan struct{}

	waiting  []*job       // those that are committed and wait for the disk
	unsynced bool         // there are transactions that were not waited for
	failed   error        // why they could not be
	syncs    atomic.Int32 // how often the disk was waited for, but for checkpoints
}

// job is something to be done within a transaction. work may be called again if that could not be committed.
type job struct {
	work func(now time.Time) error
	lazy bool
	done chan error // takes one without a receiver

	mu        sync.Mutex // held while it is done
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

// withdraw ends the waiting for a job, which is not done from then on.
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
	w.queue, w.closing, w.ended = make(chan *job), make(chan struct{}), make(chan struct{})
	go w.write()
}

// stop waits until all is on the disk.
func (w *writer) stop() error {
	close(w.closing)
	<-w.ended
	return w.failed
}

// do has a job done, and waits until it is durable, unless it is lazy.
func (w *writer) do(lazy bool, work func(now time.Time) error) error {
	j := &job{work: work, lazy: lazy, done: make(chan error, 1)}
	patience := time.NewTimer(journal.Patience)
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
		case <-w.closing:
			for patience := time.Now().Add(journal.Patience); w.unsynced && time.Now().Before(patience); {
				if w.sync(); w.unsynced {
					pause()
				}
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

// gather adds those that come to some jobs.
func (w *writer) gather(jobs []*job) []*job {
	for len(jobs) < mostJobs {
		select {
		case j := <-w.queue:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// serve does jobs, and those that come meanwhile, before it waits for the disk.
func (w *writer) serve(jobs []*job) {
	for done := 0; len(jobs) > 0; jobs = w.gather(jobs[:0]) {
		done += len(jobs)
		w.commit(jobs)
		if len(w.waiting) == 0 || done >= mostJobs {
			break
		}
		runtime.Gosched() // lets those come that only have to be let
	}
	if len(w.waiting) > 0 {
		w.sync()
	}
}

// commit does jobs in one transaction. One that fails is left out, and the others are done again without it.
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

// try does jobs in one transaction, up to one that fails.
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
		_ = w.conn.exec("ROLLBACK") // there is nothing to roll back after some errors
	}
	return culprit, err
}

// sync waits until all that was committed is on the disk. SQLite only waits for what a transaction changes, so that one changes
// the number that a file has for its users, and all that was written before goes to the disk with it.
func (w *writer) sync() {
	statement := fmt.Sprintf("PRAGMA synchronous = FULL; PRAGMA user_version = %d; PRAGMA synchronous = NORMAL", w.syncs.Add(1))
	err := w.patiently(statement, w.waiting)
	for _, j := range w.waiting {
		j.done <- err
	}
	clear(w.waiting)
	w.waiting, w.unsynced, w.failed = w.waiting[:0], err != nil, err
}

// patiently executes a statement, as soon as no other process writes, for as long as anybody waits for one of the jobs.
func (w *writer) patiently(statement string, jobs []*job) error {
	for {
		err := w.conn.exec(statement)
		if !busy(err) || !slices.ContainsFunc(jobs, func(j *job) bool { return !j.isWithdrawn() }) {
			return err
		}
		pause()
	}
}

// connection is one on which each statement is prepared once.
type connection struct {
	*sql.Conn
	prepared map[string]*sql.Stmt
}

// setUp makes readers and the writer not wait for each other, nor transactions for the disk: that is what sync is for. The file
// beside the database is begun anew when it has 1000 pages, and what it had more for a while is cut off. What is deleted is
// overwritten, and its room can be given back.
// https://www.sqlite.org/wal.html https://www.sqlite.org/pragma.html#pragma_secure_delete
func (c *connection) setUp(ctx context.Context) error {
	if _, err := c.Conn.ExecContext(ctx, "PRAGMA auto_vacuum = INCREMENTAL"); err != nil { // before there are tables
		return err
	}
	var mode string
	if err := c.Conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return errors.New("is in a folder that is not on a disk of this machine: write a path on one")
	}
	_, err := c.Conn.ExecContext(ctx, "PRAGMA busy_timeout = 0; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = FAST; "+
		"PRAGMA journal_size_limit = 8388608")
	return err
}

func (c *connection) exec(statement string) error {
	_, err := c.Conn.ExecContext(context.Background(), statement)
	return err
}

// Close closes the connection. SQLite keeps one open as long as a statement is, and database/sql does not close those.
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
	return stmt.ExecContext(ctx, args...)
}

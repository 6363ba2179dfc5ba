package postgres

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// mostJobs is the largest number of jobs in one transaction.
const mostJobs = 64

// lockSequence locks the row of the sequence until the end of the transaction, and returns the
// server's time after the wait.
const lockSequence = "WITH l AS MATERIALIZED (SELECT last FROM acrobits_sms_sequence WHERE one = 1 FOR UPDATE) " +
	"SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM l"

// batches runs jobs in transactions that lock the row of the sequence. Jobs that wait while another
// transaction runs share the next one: the lock lasts until the server's fsync, so a transaction for
// each job would be too slow.
type batches struct {
	mu      sync.Mutex
	waiting []*job
	running bool
	all     sync.WaitGroup
}

type job struct {
	work tables.Work
	done chan error // has room for 1 error

	mu        sync.Mutex // held while work runs
	withdrawn bool
}

func (j *job) run(ctx context.Context, tx *sql.Tx, now time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.withdrawn {
		return nil
	}
	return j.work(ctx, tx, now)
}

// Write replaces the placeholders of a statement.
func (s *Store) Write(statement string) string { return dialect.Write(statement) }

// Transact runs work in a transaction, one after the other, also against other processes. It ignores
// lazy: every change is durable when it returns.
func (s *Store) Transact(_ bool, work tables.Work) error {
	j := &job{work: work, done: make(chan error, 1)}
	b := &s.batches
	b.mu.Lock()
	b.waiting = append(b.waiting, j)
	if !b.running {
		b.running = true
		b.all.Go(s.runBatches)
	}
	b.mu.Unlock()
	patience := time.NewTimer(journal.StoreTimeout)
	defer patience.Stop()
	select {
	case err := <-j.done:
		return explain(err)
	case <-patience.C:
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.withdrawn = true
	select {
	case err := <-j.done:
		return explain(err)
	default:
		return explain(context.DeadlineExceeded)
	}
}

func (s *Store) runBatches() {
	b := &s.batches
	for {
		b.mu.Lock()
		jobs := slices.Clone(b.waiting[:min(len(b.waiting), mostJobs)])
		b.waiting = b.waiting[len(jobs):]
		b.running = len(jobs) > 0
		b.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		s.runBatch(jobs)
	}
}

// runBatch runs jobs in one transaction. If one of them fails, each runs in a transaction of its own,
// so that only that one gets the error.
func (s *Store) runBatch(jobs []*job) {
	failed, err := s.together(jobs)
	for _, j := range jobs {
		if failed {
			_, err = s.together([]*job{j})
		}
		j.done <- err
	}
}

// together runs jobs in one transaction. failed is set if a job failed, and so nothing was changed.
func (s *Store) together(jobs []*job) (failed bool, err error) {
	err = s.inTransaction(lockSequence, nil, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		for _, j := range jobs {
			if err := j.run(ctx, tx, now); err != nil {
				failed = ctx.Err() == nil
				return err
			}
		}
		return nil
	})
	return failed, err
}

// Read runs work that changes nothing. Each statement sees what was committed before it.
func (s *Store) Read(work tables.Work) error {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	return explain(work(ctx, s.db, time.Now()))
}

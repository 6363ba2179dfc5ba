package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// transactor is a store with tables.
type transactor interface {
	Transact(lazy bool, work tables.Work) error
	Read(work tables.Work) error
	Write(statement string) string
}

func transactorOf(t *testing.T, store any) transactor {
	t.Helper()
	s, ok := store.(transactor)
	if !ok {
		t.Fatalf("%T has no transactions", store)
	}
	return s
}

// next gives the next number of the sequence, by reading and writing it.
func next(ctx context.Context, s transactor, q tables.Querier) (last int64, err error) {
	rows, err := q.QueryContext(ctx, "SELECT last FROM acrobits_sms_sequence WHERE one = 1")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	rows.Next()
	if err := rows.Scan(&last); err != nil {
		return 0, err
	}
	if err := rows.Close(); err != nil {
		return 0, err
	}
	_, err = q.ExecContext(ctx, s.Write("UPDATE acrobits_sms_sequence SET last = ? WHERE one = 1"), last+1)
	return last + 1, err
}

// Transactions of two processes run one after the other: no number is given twice, and each is
// committed before a greater one is seen.
func transactions(t *testing.T, s *suite) {
	const each, jobs = 20, 8
	var mu sync.Mutex
	given := map[int64]bool{}
	var all sync.WaitGroup
	for _, store := range s.both() {
		store := transactorOf(t, store)
		for range jobs {
			all.Go(func() {
				for range each {
					var n int64
					if err := store.Transact(false, func(ctx context.Context, q tables.Querier, now time.Time) (err error) {
						if d := time.Since(now); d < -time.Second || d > time.Minute {
							t.Errorf("the time is wrong by %v", d)
						}
						n, err = next(ctx, store, q)
						return err
					}); err != nil {
						t.Error(err)
					}
					mu.Lock()
					if given[n] {
						t.Errorf("%d was given twice", n)
					}
					given[n] = true
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
	s.same(s.rows("SELECT last FROM acrobits_sms_sequence"), []string{fmt.Sprint(2 * jobs * each)})
}

// A transaction that fails changes nothing, and no other fails with it.
func transactionsFail(t *testing.T, s *suite) {
	store := transactorOf(t, s.store())
	errWrong := errors.New("wrong")
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			err := store.Transact(n%2 == 0, func(ctx context.Context, q tables.Querier, _ time.Time) error {
				if _, err := next(ctx, store, q); err != nil {
					return err
				}
				switch n {
				case 10:
					return errWrong
				case 20:
					_, err := q.ExecContext(ctx, "INSERT INTO acrobits_sms_sequence (one, last) VALUES (1, 1)")
					return err
				}
				return nil
			})
			if failed := n == 10 || n == 20; (err != nil) != failed {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	all.Wait()
	var last int64
	if err := store.Read(func(ctx context.Context, q tables.Querier, _ time.Time) error {
		rows, err := q.QueryContext(ctx, "SELECT last FROM acrobits_sms_sequence")
		if err != nil {
			return err
		}
		defer rows.Close()
		rows.Next()
		return rows.Scan(&last)
	}); err != nil || last != 38 {
		t.Errorf("%d transactions are stored, want 38; %v", last, err)
	}
}

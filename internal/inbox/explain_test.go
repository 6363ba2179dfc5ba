package inbox_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// explained is a store that explains each statement before it runs it the first time. No statement
// may read a whole table or sort more than a page.
// https://www.sqlite.org/eqp.html
type explained struct {
	*sqlite.Store
	t    *testing.T
	seen *sync.Map
}

type explainer struct {
	tables.Querier
	explained
}

func (e explained) Transact(lazy bool, work tables.Work) error {
	return e.Store.Transact(lazy, func(ctx context.Context, q tables.Querier, now time.Time) error {
		return work(ctx, explainer{q, e}, now)
	})
}

func (e explained) Read(work tables.Work) error {
	return e.Store.Read(func(ctx context.Context, q tables.Querier, now time.Time) error {
		return work(ctx, explainer{q, e}, now)
	})
}

func (e explainer) QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	e.explain(ctx, statement, args)
	return e.Querier.QueryContext(ctx, statement, args...)
}

func (e explainer) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	e.explain(ctx, statement, args)
	return e.Querier.ExecContext(ctx, statement, args...)
}

func (e explainer) explain(ctx context.Context, statement string, args []any) {
	if _, known := e.seen.LoadOrStore(statement, true); known {
		return
	}
	rows, err := e.Querier.QueryContext(ctx, "EXPLAIN QUERY PLAN "+statement, args...)
	if err != nil {
		e.t.Error(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			e.t.Error(err)
		}
		if isSlow(statement, step) {
			e.t.Errorf("%s: %s", step, statement)
		}
	}
}

// isSlow reports whether a step reads too much. Erasing reads all messages. The tables of pending
// media and of holders are small.
func isSlow(statement, step string) bool {
	table, scans := strings.CutPrefix(step, "SCAN ")
	table, _, _ = strings.Cut(table, " ")
	switch {
	case strings.HasPrefix(step, "SEARCH m USING INDEX acrobits_sms_messages_fetch"): // the range is between two ids
		return strings.Contains(statement, "m.item <= ?") && !strings.Contains(step, "item>? AND item<?")
	case !scans:
		return strings.Contains(step, "AUTOMATIC")
	case table == "acrobits_sms_media", table == "acrobits_sms_holders":
		return false
	case table == "acrobits_sms_messages":
		return !strings.Contains(statement, "gateway IN (?, '')") && !strings.Contains(statement,
			"gateway = '' AND sender = ?")
	}
	return strings.HasPrefix(table, "acrobits") || len(table) == 1 && table != "d" // the others are results of steps
}

package tables

import (
	"context"
	"slices"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
)

// Blocks returns the blocks of users.
func (t *Tables) Blocks(ctx context.Context, q Querier) (blocks []block.Block, err error) {
	rows, err := q.QueryContext(ctx, t.blocks)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var b block.Block
		var since int64
		if err := rows.Scan(&b.User, &b.Host, &since); err != nil {
			return nil, err
		}
		b.Since = moment(since)
		blocks = append(blocks, b)
	}
	return blocks, rows.Err()
}

// Block adds a block. If the user is blocked on that site already, it changes nothing.
func (t *Tables) Block(ctx context.Context, q Querier, b block.Block) error {
	result, err := q.ExecContext(ctx, t.block, b.User, b.Host, milliseconds(b.Since))
	if err != nil {
		return err
	}
	if added, err := result.RowsAffected(); err != nil || added > 0 {
		return err
	}
	blocks, err := t.Blocks(ctx, q)
	if err == nil && !slices.ContainsFunc(blocks, func(other block.Block) bool { return other.User == b.User && other.Host == b.Host }) {
		err = block.ErrFull
	}
	return err
}

// Unblock removes the block of a user on one site. Without a host, it removes all blocks of the
// user. It returns the number of removed blocks.
func (t *Tables) Unblock(ctx context.Context, q Querier, b block.Block) (int, error) {
	statement, args := t.unblockAll, []any{b.User}
	if b.Host != "" {
		statement, args = t.unblock, []any{b.User, b.Host}
	}
	result, err := q.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	removed, err := result.RowsAffected()
	return int(removed), err
}

package journal

import (
	"slices"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
)

// BlocksInterval is the time between two reads of the blocks, which other processes may have
// changed. Every process applies a block within 5 seconds, even if the store is slow.
const BlocksInterval = 2 * time.Second

// Blocked reports whether a user is blocked on the site of a host. It does not ask the store. While
// the store is unavailable, the blocks that were read last still apply.
func (j *Journal) Blocked(user, host string) bool { return j.blocks.Load().Blocks(user, host) }

// Blocks returns the blocks as read last.
func (j *Journal) Blocks() []block.Block { return j.blocks.Load().All() }

// Block blocks a user from now on. Messages in flight are not affected.
func (j *Journal) Block(b block.Block) error {
	return j.changeBlocks(func() error {
		err := j.store.Block(b)
		if err == nil { // applies even if the read below fails
			j.blocks.Store(block.NewSet(append(slices.Clone(j.Blocks()), b)))
		}
		return err
	})
}

// Unblock removes the block of a user on one site. Without a host, it removes all blocks of the
// user. It returns the number of removed blocks.
func (j *Journal) Unblock(b block.Block) (removed int, err error) {
	err = j.changeBlocks(func() (err error) {
		removed, err = j.store.Unblock(b)
		return err
	})
	return removed, err
}

func (j *Journal) changeBlocks(change func() error) error {
	j.blocking.Lock()
	err := change()
	j.blocking.Unlock()
	if err == nil {
		_ = j.readBlocks() // an error does no harm: the loop reads again soon
	}
	return err
}

// readBlocks reads the blocks. The mutex ensures that a later read replaces an earlier one.
func (j *Journal) readBlocks() error {
	j.blocking.Lock()
	defer j.blocking.Unlock()
	blocks, err := j.store.Blocks()
	if err == nil {
		j.blocks.Store(block.NewSet(blocks))
	}
	return err
}

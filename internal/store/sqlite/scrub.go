package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

// scrubInterval is the pause between two searches for the remains of deleted messages. A search is
// cut into runs of scrubTime, so that leases are renewed between them. One second covers about 100
// MB.
const (
	scrubInterval = 20 * time.Second
	scrubTime     = time.Second
)

// scrubber overwrites the remains of deleted messages. SQLite overwrites what it deletes. It does
// not overwrite the copy that stays in the unused part of a page when it moves a row to another
// page.
type scrubber struct {
	mu       sync.Mutex
	interval time.Duration
	next     int       // the next page to search, 0 if no search is under way
	ended    time.Time // end of the last search
}

// scrub searches for remains during scrubTime. After the last page it runs a checkpoint, which
// writes the cleaned pages to the database file and truncates the WAL. If another process prevents
// the checkpoint, the search is repeated later.
func (s *Store) scrub() (err error) {
	if !s.scrubber.mu.TryLock() {
		return nil
	}
	defer s.scrubber.mu.Unlock()
	at := &s.scrubber
	if at.next == 0 {
		if time.Since(at.ended) < at.interval || !s.conn.deleted.Swap(false) {
			return nil
		}
		at.next = 2 // the first page has only SQLite's own rows
	}
	cut := false
	defer func() {
		if at.next == 0 {
			at.ended = time.Now()
		}
		if err != nil || at.next == 0 && !cut {
			at.next = 0
			s.conn.deleted.Store(true)
		}
	}()
	if err = s.clean(time.Now().Add(scrubTime)); err != nil || at.next > 0 {
		return err
	}
	cut, err = s.cut()
	return err
}

// pagesAtOnce bounds the pages that one transaction cleans: messages wait meanwhile.
const pagesAtOnce = 64

// clean overwrites the remains in the pages from s.scrubber.next on. It stops at the time until.
func (s *Store) clean(until time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	var last int
	if err := s.db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&last); err != nil {
		return err
	}
	read, err := s.db.PrepareContext(ctx, readPage)
	if err != nil {
		return err
	}
	defer read.Close()
	for time.Now().Before(until) {
		var dirty []int
		for ; s.scrubber.next <= last && len(dirty) < pagesAtOnce && time.Now().Before(until); s.scrubber.next++ {
			var page []byte
			if err := read.QueryRowContext(ctx, s.scrubber.next).Scan(&page); err == sql.ErrNoRows { // vacuumed meanwhile
				continue
			} else if err != nil {
				return err
			}
			if hasRemains(page) {
				dirty = append(dirty, s.scrubber.next)
			}
		}
		if err := s.cleanPages(dirty); err != nil {
			return err
		}
		if s.scrubber.next > last {
			s.scrubber.next = 0
			return nil
		}
	}
	return nil
}

// https://www.sqlite.org/dbpage.html
const (
	readPage  = "SELECT data FROM sqlite_dbpage WHERE pgno = ?"
	writePage = "UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?"
)

// cleanPages overwrites the remains in some pages. It reads each page again, because it may have
// changed since the search.
func (s *Store) cleanPages(numbers []int) error {
	if len(numbers) == 0 {
		return nil
	}
	return s.do(true, func(time.Time) error {
		ctx := context.Background()
		for _, number := range numbers {
			var page []byte
			if err := s.conn.QueryRowContext(ctx, readPage, number).Scan(&page); err == sql.ErrNoRows {
				continue
			} else if err != nil {
				return err
			}
			if hasRemains(page) {
				clear(unused(page))
				if _, err := s.conn.Conn.ExecContext(ctx, writePage, page, number); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func hasRemains(page []byte) bool { return len(bytes.Trim(unused(page), "\x00")) > 0 }

// leaf is the first byte of a page with rows. In a file of less than 800 GB, no other page begins
// with this byte.
const leaf = 13

// unused returns the bytes between the list of rows and the rows themselves. It returns nil for a
// page without rows.
// https://www.sqlite.org/fileformat2.html#b_tree_pages
func unused(page []byte) []byte {
	const header, size = 8, 2 // bytes of the page's header, and of each item in the list of rows
	if len(page) < 512 || page[0] != leaf {
		return nil
	}
	begin := header + size*int(binary.BigEndian.Uint16(page[3:]))
	end := int(binary.BigEndian.Uint16(page[5:]))
	if end == 0 { // 65536
		end = len(page)
	}
	if begin > end || end > len(page) {
		return nil
	}
	return page[begin:end]
}

package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

func blockOf(user, host string) block.Block {
	b, err := block.New(user, host, now())
	if err != nil {
		panic(err)
	}
	return b
}

// blocked compares the blocks of a store.
func (s *suite) blocked(store journal.Store, want ...block.Block) {
	s.Helper()
	got, err := store.Blocks()
	if err != nil {
		s.Error(err)
	}
	slices.SortFunc(got, func(a, b block.Block) int { return a.Since.Compare(b.Since) })
	s.same(got, want)
}

// A block does not change until it is removed, for its site or for all sites.
func blocks(t *testing.T, s *suite) {
	both := s.both()
	everywhere, here, there := blockOf("johndow", ""), blockOf("johndow", "a.example"), blockOf("ünä'; DROP TABLE x --", "")
	here.Since, there.Since = everywhere.Since.Add(time.Second), everywhere.Since.Add(2*time.Second)
	for _, b := range []block.Block{everywhere, here, there} {
		later := b
		later.Since = later.Since.Add(time.Hour)
		if err := errors.Join(both[0].Block(b), both[1].Block(later)); err != nil {
			t.Error(err)
		}
	}
	s.blocked(both[1], everywhere, here, there)
	for _, step := range []struct {
		b       block.Block
		removed int
		left    []block.Block
	}{
		{blockOf("nobody", ""), 0, []block.Block{everywhere, here, there}},
		{blockOf("johndow", "b.example"), 0, []block.Block{everywhere, here, there}},
		{blockOf("johndow", "a.example"), 1, []block.Block{everywhere, there}},
		{blockOf("JohnDow", ""), 1, []block.Block{there}},
	} {
		if n, err := both[1].Unblock(step.b); n != step.removed || err != nil {
			t.Errorf("%v: %d removed, %v", step.b, n, err)
		}
		s.blocked(both[0], step.left...)
	}
	if err := both[0].Block(here); err != nil {
		t.Error(err)
	}
	if err := both[0].Block(everywhere); err != nil {
		t.Error(err)
	}
	if n, err := both[0].Unblock(everywhere); n != 2 || err != nil {
		t.Errorf("%d of 2 removed, %v", n, err)
	}
	if n, err := both[0].Unblock(there); n != 1 || err != nil {
		t.Errorf("%d of 1 removed, %v", n, err)
	}
	if s.DB != nil {
		s.exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + fmt.Sprint(block.Max-1) + ") " +
			"INSERT INTO acrobits_sms_blocks SELECT 'user' || i, '', 0 FROM n")
	} else {
		for i := 1; i < block.Max; i++ {
			if err := both[0].Block(blockOf(fmt.Sprint("user", i), "")); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	if err := both[0].Block(blockOf("the last", "")); err != nil {
		t.Error(err)
	}
	if err := both[0].Block(blockOf("one more", "")); !errors.Is(err, block.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if err := both[0].Block(blockOf("user1", "")); err != nil {
		t.Errorf("one that is there: %v", err)
	}
}

// A block applies in every process within 5 seconds, and in processes that start later. While the
// store is unavailable, it still applies.
func blocksAreShared(t *testing.T, s *suite) {
	first, _ := s.process(func(journal.Entry) {})
	second, _ := s.process(func(journal.Entry) {})
	eventually := func(want bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); second.Blocked("johndow", "a.example") != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not %t in time", want)
			}
		}
	}
	b := blockOf("johndow", "")
	if err := first.Block(b); err != nil {
		t.Fatal(err)
	}
	if !first.Blocked("JohnDow@example.com", "a.example") || len(first.Blocks()) != 1 {
		t.Error("does not hold at once")
	}
	eventually(true)
	third, _ := s.process(func(journal.Entry) {})
	if !third.Blocked("johndow", "") {
		t.Error("does not hold in a process that started later")
	}
	if n, err := first.Unblock(b); n != 1 || err != nil {
		t.Errorf("%d ended, %v", n, err)
	}
	eventually(false)
}

// A version of the program without blocks can use the tables, and this version can use the tables
// of that one.
func blocksOfAnOlder(t *testing.T, s *suite) {
	store, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	const version = "SELECT version FROM acrobits_sms_version"
	before := s.rows(version)
	s.exec("DROP TABLE acrobits_sms_blocks")
	again := s.store()
	s.blocked(again)
	s.same(s.rows(version), before) // which an older program would refuse
	if err := again.Block(blockOf("johndow", "")); err != nil {
		t.Error(err)
	}
}

package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// model is what a journal does, in a map.
type model struct {
	entries map[journal.Key]journal.Entry
	leases  map[string]time.Time
}

// clock is the store's.
func clock() time.Time { return time.UnixMilli(time.Now().UnixMilli()) }

func (m *model) alive(owner string) bool { return m.leases[owner].After(clock()) }

func (m *model) read(k journal.Key) journal.Entry {
	e := m.entries[k]
	if !m.alive(e.Owner) {
		e.Owner = ""
	}
	return e
}

func (m *model) update(k journal.Key, e journal.Entry) {
	m.entries[k] = e
	if e.State == journal.None {
		delete(m.entries, k)
	}
}

func (m *model) maintain(owner string) (lost []journal.Entry) {
	now := clock()
	m.leases[owner] = now.Add(journal.Lease)
	for k, e := range m.entries {
		if e.State == journal.Pending && !m.alive(e.Owner) {
			if e.MarkLost(now) {
				lost = append(lost, e)
			}
			m.entries[k] = e
		}
		if e.State != journal.Pending && !now.Before(e.Begun.Add(journal.Retention)) && !now.Before(e.Until) {
			delete(m.entries, k)
		}
	}
	return lost
}

func (m *model) leave(owner string) {
	for _, e := range m.entries {
		if e.State == journal.Pending && e.Owner == owner {
			return
		}
	}
	delete(m.leases, owner)
}

// bubble runs f with a clock of its own. What rapid panics with has to leave the bubble.
func bubble(t *testing.T, f func()) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer func() { failure = recover() }()
		f()
	})
	if failure != nil {
		panic(failure)
	}
}

// After any sequence of actions of two processes the file contains what a map would contain.
func TestModel(t *testing.T) {
	dir, count := t.TempDir(), 0
	inOrder := cmpopts.SortSlices(func(a, b journal.Entry) bool { return fmt.Sprint(a) < fmt.Sprint(b) })
	rapid.Check(t, func(rt *rapid.T) {
		count++
		path := filepath.Join(dir, fmt.Sprint(count))
		bubble(t, func() {
			m := &model{make(map[journal.Key]journal.Entry), make(map[string]time.Time)}
			var stores [2]*Store
			reopen := func(i int) {
				if stores[i] != nil {
					if err := stores[i].Close(); err != nil {
						rt.Error(err)
					}
				}
				var err error
				if stores[i], err = Open(path); err != nil {
					rt.Fatal(err)
				}
			}
			defer func() {
				for _, s := range stores {
					if s != nil {
						_ = s.Close()
					}
				}
			}()
			reopen(0)
			reopen(1)
			same := func(want, got any, err error) {
				rt.Helper()
				if diff := cmp.Diff(want, got, inOrder, cmpopts.EquateEmpty()); diff != "" || err != nil {
					rt.Fatal(diff, err)
				}
			}
			owner := rapid.SampledFrom([]string{"a", "b"})
			text := rapid.SampledFrom([]string{"", "a", "b", "' --", "ü\x00"})
			store := func() *Store { return stores[rapid.IntRange(0, 1).Draw(rt, "store")] }
			rt.Repeat(map[string]func(*rapid.T){
				"update": func(rt *rapid.T) {
					k := key(uint64(rapid.IntRange(1, 5).Draw(rt, "key")))
					next := journal.Entry{
						ID: rapid.StringN(1, 3, 10).Draw(rt, "id"), Reference: text.Draw(rt, "reference"), Adapter: text.Draw(rt, "adapter"),
						State: journal.State(rapid.IntRange(0, 4).Draw(rt, "state")), Named: rapid.Bool().Draw(rt, "named"),
						Window: time.Duration(rapid.IntRange(0, 100).Draw(rt, "window")) * time.Second, Begun: clock(),
						Split: sms.Split{Parts: rapid.IntRange(0, 3).Draw(rt, "parts"), Cuts: rapid.Int64().Draw(rt, "cuts")}, IDs: rapid.SliceOfN(text, 0, 3).Draw(rt, "ids"),
					}
					if next.State == journal.Pending {
						next.Owner = owner.Draw(rt, "owner")
					} else if rapid.Bool().Draw(rt, "remembered") {
						next.Until = next.Begun.Add(next.Window)
					}
					made := rapid.Bool().Draw(rt, "made")
					var found journal.Entry
					err := store().Update(k, rapid.Bool().Draw(rt, "lazy"), change(func(e *journal.Entry, _ time.Time) bool {
						found = *e
						*e = next
						return made
					}))
					same(m.read(k), found, err)
					if to, is := journal.HistoryKey(&found, &next); made && is {
						m.update(to, found)
					}
					if made {
						m.update(k, next)
					}
				},
				"tend": func(rt *rapid.T) {
					o := owner.Draw(rt, "owner")
					lost, err := store().Maintain(o)
					same(m.maintain(o), lost, err)
				},
				"leave": func(rt *rapid.T) {
					o := owner.Draw(rt, "owner")
					same(nil, nil, store().EndLease(o))
					m.leave(o)
				},
				"find": func(rt *rapid.T) {
					reference := text.Draw(rt, "reference")
					var want []journal.Entry
					for _, e := range m.entries {
						if e.Reference == reference {
							want = append(want, e)
						}
					}
					found, err := store().Find(reference)
					same(want, found, err)
				},
				"wait": func(rt *rapid.T) {
					times := []time.Duration{time.Millisecond, time.Second, journal.Lease / 2, journal.Lease, journal.Retention}
					time.Sleep(rapid.SampledFrom(times).Draw(rt, "time"))
				},
				"reopen": func(rt *rapid.T) { reopen(rapid.IntRange(0, 1).Draw(rt, "store")) },
				"": func(*rapid.T) {
					n, err := store().Size()
					same(len(m.entries), n, err)
				},
			})
		})
	})
}

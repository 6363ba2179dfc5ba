//go:build e2e

package e2e

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	databasepostgres "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox/inboxtest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	journalpostgres "github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/storetest"
)

// set is a change that makes an entry the nth of its key.
type set int

func (n set) Apply(e *journal.Entry, now time.Time) bool {
	*e = journal.Entry{
		ID: "7b4dd7ed-4b5d-4b2a-9c39-5b4c4a3c1b2a", Reference: "7K3M-9QPX", State: journal.Accepted, Begun: now, Until: now.Add(time.Hour),
		Adapter: "twilio", Split: sms.Split{Parts: int(n)}, IDs: []string{"SM5ef8732a3c49700934481addd5ce1659"},
	}
	return true
}

// get is a change that only looks at an entry.
type get struct{ journal.Entry }

func (g *get) Apply(e *journal.Entry, _ time.Time) bool {
	g.Entry = *e
	return false
}

func journalKey(n int) (k journal.Key) {
	sum := sha256.Sum256([]byte(strconv.Itoa(n)))
	copy(k[:], sum[:])
	return k
}

// ready waits until a server that is running takes logins.
func ready(t *testing.T, address string) {
	t.Helper()
	db := open(t, "postgres", address)
	if !eventually(func() bool { return db.Ping() == nil }) {
		t.Fatal("the server does not start")
	}
}

func openPostgres(t *testing.T, address string) *journalpostgres.Store {
	t.Helper()
	ready(t, address)
	s, err := journalpostgres.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The journal in PostgreSQL does what every journal does, in a schema of its own each time.
func TestJournalInPostgreSQL(t *testing.T) {
	_, address := postgres(t)
	ready(t, address)
	db := open(t, "postgres", address)
	count := 0
	storetest.Run(t, func(t *testing.T) storetest.Place {
		count++
		schema := fmt.Sprintf("s%d", count)
		if _, err := db.Exec("CREATE SCHEMA " + schema); err != nil {
			t.Fatal(err)
		}
		at := address + "&search_path=" + schema
		return storetest.Place{
			Open: func() (journal.Store, error) { return journalpostgres.Open(at) },
			DB:   func() *sql.DB { return open(t, "postgres", at) },
		}
	})
}

// The inbox does the same in PostgreSQL as in a file.
func TestInboxInPostgreSQL(t *testing.T) {
	_, address := postgres(t)
	ready(t, address)
	db := open(t, "postgres", address)
	count := 0
	inboxtest.Run(t, func(t *testing.T) inboxtest.Place {
		count++
		schema := fmt.Sprintf("i%d", count)
		if _, err := db.Exec("CREATE SCHEMA " + schema); err != nil {
			t.Fatal(err)
		}
		at := address + "&search_path=" + schema
		return inboxtest.Place{
			Open: func(t *testing.T) inbox.Store { return openPostgres(t, at) },
			DB:   func() *sql.DB { return open(t, "postgres", at) },
		}
	})
}

// After a restart of the server, the journal works again without an error. While the server is
// down, nothing is stored, and the error says so.
func TestJournalServerGoes(t *testing.T) {
	server, address := postgres(t)
	s := openPostgres(t, address)
	fill := func(n int) (failed int) {
		var all sync.WaitGroup
		var errs atomic.Int32
		for i := range 32 {
			all.Go(func() {
				if err := s.Update(journalKey(i), false, set(n)); err != nil {
					errs.Add(1)
					if !strings.Contains(err.Error(), "cannot be reached: start it") {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		return int(errs.Load())
	}
	if failed := fill(1); failed > 0 {
		t.Errorf("%d failed", failed)
	}
	server.stop()
	server.start()
	ready(t, address)
	if failed := fill(2); failed > 0 {
		t.Errorf("%d failed because of connections from before", failed)
	}
	server.stop()
	if failed := fill(3); failed != 32 {
		t.Errorf("%d of 32 failed without a server", failed)
	}
	if _, err := s.Maintain("a"); err == nil {
		t.Error("a lease without a server")
	}
	server.start()
	ready(t, address)
	if failed := fill(4); failed > 0 {
		t.Errorf("%d failed after the server is back", failed)
	}
}

// A store that waits for a locked entry gives up in time, and does not change the entry later.
func TestJournalGivesUp(t *testing.T) {
	_, address := postgres(t)
	s := openPostgres(t, address)
	if err := s.Update(journalKey(1), false, set(1)); err != nil {
		t.Fatal(err)
	}
	tx, err := open(t, "postgres", address).Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT * FROM acrobits_sms_entries FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = s.Update(journalKey(1), false, set(2))
	if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "did not answer in time") || took > journal.StoreTimeout+time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	if err := s.Update(journalKey(2), false, set(2)); err != nil {
		t.Errorf("another message: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	var g get
	if err := s.Update(journalKey(1), false, &g); err != nil || g.Split.Parts != 1 {
		t.Errorf("the change that was given up is made: %d, %v", g.Split.Parts, err)
	}
}

// A machine that vanishes in the middle of a transaction does not keep the others from their work
// for long, and a server that need not wait for its disk waits for what is said to be kept.
func TestJournalMachineVanishes(t *testing.T) {
	_, address := postgres(t)
	s := openPostgres(t, address)
	execute(t, "postgres", address, "ALTER ROLE sms SET synchronous_commit = off")
	gone, err := databasepostgres.OpenToWrite(address, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	tx, err := gone.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var waits string
	if err := tx.QueryRow("SHOW synchronous_commit").Scan(&waits); err != nil || waits != "on" {
		t.Errorf("synchronous_commit is %s, %v", waits, err)
	}
	if _, err := tx.Exec("LOCK TABLE acrobits_sms_leases, acrobits_sms_entries IN EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Maintain("a"); err != nil {
		t.Error(err)
	}
	if err := s.Update(journalKey(1), false, set(1)); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err == nil {
		t.Error("the server has waited for a machine that says nothing")
	}
}

// Errors say what an operator can do, and do not contain the address.
func TestJournalErrors(t *testing.T) {
	server, address := postgres(t)
	ready(t, address)
	execute(t, "postgres", address, "REVOKE ALL ON SCHEMA public FROM PUBLIC;\nCREATE ROLE poor LOGIN PASSWORD 'canary-database';\n"+
		"CREATE ROLE rich LOGIN PASSWORD 'canary-database';\nCREATE SCHEMA rich AUTHORIZATION rich")
	check := func(address, want string) {
		t.Helper()
		s, err := journalpostgres.Open(address)
		if err == nil {
			_ = s.Close()
			if want != "" {
				t.Errorf("opened, want %q", want)
			}
			return
		}
		if want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("the error tells the address: %v", err)
		}
		t.Log(err)
	}
	check(strings.Replace(address, "canary-database", "canary-other", 1), "check user and password")
	check(strings.Replace(address, "/postgres?", "/canary?", 1), "create it")
	check(strings.Replace(address, "sms:", "poor:", 1), "GRANT CREATE, USAGE")
	execute(t, "postgres", address, "GRANT USAGE ON SCHEMA public TO poor")
	check(strings.Replace(address, "sms:", "poor:", 1), "GRANT CREATE, USAGE")
	check(strings.Replace(address, "sms:", "rich:", 1), "") // its own schema comes first
	check(address+"&search_path=none", "no schema that the user may use")
	check(address+"&default_transaction_read_only=on", "primary")
	check("postgres://sms:canary-database@127.0.0.1:x/", "write one such as")
	check(address, "")
	// Tables that are there are used without the right to make some.
	execute(t, "postgres", address, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO poor")
	check(strings.Replace(address, "sms:", "poor:", 1), "")
	server.stop()
	check(address, "cannot be reached: start it")
}

// How fast it is with 64 who wait at once, on a server that does not wait for the disk.
func TestJournalSpeed(t *testing.T) {
	_, address := postgres(t)
	s := openPostgres(t, address)
	const each = 50
	one := time.Now()
	for n := range each {
		if err := s.Update(journalKey(n), false, set(n)); err != nil {
			t.Fatal(err)
		}
	}
	alone := time.Since(one) / each
	began := time.Now()
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range each {
				if err := s.Update(journalKey(1000*i+n), false, set(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("one after the other %v a change; with 64 at once %.0f changes/s", alone, 64*each/time.Since(began).Seconds())
}

// Leases and windows go by the server's clock, whatever the clocks of those who share it say.
func TestJournalClock(t *testing.T) {
	_, address := postgres(t)
	ready(t, address)
	execute(t, "postgres", address, "CREATE SCHEMA late;\nCREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "+
		"'SELECT pg_catalog.clock_timestamp() + interval ''1 hour'''")
	s := openPostgres(t, address+"&search_path=late,pg_catalog")
	if _, err := s.Maintain("a"); err != nil {
		t.Fatal(err)
	}
	var now time.Time
	if err := s.Update(journalKey(1), false, clock{&now}); err != nil {
		t.Fatal(err)
	}
	var until int64
	if err := open(t, "postgres", address).QueryRow("SELECT until FROM late.acrobits_sms_leases").Scan(&until); err != nil {
		t.Fatal(err)
	}
	for what, d := range map[string]time.Duration{
		"a message's": time.Until(now) - time.Hour, "a lease's": time.Until(time.UnixMilli(until)) - time.Hour - journal.Lease,
	} {
		if d.Abs() > 10*time.Second {
			t.Errorf("%s clock is %v from that of the server", what, d)
		}
	}
}

// clock is a change that only looks at the time.
type clock struct{ now *time.Time }

func (c clock) Apply(_ *journal.Entry, now time.Time) bool {
	*c.now = now
	return false
}

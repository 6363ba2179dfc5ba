// Package postgres keeps the journal in PostgreSQL.
package postgres

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal/tables"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/keyed"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/limit"
)

// most is how many connections there are.
const most = 16

// https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
var dialect = tables.New(tables.Dialect{
	Numbered: true,
	Blob:     "BYTEA",
	Known:    "SELECT count(*) FROM pg_class WHERE oid = to_regclass('acrobits_sms_version')",
	Lock:     " FOR UPDATE OF e",
})

// lock waits for a number to be nobody else's, and tells the time after that.
// https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
const lock = "WITH l AS MATERIALIZED (SELECT pg_advisory_xact_lock($1)) " +
	"SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM l"

// all is the number of what concerns more than one entry.
const all = 0x6163726f62697473

// Store is a journal in a database, which several processes may share. Its clock is the server's.
type Store struct {
	db     *sql.DB
	secret keyed.Key
}

var _ journal.Store = (*Store)(nil)

// errAddress says nothing of the address, which holds a password.
var errAddress = errors.New("the address of the journal's database cannot be read: write one such as postgres://user:password@localhost/sms")

// Check reports whether an address can be read. It opens no connection.
func Check(address string) error {
	db, err := database.OpenToWrite(address, journal.Patience)
	if err != nil {
		return errAddress
	}
	return db.Close()
}

// Open opens the journal in the database of an address. Its tables are in the schema that is the first of the search_path, and
// are made if there are none.
func Open(address string) (*Store, error) {
	db, err := database.OpenToWrite(address, journal.Patience)
	if err != nil {
		return nil, errAddress
	}
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s := &Store{db: db}
	s.secret, err = dialect.Migrate(context.Background(), func(work func(tables.Querier) error) error {
		return s.transact(all, func(_ context.Context, tx *sql.Tx, _ time.Time) error { return work(tx) })
	})
	if err != nil {
		return nil, errors.Join(explain(err), db.Close())
	}
	return s, nil
}

// transact does work in a transaction, while nobody else does any with the same number.
func (s *Store) transact(number int64, work func(ctx context.Context, tx *sql.Tx, now time.Time) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), journal.Patience)
	defer cancel()
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var now int64
	if err := tx.QueryRowContext(ctx, lock, number).Scan(&now); err != nil {
		return err
	}
	if err := work(ctx, tx, time.UnixMilli(now)); err != nil {
		return err
	}
	return tx.Commit()
}

// begin begins a transaction. Connections that turn out to be dead are left aside: nothing was done on them.
func (s *Store) begin(ctx context.Context) (tx *sql.Tx, err error) {
	for range most + 1 {
		tx, err = s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err == nil || ctx.Err() != nil || !dead(err) {
			break
		}
	}
	return tx, err
}

// dead reports whether a connection was there, and is no more.
func dead(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Code == "57P01" || said.Code == "57P02" // the server is shut down, or crashed
	}
	var connect *pgconn.ConnectError
	return !errors.As(err, &connect)
}

// Secret implements journal.Store.
func (s *Store) Secret() *keyed.Key { return &s.secret }

// Update implements journal.Store. Nothing is lazy.
func (s *Store) Update(key journal.Key, _ bool, change journal.Change) error {
	return explain(s.transact(int64(binary.BigEndian.Uint64(key[:])), func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		return dialect.Update(ctx, tx, key, now, change)
	}))
}

// Count implements journal.Store. The messages of a payer are counted one after the other.
func (s *Store) Count(claim *limit.Claim) error {
	return explain(s.transact(int64(binary.BigEndian.Uint64(claim.Payer[:])), func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		return dialect.Count(ctx, tx, &s.secret, now, claim)
	}))
}

// Tend implements journal.Store.
func (s *Store) Tend(owner string) (lost []journal.Entry, err error) {
	began := time.Now()
	err = s.transact(all, func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
		lost, err = dialect.Tend(ctx, tx, owner, now)
		return err
	})
	if err != nil {
		return lost, explain(err)
	}
	for forgotten := int64(tables.Batch); err == nil && forgotten == tables.Batch && time.Since(began) < journal.Patience; {
		err = s.transact(all, func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
			forgotten, err = dialect.Forget(ctx, tx, now)
			return err
		})
	}
	return lost, explain(err)
}

// Leave implements journal.Store.
func (s *Store) Leave(owner string) error {
	return explain(s.transact(all, func(ctx context.Context, tx *sql.Tx, _ time.Time) error { return dialect.Leave(ctx, tx, owner) }))
}

// Find implements journal.Store.
func (s *Store) Find(reference string) ([]journal.Entry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.Patience)
	defer cancel()
	found, err := dialect.Find(ctx, s.db, reference)
	return found, explain(err)
}

// Size implements journal.Store.
func (s *Store) Size() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.Patience)
	defer cancel()
	n, err := dialect.Size(ctx, s.db)
	return n, explain(err)
}

// Close implements journal.Store.
func (s *Store) Close() error { return s.db.Close() }

// advice is what an operator can do, by the codes of the server.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var advice = map[string]string{
	"28000": "refuses the login: check user and password, and its pg_hba.conf",
	"28P01": "refuses the login: check user and password",
	"3D000": "has no database of that name: create it, or write the name of another",
	"3F000": "has no schema that the user may use: GRANT CREATE, USAGE ON SCHEMA public TO the user, or on that of the search_path",
	"42501": "does not let the user make or use the tables: GRANT CREATE, USAGE ON SCHEMA public TO the user, or on that of the search_path",
	"42P01": "has the journal's tables no more: start anew for them to be made",
	"25006": "is only to be read: write the address of the primary server",
	"53100": "has no room on its disk: make room",
	"53200": "is out of memory: give it more, or less to do",
	"53300": "has no connection left: raise its max_connections",
	"57014": "did not answer in time: it is overloaded, or somebody holds locks on the journal's tables",
	"57P01": "is being shut down: start it",
	"57P02": "has crashed: look into its log",
	"57P03": "is not ready: wait until it has started",
}

// explain says what an operator can do about an error, and nothing of the address.
func explain(err error) error {
	if err == nil {
		return nil
	}
	const database = "the journal's database "
	var said *pgconn.PgError
	var connect *pgconn.ConnectError
	var fault tables.Fault
	switch {
	case errors.As(err, &said) && advice[said.Code] != "":
		return errors.New(database + advice[said.Code])
	case said != nil:
		return fmt.Errorf(database+"reports %s (SQLSTATE %s): look into its log", said.Message, said.Code)
	case errors.As(err, &connect):
		return errors.New(database + "cannot be reached: start it, and check the address")
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New(database + "did not answer in time: it cannot be reached, or is overloaded")
	case errors.As(err, &fault):
		return errors.New(database + fault.Error())
	}
	return errors.New(database + "has broken the connection: look into its log")
}

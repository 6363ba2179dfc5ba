// Package postgres is the store of the journal in a PostgreSQL database.
//
// No error may contain the address, because it has a password. The configuration opens the store,
// the journal calls it. A Store is safe for concurrent use; several processes may use the same
// database.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	database "github.com/caddy-acrobits/caddy-acrobits-sms/internal/database/postgres"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/tables"
)

// maxConnections bounds the number of connections.
const maxConnections = 16

//go:embed migrations/*.sql additions/*.sql
var migrations embed.FS

// https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
var dialect = tables.New(tables.Dialect{
	Numbered: true,
	Files:    migrations,
	Known:    "SELECT count(*) FROM pg_class WHERE oid = to_regclass(?)",
	Lock:     " FOR UPDATE OF e",
})

// lock waits for the advisory lock of a number, and returns the server's time after the wait. The
// lock lasts until the end of the transaction.
// https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
const lock = "WITH l AS MATERIALIZED (SELECT pg_advisory_xact_lock($1)) " +
	"SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM l"

// lockAll is the lock number for changes that concern more than one entry.
const lockAll = 0x6163726f62697473

// Store is a journal in a database, which several processes may share. It uses the server's clock.
type Store struct {
	db      *sql.DB
	secret  mac.Key
	batches batches
}

var _ journal.Store = (*Store)(nil)

// errAddress does not quote the address, because it has a password.
var errAddress = errors.New("the address of the journal's database cannot be read: write one such as postgres://user:password@localhost/sms")

// Check returns an error if an address cannot be parsed. It opens no connection.
func Check(address string) error {
	db, err := database.OpenToWrite(address, journal.StoreTimeout)
	switch {
	case errors.Is(err, database.ErrUnescaped):
		return err
	case err != nil:
		return errAddress
	}
	return db.Close()
}

// Open opens the journal in the database of an address. Its tables are in the first schema of the
// search_path. Open creates them if they do not exist.
func Open(address string) (*Store, error) {
	db, err := database.OpenToWrite(address, journal.StoreTimeout)
	if err != nil {
		return nil, errAddress
	}
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(maxConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s := &Store{db: db}
	s.secret, err = dialect.Migrate(context.Background(), func(work func(tables.Querier) error) error {
		return s.transact(lockAll, func(_ context.Context, tx *sql.Tx, _ time.Time) error { return work(tx) })
	})
	if err != nil {
		return nil, errors.Join(explain(err), db.Close())
	}
	return s, nil
}

// transact runs work in a transaction that has locked the number, so that no other transaction with
// this number runs at the same time.
func (s *Store) transact(number int64, work func(ctx context.Context, tx *sql.Tx, now time.Time) error) error {
	return s.inTransaction(lock, []any{number}, work)
}

// inTransaction runs work in a transaction that begins with a query, which waits for a lock and
// returns the server's time in milliseconds.
func (s *Store) inTransaction(lock string, args []any, work func(ctx context.Context, tx *sql.Tx, now time.Time) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var now int64
	if err := tx.QueryRowContext(ctx, lock, args...).Scan(&now); err != nil {
		return err
	}
	if err := work(ctx, tx, time.UnixMilli(now)); err != nil {
		return err
	}
	return tx.Commit()
}

// begin begins a transaction. It discards broken connections from the pool: no statement of the
// transaction was sent on them.
func (s *Store) begin(ctx context.Context) (tx *sql.Tx, err error) {
	for range maxConnections + 1 {
		tx, err = s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err == nil || ctx.Err() != nil || !dead(err) {
			break
		}
	}
	return tx, err
}

// dead reports whether the error is from an existing connection that broke, not from a failed
// attempt to connect.
func dead(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Code == "57P01" || said.Code == "57P02" // admin_shutdown, crash_shutdown
	}
	var connect *pgconn.ConnectError
	return !errors.As(err, &connect)
}

// Secret implements journal.Store.
func (s *Store) Secret() *mac.Key { return &s.secret }

// Update implements journal.Store. It ignores lazy: every change is durable when it returns.
func (s *Store) Update(key journal.Key, _ bool, change journal.Change) error {
	return explain(s.transact(int64(binary.BigEndian.Uint64(key[:])), func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		return dialect.Update(ctx, tx, key, now, change)
	}))
}

// Count implements journal.Store. Charges of the same billing key wait for each other.
func (s *Store) Count(charge *limit.Charge) error {
	return explain(s.transact(int64(binary.BigEndian.Uint64(charge.BillingKey[:])), func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		return dialect.Count(ctx, tx, &s.secret, now, charge)
	}))
}

// Maintain implements journal.Store.
func (s *Store) Maintain(owner string) (lost []journal.Entry, err error) {
	began := time.Now()
	err = s.transact(lockAll, func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
		lost, err = dialect.Maintain(ctx, tx, owner, now)
		return err
	})
	if err != nil {
		return lost, explain(err)
	}
	for forgotten := int64(tables.Batch); err == nil && forgotten == tables.Batch && time.Since(began) < journal.StoreTimeout; {
		err = s.transact(lockAll, func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
			forgotten, err = dialect.Forget(ctx, tx, now)
			return err
		})
	}
	return lost, explain(err)
}

// EndLease implements journal.Store.
func (s *Store) EndLease(owner string) error {
	return explain(s.transact(lockAll, func(ctx context.Context, tx *sql.Tx, _ time.Time) error { return dialect.EndLease(ctx, tx, owner) }))
}

// Blocks implements journal.Store.
func (s *Store) Blocks() ([]block.Block, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	blocks, err := dialect.Blocks(ctx, s.db)
	return blocks, explain(err)
}

// Block implements journal.Store.
func (s *Store) Block(b block.Block) error {
	return explain(s.transact(lockAll, func(ctx context.Context, tx *sql.Tx, _ time.Time) error { return dialect.Block(ctx, tx, b) }))
}

// Unblock implements journal.Store.
func (s *Store) Unblock(b block.Block) (removed int, err error) {
	err = s.transact(lockAll, func(ctx context.Context, tx *sql.Tx, _ time.Time) (err error) {
		removed, err = dialect.Unblock(ctx, tx, b)
		return err
	})
	return removed, explain(err)
}

// SaveLogin implements journal.Store. Logins of the same user wait for each other.
func (s *Store) SaveLogin(l journal.Login) error {
	return explain(s.transact(int64(binary.BigEndian.Uint64(l.User[:])), func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		return dialect.SaveLogin(ctx, tx, l)
	}))
}

// Logins implements journal.Store.
func (s *Store) Logins(since time.Time) ([]journal.Login, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	list, err := dialect.Logins(ctx, s.db, since)
	return list, explain(err)
}

// Find implements journal.Store.
func (s *Store) Find(reference string) ([]journal.Entry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	found, err := dialect.Find(ctx, s.db, reference)
	return found, explain(err)
}

// Older implements journal.Store.
func (s *Store) Older() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	is, err := dialect.Older(ctx, s.db)
	return is, explain(err)
}

// Size implements journal.Store.
func (s *Store) Size() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), journal.StoreTimeout)
	defer cancel()
	n, err := dialect.Size(ctx, s.db)
	return n, explain(err)
}

// Close implements journal.Store.
func (s *Store) Close() error {
	s.batches.all.Wait()
	return s.db.Close()
}

// advice is what an operator can do about an error, by SQLSTATE.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var advice = map[string]string{
	"28000": "refuses the login: check user and password, and its pg_hba.conf",
	"28P01": "refuses the login: check user and password",
	"3D000": "has no database of that name: create it, or write the name of another",
	"3F000": "has no schema that the user may use: GRANT CREATE, USAGE ON SCHEMA public TO the user, or on that of the search_path",
	"42501": "does not let the user make or use the tables: GRANT CREATE, USAGE ON SCHEMA public TO the user, or on that of the search_path",
	"42P01": "no longer has the journal's tables: restart Caddy to create them",
	"25006": "is read-only: write the address of the primary server",
	"53100": "has no room on its disk: make room",
	"53200": "is out of memory: give it more, or less to do",
	"53300": "has no connection left: raise its max_connections",
	"57014": "did not answer in time: it is overloaded, or somebody holds locks on the journal's tables",
	"57P01": "is being shut down: start it",
	"57P02": "has crashed: look into its log",
	"57P03": "is not ready: wait until it has started",
}

// explain returns an error that says what an operator can do, without the address.
func explain(err error) error {
	if err == nil || errors.Is(err, block.ErrFull) {
		return err
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
	return errors.New(database + "broke the connection: look into its log")
}

package users

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// SQL reads users from a database. It is safe for concurrent use. If the database fails, only users
// that were found within Keep and Stale are admitted.
type SQL struct {
	DB    *sql.DB
	Query *Query
	// Realm is the realm of HA1 hashes in rows without a realm.
	Realm string
	// Timeout bounds one query.
	Timeout time.Duration
	// Keep is the time for which a cached row is valid. Stale is the additional time for which
	// it is used while the database does not answer.
	Keep, Stale time.Duration
	// Unencodable reports whether a query failed because the database cannot encode a name.
	Unencodable func(error) bool
	// Read makes an account from a row.
	Read func(Row) (Account, error)
	// Report is called with the error if a query fails. The error contains nothing of a
	// credential.
	Report func(error)

	checker
	found    *cache.Remote[string, *account] // an account is empty if no user has the name
	failures throttledReport

	references atomic.Int32
	mu         sync.Mutex
	statement  *sql.Stmt
}

// Row contains the columns of one row of the query.
type Row struct {
	Answer
	Passwords []string
}

var _ Users = (*SQL)(nil)

// typicalHash is a bcrypt hash of cost 10, as most systems make them.
const typicalHash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

// Start prepares for use and opens no connection. The cost of the database's hashes is learned from
// the rows that are read. The caller must call Release once.
func (s *SQL) Start() {
	s.Acquire()
	s.defaultDecoy = []hash{bcryptHash(typicalHash)}
	s.found = cache.NewRemote[string](cacheSize, func(a *account) bool { return a.user == nil })
	s.start()
}

// WithoutProof implements ProofSupport: rows are unknown before a user is looked up.
func (*SQL) WithoutProof() int { return 0 }

// Acquire adds a reference that Release drops.
func (s *SQL) Acquire() { s.references.Add(1) }

// Release drops a reference and closes the database with the last one.
func (s *SQL) Release() error {
	if s.references.Add(-1) > 0 {
		return nil
	}
	return s.DB.Close()
}

// Authenticate implements Users. As in a List, a blank in the secret also counts as a +. A token
// without a name is denied.
func (s *SQL) Authenticate(ctx context.Context, c Credential) (*User, error) {
	secret, name := c.Secret.Reveal(), userAndDomain(c.User)
	if name == "" || len(name) > maxSecret || !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\uFFFD") || c.Proof == nil && (secret == "" || len(secret) > maxSecret) {
		return nil, ErrDenied
	}
	entry, err := s.find(name, s.Keep)
	if err != nil {
		return nil, err
	}
	var user *User
	if c.Proof != nil {
		user, err = entry.verifyProof(c.Proof)
	} else {
		user, err = c.tryForms(func(secret string) (*User, error) { return s.check(ctx, &c, entry, name, secret, digest{}) })
	}
	if entry.user == nil && err == ErrDenied && s.Query.asksDomain() && !strings.Contains(name, "@") {
		err = ErrNoDomain
	}
	if errors.Is(err, ErrDenied) && s.found.Down() { // a user who is not cached must not get "wrong password"
		if _, _ = s.find(name, 0); s.found.Down() {
			err = errors.Join(err, ErrUnavailable)
		}
	}
	return user, err
}

// Find implements Finder.
func (s *SQL) Find(name string) (*User, error) {
	entry, err := s.find(userAndDomain(name), s.Keep)
	if err != nil {
		return nil, err
	}
	return entry.user, nil
}

// find returns the account of a name. An account that was read within keep is not read again.
func (s *SQL) find(name string, keep time.Duration) (*account, error) {
	lifetime := func(a *account) (fresh, stale time.Duration) {
		if a.user == nil {
			return min(keepDenied, keep), 0
		}
		return keep, s.Keep + s.Stale - keep
	}
	entry, err := s.found.Get(context.Background(), name, lifetime, func() (*account, error) {
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		entry, err := s.query(ctx, name)
		if err != nil {
			s.failures.Report(err, s.Report)
		}
		return entry, err
	})
	if err != nil {
		return nil, ErrUnavailable
	}
	return entry, nil
}

// query runs the query for one name.
func (s *SQL) query(ctx context.Context, name string) (*account, error) {
	statement, err := s.prepared(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := statement.QueryContext(ctx, s.Query.arguments(name)...)
	if err != nil {
		return s.refused(name, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, failure(err)
	}
	if err := checkColumns(columns); err != nil {
		return nil, err
	}
	var all Account
	var first map[string]string
	for count := 0; rows.Next(); count++ {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, errors.New("a column of the query is no text")
		}
		said := make(map[string]string, len(columns))
		for i, c := range columns {
			said[c] = strings.TrimSpace(values[i].String)
		}
		next, err := s.account(said)
		switch {
		case err != nil:
			return nil, err
		case count == 0:
			all, first = next, said
		case next.Name != all.Name:
			return nil, fmt.Errorf("the query finds more than one user, such as %s and %s", all.Name, next.Name)
		case count == maxRows:
			return nil, fmt.Errorf("the query finds more than %d rows", maxRows)
		}
		if count == 0 {
			continue
		}
		for _, c := range []string{"groups", "region", "limits", "allow", "deny", "receive"} {
			if said[c] != first[c] {
				return nil, fmt.Errorf("user %s: the rows differ in %s; only secrets and from may be in several", all.Name, c)
			}
		}
		all.NumberProblem = cmp.Or(all.NumberProblem, next.NumberProblem)
		all.Passwords, all.HA1, all.Numbers = union(all.Passwords, next.Passwords), union(all.HA1, next.HA1), union(all.Numbers, next.Numbers)
		all.Receive = union(all.Receive, next.Receive)
		if len(all.Passwords)+len(all.HA1) > maxSecretsPerUser {
			return nil, fmt.Errorf("user %s has more than %d secrets", all.Name, maxSecretsPerUser)
		}
	}
	if err := rows.Err(); err != nil {
		return s.refused(name, err)
	}
	if all.Name == "" || len(all.Passwords)+len(all.HA1) == 0 {
		return new(account), nil
	}
	entry, err := s.newAccount(all)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", all.Name, err)
	}
	return entry, nil
}

const (
	// maxRows is the maximum number of rows of one user. Several rows can give a user several
	// secrets or numbers.
	maxRows = 64

	// maxSecretsPerUser is the maximum number of secrets of one user, because checking each may be
	// slow.
	maxSecretsPerUser = 4
)

// union appends the values of more that list does not contain.
func union[T comparable](list, more []T) []T {
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// refused handles a query that failed for a name. It returns an empty account if the database
// cannot encode the name, because then no user has that name. For an ASCII name it returns an
// error: every database can encode ASCII, so the query itself is wrong.
func (s *SQL) refused(name string, err error) (*account, error) {
	if s.Unencodable(err) && strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return new(account), nil
	}
	return nil, failure(err)
}

// failure returns the error to report for a failed query. It is noAnswer only if the
// connection failed or the query timed out. It never contains the database's own message, which may
// quote the name: people type passwords into that field.
func failure(err error) error {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return noAnswer(errors.New("the connection broke, or the query took too long"))
	}
	return errors.New("the database refuses the query for some names; try it with a name by hand, such as one that is no number")
}

// prepared returns the statement and prepares it at the first call. database/sql prepares the
// statement again on new connections.
func (s *SQL) prepared(ctx context.Context) (*sql.Stmt, error) {
	s.mu.Lock()
	statement := s.statement
	s.mu.Unlock()
	if statement != nil {
		return statement, nil
	}
	statement, err := s.DB.PrepareContext(ctx, s.Query.text)
	if err != nil { // the error cannot quote a name
		return nil, noAnswer(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.statement != nil { // a concurrent call was faster
		_ = statement.Close()
		return s.statement, nil
	}
	s.statement = statement
	return statement, nil
}

// sqlColumns are the columns that a query may return.
var sqlColumns = []string{"name", "password", "ha1", "realm", "from", "groups", "region", "limits", "allow", "deny"}

// checkColumns refuses unknown columns, because a misspelled column may be a restriction.
func checkColumns(columns []string) error {
	for i, c := range columns {
		if !slices.Contains(sqlColumns, c) || slices.Contains(columns[:i], c) {
			if slices.Contains(columns[:i], c) && slices.Contains(sqlColumns, c) {
				return fmt.Errorf("the query gives the column %s twice", c)
			}
			return errors.New("the query: " + suggest.Unknown("column", c, sqlColumns) + "; write SELECT … AS name")
		}
	}
	if !slices.Contains(columns, "name") || !slices.Contains(columns, "password") && !slices.Contains(columns, "ha1") {
		return errors.New("the query has to give name, always in the same writing, and password or ha1: write SELECT … AS name, … AS password")
	}
	return nil
}

// account makes an account from the columns of one row.
func (s *SQL) account(said map[string]string) (Account, error) {
	several := func(column string) []string {
		return strings.FieldsFunc(said[column], func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '\n' || r == '\t' })
	}
	row := Row{Answer: Answer{
		User: said["name"], Region: said["region"], From: several("from"), Groups: several("groups"), Allow: several("allow"), Deny: several("deny"),
		Receive: several("receive"),
	}}
	for limit := range strings.SplitSeq(said["limits"], ";") {
		if limit = strings.TrimSpace(limit); limit != "" {
			row.Limits = append(row.Limits, limit)
		}
	}
	if said["password"] != "" {
		row.Passwords = []string{said["password"]}
	}
	account, err := s.Read(row)
	if err != nil {
		return account, fmt.Errorf("user %s: %w", row.User, err)
	}
	if sum := said["ha1"]; sum != "" {
		h, err := ParseHA1(sum, cmp.Or(said["realm"], s.Realm))
		if err != nil {
			return account, fmt.Errorf("user %s: %w", row.User, err)
		}
		account.HA1 = append(account.HA1, h)
	}
	return account, nil
}

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

	"golang.org/x/sync/singleflight"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
)

// SQL knows the users of a database. It is safe for concurrent use. Whatever goes wrong, nobody is admitted, but for those
// it knew a short while ago.
type SQL struct {
	DB    *sql.DB
	Query *Query
	// Realm is that of HA1 hashes where the query gives none.
	Realm string
	// Timeout is for one query.
	Timeout time.Duration
	// Keep is how long what it found counts, Stale how much longer while the database gives no answer.
	Keep, Stale time.Duration
	// Unwritable reports whether the database failed because it has no characters for a name.
	Unwritable func(error) bool
	// Read makes an account of what the database says of a user.
	Read func(Row) (Account, error)
	// Report is told why there was no answer. Nothing of a credential is in it.
	Report func(error)

	checker
	found  *recent.Table[string, foundRow]
	asking singleflight.Group
	teller teller

	holders   atomic.Int32
	mu        sync.Mutex
	statement *sql.Stmt
	silent    bool      // the database gave no answer when it was asked last
	down      time.Time // until when it is left alone then
}

// Row is what a query says of a user.
type Row struct {
	Answer
	Passwords []string
}

// foundRow is what a query said of a name: an empty account if there is nobody of that name.
type foundRow struct {
	entry        *account
	until, stale time.Time
}

var _ Users = (*SQL)(nil)

// usual is a hash as most systems make them.
const usual = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

// Start makes it ready, and opens no connection. What the hashes of the database cost is learned from those that come. It has one
// holder.
func (s *SQL) Start() {
	s.Hold()
	s.guess = []hash{bcryptHash(usual)}
	s.found = recent.NewTable[string, foundRow](mostAnswers)
	s.start()
}

// Unprovable implements Provable: what stands in the database is not known before somebody comes.
func (*SQL) Unprovable() int { return 0 }

// Hold keeps the database open until Release.
func (s *SQL) Hold() { s.holders.Add(1) }

// Release ends a hold, and closes all connections with the last.
func (s *SQL) Release() error {
	if s.holders.Add(-1) > 0 {
		return nil
	}
	return s.DB.Close()
}

// Authenticate implements Users. As in a List, a blank in the secret also counts as a +. A token without a name is nobody's.
func (s *SQL) Authenticate(ctx context.Context, c Credential) (*User, error) {
	secret, name := c.Secret.Reveal(), userAndDomain(c.User)
	if name == "" || len(name) > maxSecret || !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\uFFFD") || c.Proof == nil && (secret == "" || len(secret) > maxSecret) {
		return nil, ErrDenied
	}
	entry, err := s.find(name)
	if err != nil {
		return nil, err
	}
	var user *User
	if c.Proof != nil {
		user, err = entry.prove(c.Proof)
	} else {
		user, err = c.tries(func(secret string) (*User, error) { return s.check(ctx, &c, entry, name, secret, digest{}) })
	}
	if errors.Is(err, ErrDenied) && s.isSilent() { // then whoever was not here lately is told that there is no answer
		if _, _ = s.ask(name); s.isSilent() {
			err = errors.Join(err, ErrUnavailable)
		}
	}
	return user, err
}

func (s *SQL) isSilent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silent
}

// isDown reports whether the database gave no answer a moment ago.
func (s *SQL) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.down)
}

// Find implements Finder.
func (s *SQL) Find(name string) (*User, error) {
	entry, err := s.find(userAndDomain(name))
	if err != nil {
		return nil, err
	}
	return entry.user, nil
}

// find answers from memory, or asks. All who ask for the same name at once share one answer.
func (s *SQL) find(name string) (*account, error) {
	if row, ok := s.found.Get(name); ok && time.Now().Before(row.until) {
		return row.entry, nil
	}
	entry, err, _ := s.asking.Do(name, func() (any, error) { return s.ask(name) })
	return entry.(*account), err
}

// ask asks the database, unless it gave no answer a moment ago, and remembers what it says.
func (s *SQL) ask(name string) (*account, error) {
	var entry *account
	err := errSilent
	down := s.isDown()
	if !down {
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		if entry, err = s.look(ctx, name); err != nil {
			s.teller.tell(err, s.Report)
		}
		if !errors.Is(err, errSilent) {
			s.mu.Lock()
			s.silent = false
			s.mu.Unlock()
		}
	}
	now := time.Now()
	switch {
	case err == nil && entry.user == nil:
		s.found.Put(name, foundRow{entry, now.Add(min(keepDenied, s.Keep)), now})
		return entry, nil
	case err == nil:
		s.found.Put(name, foundRow{entry, now.Add(s.Keep), now.Add(s.Keep + s.Stale)})
		return entry, nil
	case !errors.Is(err, errSilent):
		return entry, ErrUnavailable
	case !down:
		s.mu.Lock()
		s.silent, s.down = true, now.Add(pause)
		s.mu.Unlock()
	}
	if row, ok := s.found.Get(name); ok && now.Before(row.stale) {
		return row.entry, nil
	}
	return entry, ErrUnavailable
}

// look asks for one name.
func (s *SQL) look(ctx context.Context, name string) (*account, error) {
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
		case count == mostRows:
			return nil, fmt.Errorf("the query finds more than %d rows", mostRows)
		}
		if count == 0 {
			continue
		}
		for _, c := range []string{"groups", "region", "limits", "allow", "deny"} {
			if said[c] != first[c] {
				return nil, fmt.Errorf("user %s: the rows differ in %s; only secrets and from may be in several", all.Name, c)
			}
		}
		all.Passwords, all.HA1, all.Numbers = union(all.Passwords, next.Passwords), union(all.HA1, next.HA1), union(all.Numbers, next.Numbers)
		if len(all.Passwords)+len(all.HA1) > mostSecrets {
			return nil, fmt.Errorf("user %s has more than %d secrets", all.Name, mostSecrets)
		}
	}
	if err := rows.Err(); err != nil {
		return s.refused(name, err)
	}
	if all.Name == "" || len(all.Passwords)+len(all.HA1) == 0 {
		return new(account), nil
	}
	return s.entry(all)
}

const (
	// mostRows is how many rows a user may have: for two secrets at once, or a number in each.
	mostRows = 64

	// mostSecrets is how many secrets that may be, since each may take long to try.
	mostSecrets = 4
)

// union adds what is not there yet.
func union[T comparable](list, more []T) []T {
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// refused is what there is of a name for which the query failed: nobody, if the database cannot even write it. Every database
// can write ASCII, so that then the query itself is at fault.
func (s *SQL) refused(name string, err error) (*account, error) {
	if s.Unwritable(err) && strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return new(account), nil
	}
	return nil, failure(err)
}

// failure says why a query failed. Only if the connection did, the database gave no answer; what it says of a query may
// quote the name, which people type passwords into, so that it is not told.
func failure(err error) error {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the connection broke, or the query took too long", errSilent)
	}
	return errors.New("the database refuses the query for some names; try it with a name by hand, such as one that is no number")
}

// prepared is the statement, prepared when it is needed first. database/sql prepares it again on new connections.
func (s *SQL) prepared(ctx context.Context) (*sql.Stmt, error) {
	s.mu.Lock()
	statement := s.statement
	s.mu.Unlock()
	if statement != nil {
		return statement, nil
	}
	statement, err := s.DB.PrepareContext(ctx, s.Query.text)
	if err != nil { // it knows nothing of a name
		return nil, fmt.Errorf("%w: %w", errSilent, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.statement != nil { // somebody else was faster
		_ = statement.Close()
		return s.statement, nil
	}
	s.statement = statement
	return statement, nil
}

// sqlColumns are what a query may say of a user.
var sqlColumns = []string{"name", "password", "ha1", "realm", "from", "groups", "region", "limits", "allow", "deny"}

// checkColumns refuses what is not known: a misspelled column may be a restriction.
func checkColumns(columns []string) error {
	for i, c := range columns {
		if !slices.Contains(sqlColumns, c) || slices.Contains(columns[:i], c) {
			return fmt.Errorf("the query gives the column %q, or gives it twice; it may give %s: write SELECT … AS name", c, strings.Join(sqlColumns, ", "))
		}
	}
	if !slices.Contains(columns, "name") || !slices.Contains(columns, "password") && !slices.Contains(columns, "ha1") {
		return errors.New("the query has to give name, always in the same writing, and password or ha1: write SELECT … AS name, … AS password")
	}
	return nil
}

// account reads what one row says.
func (s *SQL) account(said map[string]string) (Account, error) {
	several := func(column string) []string {
		return strings.FieldsFunc(said[column], func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '\n' || r == '\t' })
	}
	row := Row{Answer: Answer{
		User: said["name"], Region: said["region"], From: several("from"), Groups: several("groups"), Allow: several("allow"), Deny: several("deny"),
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

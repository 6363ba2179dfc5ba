// Package block matches users that the operator has blocked, by any form of their names, on one
// site or on all sites.
//
// It stores nothing. Package journal stores blocks and provides the Set that messages are checked
// against. A Set is immutable, so that it is safe for concurrent use.
package block

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

// Max is the maximum number of blocks.
const Max = 10_000

// The longest accepted user and host names, in bytes.
// https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
const (
	maxUserLength = 256
	maxHostLength = 255
)

// ErrFull is returned if there are Max blocks already.
var ErrFull = fmt.Errorf("there are %d blocks already: unblock some, or deny all", Max)

// Block blocks one user on one site or on all sites.
type Block struct {
	// User is the name in lower case, without the suffix that an app adds after the domain. A
	// name without a domain matches any domain.
	User string `json:"user"`
	// Host is the host of the site, empty for all sites.
	Host string `json:"host,omitempty"`
	// Since is the time when the block was made.
	Since time.Time `json:"since"`
}

// New makes a block of a user on the site of a host, or on every site if host is empty.
func New(user, host string, since time.Time) (Block, error) {
	names := users.CandidateNames(strings.ToLower(user))
	b := Block{User: names[max(0, len(names)-2)], Host: Host(host), Since: since}
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	switch {
	case b.User == "" || b.User[0] == '@':
		return b, errors.New("user is empty")
	case len(user) > maxUserLength || strings.ContainsFunc(user, bad):
		return b, fmt.Errorf("user has more than %d bytes, or characters that no name has", maxUserLength)
	case b.Host == "" && host != "", len(b.Host) > maxHostLength, strings.ContainsFunc(b.Host, bad), strings.ContainsAny(host, "/ @?#"):
		return b, errors.New("host is the name of a site alone, such as sms.example.com")
	}
	return b, nil
}

// Host returns the canonical form of a host: in lower case, in ASCII and without a port, because
// instances of one site may listen on different ports.
func Host(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return host
}

// Set contains all blocks. The zero value is empty.
type Set struct {
	all  []Block
	find map[key]struct{}
}

// key finds a block.
type key struct {
	name, host string
	bare       bool // matches only user names without a domain
}

// NewSet makes a set of blocks.
func NewSet(blocks []Block) *Set {
	s := &Set{all: slices.Clone(blocks), find: make(map[key]struct{}, len(blocks))}
	for _, b := range blocks {
		s.find[key{name: b.User, host: b.Host}] = struct{}{}
		if bare, _, has := strings.Cut(b.User, "@"); has { // the app may add a domain that the user's name does not have
			s.find[key{name: bare, host: b.Host, bare: true}] = struct{}{}
		}
	}
	return s
}

// All returns the blocks.
func (s *Set) All() []Block { return s.all }

// Blocks reports whether a user is blocked on the site of a host. Any form of the user's name and
// of the host matches. With an empty set it allocates nothing.
func (s *Set) Blocks(user, host string) bool {
	if s == nil || len(s.find) == 0 {
		return false
	}
	names, host := users.CandidateNames(strings.ToLower(user)), Host(host)
	for _, name := range names {
		if s.has(key{name: name}, host) {
			return true
		}
	}
	return len(names) == 1 && s.has(key{name: names[0], bare: true}, host)
}

func (s *Set) has(k key, host string) bool {
	if _, is := s.find[k]; is {
		return true
	}
	k.host = host
	_, is := s.find[k]
	return is
}

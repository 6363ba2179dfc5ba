package users

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxKeys is how many bytes a JWKS has at most.
	maxKeys = 256 << 10

	// keyTimeout is for fetching one.
	keyTimeout = 5 * time.Second

	// A JWKS is kept for as long as its server says, within these bounds, or for usualKeys.
	leastKeys, usualKeys, mostKeys = 5 * time.Minute, time.Hour, 24 * time.Hour

	// keyPause is how long a server is left alone after it was asked for a key that nobody knows, or gave no answer.
	keyPause = time.Minute

	// staleKeys is how much longer keys are kept while their server gives no answer.
	staleKeys = 24 * time.Hour
)

// Keys gives the keys for tokens.
type Keys interface {
	// Get returns the keys that there are. id is of a key that has to be among them, if it is not empty: for one that is
	// not known they may be fetched anew. The error is ErrUnavailable.
	Get(ctx context.Context, id string, now time.Time) (*KeySet, error)
}

// KeyFile are the keys of a file, which is read again when it has changed.
type KeyFile struct{ watched[KeySet] }

// OpenKeyFile reads the keys of a file. report is as in OpenFile.
func OpenKeyFile(path string, report func(error)) (*KeyFile, error) {
	f := &KeyFile{watched[KeySet]{path: path, parse: ParseKeys, report: report}}
	return f, f.read()
}

// Get implements Keys.
func (f *KeyFile) Get(_ context.Context, _ string, now time.Time) (*KeySet, error) {
	f.look(now)
	return f.watched.now.Load(), nil
}

// KeyURL are the keys of a server. They are fetched when the first token comes.
type KeyURL struct {
	Transport http.RoundTripper
	URL       string
	// Report is told why there are no new keys.
	Report func(error)

	fetching singleflight.Group

	mu          sync.Mutex
	keys        *KeySet
	until       time.Time // when they are to be fetched again
	stale       time.Time // when they no longer count
	asked, down time.Time // when the server may be asked for an unknown key, and asked at all
}

// Get implements Keys. One asks the server, for all who need the answer.
func (u *KeyURL) Get(ctx context.Context, id string, now time.Time) (*KeySet, error) {
	keys, needed := u.state(id, now)
	if needed {
		_, _, _ = u.fetching.Do("", func() (any, error) {
			u.renew(ctx, now)
			return nil, nil
		})
		keys, _ = u.state(id, now)
	}
	if keys == nil {
		return nil, ErrUnavailable
	}
	return keys, nil
}

// state is the keys that count now, and whether the server has to be asked.
func (u *KeyURL) state(id string, now time.Time) (keys *KeySet, needed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys != nil && now.Before(u.stale) {
		keys = u.keys
	}
	needed = keys == nil || !now.Before(u.until) || !keys.has(id) && !now.Before(u.asked)
	return keys, needed && !now.Before(u.down)
}

// renew asks the server. What it says counts, and what it does not say does not: the old keys stay for a while then.
func (u *KeyURL) renew(ctx context.Context, now time.Time) {
	keys, age, err := u.fetch(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = now.Add(keyPause)
	if err != nil {
		u.down = now.Add(keyPause)
		u.Report(err)
		return
	}
	u.keys, u.until, u.stale = keys, now.Add(age), now.Add(age+staleKeys)
}

// fetch asks the server for the keys, and for how long they are good. It does not end with the context of whoever asked.
func (u *KeyURL) fetch(ctx context.Context) (*KeySet, time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL, nil)
	if err != nil {
		return nil, 0, errors.New("the address is no URL")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "caddy-acrobits-sms")
	reply, err := u.Transport.RoundTrip(r)
	if err != nil {
		return nil, 0, fmt.Errorf("no answer: %w", err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(io.LimitReader(reply.Body, maxKeys+1))
	switch {
	case err != nil:
		return nil, 0, errors.New("the answer broke off")
	case reply.StatusCode != http.StatusOK:
		return nil, 0, fmt.Errorf("the answer has status %d, not 200", reply.StatusCode)
	case len(data) > maxKeys:
		return nil, 0, errors.New("the answer is too long")
	}
	keys, err := ParseKeys(data)
	return keys, maxAge(reply.Header), err
}

// maxAge is for how long an answer may be kept.
func maxAge(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if age, is := strings.CutPrefix(strings.ToLower(strings.TrimSpace(directive)), "max-age="); is {
			if seconds, err := strconv.Atoi(age); err == nil {
				return min(max(time.Duration(min(max(seconds, 0), 1<<30))*time.Second, leastKeys), mostKeys)
			}
		}
	}
	return usualKeys
}

package users

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

const (
	// maxKeys is the maximum size of a JWKS in bytes.
	maxKeys = 256 << 10

	// keyTimeout bounds the fetch of a JWKS.
	keyTimeout = 5 * time.Second

	// A JWKS is kept for the max-age of its Cache-Control header, between leastKeys and
	// mostKeys, or for usualKeys without max-age.
	leastKeys, usualKeys, mostKeys = 5 * time.Minute, time.Hour, 24 * time.Hour

	// keyPause is the time without requests for unknown keys after a fetch, and without any
	// requests after a failed one.
	keyPause = time.Minute

	// staleKeys is the additional time for which keys are used while their server does not
	// answer.
	staleKeys = 24 * time.Hour
)

// Keys provides the keys that verify tokens.
type Keys interface {
	// Get returns the current keys. id is the id of the needed key, or empty. The keys may be
	// fetched again if none of them has the id. The error is ErrUnavailable.
	Get(ctx context.Context, id string, now time.Time) (*KeySet, error)
}

// KeyFile contains the keys of a file. The file is read again when it has changed.
type KeyFile struct{ watched[KeySet] }

// OpenKeyFile reads the keys of a file. report is as in OpenFile.
func OpenKeyFile(path string, report func(error)) (*KeyFile, error) {
	f := &KeyFile{watched[KeySet]{path: path, parse: ParseKeys, report: report}}
	return f, f.read()
}

// Get implements Keys.
func (f *KeyFile) Get(_ context.Context, _ string, now time.Time) (*KeySet, error) {
	f.reloadIfChanged(now)
	return f.watched.current.Load(), nil
}

// KeyURL contains the keys of a server. They are fetched when the first token arrives.
type KeyURL struct {
	Transport http.RoundTripper
	URL       string
	// Report is called with the error if the keys cannot be fetched.
	Report func(error)

	fetching singleflight.Group

	mu          sync.Mutex
	keys        *KeySet
	until       time.Time // when keys are fetched again
	stale       time.Time // when keys are no longer used
	asked, down time.Time // no requests for unknown keys before asked, no requests at all before down
}

// Get implements Keys. Concurrent calls share one request to the server.
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

// state returns the keys that are valid now, and whether keys must be fetched.
func (u *KeyURL) state(id string, now time.Time) (keys *KeySet, needed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys != nil && now.Before(u.stale) {
		keys = u.keys
	}
	needed = keys == nil || !now.Before(u.until) || !keys.has(id) && !now.Before(u.asked)
	return keys, needed && !now.Before(u.down)
}

// renew fetches the keys and replaces the previous ones. If the fetch fails, the previous keys stay
// until stale.
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

// fetch requests the keys from the server and returns them with the time for which they may be
// kept. The request goes on if the caller's context ends, because other callers may wait for it.
func (u *KeyURL) fetch(ctx context.Context) (*KeySet, time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL, nil)
	if err != nil {
		return nil, 0, errors.New("the address is no URL")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "caddy-acrobits-sms")
	reply, err := roundtrip.Do(u.Transport, r, nil, maxKeys)
	if err != nil {
		return nil, 0, fmt.Errorf("no answer: %w", err)
	}
	switch {
	case reply.Err != nil && reply.Err != roundtrip.ErrTooLong:
		return nil, 0, errors.New("the answer broke off")
	case reply.Status != http.StatusOK:
		return nil, 0, fmt.Errorf("the answer has status %d, not 200", reply.Status)
	case reply.Err != nil:
		return nil, 0, errors.New("the answer is too long")
	}
	keys, err := ParseKeys(reply.Body)
	return keys, maxAge(reply.Header), err
}

// maxAge returns the time for which a reply may be kept.
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

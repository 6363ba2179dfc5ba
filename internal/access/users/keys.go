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

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

const (
	// maxKeys is the maximum size of a JWKS in bytes.
	maxKeys = 256 << 10

	// keyTimeout bounds the fetch of a JWKS.
	keyTimeout = 5 * time.Second

	// A JWKS is kept for the max-age of its Cache-Control header, between minKeyAge and
	// maxKeyAge, or for defaultKeyAge without max-age.
	minKeyAge, defaultKeyAge, maxKeyAge = 5 * time.Minute, time.Hour, 24 * time.Hour

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

	once  sync.Once
	cache *cache.Remote[struct{}, fetchedKeys]
}

// fetchedKeys are keys with the time for which their server lets them be kept.
type fetchedKeys struct {
	*KeySet
	age time.Duration
}

// Get implements Keys. Concurrent calls share one request to the server, which goes on if the
// caller's context ends.
func (u *KeyURL) Get(ctx context.Context, id string, _ time.Time) (*KeySet, error) {
	u.once.Do(func() {
		u.cache = cache.NewRemote[struct{}](1, func(fetchedKeys) bool { return false })
	})
	lifetime := func(k fetchedKeys) (fresh, stale time.Duration) {
		if fresh = k.age; !k.has(id) {
			fresh = keyPause
		}
		return fresh, k.age + staleKeys - fresh
	}
	ctx = context.WithoutCancel(ctx)
	keys, err := u.cache.Get(ctx, struct{}{}, lifetime, func() (fetchedKeys, error) {
		keys, age, err := u.fetch(ctx)
		if err != nil {
			u.Report(err)
			err = &cache.Failure{Err: err, Pause: keyPause}
		}
		return fetchedKeys{keys, age}, err
	})
	if err != nil {
		return nil, ErrUnavailable
	}
	return keys.KeySet, nil
}

// fetch requests the keys from the server and returns them with the time for which they may be
// kept.
func (u *KeyURL) fetch(ctx context.Context) (*KeySet, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
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
				return min(max(time.Duration(min(max(seconds, 0), 1<<30))*time.Second, minKeyAge), maxKeyAge)
			}
		}
	}
	return defaultKeyAge
}

package media

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Storage is the part of Caddy's storage that a Store needs. Load of an unknown key returns
// fs.ErrNotExist, and so may List.
type Storage interface {
	Store(ctx context.Context, key string, value []byte) error
	Load(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, prefix string, recursive bool) ([]string, error)
}

const (
	// root is the folder of all files. Below it are the hour of expiry, in UTC, and the SHA-256
	// of the token.
	root       = "acrobits_sms/media"
	hourFormat = "2006010215"
	pieceSize  = 256<<10 - 16 // bytes; AES-GCM adds 16
	tokenSize  = 4 + 16       // bytes: expiry in seconds since 1970, and a random part of 128 bits
	// countEvery bounds how often the space in use is counted. Other instances may store files
	// in the meantime, so the space may be exceeded by what they store in this time.
	countEvery = time.Minute
	// sizeMark begins the key whose name has the number of bytes below the same token. fetchedMark
	// is a key that exists once a file was fetched, from any instance.
	sizeMark    = "size-"
	fetchedMark = "fetched"
)

// Store stores files until they expire. Their names and contents can be read only with the token.
type Store struct {
	storage Storage
	space   int64

	mu      sync.Mutex
	used    int64
	counted time.Time
}

// NewStore makes a store. All its files together have at most space bytes, 0 for no bound.
func NewStore(s Storage, space int64) *Store { return &Store{storage: s, space: space} }

// entry describes a stored file.
type entry struct {
	Type string `json:"type"`
	Size int64  `json:"size"`
}

// Token gives access to the files that are stored together.
type Token struct {
	secret  []byte
	entries []entry
}

// String returns REDACTED.
func (Token) String() string { return "REDACTED" }

// Path returns the end of the URL of a file, counted from 1: TOKEN/N.EXT.
func (t Token) Path(n int) sms.Hidden {
	ending := cmp.Or(extensions[t.entries[n-1].Type], "bin")
	return sms.Hide(fmt.Sprintf("%s/%d.%s", base64.RawURLEncoding.EncodeToString(t.secret), n, ending))
}

// Name returns the name of a file, counted from 1: N.EXT.
func (t Token) Name(n int) string { return path.Base(t.Path(n).Reveal()) }

// Link returns the end of the URL of the page that shows all files: TOKEN.
func (t Token) Link() sms.Hidden { return sms.Hide(base64.RawURLEncoding.EncodeToString(t.secret)) }

// LinkLength is the number of characters of a Link.
var LinkLength = base64.RawURLEncoding.EncodedLen(tokenSize)

// folder returns the keys' common prefix.
func (t Token) folder() string {
	sum := sha256.Sum256(t.secret)
	return path.Join(root, t.hour().Format(hourFormat), hex.EncodeToString(sum[:]))
}

func (t Token) expiry() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint32(t.secret)), 0).UTC()
}

// hour is the first full hour at which the files have expired.
func (t Token) hour() time.Time { return t.expiry().Add(time.Hour - time.Second).Truncate(time.Hour) }

// cipher returns the cipher of a token. A key encrypts the pieces of a token only, each with a nonce
// of its own.
func (t Token) cipher() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, t.secret, nil, "acrobits_sms media 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is the number of a file and of a piece of it. The list of files is file 0.
func nonce(file, piece int) []byte {
	n := binary.BigEndian.AppendUint32(make([]byte, 0, 12), uint32(file))
	return binary.BigEndian.AppendUint64(n, uint64(piece))
}

func pieceKey(folder string, file, piece int) string {
	return path.Join(folder, strconv.Itoa(file)+"."+strconv.Itoa(piece))
}

// Put stores files for a time. The files stay open.
func (s *Store) Put(ctx context.Context, files []*File, keep time.Duration) (Token, *sms.Refusal) {
	t, total := Token{secret: make([]byte, tokenSize)}, int64(0)
	binary.BigEndian.PutUint32(t.secret, uint32(time.Now().Add(keep).Unix()))
	_, _ = rand.Read(t.secret[4:])
	for _, f := range files {
		t.entries = append(t.entries, entry{f.Type, f.Size})
		total += f.Size
	}
	switch full, err := s.reserve(ctx, total); {
	case err != nil:
		return Token{}, noStorage(err)
	case full:
		return Token{}, sms.RefuseAs(sms.Internal, sms.FileSpace)
	}
	if err := s.put(ctx, t, files, total); err != nil {
		_ = s.Remove(ctx, t)
		return Token{}, noStorage(err)
	}
	return t, nil
}

// removeTimeout bounds the removal of the files of a message.
const removeTimeout = 10 * time.Second

// Remove removes the files of a token before they expire. It ignores the end of ctx, so that a
// request's end does not leave pieces behind.
func (s *Store) Remove(ctx context.Context, t Token) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	err := s.remove(clean, t.folder())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range t.entries {
		s.used -= e.Size
	}
	return err
}

// Fetched reports whether a file of a token was fetched, from any instance that shares the storage.
func (s *Store) Fetched(ctx context.Context, t Token) bool {
	_, err := s.storage.Load(ctx, path.Join(t.folder(), fetchedMark))
	return err == nil
}

// markFetched notes that a file was fetched.
func (s *Store) markFetched(ctx context.Context, folder string) {
	key := path.Join(folder, fetchedMark)
	if _, err := s.storage.Load(ctx, key); errors.Is(err, fs.ErrNotExist) {
		_ = s.storage.Store(ctx, key, []byte("1"))
	}
}

func (s *Store) put(ctx context.Context, t Token, files []*File, total int64) error {
	seal, err := t.cipher()
	if err != nil {
		return err
	}
	folder := t.folder()
	if err := s.storage.Store(ctx, path.Join(folder, sizeMark+strconv.FormatInt(total, 10)), []byte("1")); err != nil {
		return err
	}
	list, _ := json.Marshal(t.entries)
	plain, sealed := make([]byte, pieceSize), []byte(nil)
	for i := range len(files) + 1 {
		r := io.Reader(bytes.NewReader(list))
		if i > 0 {
			r = files[i-1].Reader()
		}
		for piece := 0; ; piece++ {
			n, err := io.ReadFull(r, plain)
			if n == 0 && piece > 0 && err == io.EOF {
				break
			}
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return err
			}
			sealed = seal.Seal(make([]byte, 0, n+16), nonce(i, piece), plain[:n], nil) // storage may keep it
			if err := s.storage.Store(ctx, pieceKey(folder, i, piece), sealed); err != nil {
				return err
			}
			if n < pieceSize {
				break
			}
		}
	}
	return nil
}

// reserve adds a size to the space in use, unless it exceeds the bound.
func (s *Store) reserve(ctx context.Context, size int64) (full bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.space > 0 && time.Since(s.counted) >= countEvery {
		if s.used, err = s.count(ctx); err != nil {
			return false, err
		}
		s.counted = time.Now()
	}
	if s.space > 0 && s.used+size > s.space {
		return true, nil
	}
	s.used += size
	return false, nil
}

// count adds up the sizes of all files.
func (s *Store) count(ctx context.Context) (used int64, err error) {
	keys, err := s.list(ctx, root, true)
	for _, key := range keys {
		if size, found := strings.CutPrefix(path.Base(key), sizeMark); found {
			n, _ := strconv.ParseInt(size, 10, 64)
			used += n
		}
	}
	return used, err
}

func (s *Store) list(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	keys, err := s.storage.List(ctx, prefix, recursive)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return keys, err
}

// Sweep removes the files that have expired. It is called every hour, by any number of instances.
func (s *Store) Sweep(ctx context.Context) error {
	hours, err := s.list(ctx, root, false)
	var failed []error
	for _, key := range hours {
		hour, bad := time.Parse(hourFormat, path.Base(key))
		if bad == nil && !hour.After(time.Now()) {
			failed = append(failed, s.remove(ctx, key))
		}
	}
	s.mu.Lock()
	s.counted = time.Time{}
	s.mu.Unlock()
	return errors.Join(append(failed, err)...)
}

// remove deletes all keys below a prefix, and then the prefix, which is a folder in some storages.
func (s *Store) remove(ctx context.Context, prefix string) error {
	keys, err := s.list(ctx, prefix, true)
	failed := []error{err}
	for i := len(keys) - 1; i >= 0; i-- {
		if err := s.storage.Delete(ctx, keys[i]); !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	if err := s.storage.Delete(ctx, prefix); !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func noStorage(err error) *sms.Refusal {
	refusal := sms.RefuseAs(sms.Internal, sms.FileDisk)
	refusal.Detail = "cannot write to the storage of Caddy"
	if errors.Is(err, context.DeadlineExceeded) {
		refusal.Detail += " in time"
	}
	return refusal
}

package media

import (
	"context"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrNotFound is returned for a file that is unknown, has expired or is damaged.
var ErrNotFound = errors.New("no such file")

// Blob is a stored file. It is an io.ReadSeeker that holds one piece at a time.
type Blob struct {
	// Type is the media type.
	Type string
	// Size is the number of bytes.
	Size int64

	ctx    context.Context // of the request that reads the blob
	store  *Store
	open   cipher.AEAD
	folder string
	file   int

	at    int64
	piece int
	data  []byte
}

// Open opens the file of a path as Token.Path returns it. Reads end with ctx.
func (s *Store) Open(ctx context.Context, name string) (*Blob, error) {
	token, rest, _ := strings.Cut(name, "/")
	number, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	if err != nil || strings.Trim(number, "0123456789") != "" {
		return nil, ErrNotFound
	}
	b, t, err := s.openToken(ctx, token)
	if err != nil || n < 1 || n > len(t.entries) || t.Path(n).Reveal() != name {
		return nil, ErrNotFound
	}
	b.Type, b.Size, b.file, b.piece = t.entries[n-1].Type, t.entries[n-1].Size, n, -1
	return b, nil
}

// openToken reads the list of the files of a token, as Token.Link returns it.
func (s *Store) openToken(ctx context.Context, token string) (*Blob, Token, error) {
	secret, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(secret) != tokenSize {
		return nil, Token{}, ErrNotFound
	}
	t := Token{secret: secret}
	if !time.Now().Before(t.expiry()) {
		return nil, Token{}, ErrNotFound
	}
	open, err := t.cipher()
	if err != nil {
		return nil, Token{}, ErrNotFound
	}
	b := &Blob{ctx: ctx, store: s, open: open, folder: t.folder(), piece: -1}
	list, err := b.load(0)
	if err != nil || json.Unmarshal(list, &t.entries) != nil {
		return nil, Token{}, ErrNotFound
	}
	return b, t, nil
}

// load returns a piece.
func (b *Blob) load(piece int) ([]byte, error) {
	if b.piece == piece {
		return b.data, nil
	}
	sealed, err := b.store.storage.Load(b.ctx, pieceKey(b.folder, b.file, piece))
	if err == nil {
		b.data, err = b.open.Open(nil, nonce(b.file, piece), sealed, nil)
	}
	if b.piece = piece; err != nil {
		b.piece = -1
		return nil, ErrNotFound
	}
	return b.data, nil
}

// Read implements io.Reader.
func (b *Blob) Read(p []byte) (int, error) {
	if b.at >= b.Size {
		return 0, io.EOF
	}
	data, err := b.load(int(b.at / pieceSize))
	if err != nil {
		return 0, err
	}
	from := b.at % pieceSize
	if from >= int64(len(data)) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, data[from:])
	b.at += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (b *Blob) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.Size
	}
	if offset < 0 {
		return 0, errors.New("negative offset")
	}
	b.at = offset
	return offset, nil
}

// servedType returns the type for a browser: HTML, SVG, XML and scripts are bytes like any other.
func servedType(mediaType string) string {
	if extensions[mediaType] == "" {
		return unknownType
	}
	return mediaType
}

// Serve answers a request for the file of a path, which is TOKEN/N.EXT without the address of the
// service. A path that is a TOKEN alone is that of the page that shows the files. Browsers must not
// run what they get, and nobody but its recipient keeps it.
func (s *Store) Serve(w http.ResponseWriter, r *http.Request, name string) {
	h := w.Header()
	h.Set("Cache-Control", "private")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !strings.Contains(name, "/") {
		s.servePage(w, r, name)
		return
	}
	blob, err := s.Open(r.Context(), name)
	if err == nil {
		_, err = blob.load(0) // a damaged file is not found before its header is sent
	}
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Method == http.MethodGet {
		s.markFetched(r.Context(), blob.folder)
	}
	h.Set("Content-Type", servedType(blob.Type))
	if !isShown(blob.Type) {
		h.Set("Content-Disposition", "attachment")
	}
	// If a later piece is missing, the body is shorter than announced, and net/http closes the
	// connection.
	http.ServeContent(w, r, "", time.Time{}, blob)
}

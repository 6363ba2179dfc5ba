package media

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The tests have a media server on the loopback interface, whose address the collector allows as an
// operator would, and a storage in memory.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "56401f49a1b2c3d4e5f60718293a4b5c"

// encrypt encrypts and decrypts as the app does.
func encrypt(key string, data []byte) []byte {
	raw, err := hex.DecodeString(key)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(data))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(out, data)
	return out
}

// collector makes a collector that may fetch from the server, and checks that no file stays in its
// folder.
func collector(t testing.TB, servers ...*httptest.Server) *Collector {
	t.Helper()
	o := Options{MaxSize: 1_000_000, Dir: t.TempDir(), Budget: NewBudget()}
	for _, s := range servers {
		source, err := ParseSource(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		o.Sources = append(o.Sources, source)
	}
	c := NewCollector(o)
	t.Cleanup(func() {
		c.Close()
		if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
			t.Errorf("%d files left, %v", len(left), err)
		}
	})
	return c
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func content(t testing.TB, f *File) []byte {
	t.Helper()
	data, err := io.ReadAll(f.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fileOf makes a file of bytes.
func fileOf(t testing.TB, dir string, data []byte) *File {
	t.Helper()
	temp, err := createTemp(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := temp.Write(data); err != nil {
		t.Fatal(err)
	}
	f, err := seal(temp, settle("", sniff(temp)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// photo draws a picture with a red upper left corner and noise, so that it does not compress well.
func photo(w, h int, seed uint64) *image.RGBA {
	img, random := image.NewRGBA(image.Rect(0, 0, w, h)), rand.New(rand.NewPCG(seed, 1))
	for i := 0; i < len(img.Pix); i += 4 {
		v := random.Uint32()
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = byte(v)/4+90, byte(v>>8)/4+90, byte(v>>16)/4+90, 255
	}
	for y := range h / 4 {
		for x := range w / 4 {
			img.SetRGBA(x, y, color.RGBA{255, 0, 0, 255})
		}
	}
	return img
}

func jpegOf(img image.Image, quality int) []byte {
	var out bytes.Buffer
	_ = jpeg.Encode(&out, img, &jpeg.Options{Quality: quality})
	return out.Bytes()
}

func pngOf(img image.Image) []byte {
	var out bytes.Buffer
	_ = png.Encode(&out, img)
	return out.Bytes()
}

// memory is a storage in memory that fails if told to.
type memory struct {
	mu   sync.Mutex
	keys map[string][]byte
	fail func(op, key string) error
}

func (m *memory) check(op, key string) error {
	if m.fail != nil {
		return m.fail(op, key)
	}
	return nil
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		m.keys = make(map[string][]byte)
	}
	if err := m.check("store", key); err != nil {
		return err
	}
	m.keys[key] = value
	return nil
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.keys[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return value, m.check("load", key)
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, key)
	return m.check("delete", key)
}

func (m *memory) List(_ context.Context, prefix string, recursive bool) (keys []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.keys {
		rest, ok := strings.CutPrefix(key, prefix+"/")
		if !ok {
			continue
		}
		if !recursive {
			rest, _, _ = strings.Cut(rest, "/")
		}
		if key = path.Join(prefix, rest); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if keys == nil {
		return nil, fs.ErrNotExist
	}
	return keys, m.check("list", prefix)
}

// said returns the name of a refusal's case, and checks that its sentence is complete.
func said(t testing.TB, r *sms.Refusal) string {
	t.Helper()
	if r == nil {
		return ""
	}
	if s := r.Fill(r.Sentence(), "1A2B3C4D"); len(s) > 100 || strings.ContainsAny(s, "{}") {
		t.Errorf("sentence %q", s)
	}
	return r.Error()
}

func transfer(files ...attachment.File) attachment.Transfer { return attachment.Transfer{Files: files} }

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

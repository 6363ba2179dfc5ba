package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// noise is what compresses to nothing shorter and looks like no known type.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

func put(t *testing.T, s *Store, keep time.Duration, contents ...[]byte) Token {
	t.Helper()
	var files []*File
	for _, data := range contents {
		files = append(files, fileOf(t, t.TempDir(), data))
	}
	token, refusal := s.Put(t.Context(), files, keep)
	if refusal != nil {
		t.Fatal(refusal)
	}
	return token
}

func ask(s *Store, method, path string, header ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, "/media/"+path, nil), httptest.NewRecorder()
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	s.Serve(w, r, path)
	return w
}

// Files of all sizes come back whole and by ranges, from another instance too.
func TestStored(t *testing.T) {
	m := &memory{}
	for _, size := range []int{1, pieceSize - 1, pieceSize, pieceSize + 1, 3 * pieceSize, 1_000_000} {
		data := noise(size)
		token := put(t, NewStore(m, 0), time.Hour, []byte("Hello"), data)
		other, path := NewStore(m, 0), token.Path(2).Reveal()
		if w := ask(other, "GET", path); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), data) || w.Header().Get("Content-Length") != fmt.Sprint(size) {
			t.Errorf("%d bytes: status %d, %d bytes", size, w.Code, w.Body.Len())
		}
		if w := ask(other, "HEAD", path); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") != fmt.Sprint(size) {
			t.Errorf("HEAD: status %d, length %s", w.Code, w.Header().Get("Content-Length"))
		}
		rapid.Check(t, func(t *rapid.T) {
			from := rapid.IntRange(0, size-1).Draw(t, "from")
			to := rapid.IntRange(from, size-1).Draw(t, "to")
			if w := ask(other, "GET", path, "Range", fmt.Sprintf("bytes=%d-%d", from, to)); w.Code != 206 || !bytes.Equal(w.Body.Bytes(), data[from:to+1]) {
				t.Fatalf("status %d, %d bytes", w.Code, w.Body.Len())
			}
		})
	}
	for key, value := range m.keys {
		if !strings.HasPrefix(key, root+"/") || len(value) > 256<<10 || bytes.Contains(value, []byte("Hello")) {
			t.Errorf("%s has %d bytes", key, len(value))
		}
	}
}

func TestHeaders(t *testing.T) {
	s := NewStore(&memory{}, 0)
	token := put(t, s, time.Hour, jpegOf(photo(8, 6, 1), 80), []byte("<html><script>"), []byte("%PDF-1.7"), []byte("Hello"))
	for n, want := range []struct{ mediaType, disposition, ending string }{
		{"image/jpeg", "", ".jpg"}, {unknownType, "attachment", ".bin"}, {"application/pdf", "attachment", ".pdf"}, {"text/plain", "attachment", ".txt"},
	} {
		path := token.Path(n + 1).Reveal()
		w := ask(s, "GET", path)
		if h := w.Header(); w.Code != 200 || h.Get("Content-Type") != want.mediaType || h.Get("Content-Disposition") != want.disposition || !strings.HasSuffix(path, want.ending) {
			t.Errorf("%d: %d %v", n, w.Code, h)
		}
		for name, value := range map[string]string{
			"Cache-Control": "private", "Content-Security-Policy": "sandbox; default-src 'none'", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex", "Accept-Ranges": "bytes",
		} {
			if w.Header().Get(name) != value {
				t.Errorf("%s: %s", name, w.Header().Get(name))
			}
		}
	}
	if w := ask(s, "POST", token.Path(1).Reveal()); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", w.Code)
	}
	good := token.Path(1).Reveal()
	for _, bad := range []string{"", "/", good + "x", good + "/", "x" + good, strings.Replace(good, "/1.", "/2.", 1), strings.Replace(good, "/1.", "/01.", 1),
		strings.Replace(good, "/1.", "/+1.", 1), strings.Replace(good, "/1.", "/0.", 1), strings.Replace(good, "/1.", "/9.", 1), strings.Replace(good, ".jpg", ".html", 1),
		good[:len(good)-7] + "/1.jpg", "../" + good, good[:20], token.Link().Reveal() + "A"} {
		if w := ask(s, "GET", bad); w.Code != 404 || w.Body.Len() > 0 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: %d", bad, w.Code)
		}
	}
	if out := fmt.Sprintf("%v %s", token, token); strings.Contains(out, good[:20]) {
		t.Error(out)
	}
}

// A piece that is damaged, missing or taken from another place is not served as whole.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(m *memory, folder string){
		"first piece changed":  func(m *memory, folder string) { m.keys[folder+"/1.0"][7] ^= 1 },
		"first piece missing":  func(m *memory, folder string) { delete(m.keys, folder+"/1.0") },
		"pieces exchanged":     func(m *memory, folder string) { m.keys[folder+"/1.0"] = m.keys[folder+"/1.1"] },
		"piece of the other":   func(m *memory, folder string) { m.keys[folder+"/1.0"] = m.keys[folder+"/2.0"] },
		"list missing":         func(m *memory, folder string) { delete(m.keys, folder+"/0.0") },
		"list of another":      func(m *memory, folder string) { m.keys[folder+"/0.0"] = m.keys[folder+"/1.0"] },
		"last piece missing":   func(m *memory, folder string) { delete(m.keys, folder+"/1.2") },
		"middle piece missing": func(m *memory, folder string) { delete(m.keys, folder+"/1.1") },
	} {
		m := &memory{}
		s := NewStore(m, 0)
		token := put(t, s, time.Hour, noise(600_000), noise(600_001))
		damage(m, token.folder())
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Serve(w, r, token.Path(1).Reveal()) }))
		reply, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, reply.Body)
		reply.Body.Close()
		server.Close()
		if reply.StatusCode != 404 && err == nil {
			t.Errorf("%s: status %d and a whole body", name, reply.StatusCode)
		}
	}
}

// Files can be fetched until they expire, and are removed in the hour after.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		s := NewStore(m, 0)
		token := put(t, s, 90*time.Minute, []byte("Hello"))
		long := put(t, s, 48*time.Hour, []byte("Hello"))
		time.Sleep(90*time.Minute - time.Second)
		if w := ask(s, "GET", token.Path(1).Reveal()); w.Code != 200 {
			t.Errorf("before it expires: %d", w.Code)
		}
		time.Sleep(time.Second)
		if w := ask(s, "GET", token.Path(1).Reveal()); w.Code != 404 {
			t.Errorf("after it expired: %d", w.Code)
		}
		time.Sleep(time.Hour)
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w := ask(s, "GET", long.Path(1).Reveal()); w.Code != 200 || len(m.keys) != 4 { // size, list, piece and the mark of the fetch
			t.Errorf("the other file: %d, %d keys", w.Code, len(m.keys))
		}
	})
}

// The space is bounded, also by what other instances stored, and freed by the sweep.
func TestSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		put(t, NewStore(m, 0), time.Minute, noise(600))
		s := NewStore(m, 1000)
		file := fileOf(t, t.TempDir(), noise(300))
		two := []*File{file, file}
		if _, refusal := s.Put(t.Context(), two, time.Hour); said(t, refusal) != "internal.file_space" {
			t.Error(refusal)
		}
		if _, refusal := s.Put(t.Context(), two[:1], time.Hour); refusal != nil {
			t.Error(refusal)
		}
		time.Sleep(2 * time.Hour)
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, refusal := s.Put(t.Context(), two, time.Hour); refusal != nil {
			t.Error(refusal)
		}
	})
}

// A storage that fails in the middle keeps no piece, and the space is free again.
func TestStorageFails(t *testing.T) {
	for _, broken := range []string{sizeMark, "/0.0", "/1.0", "/1.1", "list"} {
		m := &memory{}
		s := NewStore(m, 1_000_000)
		file := fileOf(t, t.TempDir(), noise(600_000))
		m.fail = func(op, key string) error {
			if op == "store" && strings.Contains(key, broken) || op == broken {
				return errors.New("the disk is full: " + key)
			}
			return nil
		}
		m.keys = map[string][]byte{root + "/2006010215/x/" + sizeMark + "1": nil}
		_, refusal := s.Put(t.Context(), []*File{file}, time.Hour)
		if said(t, refusal) != "internal.file_disk" || strings.Contains(refusal.Detail, root) || len(m.keys) != 1 {
			t.Errorf("%s: %+v, %d keys left", broken, refusal, len(m.keys))
		}
		m.fail = nil
		if _, refusal := s.Put(context.Background(), []*File{file}, time.Hour); refusal != nil {
			t.Errorf("%s: %+v", broken, refusal)
		}
	}
}

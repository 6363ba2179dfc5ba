package media

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The page shows the files, and nothing from anywhere else.
func TestPage(t *testing.T) {
	s := NewStore(&memory{}, 0)
	token := put(t, s, time.Hour, jpegOf(photo(8, 6, 1), 80), []byte("<html><script>"), []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"))
	link := token.Link().Reveal()
	if len(link) != LinkLength {
		t.Errorf("the link has %d characters", len(link))
	}
	w := ask(s, "GET", link)
	html := w.Body.String()
	var linked []string
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		linked = append(linked, m[1])
	}
	want := []string{token.Path(1).Reveal(), token.Path(2).Reveal(), token.Path(3).Reveal()}
	if w.Code != 200 || !slices.Equal(linked, want) || strings.Contains(html, "<script") || !strings.Contains(html, "<img ") || !strings.Contains(html, "<video ") {
		t.Errorf("%d %s", w.Code, html)
	}
	for name, value := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "private", "Referrer-Policy": "no-referrer",
		"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex", "Content-Security-Policy": pagePolicy,
	} {
		if w.Header().Get(name) != value {
			t.Errorf("%s: %s", name, w.Header().Get(name))
		}
	}
	if !strings.HasPrefix(pagePolicy, "default-src 'none'; ") || strings.Contains(pagePolicy, "script") || strings.Contains(pagePolicy, "unsafe") {
		t.Error(pagePolicy)
	}
	if w := ask(s, "HEAD", link); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
	if s.Fetched(t.Context(), token) {
		t.Error("the page counts as a file")
	}
}

// A file counts as fetched after a GET, for all instances.
func TestFetched(t *testing.T) {
	m := &memory{}
	s := NewStore(m, 0)
	token := put(t, s, time.Hour, []byte("Hello"))
	ask(s, "HEAD", token.Path(1).Reveal())
	ask(s, "GET", token.Path(1).Reveal()+"x")
	if s.Fetched(t.Context(), token) {
		t.Error("fetched by HEAD, or under a wrong address")
	}
	ask(s, "GET", token.Path(1).Reveal())
	if !NewStore(m, 0).Fetched(t.Context(), token) {
		t.Error("not fetched")
	}
}

// Removed files are gone at once, and leave their space.
func TestRemove(t *testing.T) {
	m := &memory{}
	s := NewStore(m, 5)
	token := put(t, s, time.Hour, []byte("Hello"))
	if name := token.Name(1); name != "1.txt" {
		t.Errorf("the file is called %s", name)
	}
	if err := s.Remove(t.Context(), token); err != nil {
		t.Error(err)
	}
	if w := ask(s, "GET", token.Path(1).Reveal()); w.Code != 404 {
		t.Errorf("status %d", w.Code)
	}
	if keys, err := m.List(t.Context(), root, true); err != fs.ErrNotExist {
		t.Errorf("left: %v", keys)
	}
	put(t, s, time.Hour, []byte("Hello"))
}

package params

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// slow gives a byte at a time, and notes for how many more there was room.
type slow struct {
	given, room int
}

func (s *slow) Read(p []byte) (int, error) {
	s.room = max(s.room, len(p)-s.given)
	s.given++
	p[0] = 'x'
	return 1, nil
}

// A request that announces a large body and sends it slowly uses little more memory than has
// arrived.
func TestAnnouncedSize(t *testing.T) {
	body := new(slow)
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.ContentLength, r.Body = DefaultMaxSize, io.NopCloser(body)
	if data, err := (&Decoder{MaxSize: DefaultMaxSize}).readAll(r); err != nil || len(data) != DefaultMaxSize || body.given != DefaultMaxSize {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if body.room > 32<<10 {
		t.Errorf("room for %d bytes before they came", body.room)
	}
}

package adapters

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
)

// lateBody is a body on a machine that is too busy to read it before the header is written.
type lateBody struct {
	io.ReadCloser
	header chan struct{}
}

func (b lateBody) Read(p []byte) (int, error) {
	<-b.header
	return b.ReadCloser.Read(p)
}

// written closes header with the first bytes. It is no io.ByteWriter, or net/http would not buffer
// the header.
type written struct {
	bytes  bytes.Buffer
	once   sync.Once
	header chan struct{}
}

func (w *written) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.header) })
	return w.bytes.Write(p)
}

// A GET has no body, however busy the machine is: many servers take the end of one, "0", for the
// next request.
func TestGETWithoutBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := http.NewRequest(http.MethodGet, "http://sms.example.com/?text=Hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		setBody(r, wire.Body{})
		w := &written{header: make(chan struct{})}
		r.Body = lateBody{r.Body, w.header}
		if err := r.Write(w); err != nil {
			t.Fatal(err)
		}
		if head, body, _ := strings.Cut(w.bytes.String(), "\r\n\r\n"); body != "" || strings.Contains(head, "-Encoding") || strings.Contains(head, "Content-") {
			t.Errorf("%q", w.bytes.String())
		}
	})
}

package roundtrip_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request with these bytes and then keeps the connection open without a word,
// until the test ends.
func serve(t *testing.T, reply string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.WriteString(c, reply)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/"
}

func transport(t *testing.T) http.RoundTripper {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func request(t *testing.T, ctx context.Context, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func compressed(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

// A reply that ends by itself is read to its end, whatever the deadline.
func TestReplies(t *testing.T) {
	const limit = 1000
	long := strings.Repeat("x", limit)
	for name, c := range map[string]struct {
		reply, body string
		status      int
		err         error
	}{
		"whole":             {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 200, nil},
		"chunked":           {"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", 201, nil},
		"no body":           {"HTTP/1.1 204 No Content\r\n\r\n", "", 204, nil},
		"as long as it may": {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + long, long, 200, nil},
		"too long":          {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + long + "x", long, 200, roundtrip.ErrTooLong},
		"a redirect":        {"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "", 302, nil},
		"compressed":        {"HTTP/1.1 200 OK\r\nContent-Encoding: X-GZIP\r\nContent-Length: 26\r\n\r\n" + compressed("ok"), "ok", 200, nil},
		"a bomb":            {"HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(compressed(strings.Repeat("x", 1<<20))), long, 200, roundtrip.ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := request(t, ctx, serve(t, c.reply))
			r.Header.Set("Accept-Encoding", "gzip")
			reply, err := roundtrip.Do(transport(t), r, nil, limit)
			if err != nil || reply.Status != c.status || string(reply.Body) != c.body || !errors.Is(reply.Err, c.err) {
				t.Errorf("%d, %d bytes, %v, %v; want %d, %d bytes, %v", reply.Status, len(reply.Body), reply.Err, err, c.status, len(c.body), c.err)
			}
		})
	}
}

func chunk(s string) string {
	return strconv.FormatInt(int64(len(s)), 16) + "\r\n" + s + "\r\n0\r\n\r\n"
}

// Wherever a server falls silent, the end of the context ends the reading. A 101 does not wait even
// for that.
func TestSilence(t *testing.T) {
	for name, head := range map[string]string{
		"before the reply":        "",
		"in the status line":      "HTTP/1.1 20",
		"in the head":             "HTTP/1.1 200 OK\r\nX-A: b\r\n",
		"after 100":               "HTTP/1.1 100 Continue\r\n\r\n",
		"after 103":               "HTTP/1.1 103 Early Hints\r\n\r\n",
		"in the body":             "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
		"in a chunk":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
		"in a body without end":   "HTTP/1.1 200 OK\r\n\r\n{",
		"in a compressed body":    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
		"after 101":               "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"after 101 and a word":    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n{\"id\":1",
		"after 101 with a length": "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 9\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				reply, err := roundtrip.Do(transport(t), request(t, ctx, serve(t, head)), nil, 1000)
				if err == nil && reply.Err == nil {
					t.Errorf("status %d, %q is taken for a whole reply", reply.Status, reply.Body)
				}
				if upgrade := strings.Contains(name, "101"); upgrade && (ctx.Err() != nil || reply.Err != roundtrip.ErrUpgrade || len(reply.Body) > 0) {
					t.Errorf("a 101 is read: %q, %v", reply.Body, reply.Err)
				}
			}()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("it still reads")
			}
		})
	}
}

// deaf is a transport whose bodies know nothing of the request's context.
type deaf struct{ status int }

func (d deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.Pipe()
	return &http.Response{StatusCode: d.status, Body: body, ContentLength: -1, Request: r}, nil
}

func TestTransportThatKnowsNoContext(t *testing.T) {
	for _, status := range []int{200, 101, 500} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		reply, err := roundtrip.Do(deaf{status}, request(t, ctx, "http://sms.example.com/"), nil, 1000)
		cancel()
		if err != nil || reply.Status != status || reply.Err == nil {
			t.Errorf("%d: %v, %v", status, reply.Err, err)
		}
	}
}

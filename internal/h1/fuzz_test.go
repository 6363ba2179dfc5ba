package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
)

// seeds are the replies of testdata/replies.txt, one quoted string a line.
func FuzzReply(f *testing.F) {
	seeds, err := os.ReadFile("testdata/replies.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(seeds)) {
		f.Add([]byte(strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", "\n", "").Replace(line)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		status, body, ok := parseOrdinary(raw)
		if !ok {
			return
		}
		in := bufio.NewReader(bytes.NewReader(raw))
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("net/http refuses it: %v\n%q", err, raw)
		}
		other, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != status || !bytes.Equal(other, body) || r.Close || in.Buffered() > 0 ||
			r.Header["Retry-After"] != nil || r.Header["Content-Encoding"] != nil || r.Trailer != nil {
			t.Fatalf("%d %q, net/http: %d %q, close %t, %d bytes left, %v\n%q", status, body, r.StatusCode, other, r.Close, in.Buffered(), err, raw)
		}
	})
}

// A request is either refused or read back as exactly this one request, whatever its values are.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/a b?x=y", "X-Key", "value", "body")
	f.Add("GET", "/\r\nX: y", "X-Key", "a\r\nInjected: yes", "")
	f.Add("PUT", "/%0d%0a", "A B", "\x00", "0\r\n\r\nGET / HTTP/1.1\r\n\r\n")
	f.Fuzz(func(t *testing.T, method, target, name, value, body string) {
		u, err := url.Parse("http://example.com:8080" + target)
		if err != nil || u.Host != "example.com:8080" || !slices.Contains([]string{"GET", "POST", "PUT", "PATCH"}, method) || method == "GET" && body != "" {
			return
		}
		r := &http.Request{
			Method: method, URL: u, Host: u.Host, Header: http.Header{name: {value}, "Accept": {"x"}},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Transfer-Encoding", "Accept", "Trailer": // definitions cannot set these
			return
		}
		b, err := AppendRequest(nil, r)
		if err != nil {
			return
		}
		in := bufio.NewReader(bytes.NewReader(b))
		got, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%v\n%q", err, b)
		}
		read, err := io.ReadAll(got.Body)
		if err != nil || string(read) != body || in.Buffered() > 0 || got.Method != method || got.RequestURI != u.RequestURI() || got.Host != u.Host ||
			got.Header.Get(name) != strings.Trim(value, " \t") || got.Header.Get("Accept") != "x" {
			t.Fatalf("%v %v %q, %v\n%q", got, got.Header, read, err, b)
		}
		for other := range got.Header {
			if http.CanonicalHeaderKey(name) != other && other != "Accept" && other != "Content-Length" {
				t.Fatalf("the header %s came from nowhere\n%q", other, b)
			}
		}
	})
}

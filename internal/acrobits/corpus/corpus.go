// Package corpus reads the requests of apps in testdata/acrobits for the tests of the services.
//
// Only tests import it.
package corpus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Request is a request as an app sends it.
type Request struct {
	Method, Target string
	Headers        map[string]string
	Body           string
	BodyBase64     []byte `json:"body_base64"`
}

// Bytes returns the body.
func (c Request) Bytes() []byte {
	if c.BodyBase64 != nil {
		return c.BodyBase64
	}
	return []byte(c.Body)
}

// HTTP returns what net/http makes of the request's bytes on a connection.
func (c Request) HTTP() (*http.Request, error) {
	body := c.Bytes()
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\nHost: sms.example.com\r\nUser-Agent: CloudSoftphone/1.5.6\r\n", c.Method, c.Target)
	for name, value := range c.Headers {
		fmt.Fprintf(&raw, "%s: %s\r\n", name, value)
	}
	if len(body) > 0 {
		fmt.Fprintf(&raw, "Content-Length: %d\r\n", len(body))
	}
	raw.WriteString("\r\n")
	raw.Write(body)
	return http.ReadRequest(bufio.NewReader(&raw))
}

// Load returns the cases of all files that the pattern matches.
func Load[Case any](t testing.TB, pattern string) (all []Case) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s (%v)", pattern, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []Case
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, cases...)
	}
	return all
}

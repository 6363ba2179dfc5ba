package database

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// A server that falls silent, in front of its greeting or within it, holds no query longer than the
// query's deadline.
func TestSilentServer(t *testing.T) {
	for name, greeting := range map[string]string{
		"before a word": "",
		// The length of a handshake packet of MySQL, and its first byte; an N of PostgreSQL denies
		// TLS.
		"in the greeting of MySQL": "\x4a\x00\x00\x00\x0a",
		"after denying TLS":        "N",
		// PostgreSQL asks for a password in the clear, and then says nothing.
		"after asking for a password": "R\x00\x00\x00\x08\x00\x00\x00\x03",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_, _ = io.WriteString(c, greeting)
					_, _ = io.Copy(io.Discard, c)
				}()
			}
		}()
		for _, k := range Kinds {
			address := map[string]string{
				"postgres": "postgres://sms:secret@" + l.Addr().String() + "/db?sslmode=prefer",
				"mysql":    "sms:secret@tcp(" + l.Addr().String() + ")/db",
			}[k.Name]
			if address == "" {
				continue
			}
			db, err := k.Open(address)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			ended := make(chan error, 1)
			go func() {
				_, err := db.ExecContext(ctx, "select 1")
				ended <- err
			}()
			select {
			case err := <-ended:
				if err == nil {
					t.Errorf("%s, %s: no error", k.Name, name)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s, %s: it still waits", k.Name, name)
			}
			cancel()
			db.Close()
		}
	}
}

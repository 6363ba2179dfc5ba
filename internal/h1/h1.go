// Package h1 is an HTTP/1.1 client that writes a request and reads its reply on the caller's
// goroutine. It checks a kept connection in the same step in which it writes, and counts the bytes
// that the kernel accepted. So it tells a request that certainly was not sent from one whose outcome
// is unknown, which net/http cannot always do; and it takes less CPU, because no message waits for
// other goroutines.
//
// It must never send a request again of which the kernel accepted a byte, never follow a redirect,
// and never read without a deadline and a bound. Package delivery calls it. A Client is safe for
// concurrent use.
package h1

import (
	"errors"
	"os"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

// NotSentError means that no byte of the request was sent.
type NotSentError struct{ Err error }

// Error returns the text of the cause.
func (e *NotSentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NotSentError) Unwrap() error { return e.Err }

// ErrEarly means that the server sent something on a kept connection while a part of the request was
// still to be written. That cannot be the reply to this request.
var ErrEarly = errors.New("a reply came before the request was written")

// Reply is the reply to a request, together with the connection that it came on. Its Body is valid
// until Done.
type Reply struct {
	roundtrip.Reply

	client *Client
	conn   *conn
	keep   bool
}

// Memo points to a value that the caller may store with the connection. The next reply on the
// connection finds it.
func (r *Reply) Memo() *any { return &r.conn.memo }

// Done must be called once. It returns the connection to the pool, or closes it if keep is false or
// the connection cannot be used again.
func (r *Reply) Done(keep bool) {
	if keep && r.keep {
		r.client.put(r.conn)
		return
	}
	r.conn.Close()
}

// Do sends a request and reads at most limit bytes of the body of its reply, into buf if they fit.
// Do ends at the time until. After a NotSentError nothing was sent; after every other error, the
// request may have been sent, in whole or in part.
//
// Do tries another connection only if a kept one was dead before the kernel accepted a byte. Each
// pass removes a connection from the pool.
func (c *Client) Do(until time.Time, request, buf []byte, limit int) (Reply, error) {
	for {
		now := time.Now()
		if !now.Before(until) {
			return Reply{}, &NotSentError{os.ErrDeadlineExceeded}
		}
		conn, err := c.get(now, until)
		if err != nil {
			return Reply{}, &NotSentError{err}
		}
		err = conn.exchange(until, request)
		if err == nil {
			r := Reply{client: c, conn: conn}
			if r.Reply, r.keep, err = c.read(conn, buf, limit); err == nil {
				return r, nil
			}
		}
		conn.Close()
		switch {
		case conn.accepted > 0:
			return Reply{}, err
		case !conn.used || errors.Is(err, os.ErrDeadlineExceeded):
			return Reply{}, &NotSentError{err}
		}
	}
}

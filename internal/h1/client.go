package h1

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Client sends requests to one host and keeps idle connections to it. The fields must not change
// after the first request.
type Client struct {
	// Address is the host and port.
	Address string
	// Dial makes a TCP connection.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS has a server name and the protocol http/1.1; nil means no TLS. HandshakeTimeout bounds a
	// handshake if it is not 0.
	TLS              *tls.Config
	HandshakeTimeout time.Duration
	// MaxIdle is the largest number of idle connections, IdleTimeout how long they are kept.
	MaxIdle     int
	IdleTimeout time.Duration
	// MaxHead bounds the bytes before the body of a reply, including all informational replies. 0
	// means DefaultMaxHead.
	MaxHead int64
	// AllHeaders is set if the caller reads headers of successful replies. If not, the header of a
	// successful reply without Retry-After may be nil.
	AllHeaders bool

	mu      sync.Mutex
	idle    []*conn // the longest idle first
	sweeper *time.Timer
	closed  bool
}

// DefaultMaxHead is the default of Client.MaxHead.
const DefaultMaxHead = 256 << 10

// sweepInterval is the longest time for which a connection that the server closed stays open here.
const sweepInterval = 10 * time.Second

// get returns the connection that was idle for the shortest time, or a new one.
func (c *Client) get(now, until time.Time) (*conn, error) {
	c.mu.Lock()
	n := len(c.idle) - 1
	if n < 0 || now.Sub(c.idle[n].idleSince) >= c.IdleTimeout { // those before have been idle for longer
		c.mu.Unlock()
		return c.dial(until)
	}
	conn := c.idle[n]
	c.idle[n] = nil
	c.idle = c.idle[:n]
	c.mu.Unlock()
	conn.used = true
	return conn, nil
}

// put keeps a connection for the next request.
func (c *Client) put(conn *conn) {
	conn.idleSince = time.Now()
	c.mu.Lock()
	keep := !c.closed && len(c.idle) < c.MaxIdle && c.IdleTimeout > 0
	if keep {
		c.idle = append(c.idle, conn)
		if c.sweeper == nil {
			c.sweeper = time.AfterFunc(min(c.IdleTimeout, sweepInterval), c.sweep)
		}
	}
	c.mu.Unlock()
	if !keep {
		conn.Close()
	}
}

// sweep closes the connections that were idle for too long or that the server has closed.
func (c *Client) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, now := c.idle[:0], time.Now()
	for _, conn := range c.idle {
		if now.Sub(conn.idleSince) < c.IdleTimeout && conn.quiet() {
			kept = append(kept, conn)
		} else {
			conn.Close()
		}
	}
	clear(c.idle[len(kept):])
	c.idle = kept
	if c.sweeper = nil; len(kept) > 0 && !c.closed {
		c.sweeper = time.AfterFunc(min(c.IdleTimeout, sweepInterval), c.sweep)
	}
}

// Close closes all idle connections. Requests in flight end as usual, and their connections are
// closed afterwards.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.sweeper != nil {
		c.sweeper.Stop()
	}
	for _, conn := range c.idle {
		conn.Close()
	}
	c.idle = nil
	return nil
}

// dial makes a connection, with TLS if the client has it.
func (c *Client) dial(until time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	tcp, err := c.Dial(ctx, "tcp", c.Address)
	if err != nil {
		return nil, err
	}
	conn, err := newConn(tcp, c.TLS)
	if err == nil && conn.tls != nil {
		err = c.handshake(conn, until)
	}
	if err != nil {
		tcp.Close()
		return nil, err
	}
	return conn, nil
}

func (c *Client) handshake(conn *conn, until time.Time) error {
	if limit := time.Now().Add(c.HandshakeTimeout); c.HandshakeTimeout > 0 && limit.Before(until) {
		until = limit
	}
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	return conn.tls.Handshake()
}

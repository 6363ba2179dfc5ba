// Package providertest contains a provider that breaks in each of the ways of testdata/faults.md
// and counts the texts that it accepts. It speaks on a bare socket, because servers of net/http do
// not misbehave. The provider and its API are minimal: a GET or POST request with the parameter
// text, answered with {"id": …}.
//
// Only tests import this package. Providers listen on the loopback interface and are safe for
// concurrent use.
package providertest

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Fault is one way in which a provider breaks.
type Fault struct {
	Name string // what the provider does, a row of testdata/faults.md
	At   Stage  // where the fault strikes
	// Accepts is set if the provider accepts the text before the fault strikes.
	Accepts bool
	// Reply is a complete reply, after which the connection is kept. Without it, Does is called
	// with the connection, which is closed afterwards.
	Reply string
	Serve func(net.Conn)
	// Attempt, Dial and Handshake are the timeouts that end the wait for this provider; 0 where the
	// fault causes no wait.
	Attempt, Dial, Handshake time.Duration
}

// Timed reports whether the result depends on the speed of the machine: timeouts do, and so do
// connections that are kept.
func (f *Fault) Timed() bool {
	return f.Attempt+f.Dial+f.Handshake > 0 || f.Second()
}

// Second reports whether the fault strikes only from the second request of a connection on.
func (f *Fault) Second() bool { return f.At == SecondBeforeRead || f.At == SecondAfterRead }

// Unread reports whether the fault strikes before the request is read.
func (f *Fault) Unread() bool { return f.At == BeforeRead || f.At == SecondBeforeRead }

// Connects reports whether the fault lets a connection, and the TLS handshake, be established.
func (f *Fault) Connects() bool { return f.At < PortClosed }

// Stage is how far a request comes before the fault strikes.
type Stage uint8

// The stages. All before PortClosed need an established connection.
const (
	AfterRead        Stage = iota // the provider has read the request
	BeforeRead                    // the provider has read the first bytes of the request
	SecondAfterRead               // as AfterRead, from the second request of a kept connection on
	SecondBeforeRead              // as BeforeRead, from the second request of a kept connection on
	PortClosed                    // the port is closed
	AcceptQueueFull               // the connection waits in a full accept queue
	HandshakeFails                // the TLS handshake fails
	HandshakeHangs                // the TLS handshake never begins
)

// short is a timeout that ends the wait for a provider that hangs.
const short = 150 * time.Millisecond

// Faults returns the rows of testdata/faults.md. Redirects lead to the URL elsewhere.
func Faults(elsewhere string) []*Fault {
	whole := func(status, header, body string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), header, body)
	}
	say := func(raw string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, raw) } }
	const yes = `{"id":"sms-1"}`
	accepted := whole("200 OK", "", yes)
	long := whole("200 OK", "", yes+strings.Repeat(" ", 1000))
	head, body, _ := strings.Cut(long, yes)
	all := []*Fault{
		{Name: "refuses the connection", At: PortClosed},
		{Name: "lets the connection wait, beyond `dial_timeout`", At: AcceptQueueFull, Dial: short},
		{Name: "lets the connection wait, beyond `attempt_timeout`", At: AcceptQueueFull, Attempt: short, Dial: 4 * short},
		{Name: "fails the TLS handshake", At: HandshakeFails},
		{Name: "never begins the TLS handshake", At: HandshakeHangs, Handshake: short},
		{Name: "resets the connection before it has read the request", At: BeforeRead, Serve: reset},
		{Name: "resets the connection after it has read the request", Accepts: true, Serve: reset},
		{Name: "closes the connection after it has read the request", Accepts: true, Serve: func(net.Conn) {}},
		{Name: "hangs before it accepts", Attempt: short, Serve: hang},
		{Name: "accepts and hangs", Accepts: true, Attempt: short, Serve: hang},
		{Name: "accepts, replies byte by byte, too slowly", Accepts: true, Attempt: short, Serve: drip("", long, short)},
		{Name: "accepts, replies the body byte by byte, too slowly", Accepts: true, Attempt: short, Serve: drip(head, yes+body, short)},
		{Name: "accepts, replies byte by byte, just in time", Accepts: true, Attempt: 4 * short, Serve: drip("", accepted, short/50)},
		{Name: "accepts, the reply is cut", Accepts: true, Serve: say(strings.Replace(accepted, "Length: 14", "Length: 140", 1))},
		{Name: "accepts, the reply is cut between chunks", Accepts: true,
			Serve: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n" + yes + "\r\n")},
		{Name: "accepts, replies garbage", Accepts: true, Reply: whole("200 OK", "", "\x00\xff{]")},
		{Name: "accepts, replies what is not HTTP", Accepts: true, Serve: say("220 mail.example.com ESMTP\r\n")},
		{Name: "accepts, replies a page with 200", Accepts: true, Reply: whole("200 OK", "", "<html><body>Welcome</body></html>")},
		{Name: "accepts, replies an empty 200", Accepts: true, Reply: whole("200 OK", "", "")},
		{Name: "accepts, replies a gzip bomb", Accepts: true, Reply: whole("200 OK", "Content-Encoding: gzip\r\n", bomb())},
		{Name: "accepts, replies headers without an end", Accepts: true, Serve: func(c net.Conn) {
			say("HTTP/1.1 200 OK\r\n")(c)
			line := "X-Padding: " + strings.Repeat("x", 32<<10) + "\r\n"
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, line)
			}
		}},
		{Name: "accepts, replies 101 and falls silent", Accepts: true, Serve: func(c net.Conn) {
			say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + yes)(c)
			hang(c)
		}},
		{Name: "replies 429", Reply: whole("429 Too Many Requests", "", "")},
		{Name: "replies 429 with `Retry-After: 60`", Reply: whole("429 Too Many Requests", "Retry-After: 60\r\n", "")},
		{Name: "replies 429 with `Retry-After: 3600`", Reply: whole("429 Too Many Requests", "Retry-After: 3600\r\n", "")},
		{Name: "replies 429 with a `Retry-After` of an hour as a date",
			Reply: whole("429 Too Many Requests", "Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nRetry-After: Tue, 24 Nov 2026 13:00:00 GMT\r\n", "")},
		{Name: "accepts, replies 500", Accepts: true, Reply: whole("500 Internal Server Error", "", "")},
		{Name: "accepts, replies 503", Accepts: true, Reply: whole("503 Service Unavailable", "", "")},
	}
	for _, status := range []string{"301 Moved Permanently", "302 Found", "307 Temporary Redirect"} {
		reply := whole(status, "Location: "+elsewhere+"/\r\n", "")
		all = append(all, &Fault{Name: "replies " + status[:3] + " to another server", Reply: reply})
	}
	return append(all,
		&Fault{Name: "resets a kept connection before it has read the second request", At: SecondBeforeRead, Serve: reset},
		&Fault{Name: "resets a kept connection after it has read the second request", At: SecondAfterRead, Accepts: true, Serve: reset},
		&Fault{Name: "closes a kept connection after it has read the second request", At: SecondAfterRead, Accepts: true, Serve: func(net.Conn) {}},
	)
}

// reset closes the connection below TLS.
func reset(c net.Conn) {
	if t, is := c.(*tls.Conn); is {
		c = t.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// hang waits until the client closes the connection.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// drip writes atOnce at once and the rest byte by byte.
func drip(atOnce, rest string, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, atOnce)
		for i := 0; err == nil && i < len(rest); i++ {
			time.Sleep(pause)
			_, err = io.WriteString(c, rest[i:i+1])
		}
	}
}

// bomb is a reply that says yes, and is 64 MiB long when decompressed.
func bomb() string {
	var b bytes.Buffer
	z, blank := gzip.NewWriter(&b), bytes.Repeat([]byte(" "), 1<<20)
	_, _ = io.WriteString(z, `{"id":"sms-1"`)
	for range 64 {
		_, _ = z.Write(blank)
	}
	_, _ = io.WriteString(z, "}")
	_ = z.Close()
	return b.String()
}

package push

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
)

// DefaultURL is the push service of the apps' vendor.
const DefaultURL = "https://pnm.cloudsoftphone.com/pnm2/send"

const (
	attemptTimeout = 10 * time.Second
	maxReply       = 64 << 10 // bytes
)

// waits are the times before each attempt.
var waits = [...]time.Duration{0, time.Second, 4 * time.Second}

// Outcome is the outcome of a push.
type Outcome uint8

// The outcomes. The zero value is a failure.
const (
	Failed Outcome = iota
	Sent
	// Gone means that the token is no longer registered: it must be deleted.
	Gone
)

// String returns the outcome's name as logs and metrics write it.
func (o Outcome) String() string { return [...]string{"failed", "sent", "gone"}[o] }

// Client calls a push service.
type Client struct {
	url       string
	transport http.RoundTripper
	close     func()
}

// NewClient returns a client of the push service at an address, DefaultURL if it is empty. The
// address may be private, because it is the operator's.
func NewClient(address string) (*Client, error) {
	if address == "" {
		address = DefaultURL
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("push_url: write an address such as " + DefaultURL)
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("push_url: an address without user, password and fragment")
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: maxReply,
	}
	return &Client{url: address, transport: transport, close: transport.CloseIdleConnections}, nil
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.close() }

// Send pushes a notification and tries again a few times while the push service reports an error of
// its own. The app shows notifications of one id once, so that a repeated push is harmless. The
// error says for the operator why the outcome is Failed; it contains no word of the service, which
// may quote the token.
func (c *Client) Send(ctx context.Context, n Notification) (outcome Outcome, err error) {
	body, err := json.Marshal(n.payload())
	if err != nil {
		return Failed, err
	}
	for _, wait := range waits {
		select {
		case <-ctx.Done():
			return Failed, errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
		var again bool
		if outcome, again, err = c.attempt(ctx, body); !again {
			break
		}
	}
	return outcome, err
}

// attempt makes one request. again is set if the push service reports an error of its own.
func (c *Client) attempt(ctx context.Context, body []byte) (outcome Outcome, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return Failed, false, errors.New("push service: the address is invalid")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "caddy-acrobits-sms")
	reply, err := roundtrip.Do(c.transport, r, nil, maxReply)
	switch {
	case err != nil:
		return Failed, false, errors.New("push service: " + reason(err))
	case reply.Status >= 500:
		return Failed, true, fmt.Errorf("push service: HTTP status %d", reply.Status)
	case reply.Status < 200 || reply.Status >= 300:
		return Failed, false, fmt.Errorf("push service: HTTP status %d", reply.Status)
	case reply.Err != nil:
		return Failed, false, errors.New("push service: the reply is cut off or too long")
	}
	// The service answers 200 to every well-formed request; the code in the reply counts. Older
	// versions call it status.
	doc := gjson.ParseBytes(reply.Body)
	code := doc.Get("code")
	if !code.Exists() {
		code = doc.Get("status")
	}
	switch n := code.Int(); {
	case !gjson.ValidBytes(reply.Body) || !code.Exists():
		return Failed, false, errors.New("push service: the reply is not JSON with a code")
	case n >= 200 && n < 300:
		return Sent, false, nil
	case n == http.StatusNotFound:
		return Gone, false, nil
	case n >= 500 && n < 600:
		return Failed, true, fmt.Errorf("push service: code %d", n)
	default:
		return Failed, false, fmt.Errorf("push service: code %d", n)
	}
}

// reason says why there was no reply. It contains no bytes of a reply, which other errors quote.
func reason(err error) string {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no reply within %s", attemptTimeout)
	case errors.Is(err, context.Canceled):
		return "no reply before the server stopped"
	case errors.As(err, &certificate):
		return certificate.Error()
	case errors.As(err, &network):
		return network.Error()
	}
	return "the connection ended without a reply"
}

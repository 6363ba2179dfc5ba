package caddymodule

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/h1"
)

// directTransport sends requests for messages by its own HTTP/1.1 client, and all others, such as
// those for tokens, by the transport module.
type directTransport struct {
	http.RoundTripper
	*h1.Client
}

// transportFor returns the transport of an adapter: the direct client, if it can do all that the
// transport module is configured to do, or else the module.
func (h *Handler) transportFor(a *adapters.Adapter, module http.RoundTripper) http.RoundTripper {
	guest, base := guestOf(module), a.BaseURL()
	if why := whyNotDirect(guest, base); why != "" {
		h.logger.Debug("the transport module sends the requests", zap.String("adapter", a.Name), zap.String("because", why))
		return module
	}
	h.logger.Debug("the direct client sends the requests", zap.String("adapter", a.Name))
	client := newDirectClient(guest, base)
	client.AllHeaders = a.ReadsHeaders()
	h.resources.add(client.Close)
	return directTransport{module, client}
}

// guestOf returns Caddy's http transport, nil if the operator chose another module.
func guestOf(t http.RoundTripper) *reverseproxy.HTTPTransport {
	if direct, is := t.(directTransport); is {
		t = direct.RoundTripper
	}
	scheme, _ := t.(schemeTransport)
	guest, _ := scheme.RoundTripper.(*reverseproxy.HTTPTransport)
	return guest
}

// transportName is what the admin endpoint calls a transport.
func transportName(t http.RoundTripper) string {
	if _, is := t.(directTransport); is {
		return "direct"
	}
	return "module"
}

// whyNotDirect returns what the direct client cannot do, or "" if it can send requests to base.
func whyNotDirect(guest *reverseproxy.HTTPTransport, base *url.URL) string {
	switch {
	case !h1.Supported:
		return "the operating system"
	case base.Scheme != "http" && base.Scheme != "https":
		return "the scheme " + base.Scheme
	case guest == nil:
		return "the module is not http"
	case !slices.Contains(guest.Versions, "1.1"):
		return "versions"
	case guest.ReadTimeout > 0 || guest.WriteTimeout > 0: // they wrap each connection
		return "read_timeout or write_timeout"
	case guest.ProxyProtocol != "":
		return "proxy_protocol"
	}
	t := guest.Transport
	switch {
	case t.DisableKeepAlives:
		return "keepalive off"
	case t.MaxConnsPerHost > 0 || t.MaxIdleConns > 0:
		return "max_conns_per_host or keepalive_idle_conns"
	case t.ResponseHeaderTimeout > 0:
		return "response_header_timeout"
	case t.DialTLSContext != nil:
		return "a placeholder in tls_server_name"
	case strings.ContainsFunc(base.Host, func(r rune) bool { return r > '~' || r == '%' }):
		return "the host name needs IDNA, or has a zone"
	case needsProxy(t, base):
		return "a proxy"
	}
	return ""
}

// needsProxy reports whether requests to base go by a proxy of the configuration or of the
// environment.
func needsProxy(t *http.Transport, base *url.URL) bool {
	if t.Proxy == nil {
		return false
	}
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	proxy, err := t.Proxy((&http.Request{Method: http.MethodPost, URL: base, Host: base.Host, Header: http.Header{}}).WithContext(ctx))
	return proxy != nil || err != nil
}

// newDirectClient makes a client with the options of the transport module. It offers only HTTP/1.1
// in the TLS handshake: HTTP/2 takes more CPU, and a request on it may be repeated after GOAWAY.
func newDirectClient(guest *reverseproxy.HTTPTransport, base *url.URL) *h1.Client {
	t := guest.Transport
	c := &h1.Client{
		Address: base.Host, Dial: t.DialContext, HandshakeTimeout: t.TLSHandshakeTimeout,
		MaxIdle: t.MaxIdleConnsPerHost, IdleTimeout: t.IdleConnTimeout, MaxHead: t.MaxResponseHeaderBytes,
	}
	port := "80"
	if base.Scheme == "https" {
		port, c.TLS = "443", &tls.Config{}
		if t.TLSClientConfig != nil {
			c.TLS = t.TLSClientConfig.Clone()
		}
		if c.TLS.ServerName == "" {
			c.TLS.ServerName = base.Hostname()
		}
		if c.TLS.ClientSessionCache == nil {
			c.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
		c.TLS.NextProtos = []string{"http/1.1"}
	}
	if base.Port() == "" {
		c.Address = net.JoinHostPort(base.Hostname(), port)
	}
	return c
}

var _ delivery.Direct = directTransport{}

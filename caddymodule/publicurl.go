package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// provisionServices finds the addresses of the services and the public URL.
func (h *Handler) provisionServices(caddy.Context) (err error) {
	if h.served, err = h.addressesOf(); err != nil || h.PublicURL == "" {
		return err
	}
	text, err := resolve(caddy.NewReplacer(), h.PublicURL)
	if err != nil {
		return fmt.Errorf("public_url: %w", err)
	}
	u, err := parsePublicURL(text)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !isLoopback(u) {
		h.logger.Warn("public_url is not encrypted: others can read what apps and providers fetch there; write https://")
	}
	h.publicURL, h.publicPath = withoutStandardPort(u)+u.Path, u.Path
	return nil
}

var errPublicURL = errors.New("public_url begins with https:// and a host, such as https://sms.example.com; " +
	"a path may follow, but no user, ? or #")

// checkPublicURL checks the value in a Caddyfile.
func (h *Handler) checkPublicURL() error {
	if hasPlaceholder(h.PublicURL) {
		return nil
	}
	_, err := parsePublicURL(h.PublicURL)
	return err
}

// parsePublicURL parses a public URL. The error does not repeat it, because it may contain a secret.
func parsePublicURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !isHost(u.Host) ||
		u.User != nil || strings.ContainsAny(s, "?#%") || needsCleaning(u.Path) {
		return nil, errPublicURL
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// isHost reports whether s is a host with or without a port.
func isHost(s string) bool {
	u, err := url.Parse("//" + s)
	return err == nil && u.Hostname() != "" && u.Host == s && u.User == nil && !strings.ContainsAny(s, " \t%\\\"<>")
}

// publicBase returns the address under which the sender of a request reaches this handler: the
// configured one, or scheme and host of the request itself. It contains no standard port and ends
// without a slash.
func (h *Handler) publicBase(r *http.Request) string {
	if h.publicURL != "" {
		return h.publicURL
	}
	base := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		base.Scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		switch scheme := lastValue(r.Header, "X-Forwarded-Proto"); scheme {
		case "http", "https":
			base.Scheme = scheme
		}
		if host := lastValue(r.Header, "X-Forwarded-Host"); isHost(host) {
			base.Host = host
		}
	}
	return withoutStandardPort(&base)
}

// lastValue returns the last value of a list in a header: the one that the nearest proxy has added.
func lastValue(h http.Header, field string) string {
	values := h.Values(field)
	if len(values) == 0 {
		return ""
	}
	list := values[len(values)-1]
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}

// standardPorts are the ports that URLs need not contain.
var standardPorts = map[string]string{"http": "80", "https": "443"}

// withoutStandardPort returns scheme and host.
func withoutStandardPort(u *url.URL) string {
	host := u.Host
	if u.Port() == standardPorts[u.Scheme] {
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	return u.Scheme + "://" + host
}

// withStandardPort returns a public base with the standard port in it, which some providers sign.
// It returns a base with another port as it is.
func withStandardPort(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Port() != "" {
		return base
	}
	u.Host = net.JoinHostPort(u.Hostname(), standardPorts[u.Scheme])
	return u.String()
}

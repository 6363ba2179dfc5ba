package caddymodule

import (
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// transportWords are the words of Caddy's http transport in a Caddyfile and in JSON. They are never
// hidden.
// https://caddyserver.com/docs/caddyfile/directives/reverse_proxy#the-http-transport
var transportWords = []string{
	"http", "transport", "protocol", "resolver", "resolvers", "tls", "keep_alive", "compression",
	"max_conns_per_host", "proxy_protocol", "forward_proxy_url", "network_proxy", "dial_timeout",
	"dial_fallback_delay", "response_header_timeout", "expect_continue_timeout", "max_response_header",
	"max_response_header_size", "write_buffer", "write_buffer_size", "read_buffer", "read_buffer_size",
	"read_timeout", "write_timeout", "versions", "local_address", "tls_client_auth", "tls_insecure_skip_verify",
	"tls_curves", "tls_timeout", "tls_trusted_ca_certs", "tls_server_name", "tls_renegotiation", "tls_except_ports",
	"tls_trust_pool", "keepalive", "keepalive_interval", "keepalive_idle_conns", "keepalive_idle_conns_per_host",
	"fastcgi", "enabled", "probe_interval", "max_idle_conns", "max_idle_conns_per_host", "idle_timeout",
	"server_name", "insecure_skip_verify", "handshake_timeout", "ca",
}

// urlPattern matches URLs in error messages of other packages.
var urlPattern = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'` + "`" + `<>]*`)

// minHidden is the minimum length of a hidden value, in bytes. Shorter ones occur in any sentence.
const minHidden = 4

// withoutValues replaces configured values in the error of another module, because they may be
// secrets. It keeps the scheme and host of URLs.
func withoutValues(err error, values []string) error {
	if err == nil {
		return nil
	}
	message := err.Error()
	repl := caddy.NewReplacer()
	var hidden []string
	for _, v := range values {
		for _, v := range []string{v, repl.ReplaceKnown(v, "")} {
			if _, value, ok := cutAssignment(v); ok {
				hidden = append(hidden, value)
			}
			if suggest.Quote(v, transportWords) == "" && !urlPattern.MatchString(v) {
				hidden = append(hidden, v)
			}
		}
	}
	message = urlPattern.ReplaceAllStringFunc(message, func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			scheme, _, _ := strings.Cut(address, "://")
			return scheme + "://…"
		}
		return u.Scheme + "://" + u.Hostname()
	})
	hidden = slices.DeleteFunc(hidden, func(v string) bool { return len(v) < minHidden })
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) })
	for _, v := range hidden {
		message = strings.ReplaceAll(message, v, "…")
	}
	return errors.New(message)
}

// cutAssignment splits a word such as auth_token=SECRET.
func cutAssignment(word string) (name, value string, found bool) {
	if i := strings.IndexAny(word, "=:"); i >= 0 {
		return word[:i], word[i+1:], true
	}
	return word, "", false
}

// jsonStrings returns all strings of a JSON value, including the names of members.
func jsonStrings(raw json.RawMessage) (texts []string) {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil
	}
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case string:
			texts = append(texts, v)
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for name, item := range v {
				texts = append(texts, name)
				walk(item)
			}
		}
	}
	walk(value)
	return texts
}

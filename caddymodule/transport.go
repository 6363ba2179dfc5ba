package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
)

// keepAliveDefaults are for providers. Messages are rare, so a kept connection may have died before the next one; under
// load, too few of them cost a TLS handshake for each message.
var keepAliveDefaults = map[string]json.RawMessage{
	"max_idle_conns_per_host": json.RawMessage("512"),
	"idle_timeout":            json.RawMessage("30000000000"),
}

// loadTransport loads the transport guest.
func (h *Handler) loadTransport(ctx caddy.Context) (http.RoundTripper, error) {
	raw := map[string]json.RawMessage{"protocol": json.RawMessage(`"http"`)}
	if len(h.TransportRaw) > 0 {
		if err := json.Unmarshal(h.TransportRaw, &raw); err != nil {
			return nil, fmt.Errorf("transport: %w", err)
		}
	}
	if string(raw["protocol"]) == `"http"` {
		keepAlive := maps.Clone(keepAliveDefaults)
		if given := raw["keep_alive"]; given != nil {
			if err := json.Unmarshal(given, &keepAlive); err != nil {
				return nil, fmt.Errorf("transport: keep_alive: %w", err)
			}
		}
		merged, err := json.Marshal(keepAlive)
		if err != nil {
			return nil, err
		}
		raw["keep_alive"] = merged
	}
	var err error
	if h.TransportRaw, err = json.Marshal(raw); err != nil {
		return nil, err
	}
	mod, err := ctx.LoadModule(h, "TransportRaw")
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	if guest, is := mod.(*reverseproxy.HTTPTransport); is && guest.TLS != nil && guest.TLS.InsecureSkipVerify {
		return nil, errors.New("transport: the certificates of providers are always checked, trust your own with tls_trust_pool instead")
	}
	if guest, is := mod.(*reverseproxy.HTTPTransport); is {
		h.taken.add(func() error { // they would be kept for nobody
			guest.Transport.CloseIdleConnections()
			return nil
		})
	}
	transport, ok := mod.(http.RoundTripper)
	if !ok {
		return nil, fmt.Errorf("transport: %T carries no HTTP requests", mod)
	}
	return schemes{transport}, nil
}

// schemes sends requests to the sandbox by their scheme, all others by the transport.
type schemes struct{ http.RoundTripper }

func (s schemes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "sandbox" {
		return delivery.Sandbox{}.RoundTrip(r)
	}
	return s.RoundTripper.RoundTrip(r)
}

func isDialError(err error) bool {
	var dial reverseproxy.DialError
	return errors.As(err, &dial)
}

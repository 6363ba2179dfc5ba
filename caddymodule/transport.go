package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// keepAliveDefaults are the defaults of connections to providers. Messages are rare, so an idle
// connection may be dead by the next one; under load, too few connections cost a TLS handshake for
// each message.
var keepAliveDefaults = map[string]json.RawMessage{
	"max_idle_conns_per_host": json.RawMessage("512"),
	"idle_timeout":            json.RawMessage("30000000000"),
}

// unmarshalTransport parses a transport block by Caddy's module.
func (h *Handler) unmarshalTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("write: transport http { … }")
	}
	const namespace = "http.reverse_proxy.transport"
	name := d.Val()
	if known := moduleNames(namespace); !slices.Contains(known, name) {
		return d.Err(suggest.Unknown("transport", name, known))
	}
	var written []string
	for segment := *d; segment.Next(); {
		written = append(written, segment.Val())
	}
	mod, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
	if err != nil {
		if misplaced := misplacedInTransport(err); misplaced != nil {
			return misplaced
		}
		return withoutValues(err, written)
	}
	h.TransportRaw = caddyconfig.JSONModuleObject(mod, "protocol", name, nil)
	return nil
}

// misplacedInTransport returns advice about a word that the transport does not know, if it belongs
// outside of the transport's block. It is nil otherwise.
func misplacedInTransport(err error) error {
	_, rest, _ := strings.Cut(err.Error(), "unrecognized subdirective ")
	word, at, _ := strings.Cut(rest, ", at ")
	if advice := misplacedWord(word, inTransport, nil); advice != "" {
		return errors.New(advice + ", at " + at)
	}
	return nil
}

// loadTransport loads the transport module.
func (h *Handler) loadTransport(ctx caddy.Context) (http.RoundTripper, error) {
	var err error
	if h.TransportRaw, err = withKeepAlive(h.TransportRaw); err != nil {
		return nil, err
	}
	if err := checkModule(h.TransportRaw, "protocol", moduleNames("http.reverse_proxy.transport")); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	configured := jsonStrings(h.TransportRaw)
	mod, err := ctx.LoadModule(h, "TransportRaw")
	if err != nil {
		return nil, fmt.Errorf("transport: %w", withoutValues(err, configured))
	}
	if guest, is := mod.(*reverseproxy.HTTPTransport); is {
		if guest.TLS != nil && guest.TLS.InsecureSkipVerify {
			return nil, errors.New("transport: the certificates of providers are always checked; trust your own with tls_trust_pool instead")
		}
		h.resources.add(func() error { // no later handler can use them
			guest.Transport.CloseIdleConnections()
			return nil
		})
	}
	transport, ok := mod.(http.RoundTripper)
	if !ok {
		return nil, fmt.Errorf("transport: %T cannot send HTTP requests", mod)
	}
	return schemeTransport{transport}, nil
}

// withKeepAlive adds keepAliveDefaults to the configuration of a transport, which may be empty.
func withKeepAlive(config json.RawMessage) (json.RawMessage, error) {
	raw := map[string]json.RawMessage{"protocol": json.RawMessage(`"http"`)}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &raw); err != nil {
			return nil, errors.New("transport: write an object such as {\"protocol\": \"http\"}")
		}
	}
	if string(raw["protocol"]) == `"http"` {
		keepAlive := maps.Clone(keepAliveDefaults)
		if given := raw["keep_alive"]; given != nil {
			if err := json.Unmarshal(given, &keepAlive); err != nil {
				return nil, errors.New("transport: keep_alive takes an object")
			}
		}
		merged, err := json.Marshal(keepAlive)
		if err != nil {
			return nil, err
		}
		raw["keep_alive"] = merged
	}
	return json.Marshal(raw)
}

// schemeTransport sends requests with the scheme sandbox to the sandbox, all others by the transport.
type schemeTransport struct{ http.RoundTripper }

func (s schemeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "sandbox" {
		return delivery.Sandbox{}.RoundTrip(r)
	}
	return s.RoundTripper.RoundTrip(r)
}

// isDialError reports whether no connection was made, so that nothing was sent.
func isDialError(err error) bool {
	var dial reverseproxy.DialError
	return errors.As(err, &dial)
}

//go:build e2e

// Command panicking is Caddy with this module and a transport that panics with all that it is given.
package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	_ "github.com/caddy-acrobits/caddy-acrobits-sms/caddymodule"
)

func main() {
	caddy.RegisterModule(transport{})
	caddycmd.Main()
}

// transport is the guest of reverse_proxy that panics.
type transport struct{}

// CaddyModule returns the Caddy module information.
func (transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.panicking", New: func() caddy.Module { return new(transport) }}
}

// UnmarshalCaddyfile takes no words.
func (*transport) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

// RoundTrip panics with the credential and the body of the request.
func (transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	panic(fmt.Errorf("%s %v %s", r.URL, r.Header, body))
}

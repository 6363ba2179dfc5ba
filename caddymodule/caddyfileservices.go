package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// parseDirective parses the directive. Unlike httpcaddyfile.RegisterHandlerDirective it knows
// whether there is a matcher: without one the path of a request chooses the service.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	at := *h.Dispenser
	set, hasMatcher, err := h.MatcherToken()
	if err != nil {
		return nil, err
	}
	matcher := ""
	if hasMatcher {
		matcher = h.Val()
		h.Delete()
	}
	h.Reset()
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if err := handler.chooseByPath(matcher); err != nil {
		return nil, at.WrapErr(err)
	}
	return h.NewRoute(set, handler), nil
}

// chooseByPath completes services of a Caddyfile. With a matcher, all requests that belong to no
// other service are messages.
func (h *Handler) chooseByPath(matcher string) error {
	switch {
	case matcher == "" && h.Services == nil:
		h.Services = map[string]string{}
	case matcher != "" && h.Services[sendService] != "":
		return fmt.Errorf("with a matcher, every request that belongs to no other service is a message: "+
			"remove %s, or the line send %s in services", quoteMatcher(matcher), h.Services[sendService])
	case matcher != "" && h.Services != nil:
		h.Services[sendService] = "/"
	}
	if !strings.HasPrefix(matcher, "/") || strings.Contains(matcher, "{") {
		return nil
	}
	for _, s := range services() {
		if s.name != sendService && s.isOn(h) {
			if err := checkMatcher(matcher, s.name, h.pathOf(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMatcher refuses a path matcher that keeps requests away from a service.
func checkMatcher(matcher, name, path string) error {
	m := caddyhttp.MatchPath{matcher}
	if err := m.Provision(caddy.Context{}); err != nil {
		return err
	}
	for _, p := range []string{path, path + "/x"} {
		r := &http.Request{URL: &url.URL{Path: p}}
		r = r.WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		if matches, err := m.MatchWithError(r); err != nil || !matches {
			return fmt.Errorf("%s keeps requests away from %s, the path of the service %s: remove the matcher, "+
				"or write a path below it: services { %[3]s %s/%[3]s }",
				quoteMatcher(matcher), path, name, strings.TrimRight(matcher, "/*"))
		}
	}
	return nil
}

// quoteMatcher returns a matcher for an error.
func quoteMatcher(matcher string) string { return "the matcher " + matcher }

// unmarshalServices parses the services block.
func (h *Handler) unmarshalServices(d *caddyfile.Dispenser) error {
	if err := noArgs(d); err != nil {
		return err
	}
	h.Services = make(map[string]string)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if known := serviceNames(); !slices.Contains(known, name) {
			if wrong := misplacedWord(name, inServices, known); wrong != "" {
				return d.Err(wrong)
			}
			return d.Err(suggest.Unknown("service", name, known))
		}
		if h.Services[name] != "" {
			return d.Errf("%s appears twice", name)
		}
		var path string
		if err := oneArg(d, &path); err != nil {
			return err
		}
		h.Services[name] = path
		if err := h.checkServices(); err != nil {
			return d.WrapErr(err)
		}
	}
	if len(h.Services) == 0 {
		return d.Err("services has no line; write: services { send /PATH }, each service on its own line")
	}
	return nil
}

// checkAddresses is the check of services that needs the whole block.
func (h *Handler) checkAddresses() error {
	_, err := h.addressesOf()
	return err
}

package caddymodule

import (
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// noLastAnswer is the warning about a server without a route for some requests.
const noLastAnswer = "Caddy replies to requests without a route with an empty 200, which apps take for success; " +
	"remove the matcher of acrobits_sms, or end its site with the line: " + lastAnswer +
	"; add one more site with this line alone, for the addresses: " + otherSites

// The lines of the advice. A Caddyfile cannot have a block on one line.
const (
	lastAnswer = `respond "Wrong address" 404`
	otherSites = "http://, https://"
)

// uncoveredServer is a server with a handler of this module that has no route for some requests.
type uncoveredServer struct {
	name string
	// hosts are the hosts of sites with such a handler and no route for some paths.
	hosts []string
}

// uncoveredServers returns the uncovered servers of the app.
func uncoveredServers(app *caddyhttp.App) (open []uncoveredServer) {
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		routes := app.Servers[name].Routes
		if !slices.ContainsFunc(routes, hasHandler) || repliesToAll(routes) {
			continue
		}
		o := uncoveredServer{name: name}
		for _, route := range routes {
			if hasHandler(route) && !slices.ContainsFunc(route.Handlers, alwaysReplies) {
				o.hosts = append(o.hosts, hostsOf(route)...)
			}
		}
		open = append(open, o)
	}
	return open
}

// warnUncoveredServers warns of the uncovered servers of the configuration. It is called at the start,
// because all apps are provisioned by then.
func warnUncoveredServers(ctx caddy.Context, log *zap.Logger) {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return
	}
	warnUncovered(app.(*caddyhttp.App), log)
}

func warnUncovered(app *caddyhttp.App, log *zap.Logger) {
	for _, open := range uncoveredServers(app) {
		log.Warn(noLastAnswer, zap.String("server", open.name), zap.Strings("sites", open.hosts))
	}
}

// hasHandler reports whether a route contains a handler of this module.
func hasHandler(route caddyhttp.Route) bool {
	return slices.ContainsFunc(route.Handlers, func(h caddyhttp.MiddlewareHandler) bool {
		switch h := h.(type) {
		case *Handler:
			return true
		case *caddyhttp.Subroute:
			return slices.ContainsFunc(h.Routes, hasHandler)
		}
		return false
	})
}

// repliesToAll reports whether routes reply to every request: a route without matchers replies, and
// no site or handle block before it takes requests away from it. After a terminal route matches,
// which every site of a Caddyfile is, Caddy runs no later route; after a route of a group, no other
// of the group.
func repliesToAll(routes caddyhttp.RouteList) bool {
	open := map[string]bool{} // groups
	for _, route := range routes {
		answers := slices.ContainsFunc(route.Handlers, alwaysReplies)
		switch {
		case answers && len(route.MatcherSets) == 0 && !open[route.Group]:
			return true
		case answers || !hasHandler(route):
		case route.Terminal:
			return false
		case route.Group != "":
			open[route.Group] = true
		}
	}
	return false
}

// passThrough are Caddy's handlers that call the next handler instead of replying.
// https://caddyserver.com/docs/modules/http
var passThrough = []string{
	"acme_server", "authentication", "copy_response", "copy_response_headers", "encode", "headers", "intercept",
	"log_append", "map", "push", "request_body", "rewrite", "templates", "tracing", "vars",
}

// alwaysReplies reports whether a handler replies to every request. Unknown handlers are assumed
// to.
func alwaysReplies(h caddyhttp.MiddlewareHandler) bool {
	if sub, is := h.(*caddyhttp.Subroute); is {
		return repliesToAll(sub.Routes)
	}
	module, is := h.(caddy.Module)
	return !is || !slices.Contains(passThrough, module.CaddyModule().ID.Name())
}

// hostsOf returns the hosts that a route matches.
func hostsOf(route caddyhttp.Route) (hosts []string) {
	for _, set := range route.MatcherSets {
		for _, m := range set {
			switch m := m.(type) {
			case caddyhttp.MatchHost:
				hosts = append(hosts, m...)
			case *caddyhttp.MatchHost:
				hosts = append(hosts, *m...)
			}
		}
	}
	return hosts
}

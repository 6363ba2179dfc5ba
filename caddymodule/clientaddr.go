package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
)

// clientAddr returns the address that failures and memory are counted for: the rightmost one that
// is not a trusted proxy. Caddy itself uses the leftmost without trusted_proxies_strict, which any
// client can forge by sending X-Forwarded-For. It returns the zero Addr if the address is unknown,
// as behind an untrusted unix socket.
func clientAddr(r *http.Request) netip.Addr {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, _ := parseHop(ip)
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted || server == nil {
		return addr
	}
	var hops []string
	for _, field := range server.ClientIPHeaders {
		for _, value := range r.Header.Values(field) {
			hops = append(hops, strings.Split(value, ",")...)
		}
	}
	addr, _ = parseHop(r.RemoteAddr)
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(hops[i])
		if !ok { // such as unknown: the hops before are not trusted either
			break
		}
		if addr = hop; !isTrustedProxy(r, server, hop) {
			break
		}
	}
	return addr
}

// parseHop parses an address with or without port and zone.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	s, _, _ = strings.Cut(strings.Trim(s, "[]"), "%")
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil
}

// isTrustedProxy asks Caddy whether it trusts an address, by a synthetic request from there,
// because the list itself is not exported.
func isTrustedProxy(r *http.Request, server *caddyhttp.Server, addr netip.Addr) bool {
	probe := (&http.Request{
		Method: http.MethodGet, URL: new(url.URL), Header: http.Header{}, RemoteAddr: netip.AddrPortFrom(addr, 1).String(),
	}).WithContext(r.Context())
	probe = caddyhttp.PrepareRequest(probe, caddy.NewReplacer(), nil, server)
	trusted, _ := caddyhttp.GetVar(probe.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// manyUsers is the number of users that makes a private address look like a proxy.
const manyUsers = 10

// sharedAddresses counts the users of private addresses. It is safe for concurrent use.
type sharedAddresses struct {
	mu    sync.Mutex
	users *cache.Table[netip.Addr, map[string]bool]
}

func newSharedAddresses() *sharedAddresses {
	return &sharedAddresses{users: cache.NewTable[netip.Addr, map[string]bool](64)}
}

// note adds a user of an address. It reports true once, when the address reaches manyUsers.
func (s *sharedAddresses) note(addr netip.Addr, user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	users, ok := s.users.Get(addr)
	if !ok {
		users = make(map[string]bool)
		s.users.Put(addr, users)
	}
	if len(users) == manyUsers || users[user] {
		return false
	}
	users[user] = true
	return len(users) == manyUsers
}

// warnSharedAddress warns of an address that looks like an untrusted proxy: its users share one
// lockout.
func (x *sendRequest) warnSharedAddress() {
	if !x.client.IsPrivate() && !x.client.IsLoopback() && !x.client.IsLinkLocalUnicast() {
		return
	}
	if x.addresses.note(x.client, x.response.User.Name) {
		x.logger.Warn("many users send from one private address; if it is a proxy, add it to trusted_proxies, "+
			"or wrong passwords of one user lock out all of them",
			zap.String("client_ip", x.client.String()), zap.Int("users", manyUsers))
	}
}

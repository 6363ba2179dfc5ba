package caddymodule

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// server provisions a server of Caddy's that listens nowhere.
func provisionServer(t *testing.T, settings string) *caddyhttp.Server {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal([]byte(`{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:0"]`+settings+`}}}}}`), &config); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&config)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*caddyhttp.App).Servers["s"]
}

// Nobody chooses the address that they are counted for: it is the rightmost one that is not a trusted proxy, strict or not.
func TestClientAddr(t *testing.T) {
	const trusted = `,"trusted_proxies":{"source":"static","ranges":["10.0.0.0/8","fd00::/8"]}`
	for name, c := range map[string]struct {
		settings, remote string
		forwarded        []string
		want             string
	}{
		"nobody is trusted":                       {"", "203.0.113.9:4711", []string{"198.51.100.1"}, "203.0.113.9"},
		"the peer is not trusted":                 {trusted, "203.0.113.9:4711", []string{"198.51.100.1"}, "203.0.113.9"},
		"a proxy says nothing":                    {trusted, "10.0.0.1:4711", nil, "10.0.0.1"},
		"a proxy names the client":                {trusted, "10.0.0.1:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		"a proxy appends to what the client says": {trusted, "10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"in two lines":                            {trusted, "10.0.0.1:4711", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		"the client says it is a proxy":           {trusted, "10.0.0.1:4711", []string{"10.0.0.2,198.51.100.1,203.0.113.9"}, "203.0.113.9"},
		"two proxies append":                      {trusted, "10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"an untrusted proxy in between":           {trusted, "10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.9, 192.168.0.2"}, "192.168.0.2"},
		"all are proxies":                         {trusted, "10.0.0.1:4711", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"with ports":                              {trusted, "10.0.0.1:4711", []string{"198.51.100.1:1, 203.0.113.9:2"}, "203.0.113.9"},
		"over IPv6":                               {trusted, "[fd00::1]:4711", []string{"2001:db8::1, [2001:db8::2]:4711"}, "2001:db8::2"},
		"with a zone":                             {trusted, "[fd00::1%eth0]:4711", []string{"2001:db8::2%eth0"}, "2001:db8::2"},
		"IPv4 written as IPv6":                    {trusted, "10.0.0.1:4711", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"a proxy that hides the client":           {trusted, "10.0.0.1:4711", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		"nonsense in front":                       {trusted, "10.0.0.1:4711", []string{"'; drop, 203.0.113.9"}, "203.0.113.9"},
		"strict":                                  {trusted + `,"trusted_proxies_strict":1`, "10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"another header":                          {trusted + `,"client_ip_headers":["Cf-Connecting-Ip"]`, "10.0.0.1:4711", []string{"198.51.100.1"}, "10.0.0.1"},
		"a socket that is not trusted":            {trusted, "@", []string{"203.0.113.9"}, "invalid IP"},
		"a trusted socket":                        {trusted + `,"trusted_proxies_unix":true`, "@", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			server := provisionServer(t, c.settings)
			r := httptest.NewRequest("POST", "/", nil)
			r.RemoteAddr = c.remote
			for _, value := range c.forwarded {
				r.Header.Add("X-Forwarded-For", value)
			}
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), server)
			if got := clientAddr(r).String(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// Ten users of one address make it look like a proxy, once.
func TestSharedAddresses(t *testing.T) {
	s := newSharedAddresses()
	a, b := netip.MustParseAddr("192.168.0.1"), netip.MustParseAddr("192.168.0.2")
	warned := 0
	for round := range 3 {
		for n := range 2 * manyUsers {
			if s.note(a, string(rune('a'+n))) {
				warned++
				if round > 0 || n != manyUsers-1 {
					t.Errorf("round %d: user %d makes them many", round, n)
				}
			}
			if s.note(b, string(rune('a'+n%3))) {
				t.Error("three users are many")
			}
		}
	}
	if warned != 1 {
		t.Errorf("%d warnings", warned)
	}
}

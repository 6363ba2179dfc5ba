package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
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

// Behind a proxy that appends, nobody escapes the lockout by writing addresses themselves, and nobody locks out somebody else. The event
// line has the address that is counted.
func TestForgedAddresses(t *testing.T) {
	server := provisionServer(t, `,"trusted_proxies":{"source":"static","ranges":["10.0.0.0/8"]}`)
	s := newSite(t, demo+"adapter sandbox\nlockout 2 5m")
	send := func(query, forwarded string) int {
		r := get(query + "&to=5551231234&body=hi")
		r.RemoteAddr = "10.0.0.1:4711"
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server)
		if err := s.ServeHTTP(w, r, nil); err != nil {
			t.Error(err)
		}
		return w.Code
	}
	const right, victim, guesser = "user=johndow&password=12345678", "198.51.100.7", "203.0.113.9"
	for i, want := range []int{401, 401, 401, 429} {
		if got := send("user=nobody&password=wrong", fmt.Sprintf("%s, 192.0.2.%d, %s", victim, i, guesser)); got != want {
			t.Errorf("guess %d: %d, want %d", i, got, want)
		}
		if line := s.events()[0]; line["client_ip"] != guesser {
			t.Errorf("guess %d is of %v", i, line["client_ip"])
		}
	}
	if got := send(right, victim); got != 200 {
		t.Errorf("the address that was written: %d", got)
	}
	if got := send(right, victim+", "+guesser); got != 429 {
		t.Errorf("the address that wrote it: %d", got)
	}
}

// Many users of one private address draw a warning with the setting to change, once; those of a public address do not.
func TestSharedAddressIsTold(t *testing.T) {
	var block strings.Builder
	for i := range manyUsers {
		fmt.Fprintf(&block, "user ann%d {\npassword correct-horse-%d\n}\n", i, i)
	}
	s := newSite(t, block.String()+"default_region US\nadapter sandbox\nlimit off\nbursts off")
	for address, want := range map[string]int{"192.168.0.1": 1, "203.0.113.5": 0} {
		for range 2 {
			for i := range manyUsers {
				if w := s.guess(t, address, fmt.Sprintf("user=ann%d&password=correct-horse-%d", i, i)); w.Code != 200 {
					t.Fatal(w.Code, w.Body)
				}
			}
		}
		told := 0
		for _, e := range s.log.TakeAll() {
			if strings.Contains(e.Message, "add it to trusted_proxies") && e.ContextMap()["client_ip"] == address {
				told++
			}
		}
		if told != want {
			t.Errorf("%s: %d warnings, want %d", address, told, want)
		}
	}
}

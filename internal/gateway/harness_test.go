package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The harness, without Caddy and without an HTTP server: newFixture makes a gateway with a journal in
// memory, fake users whose password is their name and "-password", and an adapter whose transport counts
// requests. message is a request of ann, send takes it through the gateway, said is the response in a
// few words, such as "refused limited.over_limit". At the end of a test no response holds the journal
// and no goroutine is left. Tests that need time run in a bubble of synctest.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a gateway and what it works with.
type fixture struct {
	*Gateway
	users     *fakeUsers
	journal   *fakeJournal
	transport *transport
}

// ownAPI is the definition of the adapter.
const ownAPI = "base_url http://provider\nsend {\nPOST /\nform {\nto {sms.to}\nfrom {sms.from}\ntext {sms.body}\n}\n}\n" +
	"reply json\naccepted status 200\nid id\ncause no_credit 1\ncode code\n"

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOf(t, ownAPI, journal.NewMemory())
}

func newFixtureOf(t *testing.T, definition string, store journal.Store) *fixture {
	t.Helper()
	d, err := adapters.Parse("own", "own", 1, definition)
	if err != nil {
		t.Fatal(err)
	}
	adapter, err := d.Bind("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(store, func(journal.Entry) {}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if j.Release(); j.Acquire() {
			t.Error("a response still holds the journal")
		}
	})
	f := &fixture{users: &fakeUsers{list: []*users.User{
		{Name: "ann", Numbers: numbers(t, "+12125550101", "+12125550102", "ACME", "72227")},
		{Name: "bob", Numbers: numbers(t, "+13105550101")},
		{Name: "eve"},
	}}, journal: &fakeJournal{open: j}, transport: new(transport)}
	f.Gateway = &Gateway{
		Users: f.users, ByName: f.users,
		Guard: lockout.NewGuard(lockout.Settings{}), LoginQueues: lockout.NewQueues(),
		Region: "US", Numbers: number.NewCache(), Destinations: new(destination.Policy),
		Paused:  func() bool { return false },
		Journal: f.journal, Options: journal.Options{Window: 30 * time.Second},
		Deliverer: &delivery.Deliverer{
			Routes:  []delivery.Route{{Adapter: adapter, Transport: f.transport, Account: delivery.NewAccount()}},
			Timeout: 20 * time.Second, AttemptTimeout: 10 * time.Second, MaxParts: 10,
		},
	}
	return f
}

// beside is a gateway beside this one, such as after a reload, that shares all but what is changed.
func (f *fixture) beside(change func(*Gateway)) *fixture {
	other, g := *f, *f.Gateway
	other.Gateway = &g
	change(&g)
	return &other
}

func numbers(t *testing.T, list ...string) []sms.Number {
	t.Helper()
	n, err := number.ParseSenders(list, "US")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var home = netip.MustParsePrefix("192.0.2.1/32")

// elsewhere is the ith of other networks.
func elsewhere(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(113 + i>>8), byte(i)}), 32)
}

// changes are made to the request of message.
type changes = []func(*Request)

// message is a text of ann from her network, after changes.
func message(changes ...func(*Request)) Request {
	r := Request{
		Request: &sendmessage.Request{
			Caller: params.Caller{User: "ann", Secret: sms.Hide("ann-password")}, To: []string{"+12125550123"}, Body: sms.Hide("Hello World"),
		},
		Received: time.Now(), Host: "sms.example.com", Site: "sms.example.com/send", Network: home, Method: "POST", Target: "/send",
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func by(user string) func(*Request) {
	return func(r *Request) { r.User, r.Secret = user, sms.Hide(user+"-password") }
}

func guessing(r *Request)                    { r.Secret = sms.Hide("guess") }
func without(r *Request)                     { r.User, r.Secret = "", sms.Hidden{} }
func from(n netip.Prefix) func(*Request)     { return func(r *Request) { r.Network = n } }
func to(recipients ...string) func(*Request) { return func(r *Request) { r.To = recipients } }
func as(sender string) func(*Request)        { return func(r *Request) { r.Sender = sender } }
func saying(text string) func(*Request)      { return func(r *Request) { r.Body = sms.Hide(text) } }
func withID(id string) func(*Request)        { return func(r *Request) { r.Disposition.ID = id } }
func upstream(user string) func(*Request)    { return func(r *Request) { r.UpstreamUser = user } }

// send takes a request through the gateway. The phone acknowledges the reply.
func (f *fixture) send(t *testing.T, changes ...func(*Request)) *Response {
	t.Helper()
	r := f.sendUnheard(t, t.Context(), changes...)
	r.Acknowledge(0)
	return r
}

// sendUnheard is send, but the reply does not reach the phone.
func (f *fixture) sendUnheard(t *testing.T, ctx context.Context, changes ...func(*Request)) *Response {
	t.Helper()
	r := f.Send(ctx, message(changes...))
	t.Cleanup(r.Close)
	return r
}

// said is a response in a few words.
func said(r *Response) string {
	if r.Result.Outcome == sms.Accepted {
		return "accepted"
	}
	return r.Result.Outcome.String() + " " + r.Result.Refusal.Error()
}

// check compares what became of a request, and how many requests the provider has got by now.
func (f *fixture) check(t *testing.T, what string, r *Response, want string, sent int) {
	t.Helper()
	if got := said(r); got != want {
		t.Errorf("%s: %s, want %s (%s)", what, got, want, r.Result.Detail)
	}
	if got := f.transport.count(); got != sent {
		t.Errorf("%s: %d requests to the provider, want %d", what, got, sent)
	}
}

// fakeUsers are users in a list. instead, if set, decides in its place.
type fakeUsers struct {
	list    []*users.User
	instead func(users.Credential) (*users.User, error)
	away    bool // Find finds nobody

	mu    sync.Mutex
	asked int
}

func (f *fakeUsers) Authenticate(_ context.Context, c users.Credential) (*users.User, error) {
	f.mu.Lock()
	f.asked++
	f.mu.Unlock()
	if f.instead != nil {
		return f.instead(c)
	}
	u, _ := f.Find(c.User)
	switch {
	case u == nil:
		return nil, users.ErrDenied
	case c.Proof != nil && c.Proof.Verify(u.Name+"-password"), c.Proof == nil && c.Secret.Reveal() == u.Name+"-password":
		return u, nil
	}
	return nil, &users.DeniedError{Name: u.Name}
}

func (f *fakeUsers) Find(name string) (*users.User, error) {
	if f.away {
		return nil, users.ErrUnavailable
	}
	for _, u := range f.list {
		if u.Name == name {
			return u, nil
		}
	}
	return nil, nil
}

// fakeJournal is a journal that is open, unless err is set.
type fakeJournal struct {
	open     *journal.Journal
	err      error
	failures int
}

func (f *fakeJournal) Acquire() (*journal.Journal, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.open.Acquire()
	return f.open, nil
}

func (f *fakeJournal) LastLogin(user string, network netip.Prefix) time.Time {
	return f.open.LastLogin(user, network)
}

func (f *fakeJournal) NoteFailure() { f.failures++ }

// transport is a provider without a network. It counts requests, and accepts all for which
// statuses say nothing else.
type transport struct {
	mu       sync.Mutex
	got      []string // the bodies
	statuses []int    // of the first replies; 402 is no credit
	slow     time.Duration
	broken   any // what it panics with
}

func (p *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.got = append(p.got, string(body))
	n, status, slow := len(p.got), 200, p.slow
	if n <= len(p.statuses) {
		status = p.statuses[n-1]
	}
	p.mu.Unlock()
	if p.broken != nil {
		panic(p.broken)
	}
	reply := fmt.Sprintf(`{"id":"sms-%d"}`, n)
	if status == 402 {
		reply = `{"code":1}`
	}
	time.Sleep(slow)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(reply))}, nil
}

func (p *transport) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

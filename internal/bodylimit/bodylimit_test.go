package bodylimit

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

var home = netip.MustParsePrefix("192.0.2.1/32")

// phone is a request whose body comes in pieces, each after a pause, and the connection's read
// deadline.
type phone struct {
	http.ResponseWriter // of which only deadlines are asked for
	pieces              []int
	left                int // of the first piece
	pause               time.Duration
	deadline            time.Time
	set                 []time.Duration // the deadlines, from now, 0 for none
}

func (p *phone) SetReadDeadline(d time.Time) error {
	p.deadline = d
	if d.IsZero() {
		p.set = append(p.set, 0)
	} else {
		p.set = append(p.set, time.Until(d))
	}
	return nil
}

func (p *phone) Read(b []byte) (int, error) {
	if len(p.pieces) == 0 {
		return 0, io.EOF
	}
	if p.left == 0 {
		if !p.deadline.IsZero() && time.Until(p.deadline) < p.pause {
			time.Sleep(time.Until(p.deadline))
			return 0, os.ErrDeadlineExceeded
		}
		time.Sleep(p.pause)
		p.left = p.pieces[0]
	}
	n := min(p.left, len(b))
	if p.left -= n; p.left == 0 {
		p.pieces = p.pieces[1:]
	}
	return n, nil
}

func (p *phone) Close() error { return nil }

// begin is a body of pieces, whose length the request says or not.
func begin(b *Budget, from netip.Prefix, p *phone, length int64) *Body {
	return b.Limit(p, &http.Request{Body: p, ContentLength: length}, from)
}

func repeat(n, piece int) (pieces []int) {
	for range n {
		pieces = append(pieces, piece)
	}
	return pieces
}

// A body has 10 seconds and one more for each 16 KiB of it.
func TestDeadline(t *testing.T) {
	for name, c := range map[string]struct {
		pieces []int
		pause  time.Duration
		length int64
		read   int
		after  time.Duration
		slow   bool
	}{
		"at once":                     {[]int{300}, 0, 300, 300, 0, false},
		"of unknown length":           {[]int{300}, time.Second, -1, 300, time.Second, false},
		"a byte in 3 seconds":         {repeat(100, 1), 3 * time.Second, 100, 3, 10 * time.Second, true},
		"nothing":                     {[]int{1}, time.Hour, 1, 0, 10 * time.Second, true},
		"16 KiB a second":             {repeat(16, 16<<10), time.Second, 256 << 10, 256 << 10, 16 * time.Second, false},
		"1 KiB in 3 seconds":          {repeat(256, 1<<10), 3 * time.Second, 256 << 10, 3 << 10, 10 * time.Second, true},
		"a quarter at once, then not": {append([]int{64 << 10}, repeat(1000, 10)...), 3 * time.Second, 256 << 10, 64<<10 + 30, 14 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, b, began := &phone{pieces: c.pieces, pause: c.pause}, NewBudget(1<<20), time.Now()
				body := begin(b, home, p, c.length)
				data, err := io.ReadAll(body)
				took := time.Since(began)
				var refusal *sms.Refusal
				if slow := errors.As(err, &refusal) && refusal.Cause == sms.Limited && refusal.Variant == sms.NoTime; slow != c.slow || len(data) != c.read || took != c.after {
					t.Errorf("%d bytes after %s, %v; want %d after %s", len(data), took, err, c.read, c.after)
				}
				body.Done()
				want := time.Duration(0)
				if c.slow {
					want = drainTimeout
				}
				if last := p.set[len(p.set)-1]; last != want || body.Unread() != c.slow {
					t.Errorf("the deadline behind it is in %s, want %s; unread %t", last, want, body.Unread())
				}
			})
		})
	}
}

// Small bodies are free. Larger ones are charged before they are read on, and give it back.
func TestBudget(t *testing.T) {
	for size, want := range map[int]int64{1: 0, freeBytes - 1: 0, freeBytes: 0, freeBytes + 1: minCharge, minCharge: minCharge, minCharge + 1: 2 * minCharge, 200 << 10: minCharge, 16 << 20: 16 << 20} {
		b := NewBudget(64 << 20)
		body := begin(b, home, &phone{pieces: repeat(size, 1)}, int64(size))
		if _, err := io.ReadFull(body, make([]byte, size)); err != nil || b.used != want || b.usedBy[home] != want {
			t.Errorf("%d bytes are charged %d (%v), want %d", size, b.used, err, want)
		}
		body.Release()
		body.Release()
		if b.used != 0 || len(b.usedBy) != 0 {
			t.Errorf("%d of %d bytes stay charged, to %d networks", b.used, want, len(b.usedBy))
		}
	}
}

// One network gets a quarter of the budget, all together get the whole, and small bodies pass even
// then.
func TestBudgetIsSpent(t *testing.T) {
	const size = 8 << 10
	b := NewBudget(16 * minCharge)
	var bodies []*Body
	read := func(from netip.Prefix, size int) error {
		body := begin(b, from, &phone{pieces: repeat(size/1024, 1024)}, int64(size))
		bodies = append(bodies, body)
		_, err := io.ReadFull(body, make([]byte, size))
		return err
	}
	networks := []string{"192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64", "198.51.100.0/32", "203.0.113.7/32"}
	for i, network := range networks {
		for n := range 6 {
			err := read(netip.MustParsePrefix(network), size)
			var refusal *sms.Refusal
			refused := errors.As(err, &refusal) && refusal.Cause == sms.Busy && refusal.Variant == sms.LargeRequests && refusal.RetryAfter > 0
			if want := n >= 4 || i == 4; refused != want || (err == nil) == want {
				t.Errorf("body %d of network %d: %v", n, i, err)
			}
			if err := read(netip.MustParsePrefix(network), freeBytes); err != nil {
				t.Errorf("a small body is refused: %v", err)
			}
		}
	}
	for _, body := range bodies {
		body.Release()
	}
	if b.used != 0 || len(b.usedBy) != 0 {
		t.Errorf("%d bytes stay charged, to %d networks", b.used, len(b.usedBy))
	}
	if err := read(netip.Prefix{}, size); err != nil {
		t.Errorf("a network that is not known is refused: %v", err)
	}
}

// Requests without a body are left alone.
func TestNoBody(t *testing.T) {
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		r := &http.Request{Body: body}
		limited := NewBudget(1).Limit(nil, r, home)
		limited.Done()
		limited.Release()
		if limited != nil || r.Body != body || limited.Unread() {
			t.Error("it has a body now")
		}
	}
	p := &phone{}
	if body := begin(NewBudget(1), home, p, 5); body.Unread() {
		t.Error("a body is taken for half read that nobody began to read")
	} else if body.Done(); len(p.set) > 0 {
		t.Errorf("a body that nobody began to read gets a deadline: %s", p.set)
	}
}

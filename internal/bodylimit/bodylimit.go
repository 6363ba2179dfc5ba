// Package bodylimit bounds the time and the memory that request bodies take before it is known who
// sent them. Each body has a deadline that grows with what arrives, and what is larger than a small
// message is charged to a budget that all requests share.
//
// It never looks at what it reads. A Budget is safe for concurrent use; a Body belongs to one
// request.
package bodylimit

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const (
	// freeBytes is how many bytes of a body are read without a charge. Ordinary messages are
	// smaller.
	freeBytes = 4 << 10

	// minCharge is the charge of each larger body: its buffer, its connection, and memory that the
	// garbage collector has not freed yet. It is the default max_size; the charge of a body above it
	// doubles with the buffer.
	minCharge = 256 << 10

	// baseTimeout is the time for a body; each bytesPerSecond bytes of it add a second.
	baseTimeout    = 10 * time.Second
	bytesPerSecond = 16 << 10

	// drainTimeout is how long the rest of a body that is not wanted is read and dropped. An app
	// that is still sending would not see the reply otherwise.
	drainTimeout = 250 * time.Millisecond

	// retryLater is when to try again where the budget is spent: about when bodies that are too
	// slow have ended.
	retryLater = baseTimeout
)

// Budget is the memory for bodies, in bytes. One network gets at most a quarter of it.
type Budget struct {
	total int64

	mu     sync.Mutex
	used   int64
	usedBy map[netip.Prefix]int64 // without zeros
}

// NewBudget makes a budget of so many bytes.
func NewBudget(total int64) *Budget {
	return &Budget{total: total, usedBy: make(map[netip.Prefix]int64)}
}

// charge takes memory for a network, and reports false if there is none left.
func (b *Budget) charge(from netip.Prefix, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.total || b.usedBy[from]+n > b.total/4 {
		return false
	}
	b.used += n
	b.usedBy[from] += n
	return true
}

func (b *Budget) refund(from netip.Prefix, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.usedBy[from] -= n; b.usedBy[from] == 0 {
		delete(b.usedBy, from)
	}
}

// Body is the body of a request within its bounds. Its errors are the connection's, or a
// *sms.Refusal.
type Body struct {
	io.ReadCloser
	budget  *Budget
	from    netip.Prefix
	control *http.ResponseController
	length  int64 // what the request says, -1 if it does not
	began   time.Time
	read    int64
	charged int64
	until   time.Time // the deadline that is set
	ended   bool
}

// Limit puts the body of a request within its bounds and returns it, nil if the request has none.
// from is the network that is charged; a zero Prefix is one network too. Done must be called after
// the body was read, and Release after it is no longer used.
func (b *Budget) Limit(w http.ResponseWriter, r *http.Request, from netip.Prefix) *Body {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	body := &Body{ReadCloser: r.Body, budget: b, from: from, control: http.NewResponseController(w), length: r.ContentLength, began: time.Now()}
	r.Body = body
	return body
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if err := b.reserve(); err != nil {
		return 0, err
	}
	if until := b.began.Add(baseTimeout + time.Duration(b.read/bytesPerSecond)*time.Second); until != b.until {
		b.until = until
		_ = b.control.SetReadDeadline(until) // not every protocol can
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.ended = b.ended || err == io.EOF || b.read == b.length
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &sms.Refusal{Cause: sms.Limited, Variant: sms.NoTime, RetryAfter: retryLater}
	}
	return n, err
}

// reserve charges the budget before more is read.
func (b *Body) reserve() error {
	if b.read < freeBytes {
		return nil
	}
	want := int64(minCharge)
	for want <= b.read {
		want *= 2
	}
	want = min(want, b.budget.total/4) // one body alone always fits
	if more := want - b.charged; more > 0 {
		if !b.budget.charge(b.from, more) {
			return &sms.Refusal{Cause: sms.Busy, Variant: sms.LargeRequests, RetryAfter: retryLater}
		}
		b.charged = want
	}
	return nil
}

// Done clears the deadline, or shortens it if a part of the body was not read. It does nothing if
// nothing was read.
func (b *Body) Done() {
	switch {
	case b == nil, b.until.IsZero():
	case b.Unread():
		_ = b.control.SetReadDeadline(time.Now().Add(drainTimeout))
	default:
		_ = b.control.SetReadDeadline(time.Time{})
	}
}

// Unread reports whether only a part of the body was read, so that its connection cannot serve
// another request.
func (b *Body) Unread() bool { return b != nil && !b.until.IsZero() && !b.ended }

// Release gives back what the body was charged.
func (b *Body) Release() {
	if b != nil && b.charged > 0 {
		b.budget.refund(b.from, b.charged)
		b.charged = 0
	}
}

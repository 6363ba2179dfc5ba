package delivery

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/h1"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Direct is a transport that also sends requests for messages on the caller's goroutine, as a
// h1.Client does.
type Direct interface {
	http.RoundTripper
	Do(until time.Time, request, buf []byte, limit int) (h1.Reply, error)
}

// attemptDirect makes one request for a part of a message.
func (run *run) attemptDirect(direct Direct, route Route, plan *adapters.Plan, i int, token sms.Hidden) (r sms.Result) {
	began := time.Now()
	out, in := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer buffers.Put(out)
	defer buffers.Put(in)
	call, request, err := plan.AppendRequest((*out)[:0], i, token, began)
	*out = request
	if err != nil {
		return unable(route, err)
	}
	run.log.Attempt()
	if route.Observe != nil {
		defer func() { route.Observe(r.Outcome, time.Since(began)) }()
	}
	reply, err := direct.Do(run.until(began, run.end), request, *in, adapters.MaxReply)
	if err != nil {
		r = failedDirect(err)
		r.Adapter, r.Attempts = route.Adapter.Name, 1
		return r
	}
	keep := false
	defer func() { reply.Done(keep) }()
	r = call.Read(reply.Status, reply.Header, reply.Body, reply.Err == nil)
	r.Attempts = 1
	memo := reply.Memo()
	if *memo == nil {
		*memo = new(lastReply)
	}
	keep = (*memo).(*lastReply).believe(plan.Part(i).ID, &r, false, call.SharesID())
	return r
}

// failedDirect is the result of a request without a reply.
func failedDirect(err error) sms.Result {
	var notSent *h1.NotSentError
	switch {
	case errors.As(err, &notSent):
		return neverSent(err)
	case errors.Is(err, h1.ErrEarly):
		return surplus(earlyReply, sms.Result{})
	}
	return unconfirmed(err)
}

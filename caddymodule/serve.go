package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/bodylimit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// sendRequest is one HTTP request with its response.
type sendRequest struct {
	*Handler
	w http.ResponseWriter
	r *http.Request
	*sendmessage.Request

	received time.Time
	client   netip.Addr      // the address that failures are counted for
	network  netip.Prefix    // its network
	body     *bodylimit.Body // nil if the request has none
	response *gateway.Response
	replied  replied
	other    *otherRequest // nil for Send
}

// replied is the state of the reply.
type replied uint8

const (
	notReplied replied = iota
	replying
	hasReplied
)

// sent is the outcome of writing the reply.
type sent struct {
	// acknowledged is set if the reply was flushed to an open connection.
	acknowledged bool
	took         time.Duration // from the request to the flushed reply
}

// emptyRequest is the request before it is decoded.
var emptyRequest sendmessage.Request

// ServeHTTP implements caddyhttp.MiddlewareHandler. It gives the request to the service of its
// path, or to the next handler. It returns only errors of the next handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	s, _ := h.serviceFor(r)
	if s == nil {
		return h.passOn(w, r, next)
	}
	if s.secretPath {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	s.serve(h, w, r)
	return nil
}

// serveSend implements the service send.
func (h *Handler) serveSend(w http.ResponseWriter, r *http.Request) {
	h.requests.enter()
	defer h.requests.leave()
	x := &sendRequest{Handler: h, w: w, r: r, Request: &emptyRequest, received: time.Now()}
	defer x.close()
	defer x.recoverPanic()
	if err := x.decode(); err != nil {
		x.response = gateway.Refused(x.received, err)
	} else {
		x.response = h.gateway.Send(r.Context(), x.gatewayRequest())
	}
	x.finish()
}

// finish writes the reply, then reports to the operator.
func (x *sendRequest) finish() {
	if p := x.response.Panic; p != nil {
		if p.Value == http.ErrAbortHandler {
			panic(p.Value)
		}
		x.logPanic(p.Value, p.Stack)
	}
	x.setPlaceholders()
	s := x.reply()
	if s.acknowledged {
		x.response.Acknowledge(s.took)
	}
	if x.other != nil {
		x.reportOther(s)
	} else {
		x.report(s)
	}
	x.response.SaveLogin()
}

// bodyBudget is the memory for request bodies of this process, 64 MiB.
var bodyBudget = bodylimit.NewBudget(64 << 20)

func (x *sendRequest) decode() (err error) {
	x.limitBody()
	defer x.body.Done()
	x.Request, err = x.decoder.Decode(x.r)
	x.skipLog(x.r, &x.Caller)
	return err
}

// limitBody bounds the body of the request. The caller must call body.Done after reading it.
func (x *sendRequest) limitBody() {
	x.client = clientAddr(x.r)
	x.network = lockout.NetworkOf(x.client)
	x.body = bodyBudget.Limit(x.w, x.r, x.network)
}

// skipLog leaves a request out of Caddy's access log if its URL or headers may contain a secret.
func (h *Handler) skipLog(r *http.Request, caller *params.Caller) {
	if caller.SecretInHeader || caller.SecretInURL && !h.AccessLog {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}

// gatewayRequest returns the request for the gateway.
func (x *sendRequest) gatewayRequest() gateway.Request {
	method, path, target := x.originalTarget()
	req := gateway.Request{
		Request: x.Request, Received: x.received, Network: x.network,
		Host: x.r.Host, Site: siteOf(x.r.Host, path), Method: method, Target: target,
	}
	if x.Authenticated {
		req.UpstreamUser = x.upstreamUser()
	}
	if x.pictures != nil {
		req.MediaURL = x.mediaURL(x.r)
	}
	return req
}

// siteOf returns host and path of the URL that the app uses. The port is left out, because
// instances of one site may listen on different ports.
func siteOf(host, path string) string {
	if strings.IndexByte(host, ':') >= 0 { // else SplitHostPort allocates an error
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
	}
	return strings.TrimSuffix(strings.ToLower(host), ".") + path
}

// originalTarget returns method, path and target of the request before any rewrite.
func (x *sendRequest) originalTarget() (method, path, target string) {
	if original, ok := x.r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.Method, original.URL.Path, original.RequestURI
	}
	return x.r.Method, x.r.URL.Path, x.r.RequestURI
}

// upstreamUser returns the user that an earlier handler has authenticated.
func (x *sendRequest) upstreamUser() string {
	repl, _ := x.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl == nil {
		return ""
	}
	name, _ := repl.GetString("http.auth.user.id")
	return name
}

// close releases the journal and the memory for the body.
func (x *sendRequest) close() {
	x.body.Release()
	x.response.Close()
}

// recoverPanic replies to a request whose handling panicked before or after the gateway.
func (x *sendRequest) recoverPanic() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	if x.response == nil {
		x.response = gateway.Refused(x.received, sms.Refuse(sms.Internal))
	}
	x.logPanic(p, debug.Stack())
	switch x.replied {
	case hasReplied:
		return
	case replying: // abort: half a reply must not look like a success
		panic(http.ErrAbortHandler)
	}
	x.response.Fail()
	x.finish()
}

// logPanic logs a panic. It logs the message of runtime errors only, because others may contain
// anything.
func (x *sendRequest) logPanic(p any, stack []byte) {
	what := fmt.Sprintf("%T", p)
	if err, ok := p.(runtime.Error); ok {
		what = err.Error()
	}
	x.logger.Error("panic",
		zap.String("reference", x.response.Message.Reference), zap.String("panic", what), zap.ByteString("stack", stack))
}

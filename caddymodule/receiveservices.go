package caddymodule

import (
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/fetchmessages"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/push"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Names of the services that apps call with receive.
const (
	fetchService   = "fetch"
	pushService    = "push"
	removedService = "removed"
)

// receiveServices returns the services of receive.
func receiveServices() []*service {
	isOn := func(h *Handler) bool { return h.Receive != nil }
	return []*service{
		{name: fetchService, path: "/fetch_messages", isOn: isOn, serve: (*Handler).serveFetch},
		{name: pushService, path: "/push_token", isOn: isOn, serve: (*Handler).servePushToken},
		{name: removedService, path: "/account_removed", isOn: isOn, serve: (*Handler).serveRemoved},
		{name: webhookService, path: "/webhook", isOn: isOn, serve: (*Handler).serveWebhook, secretPath: true},
	}
}

// receiveDecoders decode the requests of the services.
type receiveDecoders struct {
	fetch *fetchmessages.Decoder
	push  *push.Decoder
}

// provision makes the decoders. They know the operator's names too.
func (r *receiveDecoders) provision(h *Handler) error {
	fetch, err := fetchmessages.ParseNames(h.Params)
	if err != nil {
		return err
	}
	reports, err := push.ParseNames(h.Params)
	if err != nil {
		return err
	}
	r.fetch = &fetchmessages.Decoder{Names: fetch, MaxSize: h.decoder.MaxSize, Stealth: h.Stealth}
	r.push = &push.Decoder{Names: reports, MaxSize: h.decoder.MaxSize, Stealth: h.Stealth}
	return nil
}

// otherRequest is what a request of another service than Send has in addition.
type otherRequest struct {
	service string
	// accept writes the reply after success.
	accept func() error
	// received and sent count the messages of the reply.
	received, sent int
	noCursor       bool
}

// otherCall decodes a request of another service and calls the gateway.
type otherCall func(x *sendRequest) (caller *params.Caller, call func(gateway.Request) *gateway.Response, err error)

// serveOther serves a request of another service than Send in the same way as Send.
func (h *Handler) serveOther(w http.ResponseWriter, r *http.Request, name string, decode otherCall) {
	h.requests.enter()
	defer h.requests.leave()
	x := &sendRequest{
		Handler: h, w: w, r: r, Request: &emptyRequest, received: time.Now(), other: &otherRequest{service: name},
	}
	x.other.accept = func() error { return x.replier.Accept(x.w, x.Form, "") }
	defer x.close()
	defer x.recoverPanic()
	x.limitBody()
	caller, call, err := decode(x)
	x.body.Done()
	x.Request = &sendmessage.Request{Caller: *caller}
	x.skipLog(r, &x.Caller)
	if err != nil {
		x.response = gateway.Refused(x.received, err)
	} else {
		x.response = call(x.gatewayRequest())
	}
	x.finish()
}

// serveFetch implements the service fetch.
func (h *Handler) serveFetch(w http.ResponseWriter, r *http.Request) {
	h.serveOther(w, r, fetchService, func(x *sendRequest) (*params.Caller, func(gateway.Request) *gateway.Response, error) {
		poll, err := h.decoders.fetch.Decode(r)
		return &poll.Caller, func(req gateway.Request) *gateway.Response {
			response, page := h.gateway.Fetch(r.Context(), req, cursor(poll.LastID), cursor(poll.LastSentID))
			x.other.noCursor = poll.NoLastID
			x.other.accept = func() (err error) {
				reply := fetchmessages.Reply{Date: page.Date, Received: items(page.Received), Sent: items(page.Sent)}
				x.other.received, x.other.sent, err = reply.Write(w, x.replyForm())
				return err
			}
			return response
		}, err
	})
}

// replyForm is the form of the reply.
func (x *sendRequest) replyForm() params.Form {
	if x.replier.Form != params.FormByRequest {
		return x.replier.Form
	}
	return x.Form
}

// cursor returns a cursor for the inbox, empty for the 0 of a request without one.
func cursor(id int64) string {
	if id == 0 {
		return ""
	}
	return inbox.ID(id).String()
}

// items returns the items of a page for the reply.
func items(list []inbox.Item) []fetchmessages.Item {
	out := make([]fetchmessages.Item, 0, len(list))
	for i := range list {
		m := &list[i]
		out = append(out, fetchmessages.Item{
			ID: int64(m.ID), Date: m.ID.Time(), Sender: m.Sender, Recipient: m.Recipient, Text: m.Text,
			ContentType: m.ContentType, Disposition: m.Disposition, StreamID: m.Stream(),
		})
	}
	return out
}

// servePushToken implements the service push: an app reports its push token.
func (h *Handler) servePushToken(w http.ResponseWriter, r *http.Request) {
	h.serveReport(w, r, pushService, func(req gateway.Request, report *push.Report) *gateway.Response {
		return h.gateway.AddDevice(r.Context(), req, inbox.Device{
			Selector: report.Selector.Reveal(), InstallID: report.InstallID, AppID: report.App, Token: report.Token,
		})
	})
}

// serveRemoved implements the service removed: an app reports that an account was removed.
func (h *Handler) serveRemoved(w http.ResponseWriter, r *http.Request) {
	h.serveReport(w, r, removedService, func(req gateway.Request, report *push.Report) *gateway.Response {
		return h.gateway.RemoveDevice(r.Context(), req, report.Selector.Reveal())
	})
}

func (h *Handler) serveReport(
	w http.ResponseWriter, r *http.Request, name string, call func(gateway.Request, *push.Report) *gateway.Response,
) {
	h.serveOther(w, r, name, func(*sendRequest) (*params.Caller, func(gateway.Request) *gateway.Response, error) {
		report, err := h.decoders.push.Decode(r)
		return &report.Caller, func(req gateway.Request) *gateway.Response { return call(req, report) }, err
	})
}

// accept writes the reply after success.
func (x *sendRequest) accept() error {
	if x.other != nil {
		return x.other.accept()
	}
	return x.replier.Accept(x.w, x.Form, x.response.PhoneID())
}

// reportOther reports a request of another service than Send. Phones poll often, so success is
// logged at debug level.
func (x *sendRequest) reportOther(s sent) {
	response := x.response
	if response.User != nil {
		if response.LoggedIn {
			x.warnSharedAddress()
		}
		if !x.isSecure() {
			x.hintOnce(isUnencrypted)
		}
		if x.other.noCursor {
			x.hintOnce(lacksCursor)
		}
	}
	fetchedTotal.WithLabelValues("received").Add(float64(x.other.received))
	fetchedTotal.WithLabelValues("sent").Add(float64(x.other.sent))
	level := logLevel(response.Result.Cause())
	if response.Result.Outcome == sms.Accepted || x.isChallenge() {
		level = zapcore.DebugLevel
	}
	if line := x.logger.Check(level, x.other.service); line != nil {
		line.Write(zap.Inline(logLine{x, s}), zap.Int("received", x.other.received), zap.Int("sent", x.other.sent))
	}
}

package caddymodule

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// webhookService is the name of the service that providers call.
const webhookService = "webhook"

// webhook is the address of an adapter for its provider.
type webhook struct {
	adapter *adapters.Adapter
	secret  sms.Hidden
}

// webhookSecret is what webhook_secret accepts: it is a part of a path that people copy, and too long
// to be guessed.
var webhookSecret = regexp.MustCompile(`^[A-Za-z0-9_-]{16,128}$`)

var errWebhookSecret = errors.New("webhook_secret takes 16 to 128 letters, digits, - and _, such as the output of: openssl rand -hex 16")

// checkWebhookSecret checks the value in a Caddyfile.
func checkWebhookSecret(secret string) error {
	if secret == "" || hasPlaceholder(secret) || webhookSecret.MatchString(secret) {
		return nil
	}
	return errWebhookSecret
}

// webhookOf makes the webhook of an adapter with webhook_secret. It returns the adapter that asks its
// provider for receipts to that address, if the provider can be told so.
func (h *Handler) webhookOf(a *Adapter, bound *adapters.Adapter, repl *caddy.Replacer) (*adapters.Adapter, error) {
	if a.WebhookSecret == "" {
		return bound, nil
	}
	secret, err := resolve(repl, a.WebhookSecret)
	name := zap.String("adapter", bound.Name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("webhook_secret: %w", err)
	case !webhookSecret.MatchString(secret):
		return nil, errWebhookSecret
	case h.Receive == nil:
		return nil, errors.New("webhook_secret has no meaning without receive: write receive too")
	case bound.LacksProof() != "":
		h.logger.Warn("the adapter receives nothing: without this option nothing proves that its provider sent a webhook",
			name, zap.String("option", bound.LacksProof()))
		return bound, nil
	case !bound.Receives():
		return nil, errors.New("its definition has no receive block, so it cannot receive; remove webhook_secret")
	}
	warnExposedSecret(h.logger, a.WebhookSecret, name, zap.String("option", "webhook_secret"))
	if h.publicURL != "" {
		bound = bound.WithReceipts(sms.Hide(h.publicURL + h.webhookPath() + "/" + bound.Name + "/" + secret))
	}
	if h.webhooks == nil {
		h.webhooks = make(map[string]webhook)
	}
	h.webhooks[bound.Name] = webhook{bound, sms.Hide(secret)}
	return bound, nil
}

// webhookPath is the path of the service, without a slash at the end.
func (h *Handler) webhookPath() string {
	for _, a := range h.served {
		if a.name == webhookService {
			return a.path
		}
	}
	return ""
}

// findWebhook returns the webhook that a path names with its secret. The secret is compared in constant
// time, also for an adapter that does not exist.
func (h *Handler) findWebhook(path string) (found webhook, ok bool) {
	path = strings.TrimSuffix(path, "/")
	rest, secret := path[:max(strings.LastIndexByte(path, '/'), 0)], path[strings.LastIndexByte(path, '/')+1:]
	found, known := h.webhooks[rest[strings.LastIndexByte(rest, '/')+1:]]
	got, want := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(found.secret.Reveal()))
	return found, subtle.ConstantTimeCompare(got[:], want[:]) == 1 && known
}

// serveWebhook implements the service webhook. Only the definition's answer has a body, because
// providers send it to the sender as a text.
func (h *Handler) serveWebhook(w http.ResponseWriter, r *http.Request) {
	h.requests.enter()
	defer h.requests.leave()
	w.Header().Del("Server")
	begun, replied := time.Now(), false
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler || replied {
				panic(http.ErrAbortHandler)
			}
			h.logger.Error("panic in a webhook", zap.String("panic", fmt.Sprintf("%T", p)))
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}()
	hook, ok := h.findWebhook(originalURL(r).Path)
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	answer, outcome := h.readWebhook(hook, w, r)
	webhooksTotal.WithLabelValues(hook.adapter.Name, outcome).Inc()
	replied = true
	if answer.ContentType != "" {
		w.Header().Set("Content-Type", answer.ContentType)
	}
	w.WriteHeader(answer.Status)
	_, _ = io.WriteString(w, answer.Body)
	if line := h.logger.Check(zap.DebugLevel, "webhook"); line != nil {
		line.Write(zap.String("adapter", hook.adapter.Name), zap.String("outcome", outcome), zap.Duration("duration", time.Since(begun)))
	}
}

// The outcomes of a webhook, for metrics.
const (
	webhookStored = "stored"
	webhookForged = "forged"
	webhookFailed = "failed"
)

// readWebhook reads and stores what a webhook contains. With an error the provider delivers again.
func (h *Handler) readWebhook(hook webhook, w http.ResponseWriter, r *http.Request) (adapters.Answer, string) {
	failed := adapters.Answer{Status: http.StatusServiceUnavailable}
	body := bodyBudget.Limit(w, r, lockout.NetworkOf(clientAddr(r)))
	defer body.Release()
	raw, err := io.ReadAll(io.LimitReader(r.Body, adapters.MaxInbound+1))
	body.Done()
	if err != nil {
		h.logger.Warn("cannot read the body of a webhook", zap.String("adapter", hook.adapter.Name))
		return failed, webhookFailed
	}
	events, answer, err := h.readInbound(hook.adapter, r, raw)
	switch {
	case errors.Is(err, adapters.ErrForged):
		h.logger.Warn("webhook refused", zap.String("adapter", hook.adapter.Name), zap.Error(err))
		return answer, webhookForged
	case err != nil:
		h.logger.Error("cannot read a webhook", zap.String("adapter", hook.adapter.Name), zap.Error(err))
		return answer, webhookFailed
	}
	for i := range events {
		stored, err := h.gateway.Store(hook.adapter, &events[i])
		if err != nil {
			h.logger.Error("cannot store a webhook; the provider will deliver it again",
				zap.String("adapter", hook.adapter.Name), zap.Error(err))
			return failed, webhookFailed
		}
		h.reportInbound(hook.adapter.Name, &events[i], stored)
	}
	return answer, webhookStored
}

// readInbound reads a webhook by the address that the provider has called. Some providers sign it with
// the standard port.
func (h *Handler) readInbound(a *adapters.Adapter, r *http.Request, body []byte) ([]adapters.Inbound, adapters.Answer, error) {
	target := originalURL(r).RequestURI()
	if h.publicPath != "" && (address{path: h.publicPath}).reaches(originalURL(r).Path) {
		target = target[min(len(h.publicPath), len(target)):]
	}
	base, now := h.publicBase(r), time.Now()
	req := adapters.InboundRequest{Method: originalMethod(r), URL: base + target, Header: r.Header, Body: body}
	events, answer, err := a.ReadInbound(req, now)
	if errors.Is(err, adapters.ErrForged) {
		req.URL = withStandardPort(base) + target
		events, answer, err = a.ReadInbound(req, now)
	}
	return events, answer, err
}

// originalMethod is the method before any rewrite.
func originalMethod(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.Method
	}
	return r.Method
}

// reportInbound reports a message or a receipt in the log, in metrics and by an event.
func (h *Handler) reportInbound(adapter string, in *adapters.Inbound, s gateway.Stored) {
	fields := []zap.Field{zap.String("adapter", adapter)}
	data := map[string]any{"adapter": adapter}
	name := receivedEvent
	switch {
	case in.Kind == adapters.InboundMessage:
		if s.Received.Duplicate {
			h.logger.Debug("message received again", fields...)
			return
		}
		receivedTotal.WithLabelValues(adapter).Inc()
		fields = append(fields, zap.String("from", masked(in.From)), zap.String("to", masked(in.To)))
		if s.Received.Unclaimed {
			unclaimedTotal.Inc()
			h.logger.Warn("message received for a number that no user has fetched for", fields...)
		} else {
			h.logger.Info("message received", fields...)
		}
		data["unclaimed"] = s.Received.Unclaimed
	case !s.Change.Changed:
		return
	default:
		status := s.Change.Status.String()
		deliveriesTotal.WithLabelValues(adapter, status).Inc()
		h.logger.Info("receipt", append(fields, zap.String("reference", s.Change.Reference), zap.String("delivery", status),
			zap.String("provider_code", in.Code), zap.String("detail", in.Detail))...)
		data["reference"], data["user"] = s.Change.Reference, s.Change.User
		switch in.Delivery {
		case adapters.Delivered:
			name = deliveredEvent
		case adapters.DeliveryFailed:
			name = undeliveredEvent
		default:
			return
		}
	}
	if h.emitter.shouldEmit(name) {
		h.emitter.emit(name, data)
	}
}

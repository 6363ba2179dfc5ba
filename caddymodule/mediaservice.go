package caddymodule

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/media"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// mediaService is the name of the service from which providers and recipients fetch files.
const mediaService = "media"

// mediaBudget bounds the downloads of this process.
var mediaBudget = media.NewBudget()

// provisionPictures makes the collector and the store of pictures. Expired files are removed until
// the configuration ends.
func (h *Handler) provisionPictures(ctx caddy.Context) (err error) {
	if h.Pictures == nil {
		return nil
	}
	if h.pictures, err = h.Pictures.settings(); err != nil {
		return err
	}
	h.warnPictures(ctx.Storage())
	store := media.NewStore(ctx.Storage(), h.pictures.space)
	collector := media.NewCollector(media.Options{Sources: h.pictures.from, MaxSize: h.pictures.maxSize, Budget: mediaBudget})
	h.resources.add(func() error {
		collector.Close()
		return nil
	})
	h.gateway.Pictures = &gateway.Pictures{
		MMS: h.pictures.mms, Links: h.pictures.links, Collector: collector, Store: store, Keep: h.pictures.keep,
		Collected: countCollected,
		HandedOver: func(adapter, reference string, files media.Token) {
			go h.watchFetch(ctx, adapter, reference, files)
		},
	}
	go h.sweepMedia(ctx, store)
	return nil
}

// warnPictures warns of settings with which pictures will not arrive.
func (h *Handler) warnPictures(storage any) {
	if _, local := storage.(*certmagic.FileStorage); local && h.app.journal.kind() == "postgres" {
		h.logger.Warn("pictures are stored in a local folder, and the journal is shared: another instance cannot serve them; " +
			"configure a shared storage in the global option storage")
	}
	routes := h.gateway.Deliverer.Routes
	canSend := func(r delivery.Route) bool { _, ok := r.MediaLimits(); return ok }
	if !h.pictures.links && !slices.ContainsFunc(routes, canSend) {
		h.logger.Warn("no adapter can send pictures: they are refused; write pictures link to send a link in a text")
	}
}

// Intervals of the removal of expired files. The first one differs between instances, which may
// start at the same time.
const (
	firstSweep = time.Minute
	sweepEvery = time.Hour
)

// sweepMedia removes expired files every hour, until the configuration ends.
func (h *Handler) sweepMedia(ctx context.Context, store *media.Store) {
	for wait := firstSweep + rand.N(firstSweep); sleep(ctx, wait); wait = sweepEvery {
		if err := store.Sweep(ctx); err != nil && ctx.Err() == nil {
			h.logger.Error("cannot remove expired pictures", zap.Error(err))
		}
	}
}

// fetchWithin is the time within which providers usually fetch a file.
const fetchWithin = 2 * time.Minute

// watchFetch reports files that the provider has not fetched: the commonest reason is a public
// address that the provider cannot reach.
func (h *Handler) watchFetch(ctx context.Context, adapter, reference string, files media.Token) {
	if !sleep(ctx, fetchWithin) || h.gateway.Pictures.Store.Fetched(ctx, files) {
		return
	}
	mediaNotFetchedTotal.WithLabelValues(adapter).Inc()
	h.logger.Warn("media_not_fetched: the provider accepted a picture and has not fetched it within 2 minutes; "+
		"check that public_url can be reached from the internet",
		zap.String("reference", reference), zap.String("adapter", adapter))
}

// sleep waits, and reports false if the context ends before.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// countCollected counts the download of the files of a message.
func countCollected(took time.Duration, bytes int64, refusal *sms.Refusal) {
	outcome := "ok"
	if refusal != nil {
		outcome = refusal.Error()
	}
	mediaDownloadsTotal.WithLabelValues(outcome).Inc()
	mediaBytesTotal.Add(float64(bytes))
	mediaDuration.Observe(took.Seconds())
}

// serveMedia implements the service media.
func (h *Handler) serveMedia(w http.ResponseWriter, r *http.Request) {
	h.requests.enter()
	defer h.requests.leave()
	w.Header().Del("Server")
	_, rest := h.serviceFor(r)
	h.gateway.Pictures.Store.Serve(w, r, strings.TrimPrefix(rest, "/"))
}

// mediaURL returns the address of the service media for the sender of a request.
func (h *Handler) mediaURL(r *http.Request) string {
	for _, a := range h.served {
		if a.name == mediaService {
			return h.publicBase(r) + a.path
		}
	}
	return ""
}

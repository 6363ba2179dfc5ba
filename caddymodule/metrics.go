package caddymodule

import (
	"errors"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Metrics outlive a configuration, so that a reload does not reset them. Labels are names of
// adapters and fixed words, never a user or a number.
var (
	messagesTotal = counter("messages_total", "Messages by the last adapter that was tried, outcome and cause.",
		"adapter", "outcome", "cause")
	segmentsTotal = counter("segments_total", "Segments of accepted messages.", "adapter")
	repeatsTotal  = counter("repeats_total", "Duplicates, which were not sent again, by the outcome of the first message.",
		"outcome")
	attemptDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "acrobits_sms", Name: "attempt_duration_seconds",
		Help:    "Duration of requests to providers, by outcome.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"adapter", "outcome"})
	webhooksTotal = counter("webhooks_total", "Webhooks with the right secret by adapter and outcome: stored, forged, or failed.",
		"adapter", "outcome")
	receivedTotal      = counter("received_total", "Messages that were received, without duplicates.", "adapter")
	unclaimedTotal     = counter("unclaimed_total", "Received messages for a number that no user has.").WithLabelValues()
	deliveriesTotal    = counter("deliveries_total", "Changes of the delivery of sent messages by adapter and delivery.", "adapter", "delivery")
	fetchedTotal       = counter("fetched_total", "Messages in replies to apps, received or sent; a device gets some of them again.", "direction")
	pushesTotal        = counter("pushes_total", "Pushes by outcome: sent, failed, or gone (the token was no longer registered).", "outcome")
	lostTotal          = counter("lost_total", "Messages that were in flight when their process ended.").WithLabelValues()
	journalErrorsTotal = counter("journal_errors_total", "Failed writes of the journal.").WithLabelValues()

	mediaBytesTotal     = counter("media_bytes_total", "Bytes of pictures and files of messages.").WithLabelValues()
	mediaDownloadsTotal = counter("media_downloads_total", "Downloads of the pictures and files of a message, by outcome: "+
		"ok or a cause.", "outcome")
	mediaNotFetchedTotal = counter("media_not_fetched_total", "Messages whose pictures the provider did not fetch within "+
		"2 minutes.", "adapter")
	mediaDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "acrobits_sms", Name: "media_collect_duration_seconds",
		Help:    "Duration of the download of the pictures and files of a message.",
		Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 15},
	})
)

// collectors are the counters, in the order of declaration.
var collectors []prometheus.Collector

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "acrobits_sms", Name: name, Help: help,
	}, labels)
	collectors = append(collectors, v)
	return v
}

// provisionMetrics registers the metrics in the configuration's registry, once for all its
// handlers.
func (h *Handler) provisionMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	for _, c := range slices.Concat(collectors, []prometheus.Collector{attemptDuration, mediaDuration, accountGauges{}}) {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	for i := range h.gateway.Deliverer.Routes {
		route := &h.gateway.Deliverer.Routes[i]
		var took [sms.Outcomes]prometheus.Observer
		for o := range took {
			took[o] = attemptDuration.WithLabelValues(route.Adapter.Name, sms.Outcome(o).String())
		}
		route.Observe = func(o sms.Outcome, d time.Duration) { took[o].Observe(d.Seconds()) }
	}
	return nil
}

// countMessage counts a message by its result.
func countMessage(response *gateway.Response) {
	r := &response.Result
	if !response.Claimed { // it was refused before the claim
		messagesTotal.WithLabelValues("", r.Outcome.String(), r.Cause().String()).Inc()
		return
	}
	if r.Duplicate {
		repeatsTotal.WithLabelValues(r.Outcome.String()).Inc()
		return
	}
	messagesTotal.WithLabelValues(r.Adapter, r.Outcome.String(), r.Cause().String()).Inc()
	if r.Outcome == sms.Accepted {
		segmentsTotal.WithLabelValues(r.Adapter).Add(float64(response.Message.Segments))
	}
}

// accountNames returns the accounts of all gateways in use, each with the first name in
// alphabetical order of the adapters that use it.
func accountNames() map[*delivery.Account]string {
	names := make(map[*delivery.Account]string)
	for account, route := range accountRoutes() {
		names[account] = route.Adapter.Name
	}
	return names
}

// accountRoutes returns the accounts of all gateways in use, each with the route of accountNames.
func accountRoutes() map[*delivery.Account]delivery.Route {
	routes := make(map[*delivery.Account]delivery.Route)
	for _, g := range gatewaysInUse() {
		for _, route := range g.Deliverer.Routes {
			if other, seen := routes[route.Account]; !seen || route.Adapter.Name < other.Adapter.Name {
				routes[route.Account] = route
			}
		}
	}
	return routes
}

// accountGauges collects the gauges of accounts when they are scraped.
type accountGauges struct{}

var (
	breakerGauge = prometheus.NewDesc("caddy_acrobits_sms_breaker_open",
		"Accounts of an adapter whose circuit breaker is open.", []string{"adapter"}, nil)
	runningGauge = prometheus.NewDesc("caddy_acrobits_sms_requests_in_flight",
		"Requests to providers in flight.", []string{"adapter"}, nil)
	waitingGauge = prometheus.NewDesc("caddy_acrobits_sms_queue_length",
		"Messages that wait for the rate limit or concurrency of their account.", []string{"adapter"}, nil)
)

// Describe implements prometheus.Collector.
func (accountGauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{breakerGauge, runningGauge, waitingGauge} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (accountGauges) Collect(to chan<- prometheus.Metric) {
	sums := make(map[string][3]float64)
	for a, adapter := range accountNames() {
		s, sum := a.Status(), sums[adapter]
		if s.Breaker != delivery.Closed {
			sum[0]++
		}
		sum[1] += float64(s.Running)
		sum[2] += float64(s.Waiting)
		sums[adapter] = sum
	}
	for adapter, sum := range sums {
		for i, d := range []*prometheus.Desc{breakerGauge, runningGauge, waitingGauge} {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, sum[i], adapter)
		}
	}
}

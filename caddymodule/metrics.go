package caddymodule

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// What is measured outlives a configuration, so that a reload loses nothing. Labels are names of adapters and words of ours,
// never a user or a number.
var (
	measuredMessages = counter("messages_total", "Messages by the adapter that had the last word, their outcome and its cause.",
		"adapter", "outcome", "cause")
	measuredSegments = counter("segments_total", "Segments of messages that were accepted.", "adapter")
	measuredRepeats  = counter("repeats_total", "Messages that came before and were not sent again, by what became of the first.", "outcome")
	measuredAttempts = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "acrobits_sms", Name: "attempt_duration_seconds",
		Help:    "How long requests to providers took, by what they came to.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"adapter", "outcome"})
	measuredLost          = counter("lost_total", "Messages whose process ended while they were on their way.").WithLabelValues()
	measuredJournalErrors = counter("journal_errors_total", "Failures to write something down.").WithLabelValues()
)

// collectors are the counters.
var collectors []prometheus.Collector

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "acrobits_sms", Name: name, Help: help}, labels)
	collectors = append(collectors, v)
	return v
}

// provisionMetrics shows what is measured in this configuration's registry, once for all handlers in it.
func (h *Handler) provisionMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	for _, c := range slices.Concat(collectors, []prometheus.Collector{measuredAttempts, accountGauges{}}) {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	for i := range h.deliverer.Routes {
		route := &h.deliverer.Routes[i]
		var took [sms.Outcomes]prometheus.Observer
		for o := range took {
			took[o] = measuredAttempts.WithLabelValues(route.Adapter.Name, sms.Outcome(o).String())
		}
		route.Took = func(o sms.Outcome, d time.Duration) { took[o].Observe(d.Seconds()) }
	}
	return nil
}

// measure counts a message.
func (x *exchange) measure() {
	r := x.outcome
	if x.turn == nil { // it did not come so far
		measuredMessages.WithLabelValues("", r.Outcome.String(), r.Cause().String()).Inc()
		return
	}
	if r.Repeat {
		measuredRepeats.WithLabelValues(r.Outcome.String()).Inc()
		return
	}
	measuredMessages.WithLabelValues(r.Adapter, r.Outcome.String(), r.Cause().String()).Inc()
	if r.Outcome == sms.Accepted {
		measuredSegments.WithLabelValues(r.Adapter).Add(float64(x.segments))
	}
}

// handlers are those that are in use, for what is asked about them from outside.
var handlers sync.Map

// namesOfAccounts are the accounts of all handlers, with the first name of those of the adapters that use them.
func namesOfAccounts() map[*delivery.Account]string {
	names := make(map[*delivery.Account]string)
	handlers.Range(func(h, _ any) bool {
		for _, route := range h.(*Handler).deliverer.Routes {
			if name, seen := names[route.Account]; !seen || route.Adapter.Name < name {
				names[route.Account] = route.Adapter.Name
			}
		}
		return true
	})
	return names
}

// accountGauges are read when somebody asks for them.
type accountGauges struct{}

var (
	breakerGauge = prometheus.NewDesc("caddy_acrobits_sms_breaker_open", "Accounts of an adapter that rest after failures.", []string{"adapter"}, nil)
	runningGauge = prometheus.NewDesc("caddy_acrobits_sms_requests_in_flight", "Requests to providers on their way.", []string{"adapter"}, nil)
	waitingGauge = prometheus.NewDesc("caddy_acrobits_sms_queue_length", "Messages that wait for their turn.", []string{"adapter"}, nil)
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
	for a, adapter := range namesOfAccounts() {
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

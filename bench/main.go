// Command bench compares the handler with Caddy's own reverse_proxy: two processes of the built
// binary send the same requests to the same mock provider, in turn, and the CPU time of one is
// divided by that of the other.
//
//	go run ./bench [-caddy ./caddy] [-kind plain|file|https] [-pairs 13] [-requests 2000]
//
// plain has no logs, file has the event line here and the access log there in a file, https has a
// provider with TLS. It prints the median and the quartiles of the pairs for 16, 64 and 256
// connections. It fails if a median is above the limit, in each of three tries. For plain it also
// counts the allocations of the whole process and, if strace is there, its system calls. Times of
// one machine mean nothing on another, ratios of one run do. Needs Linux: the times come from /proc.
package main

import (
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// connections are the numbers of connections that are measured.
var connections = []int{16, 64, 256}

// kinds are the pairs that can be measured: the goal, and the limit above which the bench fails, for
// each number of connections.
var kinds = map[string]struct{ goal, limit [3]float64 }{
	"plain": {[3]float64{0.80, 0.75, 0.65}, [3]float64{1.05, 1.00, 0.90}},
	"file":  {[3]float64{0.80, 0.80, 0.80}, [3]float64{0.95, 0.95, 0.90}},
	"https": {[3]float64{0.85, 0.85, 0.85}, [3]float64{1.00, 1.00, 1.00}},
}

// tries is how often a machine that has something else to do is asked before the bench fails.
const tries = 3

// recipients is how many different numbers are texted in turn.
const recipients = 1000

func main() {
	caddy := flag.String("caddy", "./caddy", "the binary to measure")
	kind := flag.String("kind", "plain", "what is compared: plain, file or https")
	pairs := flag.Int("pairs", 13, "interleaved pairs of rounds")
	requests := flag.Int("requests", 2000, "requests in a round")
	flag.Parse()
	if _, known := kinds[*kind]; !known {
		fmt.Fprintln(os.Stderr, "bench: -kind is plain, file or https")
		os.Exit(2)
	}
	if err := run(*caddy, *kind, *pairs, *requests); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// limits are those that always apply, but wide enough for the messages of a bench, which are a burst.
const limits = "bursts off\nlimit user 1000000 messages per minute\nlimit user 1000000 segments per day\nlimit site 1000000 segments per day\n"

func run(caddy, kind string, pairs, requests int) error {
	mock := newMock(kind == "https")
	defer mock.Close()
	transport, logs := "", "output discard"
	if kind == "https" {
		roots := filepath.Join(os.TempDir(), fmt.Sprint("bench-", os.Getpid(), ".pem"))
		if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mock.Certificate().Raw}), 0o600); err != nil {
			return err
		}
		defer os.Remove(roots)
		transport = "transport http {\ntls_trust_pool file " + roots + "\n}\n"
	}
	access := ""
	if kind == "file" {
		logs, access = "output file {$LOGS}", "log\n"
	}
	handler, err := start(caddy, logs, "acrobits_sms {\nuser johndow {\npassword {env.PASSWORD}\nfrom +15550001111\n}\ndefault_region US\n"+limits+
		"adapter twilio {\nbase_url "+mock.URL+"\naccount_sid AC1\nauth_token {env.TOKEN}\n}\n"+transport+"}")
	if err != nil {
		return err
	}
	defer handler.stop()
	proxy, err := start(caddy, logs, access+"reverse_proxy "+mock.URL+" {\n"+transport+"}")
	if err != nil {
		return err
	}
	defer proxy.stop()
	failed := compare(handler, proxy, kind, pairs, requests)
	if kind == "plain" {
		failed = errors.Join(failed, handler.guards(requests))
	}
	return failed
}

// newMock starts a provider that gives each message its own id.
func newMock(secure bool) *httptest.Server {
	var messages atomic.Int64
	mock := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, twilioReply, messages.Add(1))
	}))
	if mock.EnableHTTP2 = true; secure {
		mock.StartTLS()
	} else {
		mock.Start()
	}
	return mock
}

// compare measures pairs for all numbers of connections in rotation, and measures again what is
// above its limit.
func compare(handler, proxy *process, kind string, pairs, requests int) error {
	above := []int{0, 1, 2}
	for range tries {
		ratios := make(map[int][]float64)
		for pair := range pairs + 1 {
			for _, i := range above {
				ratio, err := onePair(handler, proxy, connections[i], requests)
				if err != nil {
					return err
				}
				if pair > 0 { // the first pair warms up
					ratios[i] = append(ratios[i], ratio)
				}
			}
		}
		above = slices.DeleteFunc(above, func(i int) bool {
			slices.Sort(ratios[i])
			quartile := func(q int) float64 { return ratios[i][q*(len(ratios[i])-1)/4] }
			fmt.Printf("%s, %3d connections: %.2f of reverse_proxy (quartiles %.2f and %.2f of %d pairs; goal %.2f, limit %.2f)\n",
				kind, connections[i], quartile(2), quartile(1), quartile(3), len(ratios[i]), kinds[kind].goal[i], kinds[kind].limit[i])
			return quartile(2) <= kinds[kind].limit[i]
		})
		if len(above) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s: at %d connections the handler takes too much of the CPU of reverse_proxy, %d times over", kind, connections[above[0]], tries)
}

// onePair returns handler / proxy.
func onePair(handler, proxy *process, connections, requests int) (float64, error) {
	var ours, theirs time.Duration
	for _, turn := range []struct {
		*process
		took *time.Duration
	}{{handler, &ours}, {proxy, &theirs}, {proxy, &theirs}, {handler, &ours}} {
		took, err := turn.round(requests/2, connections)
		if err != nil {
			return 0, err
		}
		*turn.took += took
	}
	return float64(ours) / float64(theirs), nil
}

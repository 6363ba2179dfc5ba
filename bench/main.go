// Command bench compares the handler with Caddy's own reverse_proxy: two processes of the built binary send the same
// requests to the same mock provider, in turn, and the CPU time that each process took is divided.
//
//	go run ./bench [-caddy ./caddy] [-pairs 7] [-requests 4000]
//
// It prints, for 16 and 64 connections, the median over all pairs of handler / reverse_proxy. It fails if that is above 1.20
// beyond the noise of one run: in every pair, five times over. Times of one machine mean nothing on another, ratios of
// one run do. Needs Linux: the times come from /proc.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// target is the goal for the median, limit is where it fails.
const (
	target = 0.80
	limit  = 1.20
)

// recipients is how many different numbers are texted in turn.
const recipients = 1000

func main() {
	caddy := flag.String("caddy", "./caddy", "the binary to measure")
	pairs := flag.Int("pairs", 7, "interleaved pairs of rounds")
	requests := flag.Int("requests", 4000, "requests in a round")
	flag.Parse()
	if err := run(*caddy, *pairs, *requests); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// limits are those that always apply, but wide enough for the messages of a bench, which are a burst.
const limits = "bursts off\nlimit user 1000000 messages per minute\nlimit user 1000000 segments per day\nlimit site 1000000 segments per day\n"

func run(caddy string, pairs, requests int) error {
	var messages atomic.Int64
	mock := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, twilioReply, messages.Add(1))
	}))
	defer mock.Close()
	handler, err := start(caddy, "acrobits_sms {\nuser johndow {\npassword {env.PASSWORD}\nfrom +15550001111\n}\ndefault_region US\n"+limits+
		"adapter twilio {\nbase_url "+mock.URL+"\naccount_sid AC1\nauth_token {env.TOKEN}\n}\n}")
	if err != nil {
		return err
	}
	defer handler.stop()
	proxy, err := start(caddy, "reverse_proxy "+mock.URL)
	if err != nil {
		return err
	}
	defer proxy.stop()

	var slow error
	for _, connections := range []int{16, 64} {
		above := true
		for try := 0; try < 5 && above; try++ { // a machine that has something else to do is asked again
			ratios, err := compare(handler, proxy, connections, pairs, requests)
			if err != nil {
				return err
			}
			above = ratios[0] > limit
		}
		if above {
			slow = fmt.Errorf("at %d connections the handler takes more than %.2f of the CPU of reverse_proxy, five times over", connections, limit)
		}
	}
	return slow
}

// compare measures pairs of rounds and returns handler / proxy of each, the smallest first.
func compare(handler, proxy *process, connections, pairs, requests int) (ratios []float64, err error) {
	var times []float64
	for i := range pairs + 1 {
		var ours, theirs time.Duration
		for _, turn := range []struct {
			*process
			took *time.Duration
		}{{handler, &ours}, {proxy, &theirs}, {proxy, &theirs}, {handler, &ours}} {
			took, err := turn.round(requests/2, connections)
			if err != nil {
				return nil, err
			}
			*turn.took += took
		}
		if i > 0 { // the first pair warms up
			ratios = append(ratios, float64(ours)/float64(theirs))
			times = append(times, float64((ours/time.Duration(requests)).Nanoseconds())/1000, float64((theirs/time.Duration(requests)).Nanoseconds())/1000)
		}
	}
	slices.Sort(ratios)
	fmt.Printf("%d connections: %.2f of reverse_proxy (target %.2f; %d pairs from %.2f to %.2f; in the last %.0f and %.0f µs of CPU a request)\n",
		connections, ratios[len(ratios)/2], target, pairs, ratios[0], ratios[len(ratios)-1], times[len(times)-2], times[len(times)-1])
	return ratios, nil
}

// process is a Caddy under load.
type process struct {
	cmd     *exec.Cmd
	address string
	dir     string
}

// start runs Caddy with one site.
func start(caddy, directive string) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	file := filepath.Join(dir, "Caddyfile")
	config := "{\nadmin off\nauto_https off\nlog default {\noutput discard\n}\n}\nhttp://:" + port + " {\nbind 127.0.0.1\n" + directive + "\n}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(caddy, "run", "--config", file, "--adapter", "caddyfile"), address: address, dir: dir}
	p.cmd.Env = []string{"HOME=" + dir, "PASSWORD=a-password-for-johndow", "TOKEN=the-token"}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return p, nil
		}
		<-tick.C
	}
	p.stop()
	return nil, errors.New("no answer from Caddy after its start")
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = os.RemoveAll(p.dir)
}

// round sends requests over a number of connections and returns the CPU time that the process took for them.
func (p *process) round(requests, connections int) (time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
	)
	for c := range connections {
		wg.Go(func() {
			for i := c; i < requests; i += connections {
				if err := send(client, "http://"+p.address+"/send_message/", i%recipients); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	after, err := p.cpu()
	return after - before, errors.Join(failed, err)
}

// messages numbers them: each has an id of its own, or it would be a repeat.
var messages atomic.Int64

func send(client *http.Client, url string, recipient int) error {
	body := fmt.Sprintf(`{"from":"johndow","password":"a-password-for-johndow","sms_to":"+1555123%04d","sms_body":"Hello World, this is a text of the usual length.",`+
		`"content_type":"text/plain","disposition_notification":"%017d:positive-delivery,display"}`, recipient, messages.Add(1))
	resp, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%d %s", resp.StatusCode, text)
	}
	return err
}

// cpu is the time that the threads of a process have run, in user and kernel mode.
func (p *process) cpu() (total time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(stat), " ")
		nanoseconds, parseErr := strconv.ParseInt(first, 10, 64)
		if err := errors.Join(err, parseErr); err != nil {
			return 0, err
		}
		total += time.Duration(nanoseconds)
	}
	return total, nil
}

// twilioReply has the shape and length of what Twilio says to an accepted message, with a hole for its number.
const twilioReply = `{"account_sid":"ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","api_version":"2010-04-01","body":"Hello World","date_created":"Thu, 24 Aug 2023 05:01:45 +0000",` +
	`"date_sent":null,"date_updated":"Thu, 24 Aug 2023 05:01:45 +0000","direction":"outbound-api","error_code":null,"error_message":null,"from":"+15550001111",` +
	`"num_media":"0","num_segments":"1","price":null,"price_unit":null,"messaging_service_sid":null,"sid":"SM%032x","status":"queued",` +
	`"subresource_uris":{"media":"/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages/SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Media.json"},` +
	`"to":"+15551231234","uri":"/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages/SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.json"}`

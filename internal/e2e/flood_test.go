//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	floodPerSecond = 36
	floodNetworks  = 400
	floodVictims   = 200
	floodProbes    = 16
)

// flood sends wrong passwords from 400 networks, at first a faster one from each, for names that exist and names that do not, until
// the context ends.
type flood struct {
	t      *testing.T
	url    string
	client *http.Client

	mu       sync.Mutex
	statuses map[int]int
}

// send sends a text and returns the status and how long the reply took.
func (f *flood) send(ctx context.Context, network, user, password string) (status int, took time.Duration) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, strings.NewReader(url.Values{
		"username": {user}, "password": {password}, "to": {"5551231234"}, "body": {"hi"},
	}.Encode()))
	if err != nil {
		f.t.Error(err)
		return 0, 0
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", network)
	began := time.Now()
	resp, err := f.client.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			f.t.Error(err)
		}
		return 0, 0
	}
	took = time.Since(began)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, took
}

func (f *flood) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := 0; ; i++ {
		gap := time.Second / floodPerSecond
		if i < floodNetworks {
			gap = 5 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gap):
		}
		wg.Go(func() {
			user := fmt.Sprintf("victim%d", i/2%floodVictims)
			if i%2 == 1 {
				user = fmt.Sprintf("nobody%d", i)
			}
			status, _ := f.send(ctx, fmt.Sprintf("10.%d.%d.1", i%floodNetworks>>8, i%floodNetworks&255), user, fmt.Sprint("wrong", i))
			f.mu.Lock()
			defer f.mu.Unlock()
			f.statuses[status]++
		})
	}
}

// probe compares how long wrong passwords take for names that exist and names that do not, each from a network of its own.
func (f *flood) probe(round int) (known, unknown time.Duration) {
	var wg sync.WaitGroup
	times := [2][]time.Duration{make([]time.Duration, floodProbes), make([]time.Duration, floodProbes)}
	for i := range floodProbes {
		for j := range 2 {
			j ^= i & 1 // each is the first as often as the other
			name := [2]string{"probe", "stranger"}[j]
			wg.Go(func() {
				network := fmt.Sprintf("172.%d.%d.%d", 16+round, 2*i+j, 1)
				status, took := f.send(f.t.Context(), network, fmt.Sprint(name, i), fmt.Sprint("wrong", round))
				if status != http.StatusUnauthorized {
					f.t.Errorf("%s%d: %d", name, i, status)
				}
				times[j][i] = took
			})
			time.Sleep(120 * time.Millisecond)
		}
	}
	wg.Wait()
	slices.Sort(times[0])
	slices.Sort(times[1])
	return times[0][floodProbes/2], times[1][floodProbes/2]
}

// compare fails the test if known and unknown names can be told apart by time. A machine that is busy with something else gets three
// chances.
func (f *flood) compare(what string, round int) {
	f.t.Helper()
	for try := range 3 {
		known, unknown := f.probe(round + try)
		f.t.Logf("%s: median of known names %.1f ms, of unknown ones %.1f ms", what, float64(known)/1e6, float64(unknown)/1e6)
		if (known - unknown).Abs() < 20*time.Millisecond {
			return
		}
	}
	f.t.Errorf("%s: known and unknown names can be told apart", what)
}

// login logs users in at once, who have not been here since the start, and counts for how many that works.
func (f *flood) login(what string, first, last int, network string) (right int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	slowest := time.Duration(0)
	for i := first; i < last; i++ {
		wg.Go(func() {
			status, took := f.send(f.t.Context(), fmt.Sprintf(network, i), fmt.Sprint("honest", i), "an-honest-password")
			mu.Lock()
			defer mu.Unlock()
			if status == http.StatusOK {
				right++
			}
			slowest = max(slowest, took)
		})
	}
	wg.Wait()
	f.t.Logf("%s: %d of %d right logins, the slowest after %s", what, right, last-first, slowest.Round(time.Millisecond))
	return right
}

// While 36 wrong passwords a second arrive from 400 networks after a restart, everybody logs in for the first time: those from
// networks where they were before at once, others as soon as the networks of the flood have failed once. Known and unknown names cannot
// be told apart by time meanwhile. FLOOD is for how many seconds more it lasts, with a login of each user again.
func TestFlood(t *testing.T) {
	more, _ := strconv.Atoi(os.Getenv("FLOOD"))
	address := freeAddress(t)
	file := write(t, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	acrobits_sms {
		journal sqlite sms.db
	}
	servers {
		trusted_proxies static 127.0.0.0/8
		trusted_proxies_strict
	}
}
%s {
	bind 127.0.0.1
	acrobits_sms * {
		users file users.csv
		default_region US
		limit off
		bursts off
		adapter sandbox
	}
}
`, site("http", address)))
	honest, err := bcrypt.GenerateFromPassword([]byte("an-honest-password"), 10)
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	list.WriteString("name,password\n")
	for i := range floodVictims {
		fmt.Fprintf(&list, "victim%d,%s\n", i, slowHash)
	}
	for i := range floodProbes {
		fmt.Fprintf(&list, "probe%d,%s\n", i, slowHash)
	}
	for i := range 12 {
		fmt.Fprintf(&list, "honest%d,%s\n", i, honest)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "users.csv"), []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &flood{t: t, url: "http://" + address, client: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}, statuses: make(map[int]int)}
	defer f.client.CloseIdleConnections()
	caddy := start(t, file, address)
	if n := f.login("before the restart", 0, 6, "192.0.%d.1"); n != 6 {
		t.Fatalf("%d of 6 right logins without a flood", n)
	}
	caddy.stop()
	f.client.CloseIdleConnections()
	caddy = start(t, file, address)
	f.compare("without a flood", 0)

	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.run(ctx) })
	began := time.Now()
	at := func(moment time.Duration) { time.Sleep(moment - time.Since(began)) }
	at(3 * time.Second)
	right := f.login("from networks that are known", 0, 6, "192.0.%d.1")
	at(12500 * time.Millisecond) // the first of each network of the flood was checked, or was turned away
	right += f.login("from networks that are not", 6, 12, "198.51.%d.1")
	if right != 12 {
		t.Errorf("%d of 12 right logins", right)
	}
	f.compare("under the flood", 3)
	for end := time.Now().Add(time.Duration(more) * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if n := f.login("later", 0, 12, "192.0.%d.1"); n != 12 {
			t.Errorf("later %d of 12 right logins", n)
		}
	}
	end()
	wg.Wait()
	if f.statuses[http.StatusOK] > 0 || f.statuses[http.StatusUnauthorized] == 0 {
		t.Errorf("the flood was answered %v", f.statuses)
	}
	t.Logf("the flood was answered %v", f.statuses)
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// counter is a provider that counts how often it accepted each text.
type counter struct {
	*httptest.Server
	mu    sync.Mutex
	texts map[string]int
	slow  time.Duration // before it accepts, at most
}

func newCounter(t testing.TB) *counter {
	t.Helper()
	c := &counter{texts: make(map[string]int), slow: 20 * time.Millisecond}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		slow := c.slow
		c.mu.Unlock()
		time.Sleep(slow/2 + rand.N(slow/2))
		c.mu.Lock()
		c.texts[r.FormValue("Body")]++
		n := c.texts[r.FormValue("Body")]
		c.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"sid":"SM-%s-%d"}`, r.FormValue("Body"), n)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *counter) of(text string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.texts[text]
}

// tapper taps texts, one after the other, and remembers what the app was told of each.
type tapper struct {
	t      testing.TB
	urls   []string // of processes with one journal
	client *http.Client
	mu     sync.Mutex
	told   map[string][]int // statuses by text, 0 for no answer
}

func newTapper(t testing.TB, addresses ...string) *tapper {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	k := &tapper{t: t, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}, told: make(map[string][]int)}
	for _, a := range addresses {
		k.urls = append(k.urls, "http://"+a+"/send_message")
	}
	return k
}

func (k *tapper) tap(text string) int {
	resp, err := k.client.Post(k.urls[rand.IntN(len(k.urls))], "application/json", strings.NewReader(fmt.Sprintf(
		`{"username":"johndow","password":"12345678","sms_to":"5551231234","sms_body":%q,"content_type":"text/plain","disposition_notification":"%s:display"}`, text, text)))
	status := 0
	if err == nil {
		resp.Body.Close()
		status = resp.StatusCode
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told[text] = append(k.told[text], status)
	return status
}

// load taps new texts from several phones until the context ends.
func (k *tapper) load(ctx context.Context, phones int, prefix string) {
	var wg sync.WaitGroup
	for phone := range phones {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				k.tap(fmt.Sprintf("%s-%d-%d", prefix, phone, i))
			}
		})
	}
	wg.Wait()
}

// again taps all texts once more.
func (k *tapper) again() {
	k.mu.Lock()
	var texts []string
	for text := range k.told {
		texts = append(texts, text)
	}
	k.mu.Unlock()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for _, text := range texts {
		slots <- struct{}{}
		wg.Go(func() {
			k.tap(text)
			<-slots
		})
	}
	wg.Wait()
}

// judge says whether each text was accepted once, or once at most and the app told that nobody knows, and forgets the texts.
func (k *tapper) judge(p *counter) (texts, unknown int) {
	k.t.Helper()
	for text, told := range k.told {
		n, last := p.of(text), told[len(told)-1]
		for _, status := range told {
			if status == 200 && n == 0 {
				k.t.Errorf("%s: the app was told %v, but nobody accepted it", text, told)
			}
		}
		switch {
		case n > 1:
			k.t.Errorf("%s was accepted %d times; the app was told %v", text, n, told)
		case last == 504:
			unknown++
		case n != 1 || last != 200:
			k.t.Errorf("%s was accepted %d times; the app was told %v", text, n, told)
		}
	}
	texts = len(k.told)
	clear(k.told)
	return texts, unknown
}

// rounds reads how often something is done from the environment.
func rounds(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return usual
}

// journaled is a configuration with a journal.
func journaled(journal, admin, address, url string) string {
	return fmt.Sprintf("{\n\tadmin %s\n\tauto_https off\n\tgrace_period 10s\n\tacrobits_sms {\n\t\tjournal %s\n\t}\n\tlog {\n\t\tlevel WARN\n\t}\n}\n", admin, journal) +
		twilio(site("http", address), url, "", "\t\ttimeout 2s\n\t\tattempt_timeout 2s")
}

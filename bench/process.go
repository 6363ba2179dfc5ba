package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a Caddy under load.
type process struct {
	cmd            *exec.Cmd
	address, admin string
	dir            string
}

// start runs Caddy with one site.
func start(caddy, logs, site string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	file := filepath.Join(dir, "Caddyfile")
	config := "{\nadmin " + admin + "\nauto_https off\nlog default {\n" + strings.ReplaceAll(logs, "{$LOGS}", filepath.Join(dir, "log")) +
		"\n}\n}\nhttp://:" + port + " {\nbind 127.0.0.1\n" + site + "\n}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(caddy, "run", "--config", file, "--adapter", "caddyfile"), address: address, admin: admin, dir: dir}
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

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
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

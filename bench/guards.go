package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The maximum cost of a message, which does not depend on the load of the machine. The calls are those on sockets, the
// app's and the provider's; reads include those that find nothing and the look at a kept connection.
const (
	goalAllocations = 110
	maxAllocations  = 125
	maxWrites       = 2.05 // 2, and those of connections that are new
	maxReads        = 5.05
)

// guards counts allocations and system calls per message.
func (p *process) guards(requests int) error {
	if _, err := p.round(recipients, 16); err != nil { // all recipients are known afterwards
		return err
	}
	before, err := p.mallocs()
	if err != nil {
		return err
	}
	if _, err := p.round(requests, 16); err != nil {
		return err
	}
	after, err := p.mallocs()
	if err != nil {
		return err
	}
	each := float64(after-before) / float64(requests)
	fmt.Printf("%.1f allocations a message (goal %d, limit %d)\n", each, goalAllocations, maxAllocations)
	if each > maxAllocations {
		err = fmt.Errorf("%.1f allocations a message", each)
	}
	return errors.Join(err, p.countCalls(requests))
}

// mallocs is the number of allocations of the process, from Caddy's admin endpoint.
func (p *process) mallocs() (uint64, error) {
	resp, err := http.Get("http://" + p.admin + "/debug/vars")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var vars struct {
		Memstats struct{ Mallocs uint64 } `json:"memstats"`
	}
	err = json.NewDecoder(resp.Body).Decode(&vars)
	return vars.Memstats.Mallocs, err
}

// countCalls counts the reads and writes on sockets by strace, if the machine has it.
func (p *process) countCalls(requests int) error {
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Println("system calls are not counted: there is no strace")
		return nil
	}
	file := filepath.Join(p.dir, "calls")
	// -yy shows what a descriptor is.
	trace := exec.Command("strace", "-f", "-qq", "-yy", "-e", "trace=read,write,recvfrom", "-o", file, "-p", fmt.Sprint(p.cmd.Process.Pid))
	if err := trace.Start(); err != nil {
		return err
	}
	if err := p.traced(file); err != nil {
		_ = trace.Process.Kill()
		_ = trace.Wait()
		fmt.Println("system calls are not counted:", err)
		return nil
	}
	_, err := p.round(requests, 16)
	_ = trace.Process.Signal(syscall.SIGINT)
	_ = trace.Wait()
	calls, readErr := os.ReadFile(file)
	if err := errors.Join(err, readErr); err != nil {
		return err
	}
	reads, writes := 0, 0
	for line := range strings.Lines(string(calls)) {
		_, call, _ := strings.Cut(line, " ")
		switch call = strings.TrimLeft(call, " "); {
		case !strings.Contains(call, "<TCP") || strings.HasPrefix(call, "<..."): // the rest of a call that was shown before
		case strings.HasPrefix(call, "write("):
			writes++
		case strings.HasPrefix(call, "read("), strings.HasPrefix(call, "recvfrom("):
			reads++
		}
	}
	n := float64(requests)
	fmt.Printf("%.2f writes and %.2f reads a message (limits %.2f and %.2f)\n", float64(writes)/n, float64(reads)/n, maxWrites, maxReads)
	if float64(writes)/n > maxWrites || float64(reads)/n > maxReads {
		return errors.New("too many system calls a message")
	}
	return nil
}

// traced sends requests until strace sees them.
func (p *process) traced(file string) error {
	for range 100 {
		if _, err := p.round(1, 1); err != nil {
			return err
		}
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			return os.Truncate(file, 0)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("strace sees nothing")
}

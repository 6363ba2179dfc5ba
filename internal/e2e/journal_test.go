//go:build e2e

package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A process is killed at random moments, and the app repeats each tap after the restart. Each tap
// is sent at most once, or the app is told that the outcome is unknown.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sms.db")
	for name, journal := range map[string]func(t *testing.T) string{
		"sqlite":   func(*testing.T) string { return "sqlite " + path },
		"postgres": func(t *testing.T) string { _, address := postgres(t); ready(t, address); return "postgres " + address },
	} {
		t.Run(name, func(t *testing.T) {
			p, address := newCounter(t), freeAddress(t)
			file := write(t, "Caddyfile", journaled(journal(t), "off", address, p.URL))
			k := newTapper(t, address)
			texts, unknown := 0, 0
			for round := range rounds("KILLS", 10) {
				s := start(t, file, address, "TOKEN=x")
				ctx, cancel := context.WithCancel(t.Context())
				loaded := make(chan struct{})
				go func() {
					k.load(ctx, 8, fmt.Sprint("round-", round)) // 0-0-0 would be no id
					close(loaded)
				}()
				time.Sleep(50*time.Millisecond + rand.N(300*time.Millisecond))
				_ = s.cmd.Process.Kill()
				<-s.done
				cancel()
				<-loaded
				s = start(t, file, address, "TOKEN=x")
				k.again()
				n, u := k.judge(p)
				texts, unknown = texts+n, unknown+u
				if name == "sqlite" {
					var said string
					if err := open(t, "sqlite", path).QueryRow("PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
						t.Errorf("round %d: the file is damaged: %s, %v", round, said, err)
					}
				}
				if round%2 == 0 {
					s.stop()
				} else {
					_ = s.cmd.Process.Kill()
					<-s.done
				}
			}
			t.Logf("%d texts, of %d of them nobody knows", texts, unknown)
			if texts < 50 || unknown > texts/2 {
				t.Errorf("%d texts, of %d nobody knows", texts, unknown)
			}
		})
	}
}

// A process is reloaded again and again under load, and stopped at the end. No message is lost or
// sent twice, and neither goroutines nor memory pile up.
func TestReloadUnderLoad(t *testing.T) {
	for name, journal := range map[string]string{"memory": "memory", "sqlite": "sqlite " + filepath.Join(t.TempDir(), "sms.db")} {
		t.Run(name, func(t *testing.T) {
			p, address, admin := newCounter(t), freeAddress(t), freeAddress(t)
			config := journaled(journal, admin, address, p.URL)
			s := start(t, write(t, "Caddyfile", config), address, "TOKEN=x")
			k := newTapper(t, address)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds("RELOAD_SECONDS", 10))*time.Second)
			defer cancel()
			loaded := make(chan struct{})
			go func() {
				k.load(ctx, 8, name)
				close(loaded)
			}()
			var before, size int
			for i := 0; ctx.Err() == nil; i++ {
				reload(t, admin, strings.Replace(config, "timeout 2s", fmt.Sprintf("timeout %dms", 2000+i), 1))
				time.Sleep(100 * time.Millisecond)
				if i == 20 {
					before, size = goroutines(t, admin), resident(t, s)
				}
			}
			<-loaded
			// Caddy itself drops a few connections that come just when it changes its listeners.
			// Nothing was sent for those.
			dropped := 0
			for text, told := range k.told {
				switch {
				case told[0] == 0 && p.of(text) == 0:
					dropped++
				case told[0] != 200:
					t.Errorf("%s was accepted %d times; the app was told %v", text, p.of(text), told)
				}
			}
			t.Logf("%d of %d connections dropped", dropped, len(k.told))
			if dropped > len(k.told)/50 {
				t.Errorf("%d of %d taps without an answer", dropped, len(k.told))
			}
			k.again() // who got no answer taps again
			if texts, unknown := k.judge(p); texts < 50 || unknown > 0 {
				t.Errorf("%d texts, of %d nobody knows", texts, unknown)
			}
			if n := goroutines(t, admin); n > before+20 {
				t.Errorf("%d goroutines, %d after the first reloads", n, before)
			}
			t.Logf("%d MB, %d MB after the first reloads", resident(t, s)>>20, size>>20)
			if n := resident(t, s); n > size+size/2 {
				t.Errorf("%d bytes, %d after the first reloads", n, size)
			}
			// Stopped with messages on their way.
			ctx, cancel = context.WithCancel(t.Context())
			loaded = make(chan struct{})
			go func() {
				k.load(ctx, 8, name+"-stop")
				close(loaded)
			}()
			time.Sleep(200 * time.Millisecond)
			s.stop()
			cancel()
			<-loaded
			answered := 0
			for text, told := range k.told {
				if told[0] == 200 {
					answered++
				}
				if n := p.of(text); n > 1 || told[0] == 200 && n != 1 || told[0] != 200 && (n != 0 || told[0] != 0) {
					t.Errorf("%s was accepted %d times; the app was told %v", text, n, told)
				}
			}
			if answered == 0 {
				t.Error("nothing was on its way when it was stopped")
			}
		})
	}
}

// reload gives a process another configuration.
func reload(t testing.TB, admin, config string) {
	t.Helper()
	resp, err := http.Post("http://"+admin+"/load", "text/caddyfile", strings.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("reload: %d %s", resp.StatusCode, text)
	}
}

// goroutines returns the number of goroutines of a process.
func goroutines(t testing.TB, admin string) (n int) {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := fmt.Fscanf(resp.Body, "goroutine profile: total %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// resident is the memory of a process in bytes.
func resident(t testing.TB, s *server) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// Two processes share a journal, whose server is restarted during the test. Each tap is sent once,
// at whichever process it arrives.
func TestTwoProcesses(t *testing.T) {
	db, database := postgres(t)
	ready(t, database)
	p, one, two := newCounter(t), freeAddress(t), freeAddress(t)
	for _, address := range []string{one, two} {
		start(t, write(t, "Caddyfile", journaled("postgres "+database, "off", address, p.URL)), address, "TOKEN=x")
	}
	k := newTapper(t, one, two)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	var loaded sync.WaitGroup
	loaded.Go(func() { k.load(ctx, 8, "two") })
	loaded.Go(func() {
		for ctx.Err() == nil { // and all of them once more, meanwhile
			k.again()
		}
	})
	time.Sleep(2 * time.Second)
	db.stop()
	time.Sleep(time.Second)
	db.start()
	ready(t, database)
	loaded.Wait()
	k.again()
	refused := 0
	for _, told := range k.told {
		for _, status := range told {
			if status == 500 { // nothing was sent
				refused++
			}
		}
	}
	texts, unknown := k.judge(p)
	t.Logf("%d texts, of %d of them nobody knows; %d times nothing was sent since the server was away", texts, unknown, refused)
	if texts < 50 || unknown > texts/10 || refused == 0 {
		t.Errorf("%d texts, of %d nobody knows, %d refused", texts, unknown, refused)
	}
}

// Limits are counted together by all processes that share a journal, also after a restart.
func TestLimitsOfJournal(t *testing.T) {
	p, one, two := newCounter(t), freeAddress(t), freeAddress(t)
	journal := "sqlite " + filepath.Join(t.TempDir(), "sms.db")
	config := func(address string) string {
		return write(t, "Caddyfile", strings.Replace(journaled(journal, "off", address, p.URL), "bursts off", "bursts off\n\t\tlimit user 5 messages per month", 1))
	}
	first := start(t, config(one), one, "TOKEN=x")
	start(t, config(two), two, "TOKEN=x")
	sent := 0
	for i, k := range []*tapper{newTapper(t, one), newTapper(t, two), newTapper(t, one), newTapper(t, two)} {
		if k.tap(fmt.Sprint("a", i)) == 200 {
			sent++
		}
	}
	_ = first.cmd.Process.Kill()
	<-first.done
	start(t, config(one), one, "TOKEN=x")
	for i := range 4 {
		if newTapper(t, one).tap(fmt.Sprint("b", i)) == 200 {
			sent++
		}
	}
	if sent != 5 {
		t.Errorf("%d sent, at most 5", sent)
	}
}

// A message in flight is not changed when `caddy validate` or another process opens the journal.
func TestJournalOfOthers(t *testing.T) {
	p, one, two := newCounter(t), freeAddress(t), freeAddress(t)
	p.slow = 8 * time.Second
	journal := "sqlite " + filepath.Join(t.TempDir(), "sms.db")
	patient := func(address string) string {
		return strings.ReplaceAll(journaled(journal, "off", address, p.URL), "timeout 2s", "timeout 20s")
	}
	file := write(t, "Caddyfile", patient(one))
	start(t, file, one, "TOKEN=x")
	k, told := newTapper(t, one), make(chan int, 1)
	for i := range 50 { // others are on their way too
		go k.tap(fmt.Sprint("load ", i))
	}
	go k.tap("warm")
	go func() { told <- k.tap("slow") }()
	time.Sleep(50 * time.Millisecond)
	if out, err := command(t, []string{"TOKEN=x"}, "validate", "--config", file, "--adapter", "caddyfile"); err != nil {
		t.Error(out)
	}
	other := start(t, write(t, "Caddyfile", patient(two)), two, "TOKEN=x")
	repeat := newTapper(t, two)
	if len(told) > 0 {
		t.Error("the message was over before anybody looked")
	}
	if status := repeat.tap("slow"); status != 200 {
		t.Errorf("the other process was told %d\n%s", status, other.out)
	}
	if status := <-told; status != 200 || p.of("slow") != 1 {
		t.Errorf("told %d, accepted %d times", status, p.of("slow"))
	}
	if strings.Contains(other.out.String(), "may have been sent") {
		t.Errorf("lost: %s", other.out)
	}
}

// A message that was in flight when its process was killed, or stopped at the end of the grace
// period, is reported by the next process after the lease has ended. It is not sent again.
func TestLost(t *testing.T) {
	for name, end := range map[string]func(*server){
		"killed": func(s *server) {
			_ = s.cmd.Process.Kill()
			<-s.done
		},
		"stopped": (*server).stop,
	} {
		t.Run(name, func(t *testing.T) { lose(t, end) })
	}
}

func lose(t *testing.T, end func(*server)) {
	p, address, admin := newCounter(t), freeAddress(t), freeAddress(t)
	p.slow = 1900 * time.Millisecond
	path := filepath.Join(t.TempDir(), "sms.db")
	config := strings.Replace(journaled("sqlite "+path, admin, address, p.URL), "grace_period 10s", "grace_period 100ms", 1)
	file := write(t, "Caddyfile", config)
	s := start(t, file, address, "TOKEN=x")
	k, loaded := newTapper(t, address), make(chan struct{})
	go func() {
		k.tap("lost")
		close(loaded)
	}()
	if !eventually(func() bool { return strings.Contains(status(t, admin), `"running":1`) }) {
		t.Fatal("no request to the provider")
	}
	end(s)
	<-loaded
	s = start(t, file, address, "TOKEN=x")
	if told := k.tap("lost"); told != 504 {
		t.Errorf("before its lease has ended: %d", told)
	}
	expire(t, path)
	if !eventually(func() bool {
		return strings.Contains(s.out.String(), "a message may have been sent when its process ended")
	}) {
		t.Errorf("nobody reports it:\n%s", s.out)
	}
	if told := k.tap("lost"); told != 504 || p.of("lost") > 1 {
		t.Errorf("told %d, accepted %d times", told, p.of("lost"))
	}
	if !strings.Contains(status(t, admin), `"kind":"sqlite","remembered":1,"on_their_way":0`) {
		t.Error(status(t, admin))
	}
}

// A journal contains no text and no number of a message, unless it is configured to store messages.
func TestKeepMessages(t *testing.T) {
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		_, _ = io.WriteString(w, `{"sid":"SM1"}`)
	}))
	t.Cleanup(p.Close)
	path := filepath.Join(t.TempDir(), "sms.db")
	for _, keep := range []bool{false, true} {
		address := freeAddress(t)
		config := journaled("sqlite "+path, "off", address, p.URL)
		if keep {
			config = strings.Replace(config, "journal sqlite", "keep messages 90d\n\t\tjournal sqlite", 1)
		}
		s := start(t, write(t, "Caddyfile", config), address, "TOKEN=x")
		if status := newTapper(t, address).tap(fmt.Sprint("a private text, ", keep)); status != 200 {
			t.Errorf("%d\n%s", status, s.out)
		}
		if files, _ := filepath.Glob(path + "*"); !keep {
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil || len(files) < 2 {
					t.Errorf("%v: %v", files, err)
				}
				for _, private := range []string{"private text", "5551234", "5550001"} {
					if strings.Contains(string(content), private) {
						t.Errorf("%s holds %s", file, private)
					}
				}
			}
		}
		s.stop()
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var count int
	var message [7]string
	if err := db.QueryRow("SELECT count(*), username, sender, recipient, body, disposition, state, until - begun FROM acrobits_sms_messages").
		Scan(&count, &message[0], &message[1], &message[2], &message[3], &message[4], &message[5], &message[6]); err != nil {
		t.Fatal(err)
	}
	const days = "7776000000" // 90, in milliseconds
	want := [7]string{"johndow", "+15550001111", "+15551231234", "a private text, true", "a private text, true:display", "2", days}
	if count != 1 || message != want {
		t.Errorf("%d kept: %q, want %q", count, message, want)
	}
}

// expire ends all leases in a journal.
func expire(t testing.TB, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE acrobits_sms_leases SET until = 0"); err != nil {
		t.Fatal(err)
	}
}

// status is what the admin endpoint says.
func status(t testing.TB, admin string) string {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/acrobits_sms/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

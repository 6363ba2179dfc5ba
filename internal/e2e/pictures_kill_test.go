//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process that is killed while it downloads has sent nothing: the next tap sends the picture. One that is killed while the provider
// decides may have sent it: the next tap says so. A file that was being downloaded is gone.
func TestPicturesKilled(t *testing.T) {
	picture := photo(t)
	for name, c := range map[string]struct {
		whileDownloading bool
		status           int
		sent             int
	}{
		"while it downloads":         {true, 200, 1},
		"while the provider decides": {false, 504, 0},
	} {
		t.Run(name, func(t *testing.T) {
			app, p, address, temp := newMMMsg(t), newProvider(t).plain(), freeAddress(t), t.TempDir()
			arrived, release := make(chan struct{}, 1), make(chan struct{})
			wait := func(r *http.Request) {
				arrived <- struct{}{}
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
			if c.whileDownloading {
				app.onGet(wait)
			} else {
				p.do(func(w http.ResponseWriter, r *http.Request) { wait(r) })
			}
			text := strings.Replace(fmt.Sprintf(pictureSite, site("http", address), app.URL, p.URL), "\tdebug\n",
				"\tdebug\n\tacrobits_sms {\n\t\tjournal sqlite "+filepath.Join(t.TempDir(), "journal.db")+"\n\t}\n", 1)
			env := []string{"XDG_DATA_HOME=" + t.TempDir(), "TMPDIR=" + temp}
			s := start(t, write(t, "Caddyfile", text), address, env...)
			doc := app.upload(t, "1.jpg", picture, nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				resp, err := http.Post("http://"+address+"/send_message/", "application/json", strings.NewReader(pictureRequest(doc)))
				if err == nil {
					resp.Body.Close()
				}
			}()
			<-arrived
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-s.done
			close(release)
			<-done
			app.onGet(nil)
			p.say(201, `{"sid":"1"}`)
			p.take()
			start(t, write(t, "Caddyfile", text), address, env...)
			doc = app.upload(t, "1.jpg", picture, nil)
			var status int
			var reply string
			// The lease of the process that was killed lasts for up to 30 s.
			for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
				if status, reply = sendPicture(t, address, doc); status != 504 || !c.whileDownloading {
					break
				}
			}
			if status != c.status || len(p.take()) != c.sent {
				t.Errorf("the next tap: %d %s", status, reply)
			}
			_ = filepath.WalkDir(temp, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					t.Errorf("%s is left", path)
				}
				return nil
			})
		})
	}
}

package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/media"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// mmsAPI is the definition of an adapter that sends pictures.
const mmsAPI = "base_url http://provider\nmedia {\nfiles 2\neach 100KB\ntypes image/jpeg image/png\n}\nsend {\nPOST /\njson {\nto {sms.to}\ntext {sms.body}\nmedia[] {sms.media}\n}\n}\n" +
	"reply json\naccepted status 200\nid id\ncause no_credit 1\ncode code\n"

// pictureFixture is a gateway that sends pictures, and the app's media server.
type pictureFixture struct {
	*fixture
	server *httptest.Server
	gets   atomic.Int32
	answer atomic.Pointer[http.HandlerFunc]
	dir    string // of the storage
	handed atomic.Int32
}

func newPictureFixture(t *testing.T, definition string) *pictureFixture {
	t.Helper()
	f := &pictureFixture{fixture: newFixtureOf(t, definition, journal.NewMemory()), dir: t.TempDir()}
	picture := jpegOf(40, 30)
	f.setAnswer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(picture) })
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.gets.Add(1)
		(*f.answer.Load())(w, r)
	}))
	t.Cleanup(f.server.Close)
	source, err := media.ParseSource(f.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	collector := media.NewCollector(media.Options{Sources: []media.Source{source}, MaxSize: 1_000_000, Dir: temp, Budget: media.NewBudget()})
	t.Cleanup(func() {
		collector.Close()
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("%d files left, %v", len(left), err)
		}
	})
	f.Pictures = &Pictures{
		MMS: true, Collector: collector, Store: media.NewStore(&certmagic.FileStorage{Path: f.dir}, 0), Keep: time.Hour,
		Collected:  func(time.Duration, int64, *sms.Refusal) {},
		HandedOver: func(string, string, media.Token) { f.handed.Add(1) },
	}
	return f
}

// setAnswer changes what the media server answers.
func (f *pictureFixture) setAnswer(answer http.HandlerFunc) { f.answer.Store(&answer) }

func jpegOf(w, h int) []byte {
	var out bytes.Buffer
	_ = jpeg.Encode(&out, image.NewRGBA(image.Rect(0, 0, w, h)), nil)
	return out.Bytes()
}

// picture describes files of the media server, at addresses that no other message has.
func (f *pictureFixture) picture(caption string, count int) func(*Request) {
	return func(r *Request) {
		t := attachment.Transfer{Caption: sms.Hide(caption)}
		for i := range count {
			t.Files = append(t.Files, attachment.File{
				URL: sms.Hide(fmt.Sprintf("%s/%d/%d", f.server.URL, time.Now().UnixNano(), i)), CRC: attachment.Checksum(jpegOf(40, 30)),
			})
		}
		r.ContentType, r.Body, r.MediaURL = attachment.ContentType, t.Document(), "https://sms.example.com/media"
	}
}

// stored is the number of files in the storage.
func (f *pictureFixture) stored(t *testing.T) (n int) {
	t.Helper()
	err := filepath.WalkDir(f.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return n
}

// fetch asks the store for an address, as a provider does.
func (f *pictureFixture) fetch(t *testing.T, address string) *httptest.ResponseRecorder {
	t.Helper()
	name, ok := strings.CutPrefix(address, "https://sms.example.com/media/")
	if !ok {
		t.Errorf("address %s", address)
	}
	w := httptest.NewRecorder()
	f.Pictures.Store.Serve(w, httptest.NewRequest(http.MethodGet, "/media/"+name, nil), name)
	return w
}

// A picture is downloaded and sent with an address of ours, once for any number of taps, each of
// which uploads it again.
func TestPicture(t *testing.T) {
	f := newPictureFixture(t, mmsAPI)
	r := f.sendUnheard(t, t.Context(), f.picture("Hi\r\nthere", 2))
	f.check(t, "a picture", r, "accepted", 1)
	sent := gjson.Parse(f.transport.got[0])
	if text := sent.Get("text").String(); text != "Hi\nthere" {
		t.Errorf("caption %q", text)
	}
	urls := sent.Get("media").Array()
	if len(urls) != 2 {
		t.Fatalf("%d addresses", len(urls))
	}
	for _, url := range urls {
		if w := f.fetch(t, url.String()); w.Code != 200 || w.Header().Get("Content-Type") != "image/jpeg" || !strings.HasSuffix(url.String(), ".jpg") {
			t.Errorf("%s: %d %v", url, w.Code, w.Header())
		}
	}
	if !r.Result.MMS || r.Message.Media != nil || f.handed.Load() != 1 {
		t.Errorf("%+v, handed over %d times", r.Result, f.handed.Load())
	}
	again := f.sendUnheard(t, t.Context(), f.picture("Hi\r\nthere", 2))
	f.check(t, "a second tap", again, "accepted", 1)
	if !again.Result.Duplicate || f.gets.Load() != 2 {
		t.Errorf("duplicate %t, %d downloads", again.Result.Duplicate, f.gets.Load())
	}
	f.check(t, "another caption", f.send(t, f.picture("Hi", 2)), "accepted", 2)
}

// A text has no part in pictures, and pictures are refused where they are off.
func TestPicturesOff(t *testing.T) {
	f := newPictureFixture(t, mmsAPI)
	f.check(t, "a text", f.send(t), "accepted", 1)
	f.Gateway.Pictures = nil
	f.check(t, "a picture", f.send(t, f.picture("", 1)), "refused unsupported_content", 1)
}

// Nothing is downloaded, claimed or stored for a message that cannot be sent.
func TestPictureNotDownloaded(t *testing.T) {
	for name, c := range map[string]struct {
		definition string
		set        func(*pictureFixture)
		request    []func(*Request)
		count      int
		want       string
	}{
		"a stranger":          {request: changes{guessing}, want: "refused unauthorized"},
		"no recipient":        {request: changes{to()}, want: "refused bad_request.no_recipient"},
		"a forbidden one":     {request: changes{to("+18762101234")}, want: "refused destination_not_allowed.country"},
		"no description":      {request: changes{saying("{")}, want: "refused bad_request.attachment_unreadable"},
		"none of our numbers": {request: changes{as("+13105550101")}, want: "refused sender_not_allowed"},
		"no adapter":          {definition: ownAPI, want: "refused unsupported_content.no_mms"},
		"too many files":      {count: 3, want: "refused too_long.too_many_files"},
		"paused":              {set: func(f *pictureFixture) { f.Paused = func() bool { return true } }, want: "refused held"},
		"over a limit": {set: func(f *pictureFixture) { f.Limits = []limit.Rule{{Scope: limit.User, Unit: limit.Pictures, Max: 1}} },
			count: 2, want: "refused too_long.too_many_files"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPictureFixture(t, cmp.Or(c.definition, mmsAPI))
			if c.set != nil {
				c.set(f)
			}
			r := f.send(t, append(changes{f.picture("Hi", max(1, c.count))}, c.request...)...)
			f.check(t, name, r, c.want, 0)
			if f.gets.Load() != 0 || f.stored(t) != 0 {
				t.Errorf("%d downloads, %d files", f.gets.Load(), f.stored(t))
			}
		})
	}
}

// Pictures have limits of their own, which texts do not count for.
func TestPictureLimits(t *testing.T) {
	f := newPictureFixture(t, mmsAPI)
	f.Limits = limit.Default
	for i := range 5 {
		f.check(t, "a picture", f.send(t, f.picture(fmt.Sprint(i), 2)), "accepted", i+1)
	}
	r := f.send(t, f.picture("one more", 1))
	f.check(t, "one too many", r, "refused limited.over_limit", 5)
	if r.Result.Refusal.Limit != "user 10 pictures per minute" {
		t.Error(r.Result.Refusal.Limit)
	}
	f.check(t, "a text", f.send(t), "accepted", 6)
}

// A file that cannot be collected is refused with its sentence: nothing is sent, nothing is left, and
// a second tap tries again.
func TestPictureFails(t *testing.T) {
	whole := jpegOf(40, 30)
	for name, c := range map[string]struct {
		answer  func(http.ResponseWriter, *http.Request)
		request func(*Request)
		want    string
	}{
		"gone":    {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, want: "unavailable.file_gone"},
		"broken":  {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, want: "unavailable.file_server"},
		"damaged": {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(append(whole, 1)) }, want: "bad_request.file_damaged"},
		"slow": {answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, want: "unavailable.file_slow",
			request: func(r *Request) { r.Received = r.Received.Add(-12900 * time.Millisecond) }},
		"no time": {want: "busy.many_pictures", request: func(r *Request) { r.Received = r.Received.Add(-13 * time.Second) }},
		"the second of two": {answer: func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/1") {
				w.WriteHeader(410)
			}
			_, _ = w.Write(whole)
		}, want: "unavailable.file_gone"},
		"elsewhere": {want: "bad_request.file_host", request: func(r *Request) {
			r.Body = sms.Hide(`{"attachments":[{"content-url":"https://evil.example/1"}]}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPictureFixture(t, mmsAPI)
			good := *f.answer.Load()
			if c.answer != nil {
				f.setAnswer(c.answer)
			}
			request := changes{f.picture("Hi", 2)}
			if c.request != nil {
				request = append(request, c.request)
			}
			r := f.send(t, request...)
			f.check(t, name, r, "refused "+c.want, 0)
			if r.Close(); f.stored(t) != 0 {
				t.Errorf("%d files are left", f.stored(t))
			}
			r.journal, r.discard = nil, nil // Close is called once more
			f.setAnswer(good)
			f.check(t, "a second tap", f.send(t, f.picture("Hi", 2)), "accepted", 1)
		})
	}
}

// A provider's refusal removes the files. An unknown outcome keeps them, and is never tried again.
func TestPictureOutcomes(t *testing.T) {
	f := newPictureFixture(t, mmsAPI)
	f.transport.statuses = []int{402, 500}
	r := f.Send(t.Context(), message(f.picture("one", 1)))
	f.check(t, "no credit", r, "refused no_credit", 1)
	if r.Close(); f.stored(t) != 0 {
		t.Errorf("%d files are left", f.stored(t))
	}
	for range 2 {
		f.check(t, "no reply", f.sendUnheard(t, t.Context(), f.picture("two", 1)), "unknown unknown", 2)
	}
	if f.stored(t) == 0 || f.handed.Load() != 0 {
		t.Errorf("%d files, handed over %d times", f.stored(t), f.handed.Load())
	}
}

// An app that closes the connection does not stop a picture.
func TestPictureWithoutApp(t *testing.T) {
	f := newPictureFixture(t, mmsAPI)
	ctx, hangUp := context.WithCancel(t.Context())
	good := *f.answer.Load()
	f.setAnswer(func(w http.ResponseWriter, r *http.Request) {
		hangUp()
		good(w, r)
	})
	f.check(t, "without the app", f.sendUnheard(t, ctx, f.picture("", 1)), "accepted", 1)
}

// Where the journal cannot store that sending begins, nothing is sent.
func TestPictureJournalFails(t *testing.T) {
	f := newPictureFixture(t, mmsAPI)
	store := &failingStore{Store: journal.NewMemory()}
	f.fixture = newFixtureOf(t, mmsAPI, store).beside(func(g *Gateway) { g.Pictures = f.Pictures })
	good := *f.answer.Load()
	f.setAnswer(func(w http.ResponseWriter, r *http.Request) {
		store.failures.Store(2) // StartSending, and the end of the claim
		good(w, r)
	})
	r := f.Send(t.Context(), message(f.picture("", 1)))
	f.check(t, "the journal fails", r, "refused internal.journal_away", 0)
	f.setAnswer(good)
	if r.Close(); f.stored(t) != 0 {
		t.Errorf("%d files are left", f.stored(t))
	}
}

type failingStore struct {
	journal.Store
	failures atomic.Int32
}

func (s *failingStore) Update(key journal.Key, lazy bool, change journal.Change) error {
	if s.failures.Load() > 0 {
		s.failures.Add(-1)
		return errors.New("disk full")
	}
	return s.Store.Update(key, lazy, change)
}

// A link replaces an MMS where no adapter can send one, or always. The page behind it shows the
// picture.
func TestPictureLink(t *testing.T) {
	pdf := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("%PDF-1.7")) }
	for name, c := range map[string]struct {
		definition string
		mms        bool
		answer     func(http.ResponseWriter, *http.Request)
		count      int
	}{
		"always":               {definition: mmsAPI},
		"no adapter":           {definition: ownAPI, mms: true},
		"too many files":       {definition: mmsAPI, mms: true, count: 3},
		"a type that none has": {definition: mmsAPI, mms: true, answer: pdf},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPictureFixture(t, c.definition)
			f.Pictures.MMS, f.Pictures.Links = c.mms, true
			request := changes{f.picture("Hi", max(1, c.count))}
			if c.answer != nil {
				f.setAnswer(c.answer)
				request = append(request, func(r *Request) {
					r.Body = sms.Hide(`{"body":"Hi","attachments":[{"content-url":"` + f.server.URL + `/1"}]}`)
				})
			}
			r := f.send(t, request...)
			f.check(t, name, r, "accepted", 1)
			got := f.transport.got[0]
			text := gjson.Get(got, "text").String()
			if c.definition == ownAPI {
				form, _ := url.ParseQuery(got)
				text = form.Get("text")
			}
			link, ok := strings.CutPrefix(text, "Hi\n")
			if w := f.fetch(t, link); !ok || w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || gjson.Get(got, "media").Exists() {
				t.Errorf("%s: %d", got, w.Code)
			}
			if r.Result.MMS || r.Message.Segments != 1 || f.handed.Load() != 0 {
				t.Errorf("%+v", r.Result)
			}
		})
	}
}

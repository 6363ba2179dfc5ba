package caddymodule

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// pictureSite is a site that sends pictures, the app's media server and the provider.
type pictureSite struct {
	*site
	server *httptest.Server

	mu    sync.Mutex
	asked []string // the bodies of requests to the provider
}

func newPictureSite(t *testing.T, more string) *pictureSite {
	t.Helper()
	p := new(pictureSite)
	var picture bytes.Buffer
	_ = jpeg.Encode(&picture, image.NewRGBA(image.Rect(0, 0, 40, 30)), nil)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(picture.Bytes()) }))
	t.Cleanup(p.server.Close)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, string(body))
		_, _ = io.WriteString(w, `{"id":"1"}`)
	}))
	t.Cleanup(provider.Close)
	p.site = newSite(t, demo+"define own {\nbase_url "+provider.URL+"\nsend {\nPOST /\nform {\nto {sms.to}\ntext {sms.body}\nmedia[] {sms.media}\n}\n}\nreply json\naccepted status 200\nid id\n}\n"+
		"adapter own\n"+strings.ReplaceAll(more, "SERVER", p.server.URL))
	return p
}

// describe is a request of an app with a picture.
func (p *pictureSite) describe() *http.Request {
	doc := attachment.Transfer{Caption: sms.Hide("Hi"), Files: []attachment.File{{URL: sms.Hide(p.server.URL + "/1")}}}
	r := httptest.NewRequest(http.MethodPost, "https://sms.example.com/send_message/?username=johndow&password=12345678&to=5551231234&content_type="+
		attachment.ContentType, strings.NewReader("body="+url.QueryEscape(doc.Document().Reveal())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// A picture goes to the provider by an address at which this site serves it.
func TestPictureService(t *testing.T) {
	for name, c := range map[string]struct{ more, base string }{
		"the address of the request": {"", "https://sms.example.com/media/"},
		"public_url":                 {"public_url https://public.example/sms/\n", "https://public.example/sms/media/"},
		"another path":               {"services {\nmedia /files/\nsend /send_message\n}\n", "https://sms.example.com/files/"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPictureSite(t, c.more+"pictures {\nfrom SERVER\n}\n")
			w := p.send(t, p.describe())
			if r := read(t, w); w.Code != 200 || r.ID != "1" {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			form, err := url.ParseQuery(p.asked[0])
			if err != nil {
				t.Fatal(err)
			}
			address := form.Get("media[]")
			if !strings.HasPrefix(address, c.base) || !strings.HasSuffix(address, "/1.jpg") {
				t.Fatalf("address %s", address)
			}
			r := httptest.NewRequest(http.MethodGet, address, nil)
			if got := p.send(t, r); got.Code != 200 || got.Header().Get("Content-Type") != "image/jpeg" {
				t.Errorf("%d %v", got.Code, got.Header())
			}
			for _, path := range []string{"", "/", "/x/1.jpg"} {
				if got := p.send(t, httptest.NewRequest(http.MethodGet, strings.TrimSuffix(c.base, "/")+path, nil)); got.Code != 404 || got.Body.Len() > 0 {
					t.Errorf("%s: %d %s", path, got.Code, got.Body)
				}
			}
			token := strings.Split(strings.TrimPrefix(address, c.base), "/")[0]
			for _, line := range p.log.All() {
				if text := line.Message + " " + fmt.Sprint(line.ContextMap()); strings.Contains(text, token) || strings.Contains(text, p.server.URL) {
					t.Errorf("the log has an address: %s", text)
				}
			}
		})
	}
}

// Requests to the service are left out of the access log.
func TestMediaIsNotLogged(t *testing.T) {
	p := newPictureSite(t, "services {\nsend /send_message\n}\npictures\n")
	r := httptest.NewRequest(http.MethodGet, "/media/x/1.jpg", nil)
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	if err := p.ServeHTTP(w, r, nil); err != nil || w.Code != 404 {
		t.Errorf("%d %v", w.Code, err)
	}
	if skip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); !skip {
		t.Error("the address is logged")
	}
}

// Pictures that the provider does not fetch are reported after 2 minutes, unless the configuration
// has ended.
func TestNotFetched(t *testing.T) {
	for _, ended := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newSite(t, demo+"adapter sandbox\npictures\n")
			token, refusal := p.gateway.Pictures.Store.Put(t.Context(), nil, time.Hour)
			if refusal != nil {
				t.Fatal(refusal)
			}
			p.gateway.Pictures.HandedOver("sandbox", "ref", token)
			time.Sleep(fetchWithin - time.Second)
			if ended {
				p.stop()
			}
			time.Sleep(2 * time.Second)
			said := p.log.FilterMessageSnippet("media_not_fetched").All()
			if (len(said) == 0) != ended || len(said) > 0 && said[0].ContextMap()["reference"] != "ref" {
				t.Errorf("ended %t: %v", ended, said)
			}
			p.stop()
		})
	}
}

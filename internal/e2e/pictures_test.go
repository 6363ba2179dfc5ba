//go:build e2e

package e2e

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// mmmsg is a stand-in for the app's media server: PUT stores a file, GET returns it.
type mmmsg struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	gets  int
	get   func(*http.Request) // called before each download, nil for nothing
}

func newMMMsg(t *testing.T) *mmmsg {
	m := &mmmsg{files: make(map[string][]byte)}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *mmmsg) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	get := m.get
	m.mu.Unlock()
	if r.Method == http.MethodGet && get != nil {
		get(r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Method == http.MethodPut {
		m.files[r.URL.Path], _ = io.ReadAll(r.Body)
		return
	}
	m.gets++
	data, ok := m.files[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(data)
}

// onGet sets a function that is called before each download.
func (m *mmmsg) onGet(get func(*http.Request)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.get = get
}

// downloads is the number of downloads since the last call.
func (m *mmmsg) downloads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.gets
	m.gets = 0
	return n
}

const pictureKey = "56401f49cAfE4711e5f60718293a4b5c"

// upload encrypts a picture and uploads it as the app does. It returns the app's description.
func (m *mmmsg) upload(t *testing.T, name string, picture []byte, change func(map[string]any)) string {
	t.Helper()
	key, _ := hex.DecodeString(pictureKey)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, len(picture))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(sealed, picture)
	address := fmt.Sprintf("%s/canary-path-4711/%d", m.URL, rand.Uint64())
	r, _ := http.NewRequest(http.MethodPut, address, bytes.NewReader(sealed))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	item := map[string]any{
		"content-type": "image/jpeg", "content-url": address, "content-size": len(picture), "filename": name,
		"encryption-key": strings.ToLower(pictureKey), "hash": fmt.Sprint(crc32.ChecksumIEEE(picture)),
	}
	if change != nil {
		change(item)
	}
	doc, _ := json.Marshal(map[string]any{"body": "canary caption 0815", "attachments": []any{item}})
	return string(doc)
}

// photo is a photo of about 3 MB as a camera makes it: lying on its side, with the place where it
// was taken, and red in the corner that is the upper right one once it stands upright.
func photo(t *testing.T) []byte {
	t.Helper()
	img, random := image.NewRGBA(image.Rect(0, 0, 2000, 1500)), rand.New(rand.NewPCG(1, 1))
	for i := 0; i < len(img.Pix); i += 4 {
		v := random.Uint32()
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = byte(v)/4+90, byte(v>>8)/4+90, byte(v>>16)/4+90, 255
	}
	for y := range 300 {
		for x := range 400 {
			img.SetRGBA(x, y, color.RGBA{255, 0, 0, 255})
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 98}); err != nil {
		t.Fatal(err)
	}
	// https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E: orientation 6
	tiff := append([]byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00"), 0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0)
	tiff = append(tiff, "canary-GPS 48.8584 N 2.2945 E"...)
	app1 := []byte{0xff, 0xd8, 0xff, 0xe1, byte((len(tiff) + 2) >> 8), byte(len(tiff) + 2)}
	return append(append(append(app1, tiff...), out.Bytes()[2:]...), "canary-trailer"...)
}

const pictureSite = `{
	admin off
	auto_https off
	debug
}
%s {
	bind 127.0.0.1
	log
	acrobits_sms {
		user johndow {
			password 12345678
			from +15550001111
		}
		default_region US
		limit off
		pictures {
			from %s
			max_size 5MB
		}
		define own {
			base_url %s
			media {
				files 2
				each  600KB
				types image/jpeg image/png
			}
			send {
				POST /
				form {
					To       {sms.to}
					Text     {sms.body}
					MediaUrl {sms.media}
				}
			}
			reply    json
			accepted status 201
			id       sid
			message  message
		}
		adapter own
	}
}
`

// pictureRequest is the body of the app's request with a description.
func pictureRequest(doc string) string {
	body, _ := json.Marshal(map[string]string{
		"username": "johndow", "password": "12345678", "sms_to": "+15551231234", "sms_body": doc,
		"content_type": "application/x-acro-filetransfer+json",
	})
	return string(body)
}

// sendPicture sends a description as the app does, and returns status and reply.
func sendPicture(t *testing.T, address, doc string) (int, string) {
	t.Helper()
	resp, err := http.Post("http://"+address+"/send_message/", "application/json", strings.NewReader(pictureRequest(doc)))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// A photo from a camera reaches the provider upright, without the place, below the provider's limit, and once for two taps.
// A file that fails has its sentence, and nothing is sent. No output has an address, a key, a name, a caption or a token.
func TestPictures(t *testing.T) {
	app, p, address := newMMMsg(t), newProvider(t), freeAddress(t)
	p.plain()
	home := t.TempDir()
	file := write(t, "Caddyfile", fmt.Sprintf(pictureSite, site("http", address), app.URL, p.URL))
	s := start(t, file, address, "XDG_DATA_HOME="+home)
	picture := photo(t)
	if len(picture) < 2_500_000 {
		t.Fatalf("the photo has %d bytes", len(picture))
	}
	var taps sync.WaitGroup
	for range 2 { // each uploads it anew
		doc := app.upload(t, "canary-name.jpg", picture, nil)
		taps.Go(func() {
			if status, text := sendPicture(t, address, doc); status != 200 {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	taps.Wait()
	requests := p.take()
	if len(requests) != 1 {
		t.Fatalf("%d MMS", len(requests))
	}
	form, _ := url.ParseQuery(requests[0].body)
	link := form.Get("MediaUrl")
	if form.Get("Text") != "canary caption 0815" || !strings.HasPrefix(link, "http://"+address+"/media/") {
		t.Fatalf("sent: %v", form)
	}
	resp, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	img, err := jpeg.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatalf("%d %v: %v", resp.StatusCode, resp.Header, err)
	}
	b := img.Bounds()
	red, green, _, _ := img.At(b.Max.X-b.Dx()/10, b.Dy()/10).RGBA()
	if b.Dx() >= b.Dy() || red < 0xe000 || green > 0x3000 || len(got) > 600_000 || bytes.Contains(got, []byte("canary")) || bytes.Contains(got, []byte("Exif")) {
		t.Errorf("the provider gets %v, %d bytes, red %x green %x", b, len(got), red, green)
	}
	failures(t, app, p, address, picture)
	s.stop()
	token := strings.Split(strings.TrimPrefix(link, "http://"+address+"/media/"), "/")[0]
	out := s.out.String()
	for _, canary := range []string{"canary-path-4711", "canary-name", "canary caption 0815", pictureKey, strings.ToLower(pictureKey), "canary-GPS", token, "/media/"} {
		if how := leaks(out, canary); len(how) > 0 {
			t.Errorf("%s is in the output: %v", canary, how)
		}
	}
	left := 0
	_ = filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "acrobits_sms") && strings.HasSuffix(path, "1.0") {
			left++
			if data, _ := os.ReadFile(path); bytes.Contains(data, got[:100]) {
				t.Error("the storage has the picture in clear")
			}
		}
		return nil
	})
	if left != 1 {
		t.Errorf("%d files are stored", left)
	}
}

// failures sends files that fail in each way.
func failures(t *testing.T, app *mmmsg, p *provider, address string, picture []byte) {
	small := picture[:len(picture)/100]
	for name, c := range map[string]struct {
		picture []byte
		change  func(map[string]any)
		want    string
	}{
		"a host that is not allowed": {small, func(m map[string]any) { m["content-url"] = "https://mmmsg.acrobits.net/canary-path-4711" }, "of this server are not allowed"},
		"another port":               {small, func(m map[string]any) { m["content-url"] = "http://127.0.0.1:1/canary-path-4711" }, "of this server are not allowed"},
		"a file address":             {small, func(m map[string]any) { m["content-url"] = "file:///etc/passwd" }, "is no https address"},
		"a data address":             {small, func(m map[string]any) { m["content-url"] = "data:image/png;base64,AAAA" }, "is no https address"},
		"gone":                       {small, func(m map[string]any) { m["content-url"] = app.URL + "/canary-path-4711/none" }, "no longer on its server"},
		"too large":                  {bytes.Repeat(picture, 2), nil, "too large, at most 5.0 MB"},
		"too large by its claim":     {small, func(m map[string]any) { m["content-size"] = 6_000_000 }, "too large, at most 5.0 MB"},
		"cut":                        {small, func(m map[string]any) { m["content-size"], m["hash"] = len(picture), "1" }, "did not arrive whole"},
		"a wrong key":                {picture, func(m map[string]any) { m["encryption-key"] = strings.Repeat("ab", 16) }, "cannot be decrypted"},
		"no key":                     {picture, func(m map[string]any) { m["encryption-key"] = "canary" }, "key of the picture or file cannot be read"},
		"a wrong checksum":           {picture, func(m map[string]any) { m["hash"] = "1" }, "arrived damaged"},
		"another type":               {[]byte("%PDF-1.7 canary"), nil, "not of the type that it claims"},
		"a type that none takes":     {[]byte("%PDF-1.7 canary"), func(m map[string]any) { m["content-type"] = "application/pdf" }, "Files of the type application/pdf cannot be sent"},
		"a picture that is none":     {append([]byte("\xff\xd8\xff\xe0"), "canary"...), nil, "cannot be read"},
	} {
		doc := app.upload(t, "canary-name.jpg", c.picture, c.change)
		status, text := sendPicture(t, address, doc)
		if status < 400 || !strings.Contains(text, c.want) || len(p.take()) != 0 {
			t.Errorf("%s: %d %s, want %s", name, status, text, c.want)
		}
	}
	app.downloads()
	for name, doc := range map[string]string{
		"no file":  `{"attachments":[]}`,
		"50 files": `{"attachments":[` + strings.TrimSuffix(strings.Repeat(`{"content-url":"`+app.URL+`/1"},`, 50), ",") + `]}`,
		"no JSON":  `{"attachments":`,
	} {
		if status, text := sendPicture(t, address, doc); status < 400 || len(p.take()) != 0 || app.downloads() != 0 {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"image"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The vectors were made with openssl.
func TestDecryption(t *testing.T) {
	plain := []byte("Hello, Acrobits! \U0001f44b\n")
	twice := make([]byte, 512)
	for i := range twice {
		twice[i] = byte(i)
	}
	for key, want := range map[string]string{
		"56401F49A1B2C3D4E5F60718293A4B5C":                                 "2ebeae65aed740a71cb8744f3f2822b7c6a51e201fa8",
		"00112233445566778899AABBCCDDEEFF0011223344556677":                 "68f63787af046197d7db4fb4d4112e50ee4476a32b11",
		"00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF": "f9e072713099dbad70628196f74f03d881c472492c7d",
	} {
		encrypted, _ := hex.DecodeString(want)
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(encrypted) })
		files, refusal := collector(t, s).Collect(t.Context(), "ann", transfer(attachment.File{
			URL: sms.Hide(s.URL), Key: sms.Hide(key), Size: 22, CRC: new(uint32(1365477816))}), sms.MediaLimits{})
		if refusal != nil {
			t.Fatal(refusal)
		}
		if got := content(t, files[0]); !bytes.Equal(got, plain) || files[0].Type != "text/plain" {
			t.Errorf("%q of type %s", got, files[0].Type)
		}
		Close(files)
	}
	sum := sha256.Sum256(encrypt(testKey, twice))
	if hex.EncodeToString(sum[:]) != "b8f6d41cd5da467664ca300bd9508b2634cd0beff725183237f042345dd65d27" || crc32.ChecksumIEEE(twice) != 476132726 {
		t.Error("the helper of the tests encrypts otherwise")
	}
}

// Each way in which a download fails has its own sentence, nothing is returned and nothing stays.
func TestFailures(t *testing.T) {
	picture := jpegOf(photo(64, 48, 1), 80)
	sum := crc32.ChecksumIEEE(picture)
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("a server was asked that is not allowed") })
	private := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("a private server was asked") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/plain":
			_, _ = w.Write(picture)
		case "/encrypted":
			_, _ = w.Write(encrypt(testKey, picture))
		case "/large header":
			w.Header().Set("Content-Length", "2000000")
		case "/large stream":
			for range 200 {
				_, _ = w.Write(make([]byte, 10_000))
				w.(http.Flusher).Flush()
			}
		case "/cut":
			w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
			_, _ = w.Write(picture[:100])
		case "/short":
			_, _ = w.Write(picture[:100])
		case "/slow":
			_, _ = w.Write(picture[:100])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/silent":
			<-r.Context().Done()
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(picture)
		case "/html":
			_, _ = w.Write([]byte("<html><script>alert(1)</script>"))
		case "/bomb":
			_, _ = w.Write(bomb())
		case "/broken":
			_, _ = w.Write(picture[:len(picture)-100])
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/private":
			http.Redirect(w, r, strings.Replace(private.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/empty":
		case "/error":
			w.WriteHeader(http.StatusInternalServerError)
		case "/partial":
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(picture)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	at := func(path string, change ...func(*attachment.File)) attachment.File {
		f := attachment.File{URL: sms.Hide(s.URL + strings.ReplaceAll(path, " ", "%20"))}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	typed := func(t string) func(*attachment.File) { return func(f *attachment.File) { f.Type = t } }
	crc := func(n uint32) func(*attachment.File) { return func(f *attachment.File) { f.CRC = &n } }
	key := func(k string) func(*attachment.File) { return func(f *attachment.File) { f.Key = sms.Hide(k) } }
	sized := func(n int64) func(*attachment.File) { return func(f *attachment.File) { f.Size = n } }
	const wrong = "00112233445566778899aabbccddeeff"
	for name, c := range map[string]struct {
		files []attachment.File
		want  string
	}{
		"host not allowed":          {[]attachment.File{{URL: sms.Hide(other.URL)}}, "bad_request.file_host"},
		"other scheme":              {[]attachment.File{{URL: sms.Hide("https" + strings.TrimPrefix(s.URL, "http"))}}, "bad_request.file_host"},
		"other port":                {[]attachment.File{{URL: sms.Hide("http://127.0.0.1/")}}, "bad_request.file_host"},
		"file URL":                  {[]attachment.File{{URL: sms.Hide("file:///etc/passwd")}}, "bad_request.file_host"},
		"data URL":                  {[]attachment.File{{URL: sms.Hide("data:image/png;base64,AAAA")}}, "bad_request.file_host"},
		"private address":           {[]attachment.File{{URL: sms.Hide(strings.Replace(private.URL, "127.0.0.1", "localhost", 1))}}, "bad_request.file_private"},
		"redirect to another host":  {[]attachment.File{at("/other")}, "bad_request.file_host"},
		"redirect to a private one": {[]attachment.File{at("/private")}, "bad_request.file_private"},
		"redirect to a file":        {[]attachment.File{at("/file")}, "bad_request.file_host"},
		"endless redirects":         {[]attachment.File{at("/loop")}, "unavailable.file_server"},
		"too large by header":       {[]attachment.File{at("/large header")}, "too_long.file_too_large"},
		"too large by stream":       {[]attachment.File{at("/large stream")}, "too_long.file_too_large"},
		"too large by its claim":    {[]attachment.File{at("/plain", sized(1_000_001))}, "too_long.file_too_large"},
		"cut":                       {[]attachment.File{at("/cut")}, "unavailable.file_cut"},
		"cut without a length":      {[]attachment.File{at("/short", crc(sum), sized(int64(len(picture))))}, "unavailable.file_cut"},
		"cut without a checksum":    {[]attachment.File{at("/short", sized(int64(len(picture))))}, "unavailable.file_cut"},
		"empty":                     {[]attachment.File{at("/empty")}, "unavailable.file_cut"},
		"slow":                      {[]attachment.File{at("/slow")}, "unavailable.file_slow"},
		"silent":                    {[]attachment.File{at("/silent")}, "unavailable.file_slow"},
		"gone":                      {[]attachment.File{at("/gone")}, "unavailable.file_gone"},
		"error of the server":       {[]attachment.File{at("/error")}, "unavailable.file_server"},
		"partial content":           {[]attachment.File{at("/partial")}, "unavailable.file_server"},
		"compressed":                {[]attachment.File{at("/gzip")}, "unavailable.file_server"},
		"other type":                {[]attachment.File{at("/html", typed("image/jpeg"))}, "unsupported_content.file_type_false"},
		"film that is a picture":    {[]attachment.File{at("/plain", typed("video/mp4"))}, "unsupported_content.file_type_false"},
		"wrong key":                 {[]attachment.File{at("/encrypted", key(wrong), crc(sum), typed("image/jpeg"))}, "bad_request.wrong_key"},
		"wrong key, no checksum":    {[]attachment.File{at("/encrypted", key(wrong), typed("image/jpeg"))}, "bad_request.wrong_key"},
		"wrong checksum":            {[]attachment.File{at("/encrypted", key(testKey), crc(sum+1), typed("image/jpeg"))}, "bad_request.file_damaged"},
		"wrong checksum, no key":    {[]attachment.File{at("/plain", crc(sum+1))}, "bad_request.file_damaged"},
		"bomb":                      {[]attachment.File{at("/bomb")}, "too_long.too_many_pixels"},
		"broken picture":            {[]attachment.File{at("/broken")}, "unsupported_content.file_unreadable"},
		"second file fails":         {[]attachment.File{at("/plain"), at("/gone")}, "unavailable.file_gone"},
		"last of many fails":        {[]attachment.File{at("/plain"), at("/plain"), at("/plain"), at("/html", typed("image/png"))}, "unsupported_content.file_type_false"},
		"more than the limit":       {[]attachment.File{at("/plain"), at("/plain"), at("/plain"), at("/plain"), at("/plain"), at("/plain")}, "too_long.too_many_files"},
		"none":                      {[]attachment.File{at("/plain"), at("/encrypted", key(testKey), crc(sum))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := collector(t, s)
			hidden, _ := ParseSource(strings.Replace(private.URL, "127.0.0.1", "localhost", 1))
			hidden.Private = false
			c1.Sources = append(c1.Sources, hidden)
			ctx := within(t, time.Minute)
			if strings.HasPrefix(c.want, "unavailable.file_slow") {
				ctx = within(t, 200*time.Millisecond)
			}
			files, refusal := c1.Collect(ctx, "ann", transfer(c.files...), sms.MediaLimits{Count: 5})
			if got := said(t, refusal); got != c.want || refusal != nil && files != nil {
				t.Errorf("%s (%+v), want %s", got, refusal, c.want)
			}
			if refusal != nil && strings.Contains(refusal.Detail, s.URL) {
				t.Errorf("the detail has the address: %s", refusal.Detail)
			}
			Close(files)
		})
	}
}

// No form of a private address is dialled if the operator does not name the host.
func TestPrivateAddresses(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
		"::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", "fe80::1", "fc00::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001::1", "ff02::1", "localhost",
	} {
		c := collector(t)
		c.Sources = []Source{{Scheme: "http", Host: host, Port: "9"}}
		u := "http://" + net.JoinHostPort(host, "9") + "/"
		_, refusal := c.Collect(within(t, 5*time.Second), "ann", transfer(attachment.File{URL: sms.Hide(u)}), sms.MediaLimits{})
		if got := said(t, refusal); got != "bad_request.file_private" {
			t.Errorf("%s: %s %+v", host, got, refusal)
		}
	}
}

// nameServer answers each question for an address with the next one, and the last one again.
func nameServer(t *testing.T, asked *atomic.Int32, addresses ...[4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				a := addresses[min(int(asked.Add(1)), len(addresses))-1]
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: a}}}
			}
			out, _ := m.Pack()
			_, _ = conn.WriteTo(out, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name that resolves to a public address first and then to a private one does not get a connection
// to the private one: what is checked is the address that is dialled.
func TestNameThatChanges(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the private server was asked") })
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	var asked atomic.Int32
	c := collector(t)
	c.public.Resolver = nameServer(t, &asked, [4]byte{1, 1, 1, 1}, [4]byte{127, 0, 0, 1})
	c.Sources = []Source{{Scheme: "http", Host: "media.example.com", Port: port}}
	if addresses, err := c.public.Resolver.LookupHost(t.Context(), "media.example.com"); err != nil || addresses[0] != "1.1.1.1" {
		t.Fatal(addresses, err)
	}
	_, refusal := c.Collect(within(t, 10*time.Second), "ann", transfer(attachment.File{URL: sms.Hide("http://media.example.com:" + port)}), sms.MediaLimits{})
	if got := said(t, refusal); got != "bad_request.file_private" || asked.Load() != 2 {
		t.Errorf("%s after %d questions", got, asked.Load())
	}
}

// A redirect to an allowed host is followed, without the credential and without the first address.
func TestRedirectCarriesNothing(t *testing.T) {
	second := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Authorization", "X-Api-Key", "Cookie", "Referer"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the redirect carries %s", name)
			}
		}
		_, _ = w.Write([]byte("Hello"))
	})
	first := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic x" || r.Header.Get("X-Api-Key") != "y" {
			t.Error("the first request has no credential")
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, second.URL+"/b", http.StatusTemporaryRedirect)
	})
	c := collector(t, first, second)
	c.Authorize = func(r *http.Request) {
		r.Header.Set("Authorization", "Basic x")
		r.Header.Set("X-Api-Key", "y")
	}
	files, refusal := c.Collect(t.Context(), "ann", transfer(attachment.File{URL: sms.Hide(first.URL + "/secret")}), sms.MediaLimits{})
	if refusal != nil || string(content(t, files[0])) != "Hello" {
		t.Error(refusal)
	}
	Close(files)
}

// Whatever the download does, a file that is handed on has the checksum that the app claims.
func TestChecksumHolds(t *testing.T) {
	picture := jpegOf(photo(40, 30, 2), 80)
	sum := crc32.ChecksumIEEE(picture)
	var mu sync.Mutex
	var reply []byte
	var length int
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if length >= 0 {
			w.Header().Set("Content-Length", strconv.Itoa(length))
		}
		_, _ = w.Write(reply)
	})
	c := collector(t, s)
	rapid.Check(t, func(rt *rapid.T) {
		sent := encrypt(testKey, picture)
		switch rapid.IntRange(0, 4).Draw(rt, "fault") {
		case 1:
			sent = sent[:rapid.IntRange(0, len(sent)).Draw(rt, "cut")]
		case 2:
			sent[rapid.IntRange(0, len(sent)-1).Draw(rt, "place")] ^= rapid.ByteRange(1, 255).Draw(rt, "bits")
		case 3:
			sent = append(sent, rapid.SliceOf(rapid.Byte()).Draw(rt, "more")...)
		case 4:
			sent = rapid.SliceOf(rapid.Byte()).Draw(rt, "other")
		}
		announced := rapid.SampledFrom([]int{-1, len(sent), len(sent) + 7}).Draw(rt, "length")
		untouched := bytes.Equal(sent, encrypt(testKey, picture)) && announced <= len(sent)
		mu.Lock() // not around a draw, which may end the test
		reply, length = sent, announced
		mu.Unlock()
		key := rapid.SampledFrom([]string{testKey, testKey, "00112233445566778899aabbccddeeff"}).Draw(rt, "key")
		files, refusal := c.download(context.Background(), []attachment.File{{URL: sms.Hide(s.URL), Key: sms.Hide(key), CRC: &sum,
			Type: rapid.SampledFrom([]string{"", "image/jpeg", "image/png"}).Draw(rt, "type")}})
		defer Close(files)
		if (refusal == nil) != (untouched && key == testKey) {
			rt.Fatalf("refusal %v of an untouched file: %t", refusal, untouched)
		}
		if refusal == nil && crc32.ChecksumIEEE(content(t, files[0])) != sum {
			rt.Fatal("another checksum")
		}
	})
}

// A user has at most maxPerUser messages collected at once; the others wait, and are refused at their
// deadline.
func TestBoundPerUser(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{}, 10)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-release
		_, _ = w.Write([]byte("Hello"))
	})
	c := collector(t, s)
	collect := func(wait time.Duration) string {
		files, refusal := c.Collect(within(t, wait), "ann", transfer(attachment.File{URL: sms.Hide(s.URL)}), sms.MediaLimits{})
		Close(files)
		return said(t, refusal)
	}
	var group sync.WaitGroup
	for range maxPerUser {
		group.Go(func() {
			if got := collect(time.Minute); got != "" {
				t.Error(got)
			}
		})
		<-started
	}
	if got := collect(50 * time.Millisecond); got != "busy.many_pictures" || len(started) > 0 {
		t.Errorf("one more: %q, %d started", got, len(started))
	}
	close(release)
	group.Wait()
	if got := collect(time.Minute); got != "" || len(c.Budget.users) != 0 {
		t.Errorf("afterwards: %q, %d users in the budget", got, len(c.Budget.users))
	}
}

// 50 pictures of 5 MB at once stay within the bounds of the memory.
func TestMemory(t *testing.T) {
	smooth := image.NewGray(image.Rect(0, 0, 1600, 1200))
	for i := range smooth.Pix {
		smooth.Pix[i] = byte(i / 100)
	}
	picture := camera(smooth, 6)
	picture = append(picture, make([]byte, max(0, 5_000_000-len(picture)))...) // as the film of a live photo
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(picture) })
	c := collector(t, s)
	c.MaxSize = DefaultMaxSize
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	done, peak := make(chan struct{}), uint64(0)
	var group, watch sync.WaitGroup
	watch.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				runtime.ReadMemStats(&after)
				peak = max(peak, after.HeapInuse)
			}
		}
	})
	for i := range 50 {
		group.Go(func() {
			files, refusal := c.Collect(within(t, 5*time.Minute), fmt.Sprint(i), transfer(attachment.File{URL: sms.Hide(s.URL)}), sms.MediaLimits{Each: 600_000})
			if refusal != nil || files[0].Size > 600_000 {
				t.Error(refusal)
			}
			Close(files)
		})
	}
	group.Wait()
	close(done)
	watch.Wait()
	if used := (max(peak, before.HeapInuse) - before.HeapInuse) >> 20; used > 200 {
		t.Errorf("%d MB", used)
	} else {
		t.Logf("%d MB", used)
	}
}

func ExampleCollector_Collect() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(encrypt(testKey, []byte("Hello")))
	}))
	defer server.Close()
	source, _ := ParseSource(server.URL)
	c := NewCollector(Options{Sources: []Source{source}, MaxSize: DefaultMaxSize, Budget: NewBudget()})
	defer c.Close()
	t, _ := attachment.Parse(`{"attachments": [{"content-url": "` + server.URL + `", "encryption-key": "` + testKey + `"}]}`)

	files, refusal := c.Collect(context.Background(), "ann", t, sms.MediaLimits{Each: 600_000, Types: []string{"image/*", "text/plain"}})
	if refusal != nil {
		fmt.Println(refusal.Sentence())
		return
	}
	defer Close(files)
	fmt.Println(files[0].Type, files[0].Size)

	store := NewStore(&memory{}, 2_000_000_000)
	token, refusal := store.Put(context.Background(), files, 48*time.Hour)
	fmt.Println(refusal == nil, len(token.Path(1).Reveal()), token)
	// Output:
	// text/plain 5
	// true 33 REDACTED
}

package attachment_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const corpus = "../../../testdata/acrobits/"

// testCase is a case of testdata/acrobits/filetransfer; README.md there describes it.
type testCase struct {
	Name, Why, Document string
	Reading             *reading
	Refusal             *refusal
	Recognised          bool
}

type reading struct {
	Caption string
	Files   []file
}

type file struct {
	URL, Type, Name, Key string
	Size                 int64
	Hash                 *uint32
}

type refusal struct {
	Status         int
	Cause, Message string
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(corpus + name)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		err = d.Decode(into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func documents(t testing.TB) (all []testCase) {
	load(t, "filetransfer/documents.json", &all)
	return all
}

func read(t attachment.Transfer) *reading {
	r := &reading{Caption: t.Caption.Reveal()}
	for _, f := range t.Files {
		r.Files = append(r.Files, file{f.URL.Reveal(), f.Type, f.Name.Reveal(), f.Key.Reveal(), f.Size, f.CRC})
	}
	return r
}

func TestDocuments(t *testing.T) {
	for _, c := range documents(t) {
		t.Run(c.Name, func(t *testing.T) {
			if got := attachment.Is(c.Document); got != c.Recognised {
				t.Errorf("recognised without a content type: %t", got)
			}
			got, said := attachment.Parse(c.Document)
			if said != nil {
				if diff := cmp.Diff(c.Refusal, &refusal{said.Cause.Status(), said.Error(), said.Fill(said.Sentence(), "")}); diff != "" {
					t.Error(diff)
				}
				return
			}
			if diff := cmp.Diff(c.Reading, read(got)); diff != "" {
				t.Error(diff)
			}
			for i, f := range got.Files {
				if key := f.Cipher(); fmt.Sprintf("%x", key) != c.Reading.Files[i].Key {
					t.Errorf("key %x", key)
				}
			}
		})
	}
}

// The document of a request is read the same, whatever form carries it.
func TestDocumentsOfRequests(t *testing.T) {
	byName := make(map[string]testCase)
	for _, c := range documents(t) {
		byName[c.Name] = c
	}
	var requests []struct {
		Name    string
		Request struct {
			Method, Target, Body string
			Headers              map[string]string
		}
	}
	load(t, "filetransfer.json", &requests)
	names, err := sendmessage.ParseNames(nil)
	if err != nil {
		t.Fatal(err)
	}
	decoder := &sendmessage.Decoder{Names: names, MaxSize: params.DefaultMaxSize}
	for _, c := range requests {
		t.Run(c.Name, func(t *testing.T) {
			r := httptest.NewRequest(c.Request.Method, c.Request.Target, strings.NewReader(c.Request.Body))
			if r.Method == http.MethodGet {
				r.Body = http.NoBody
			}
			for name, value := range c.Request.Headers {
				r.Header.Set(name, value)
			}
			req, err := decoder.Decode(r)
			if err != nil {
				t.Fatal(err)
			}
			if req.ContentType != attachment.ContentType {
				t.Errorf("content type %s", req.ContentType)
			}
			want := byName[strings.Split(c.Name, ", ")[1]]
			got, said := attachment.Parse(req.Body.Reveal())
			if said != nil && want.Refusal != nil && said.Error() == want.Refusal.Cause {
				return
			}
			if diff := cmp.Diff(want.Reading, read(got)); diff != "" || said != nil {
				t.Error(said, diff)
			}
		})
	}
}

// transfers draws what a gateway may offer to the app.
func transfers() *rapid.Generator[attachment.Transfer] {
	hidden := func(g *rapid.Generator[string]) *rapid.Generator[sms.Hidden] { return rapid.Map(g, sms.Hide) }
	files := rapid.Custom(func(t *rapid.T) attachment.File {
		f := attachment.File{
			URL:  hidden(rapid.StringMatching(`https?://[a-z]{1,9}(:[1-9][0-9]{1,3})?/[A-Za-z0-9_-]{0,20}`)).Draw(t, "url"),
			Type: rapid.SampledFrom([]string{"", "image/jpeg", "video/mp4", "application/pdf"}).Draw(t, "type"),
			Size: rapid.Int64Range(0, 1<<62-1).Draw(t, "size"),
			Name: hidden(rapid.StringMatching(`|[^\s\x{FEFF}]([^\x{FEFF}]{0,9}[^\s\x{FEFF}])?`)).Draw(t, "name"),
			Key:  hidden(rapid.StringMatching(`|[0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64}`)).Draw(t, "key"),
		}
		f.Name = sms.Hide(strings.TrimSpace(f.Name.Reveal()))
		if rapid.Bool().Draw(t, "has checksum") {
			f.CRC = new(rapid.Uint32().Draw(t, "checksum"))
		}
		return f
	})
	return rapid.Custom(func(t *rapid.T) attachment.Transfer {
		caption := rapid.String().Draw(t, "caption")
		if strings.TrimSpace(caption) == "" {
			caption = ""
		}
		return attachment.Transfer{Caption: sms.Hide(caption), Files: rapid.SliceOfN(files, 1, attachment.MaxFiles).Draw(t, "files")}
	})
}

// A written document is read as the same transfer, also without a content type, and has the same
// identity.
func TestWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := transfers().Draw(t, "transfer")
		doc := want.Document().Reveal()
		got, refusal := attachment.Parse(doc)
		if diff := cmp.Diff(want, got); diff != "" || refusal != nil || !attachment.Is(doc) {
			t.Fatalf("%s: %v %s", doc, refusal, diff)
		}
		if got.Identity() != want.Identity() {
			t.Fatal("another identity")
		}
	})
}

// A second tap uploads the same file again: with another URL and another key it is the same message.
func TestIdentity(t *testing.T) {
	first := func() attachment.Transfer {
		return attachment.Transfer{Caption: sms.Hide("look"), Files: []attachment.File{
			{URL: sms.Hide("https://a.example.com/1"), Key: sms.Hide("00"), Size: 7, CRC: new(uint32(1)), Name: sms.Hide("a")},
			{URL: sms.Hide("https://a.example.com/2")},
		}}
	}
	base := first()
	for name, c := range map[string]struct {
		change func(*attachment.Transfer)
		same   bool
	}{
		"nothing":                     {func(*attachment.Transfer) {}, true},
		"URL of a file with checksum": {func(t *attachment.Transfer) { t.Files[0].URL = sms.Hide("https://a.example.com/3") }, true},
		"key":                         {func(t *attachment.Transfer) { t.Files[0].Key = sms.Hide("01") }, true},
		"URL of a file without":       {func(t *attachment.Transfer) { t.Files[1].URL = sms.Hide("https://a.example.com/3") }, false},
		"caption":                     {func(t *attachment.Transfer) { t.Caption = sms.Hide("see") }, false},
		"checksum":                    {func(t *attachment.Transfer) { t.Files[0].CRC = new(uint32(2)) }, false},
		"size":                        {func(t *attachment.Transfer) { t.Files[0].Size = 8 }, false},
		"name":                        {func(t *attachment.Transfer) { t.Files[0].Name = sms.Hide("b") }, false},
		"order":                       {func(t *attachment.Transfer) { t.Files[0], t.Files[1] = t.Files[1], t.Files[0] }, false},
		"a file less":                 {func(t *attachment.Transfer) { t.Files = t.Files[:1] }, false},
		"a word moved into the name":  {func(t *attachment.Transfer) { t.Files[0].Size, t.Files[0].Name = 0, sms.Hide("7a") }, false},
	} {
		changed := first()
		c.change(&changed)
		if (changed.Identity() == base.Identity()) != c.same {
			t.Errorf("%s: same is %t", name, !c.same)
		}
	}
}

// No secret of a document is printed, in whatever way.
func TestNothingIsPrinted(t *testing.T) {
	const canary = "c0ffee4711c0ffee4711c0ffee4711ab"
	doc := strings.ReplaceAll(`{"body":"X","attachments":[{"content-url":"https://a.example.com/X","filename":"X","encryption-key":"X","preview":{"content":"X"}}]}`, "X", canary)
	transfer, refusal := attachment.Parse(doc)
	if refusal != nil {
		t.Fatal(refusal)
	}
	marshaled, err := json.Marshal(transfer)
	if err != nil {
		t.Fatal(err)
	}
	if out := fmt.Sprintf("%v %+v %#v %s %s", transfer, transfer, transfer, transfer.Document(), marshaled); strings.Contains(out, canary) {
		t.Error(out)
	}
	_, refusal = attachment.Parse(strings.ReplaceAll(doc, "https://", canary+"://"))
	if out := fmt.Sprintf("%+v", refusal); refusal == nil || strings.Contains(out, canary) {
		t.Error(out)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range documents(f) {
		f.Add(c.Document)
	}
	f.Fuzz(func(t *testing.T, body string) {
		transfer, refusal := attachment.Parse(body)
		if refusal != nil {
			return
		}
		if n := len(transfer.Files); n == 0 || n > attachment.MaxFiles {
			t.Fatalf("%d files", n)
		}
		again, refusal := attachment.Parse(transfer.Document().Reveal())
		if diff := cmp.Diff(transfer, again); diff != "" || refusal != nil {
			t.Fatal(refusal, diff)
		}
	})
}

func ExampleParse() {
	transfer, refusal := attachment.Parse(`{"body": "look", "attachments": [{"content-url": "https://mmmsg.example.com/a", "hash": 1365477816}]}`)
	fmt.Println(refusal == nil, len(transfer.Files), transfer.Caption, transfer.Caption.Reveal(), *transfer.Files[0].CRC)
	// Output: true 1 REDACTED look 1365477816
}

func ExampleTransfer_Document() {
	received := attachment.Transfer{Files: []attachment.File{{
		URL:  sms.Hide("https://sms.example.com/media/TOKEN/1.jpg"),
		Type: "image/jpeg",
		Size: 9,
		CRC:  attachment.Checksum([]byte("123456789")),
	}}}
	fmt.Println(received.Document().Reveal())
	// Output: {"attachments":[{"content-type":"image/jpeg","content-url":"https://sms.example.com/media/TOKEN/1.jpg","content-size":9,"hash":"3421780262"}]}
}

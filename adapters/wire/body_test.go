package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// fileOf returns a file with a content, and counts the readers that are open.
func fileOf(content []byte, open *int) File {
	return File{Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		*open++
		return closer{bytes.NewReader(content), func() { *open-- }}, nil
	}}
}

type closer struct {
	io.Reader
	close func()
}

func (c closer) Close() error { c.close(); return nil }

// Files arrive unchanged, whatever their bytes and names, and the length is known before. A body can
// be read again, and closes what it opens.
func TestBodyKeepsFiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "content")
		if rapid.Bool().Draw(t, "large") {
			content = bytes.Repeat(append(content, 1), 1000)
		}
		name, text := rapid.String().Draw(t, "name"), rapid.String().Draw(t, "text")
		open := 0
		file := fileOf(content, &open)
		for _, f := range []Format{JSON, Multipart} {
			e := NewEncoder(f, "b-o-u-n-d", 1)
			if f == JSON {
				e.Object("")
			}
			e.Text("before", text)
			if e.Base64("picture", text, file); f == Multipart {
				e.Part("file", name, "image/jpeg\r\nX: "+name, file)
			}
			if e.Text("after", text); f == JSON {
				e.End(Level{nameless: true})
			}
			body, err := e.Body()
			if err != nil || body.Whole() {
				t.Fatal(err)
			}
			for range 2 {
				all, err := io.ReadAll(iotest.OneByteReader(body.Open()))
				if err != nil || int64(len(all)) != body.Len() || open != 0 {
					t.Fatalf("%d bytes, want %d; %d open; %v", len(all), body.Len(), open, err)
				}
				checkBody(t, f, all, name, text, content)
			}
		}
	})
}

// checkBody reads a body with the decoders that servers use.
func checkBody(t *rapid.T, f Format, all []byte, name, text string, content []byte) {
	want := text + base64.StdEncoding.EncodeToString(content)
	if f == JSON {
		var got map[string]string
		if err := json.Unmarshal(all, &got); err != nil || got["picture"] != want || got["after"] != text || len(got) != 3 {
			t.Fatalf("%q, %v", got, err)
		}
		return
	}
	r := multipart.NewReader(bytes.NewReader(all), "b-o-u-n-d")
	for _, expected := range []struct{ name, value string }{{"before", text}, {"picture", want}, {"file", string(content)}, {"after", text}} {
		part, err := r.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		value, err := io.ReadAll(part)
		if err != nil || part.FormName() != expected.name || string(value) != expected.value {
			t.Fatalf("%s %q, want %q, %v", part.FormName(), value, expected.value, err)
		}
		if expected.name == "file" {
			_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
			if len(part.Header) != 2 || strings.ContainsAny(part.Header.Get("Content-Type"), "\r\n") || err == nil && len(params) != 2 {
				t.Fatalf("%q for the name %q, %v", part.Header, name, err)
			}
		}
	}
	if _, err := r.NextRawPart(); err != io.EOF {
		t.Fatalf("another part, %v", err)
	}
}

// XML has files in base64 too. A form has none.
func TestFormatsOfFiles(t *testing.T) {
	open := 0
	file := fileOf([]byte("picture"), &open)
	e := NewEncoder(XML, "", 1)
	root := e.Object("m")
	e.Base64("p", "data:<", file)
	e.End(root)
	body, err := e.Body()
	all, _ := io.ReadAll(body.Open())
	if want := `<?xml version="1.0" encoding="UTF-8"?><m><p>data:&lt;cGljdHVyZQ==</p></m>`; err != nil || string(all) != want {
		t.Errorf("%s, %v", all, err)
	}
	for name, f := range map[string]func(*Encoder){
		"base64": func(e *Encoder) { e.Base64("a", "", file) },
		"part":   func(e *Encoder) { e.Part("a", "b", "c", file) },
	} {
		if _, err := encode(Form, f); !errors.Is(err, ErrNotWritable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file that is shorter than it was, cannot be read or cannot be opened ends the body with an error.
func TestBrokenFiles(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		open func() (io.ReadCloser, error)
		want error
	}{
		"cut":    {func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil }, io.ErrUnexpectedEOF},
		"broken": {func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil }, broken},
		"gone":   {func() (io.ReadCloser, error) { return nil, broken }, broken},
	} {
		file := File{Size: 100, Open: c.open}
		for _, body := range []Body{file.Body(), {files: []insertion{{file, 0, true}}}} {
			r := body.Open()
			if _, err := io.ReadAll(r); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	open := 0
	body := fileOf([]byte("picture"), &open).Body()
	r := body.Open()
	if _, err := r.Read(make([]byte, 1)); err != nil || open != 1 {
		t.Errorf("%v, %d open", err, open)
	}
	if err := r.Close(); err != nil || open != 0 {
		t.Errorf("%v, %d open after Close", err, open)
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A film in base64 needs the memory of a piece, not of the film.
func TestBodyMemory(t *testing.T) {
	e := NewEncoder(JSON, "", 1)
	e.Base64("film", "", File{Size: 25_000_000, Open: func() (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }})
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(io.Discard, body.Open())
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; err != nil || n != body.Len() || used > 256<<10 {
		t.Errorf("%d bytes, %d of memory, %v", n, used, err)
	}
}

package adapters

import (
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The limits of an account are those of the definition, as far as the send blocks of the account
// can carry files.
func TestMediaLimits(t *testing.T) {
	const block = "media {\nfiles 10\neach 600KB\ntotal 5MiB\ntypes image/jpeg video/*\n}\n"
	whole := sms.MediaLimits{Count: 10, Each: 600_000, Total: 5 << 20, Types: []string{"image/jpeg", "video/*"}}
	few := whole
	few.Count = 2
	for name, c := range map[string]struct {
		around, send string
		want         sms.MediaLimits
		ok           bool
	}{
		"a list":                 {block, "json {\nm[] {sms.media}\n}", whole, true},
		"two places":             {block, "json {\na {sms.media.0}\nb {sms.media.1}\n}", few, true},
		"a place is missing":     {block, "json {\na {sms.media.0}\nb {sms.media.1}\nc {sms.media.3}\n}", few, true},
		"no limits":              {"", "json {\nm[] {sms.media}\n}", sms.MediaLimits{}, true},
		"no limits, one place":   {"", "json {\nm {sms.media.0}\n}", sms.MediaLimits{Count: 1}, true},
		"texts only":             {"", "json {\nt {sms.body}\n}", sms.MediaLimits{}, false},
		"not with these options": {block + "option mms optional\n", "when {option.mms}\njson {\nm[] {sms.media}\n}\n}\nsend {\nPOST /\njson {\nt {sms.body}\n}", sms.MediaLimits{}, false},
	} {
		got, ok := define(t, "POST /\n"+c.send, c.around, nil).MediaLimits()
		if diff := cmp.Diff(c.want, got); diff != "" || ok != c.ok {
			t.Errorf("%s: %v %s", name, ok, diff)
		}
	}
}

// A mistake in a media block is reported with its line and what to write.
func TestMediaMistakes(t *testing.T) {
	const whole = "media {\nfiles 10\neach 1MB\ntotal 5MB\ntypes image/jpeg\nsource https://example.com\n}\n" +
		"base_url https://x\nsend {\nPOST /\njson {\nto {sms.to}\nt {sms.body}\nm[] {sms.media}\n}\n}\nreply json\naccepted status 200\nid id"
	for _, c := range []struct{ old, new, want string }{
		{"files 10", "files many", "x:2: write the number of files, from 1 to 62: files 10"},
		{"files 10", "files 0", "x:2: write the number of files"},
		{"files 10", "files 63", "x:2: write the number of files"},
		{"files 10", "files", "x:2: files needs exactly one number"},
		{"files 10", "file 10", `x:2: unknown word "file", did you mean files?`},
		{"files 10", "files 10\nfiles 11", "x:3: files appears twice"},
		{"each 1MB", "each big", "x:3: write a size such as 600KB, 5MB or 5MiB: each 5MB"},
		{"each 1MB", "each 0", "x:3: write a size"},
		{"each 1MB", "each -1", "x:3: write a size"},
		{"each 1MB", "each 9EiB", "x:3: write a size"},
		{"each 1MB", "each 6MB", "x:1: each must not exceed total"},
		{"types image/jpeg", "types", "x:5: write media types: types image/jpeg image/png"},
		{"types image/jpeg", "types jpeg", "x:5: a media type has lower-case letters and one /"},
		{"types image/jpeg", "types image/JPEG", "x:5: a media type has lower-case letters"},
		{"types image/jpeg", "types {\n}", "x:5: types must not have a block"},
		{"total 5MB", "accepted status 200", "x:4: accepted does not belong in media { … }"},
		{"media {\nfiles 10", "media {\n}\nmedia {\nfiles 10", "x:1: write: media { files 10 … }, line by line"},
		{"media {\nfiles 10", "media {\nfiles 1\n}\nmedia {\nfiles 10", "x:4: media appears twice"},
		{"media {\n", "media 10 {\n", "x:1: write: media { files 10 … }"},
		{"m[] {sms.media}", "", "x:1: media says what the provider accepts, but no send block sends {sms.media}"},
	} {
		_, err := Parse("own", "x", 1, strings.Replace(whole, c.old, c.new, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.new, err, c.want)
		}
	}
	if _, err := Parse("own", "x", 1, whole); err != nil {
		t.Error(err)
	}
}

// pictures returns pictures with these contents, without URLs.
func pictures(contents ...string) (list []sms.Media) {
	for i, content := range contents {
		list = append(list, sms.Media{
			Type: "image/jpeg", Name: string(rune('1'+i)) + ".jpg", Size: int64(len(content)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
		})
	}
	return list
}

// withBytes adds names and bytes to pictures with URLs.
func withBytes(list []sms.Media) []sms.Media {
	for i, m := range pictures(strings.Split(strings.Repeat("x", len(list)), "")...) {
		m.URL = list[i].URL
		list[i] = m
	}
	return list
}

// Bytes of files are written as base64 in every place that can contain them.
func TestMediaHoles(t *testing.T) {
	for name, c := range map[string]struct{ send, want string }{
		"one":         {"json {\nt {sms.media.0.type}\nn {sms.media.0.name}\ns int {sms.media.0.size}\nd {sms.media.0.base64}\ne {sms.media.1.base64}\n}", `{"t":"image/jpeg","n":"1.jpg","s":2,"d":"SGk=","e":"WW8="}`},
		"a list":      {"json {\nd[] {sms.media.base64}\n}", `{"d":["SGk=","WW8="]}`},
		"data URI":    {"json {\nd \"data:{sms.media.0.type};base64,{sms.media.0.base64}\"\ne {sms.media.1.base64}\n}", `{"d":"data:image/jpeg;base64,SGk=","e":"WW8="}`},
		"third":       {"json {\nd[] {sms.media.base64}\nx {sms.media.2.base64}\nwhen {sms.media.2.base64} {\ny {sms.media.2.type}\n}\n}", `{"d":["SGk=","WW8="]}`},
		"a group":     {"json {\nwhen {sms.media.1.base64} {\nd {sms.media.0.base64}\ne {sms.media.1.base64}\n}\n}", `{"d":"SGk=","e":"WW8="}`},
		"xml":         {"xml {\nm {\np[] {sms.media.base64}\n}\n}", `<?xml version="1.0" encoding="UTF-8"?><m><p>SGk=</p><p>WW8=</p></m>`},
		"one is lost": {"json {\nd {sms.media.0.base64}\nn {sms.media.1.name}\n}", ""},
	} {
		m := saying("")
		m.Media = pictures("Hi", "Yo")
		x, err := define(t, "POST /\n"+c.send, "", nil).Prepare(t.Context(), m, noToken, now)
		if c.want == "" {
			if causeOf(err) != "unsupported_content" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if body := readBody(t, x.Request); body != c.want || x.Request.ContentLength != int64(len(body)) {
			t.Errorf("%s: %d bytes\n got %s\nwant %s", name, x.Request.ContentLength, body, c.want)
		}
		if again, err := x.Request.GetBody(); err != nil {
			t.Error(err)
		} else if body, err := io.ReadAll(again); err != nil || string(body) != c.want {
			t.Errorf("%s: the second time %s, %v", name, body, err)
		}
	}
	// A provider that takes bytes cannot send a file of which only the URL is known, and the other
	// way round.
	for name, c := range map[string]struct {
		send  string
		media []sms.Media
	}{
		"bytes": {"json {\nt {sms.body}\nd {sms.media.0.base64}\n}", mediaAt("https://f/1")},
		"all":   {"json {\nt {sms.body}\nd[] {sms.media.base64}\n}", mediaAt("https://f/1")},
		"file":  {"multipart {\nt {sms.body}\nd {sms.media.file}\n}", mediaAt("https://f/1")},
		"URL":   {"json {\nt {sms.body}\nd {sms.media.0}\n}", pictures("Hi")},
		"URLs":  {"json {\nt {sms.body}\nd[] {sms.media}\n}", append(mediaAt("https://f/1"), pictures("Hi")...)},
	} {
		m := saying("Hi")
		m.Media = c.media
		if _, err := define(t, "POST /\n"+c.send, "", nil).Prepare(t.Context(), m, noToken, now); causeOf(err) != "unsupported_content" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Files are parts of a form with name and type, and a JSON value beside them says that it is one.
func TestFileParts(t *testing.T) {
	m := saying("Hi")
	m.Media = pictures("one", "two")
	m.Media[1].Type = ""
	r, body := request(t, define(t, "POST /\nmultipart {\njson json {\ntext {sms.body}\n}\nattachment {sms.media.file}\nlast {sms.media.0.file}\n}", "", nil), m)
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for _, want := range []string{`json  application/json {"text":"Hi"}`, "attachment 1.jpg image/jpeg one", "attachment 2.jpg application/octet-stream two", "last 1.jpg image/jpeg one"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if got := part.FormName() + " " + part.FileName() + " " + part.Header.Get("Content-Type") + " " + string(content); err != nil || got != want {
			t.Errorf("%s, want %s, %v", got, want, err)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("another part, %v", err)
	}
}

// Bytes of files in a place that cannot contain them are refused.
func TestMediaHoleMistakes(t *testing.T) {
	for send, want := range map[string]string{
		"form {\na {sms.media.0.base64}\n}":                   "x:4: {sms.media.0.base64} is not allowed in form and query; write multipart { … }",
		"query {\na {sms.media.0.base64}\n}":                  "x:4: {sms.media.0.base64} is not allowed in form and query",
		"json {\na {sms.media.0.file}\n}":                     "x:4: {sms.media.0.file} is a part of a form: write multipart { NAME {sms.media.0.file} }",
		"multipart {\na x{sms.media.0.file}\n}":               "x:4: {sms.media.0.file} is a part of a form",
		"multipart {\na json {\nb {sms.media.0.base64}\n}\n}": "x:4: a value that is JSON must not contain files",
		"json {\na \"{sms.media.0.base64} x\"\n}":             "x:4: {sms.media.0.base64} must be the last part of its value",
		"json {\na {sms.media.base64}\n}":                     "x:4: {sms.media.base64} is a list: write NAME[] {sms.media.base64}",
		"json {\na[] x{sms.media.base64}\n}":                  "x:4: {sms.media.base64} is a list",
		"json {\na[] {sms.media.type}\n}":                     "x:4: unknown hole",
		"json {\na[] {sms.media.0.urls}\n}":                   "x:4: unknown hole",
		"json {\na[] {sms.media.62.type}\n}":                  "x:4: unknown hole",
		"json {\na int {sms.media.0.base64}\n}":               "x:4: int is only for a hole that is a number",
		"xml {\na {\n@b {sms.media.0.base64}\n}\n}":           "x:5: {sms.media.0.base64} needs an element of its own",
		"header X {sms.media.0.name}":                         "x:3: {sms.media.0.name} is not allowed in a header",
		"sign zadarma a b\njson {\na {sms.media.0.base64}\n}": "x:1: a signature covers the whole body",
	} {
		_, err := Parse("own", "x", 1, "send {\nPOST /\n"+send+"\n}\nbase_url https://x\nreply json\naccepted status 200\nid id")
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", send, err, want)
		}
	}
}

// A mistake in an upload block is reported with its line and what to write.
func TestUploadMistakes(t *testing.T) {
	const whole = "upload {\nPOST /u\nmultipart {\nf {sms.media.0.file}\n}\nid x\n}\n" +
		"send {\nPOST /s\njson {\nto {sms.to}\nt {sms.body}\nm[] {sms.media.id}\n}\n}\nbase_url https://x\nreply json\naccepted status 200\nid id"
	for _, c := range []struct{ old, new, want string }{
		{"id x\n", "", "x:1: say where to find the id of the file in the reply: id PATH"},
		{"id x\n", "id generated\n", "x:1: say where to find the id of the file"},
		{"id x\n", "id x\naccess y\n", "x:7: unknown word; known words: basic, "},
		{"f {sms.media.0.file}", "f {sms.media.file}", "x:1: an upload block sends one file"},
		{"f {sms.media.0.file}", "f {sms.media.1.file}", "x:1: an upload block sends one file"},
		{"f {sms.media.0.file}", "f x", "x:1: an upload block sends one file"},
		{"f {sms.media.0.file}", "f {sms.media.0.file}\nt {sms.to}", "x:1: {sms.to} is not allowed in an upload block"},
		{"f {sms.media.0.file}", "f {sms.media.0.file}\nt {sms.media.0.id}", "x:1: {sms.media.0.id} is the result of the upload block"},
		{"f {sms.media.0.file}", "f {sms.media.0.base64}\nt {sms.user}", "x:1: {sms.user} is not allowed in an upload block"},
		{"upload {\nPOST /u", "upload {\nPOST /u\n}\nupload {\nPOST /u", "x:4: upload appears twice"},
		{"upload {\n", "upload x {\n", "x:1: write: upload { POST /path … id PATH }"},
		{"POST /u\n", "", "x:1: the method and path are missing: POST /path"},
		{"m[] {sms.media.id}", "m[] {sms.media}", "x:1: the uploaded file is never used, write {sms.media.0.id} in a send block"},
		{"upload {\nPOST /u\nmultipart {\nf {sms.media.0.file}\n}\nid x\n}\n", "", "x:1: {sms.media.0.id} is used, but there is no upload block"},
	} {
		_, err := Parse("own", "x", 1, strings.Replace(whole, c.old, c.new, 1))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.new, err, c.want)
		}
	}
	d, err := Parse("own", "x", 1, whole)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := saying("Hi")
	m.Media = pictures("one", "two")
	plan, refusal := a.Plan(m, 1)
	if refusal != nil || plan.Uploads(0) != 2 {
		t.Fatalf("%v, %d uploads", refusal, plan.Uploads(0))
	}
	if _, err := plan.Request(t.Context(), 0, noToken, now); err == nil {
		t.Error("a request before the upload")
	}
	if _, _, err := plan.AppendRequest(nil, 0, noToken, now); err == nil {
		t.Error("a direct request before the upload")
	}
}

// Every built-in definition that sends pictures says what the provider accepts.
func TestProvidersHaveMediaLimits(t *testing.T) {
	count := 0
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		sends := false
		for _, v := range d.sends {
			sends = sends || v.content.files() > 0
		}
		if !sends {
			continue
		}
		count++
		if m := d.media; m == nil || m.Each+m.Total == 0 || len(m.Types) == 0 {
			t.Errorf("%s: write a media block with types and each or total", name)
		} else if accepts := m.Accepts("image/jpeg"); !accepts {
			t.Errorf("%s accepts no photos", name)
		}
	}
	if count < 25 {
		t.Errorf("%d definitions send pictures", count)
	}
}

package media

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// bomb is a PNG of few bytes that claims 100,000 by 100,000 pixels.
func bomb() []byte {
	data := pngOf(image.NewGray(image.Rect(0, 0, 1, 1)))
	binary.BigEndian.PutUint32(data[16:], 100_000)
	binary.BigEndian.PutUint32(data[20:], 100_000)
	return data
}

const canary = "canary-52.5200N"

// segment is a segment of a JPEG.
func segment(marker byte, data []byte) []byte {
	return append([]byte{0xff, marker, byte((len(data) + 2) >> 8), byte(len(data) + 2)}, data...)
}

// exif is Exif data with an orientation and a canary.
func exif(orientation uint16) []byte {
	out := append([]byte("Exif\x00\x00MM\x00*"), 0, 0, 0, 8, 0, 1)
	out = append(out, 1, 0x12, 0, 3, 0, 0, 0, 1, byte(orientation>>8), byte(orientation), 0, 0, 0, 0, 0, 0)
	return append(out, canary...)
}

// profile is the beginning of a colour profile.
func profile(space string) []byte {
	p := make([]byte, 70_000) // more than a segment
	copy(p[16:], space)
	return p
}

// camera makes a JPEG as cameras write them: with Exif, a colour profile, a comment and a film behind
// the picture.
func camera(img image.Image, orientation uint16) []byte {
	plain := jpegOf(img, 90)
	out := append([]byte(nil), plain[:2]...)
	out = append(out, segment(0xe1, exif(orientation))...)
	icc := profile("RGB ")
	out = append(out, segment(0xe2, append([]byte(iccMark+"\x01\x02"), icc[:60_000]...))...)
	out = append(out, segment(0xe2, append([]byte(iccMark+"\x02\x02"), icc[60_000:]...))...)
	out = append(out, segment(0xe2, []byte("MPF\x00"+canary))...)
	out = append(out, segment(0xfe, []byte(canary))...)
	return append(append(out, plain[2:]...), canary...)
}

// chunk is a chunk of a PNG. The decoder does not check chunks that are dropped.
func chunk(name, data string) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	return append(append(append(out, name...), data...), 0, 0, 0, 0)
}

func animation(frames int) []byte {
	var g gif.GIF
	for i := range frames {
		p := image.NewPaletted(image.Rect(0, 0, 20, 10), color.Palette{color.Black, color.White, color.RGBA{255, 0, 0, 255}})
		p.SetColorIndex(i, 0, 2)
		g.Image, g.Delay = append(g.Image, p), append(g.Delay, 10)
	}
	var out bytes.Buffer
	_ = gif.EncodeAll(&out, &g)
	data := out.Bytes()
	comment := append([]byte{0x21, 0xfe, byte(len(canary))}, canary+"\x00"...)
	return append(append(data[:len(data)-1:len(data)-1], comment...), append([]byte{0x3b}, canary...)...)
}

// fitted fits one file.
func fitted(t *testing.T, data []byte, l sms.MediaLimits) (*File, []byte, string) {
	t.Helper()
	c := collector(t)
	f := fileOf(t, c.Dir, data)
	out, refusal := c.fit(t.Context(), []*File{f}, l)
	if refusal != nil {
		return nil, nil, said(t, refusal)
	}
	t.Cleanup(func() { Close(out) })
	return out[0], content(t, out[0]), ""
}

// Where the red corner of photo is after each orientation of Exif.
func TestOrientation(t *testing.T) {
	for orientation, corner := range map[uint16]string{0: "top left", 1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left",
		5: "top left", 6: "top right", 7: "bottom right", 8: "bottom left", 9: "top left"} {
		_, data, _ := fitted(t, camera(photo(80, 60, 1), orientation), sms.MediaLimits{Types: []string{"image/jpeg"}})
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		w, h := img.Bounds().Dx(), img.Bounds().Dy()
		if turned := orientation >= 5 && orientation <= 8; turned != (w == 60) {
			t.Errorf("orientation %d has %d by %d pixels", orientation, w, h)
		}
		got := ""
		for name, at := range map[string]image.Point{"top left": {4, 4}, "top right": {w - 5, 4}, "bottom left": {4, h - 5}, "bottom right": {w - 5, h - 5}} {
			if r, g, _, _ := img.At(at.X, at.Y).RGBA(); r > 0xd000 && g < 0x4000 {
				got += name
			}
		}
		if got != corner {
			t.Errorf("orientation %d is red %s, want %s", orientation, got, corner)
		}
	}
}

// Every way out drops metadata and what follows the picture, and keeps the colour profile.
func TestMetadata(t *testing.T) {
	large := photo(1200, 900, 4)
	png1 := pngOf(photo(40, 30, 5))
	withText := append(append(append(append([]byte(nil), png1[:33]...), chunk("tEXt", "Comment\x00"+canary)...), chunk("eXIf", string(exif(1)[6:]))...), png1[33:]...)
	withText = append(withText, canary...)
	for name, c := range map[string]struct {
		data    []byte
		limits  sms.MediaLimits
		profile bool
	}{
		"JPEG as it is":     {camera(photo(40, 30, 1), 1), sms.MediaLimits{}, true},
		"JPEG turned":       {camera(photo(40, 30, 1), 6), sms.MediaLimits{}, true},
		"JPEG made smaller": {camera(large, 1), sms.MediaLimits{Each: 200_000}, true},
		"JPEG as PNG":       {camera(photo(40, 30, 1), 1), sms.MediaLimits{Types: []string{"image/png"}}, true},
		"PNG as it is":      {withText, sms.MediaLimits{}, false},
		"PNG as JPEG":       {withText, sms.MediaLimits{Types: []string{"image/jpeg"}}, false},
		"GIF as it is":      {animation(3), sms.MediaLimits{}, false},
		"GIF as JPEG":       {animation(1), sms.MediaLimits{Types: []string{"image/jpeg"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if !bytes.Contains(c.data, []byte(canary)) {
				t.Fatal("the original has no metadata")
			}
			f, data, refused := fitted(t, c.data, c.limits)
			if refused != "" {
				t.Fatal(refused)
			}
			if bytes.Contains(data, []byte(canary)) || bytes.Contains(data, []byte("Exif")) {
				t.Error("metadata is left")
			}
			if !c.limits.Accepts(f.Type) || c.limits.Each > 0 && f.Size > c.limits.Each || f.Type != sniff(f.Reader()) {
				t.Errorf("%s of %d bytes", f.Type, f.Size)
			}
			if _, _, err := image.Decode(bytes.NewReader(data)); err != nil {
				t.Error(err)
			}
			again := collector(t)
			stripped, p, refusal := again.strip(f)
			if refusal != nil {
				t.Fatal(refusal)
			}
			defer stripped.Close()
			if got := len(p.profile) == 70_000; got != c.profile {
				t.Errorf("colour profile of %d bytes", len(p.profile))
			}
		})
	}
}

func TestFit(t *testing.T) {
	film := append([]byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"), make([]byte, 500)...)
	binary.BigEndian.PutUint32(film[16:], 500)
	copy(film[20:], "mdat")
	transparent := image.NewNRGBA(image.Rect(0, 0, 50, 50))
	for name, c := range map[string]struct {
		data   []byte
		limits sms.MediaLimits
		want   string // type, or the refusal
	}{
		"everything allowed":         {camera(photo(40, 30, 1), 1), sms.MediaLimits{}, "image/jpeg"},
		"a family allowed":           {camera(photo(40, 30, 1), 1), sms.MediaLimits{Types: []string{"image/*"}}, "image/jpeg"},
		"transparent, PNG allowed":   {pngOf(transparent), sms.MediaLimits{Types: []string{"image/png", "image/jpeg"}}, "image/png"},
		"transparent, only JPEG":     {pngOf(transparent), sms.MediaLimits{Types: []string{"image/jpeg"}}, "image/jpeg"},
		"neither JPEG nor PNG":       {pngOf(transparent), sms.MediaLimits{Types: []string{"image/gif"}}, "unsupported_content.file_type"},
		"picture, only films":        {pngOf(transparent), sms.MediaLimits{Types: []string{"video/mp4"}}, "unsupported_content.file_type"},
		"animation too large":        {animation(9), sms.MediaLimits{Each: 50}, "too_long.file_too_large_for_provider"},
		"animation not allowed":      {animation(9), sms.MediaLimits{Types: []string{"image/jpeg"}}, "unsupported_content.file_type"},
		"picture that cannot fit":    {camera(photo(400, 300, 1), 1), sms.MediaLimits{Each: 200}, "too_long.file_too_large_for_provider"},
		"film too large":             {film, sms.MediaLimits{Each: 200}, "too_long.file_too_large_for_provider"},
		"film not allowed":           {film, sms.MediaLimits{Types: []string{"image/jpeg"}}, "unsupported_content.file_type"},
		"film cut":                   {film[:300], sms.MediaLimits{}, "unsupported_content.file_unreadable"},
		"film":                       {film, sms.MediaLimits{}, "video/mp4"},
		"too many pixels":            {bomb(), sms.MediaLimits{}, "too_long.too_many_pixels"},
		"a single line, too long":    {pngOf(image.NewGray(image.Rect(0, 0, 70_000, 1))), sms.MediaLimits{Each: 100}, "too_long.too_many_pixels"},
		"a single line":              {pngOf(photo(60_000, 2, 1)), sms.MediaLimits{Each: 20_000}, "image/jpeg"},
		"picture cut":                {pngOf(photo(40, 30, 1))[:300], sms.MediaLimits{}, "unsupported_content.file_unreadable"},
		"progressive, 40 megapixels": {progressive(8000, 5000), sms.MediaLimits{Each: 20}, "too_long.picture_too_complex"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, refused := fitted(t, c.data, c.limits)
			if f != nil {
				refused = f.Type
			}
			if refused != c.want {
				t.Errorf("%s, want %s", refused, c.want)
			}
		})
	}
}

// progressive makes the header of a progressive JPEG with an empty scan.
func progressive(w, h int) []byte {
	frame := []byte{8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0}
	out := append([]byte{0xff, 0xd8}, segment(0xc2, frame)...)
	return append(append(out, segment(0xda, []byte{1, 1, 0, 0, 0, 0})...), 0xff, 0xd9)
}

// The sum of all files is bounded too: small ones leave room for large ones.
func TestTotal(t *testing.T) {
	c := collector(t)
	files := []*File{fileOf(t, c.Dir, camera(photo(1200, 900, 1), 6)), fileOf(t, c.Dir, []byte("BEGIN:VCARD\r\nEND:VCARD\r\n")), fileOf(t, c.Dir, pngOf(photo(20, 20, 1)))}
	out, refusal := c.fit(t.Context(), files, sms.MediaLimits{Each: 250_000, Total: 300_000})
	if refusal != nil {
		t.Fatal(refusal)
	}
	defer Close(out)
	total := int64(0)
	for i, f := range out {
		total += f.Size
		if f.Type != []string{"image/jpeg", "text/vcard", "image/png"}[i] || f.Size > 250_000 {
			t.Errorf("%d: %s of %d bytes", i, f.Type, f.Size)
		}
	}
	if total > 300_000 || out[0].Size < 100_000 {
		t.Errorf("%d bytes, the first %d", total, out[0].Size)
	}
}

// The place in a film is overwritten, and nothing else moves.
func TestFilm(t *testing.T) {
	box := func(name string, parts ...[]byte) []byte {
		data := bytes.Join(parts, nil)
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(data)+8)), name...), data...)
	}
	place := []byte(canary)
	film := bytes.Join([][]byte{box("ftyp", []byte("qt  \x00\x00\x00\x00")), box("mdat", []byte("udta samples")),
		box("moov", box("udta", place), box("trak", box("meta", place), box("mdia", box("udta", place), box("hdlr", []byte("x")))), box("meta", place)),
		box("uuid", []byte(xmpUUID), place)}, nil)
	f, data, refused := fitted(t, film, sms.MediaLimits{})
	if refused != "" || f.Type != "video/quicktime" || len(data) != len(film) {
		t.Fatal(refused, f)
	}
	if bytes.Contains(data, place) || bytes.Contains(data, []byte("meta")) || !bytes.Contains(data, []byte("udta samples")) || !bytes.Contains(data, []byte("hdlr\x78")) {
		t.Errorf("%q", data)
	}
}

func TestTypes(t *testing.T) {
	for name, c := range map[string]struct{ head, claim, want string }{
		"HEIC":                   {"\x00\x00\x00\x18ftypheic\x00\x00", "image/heic", "image/heic"},
		"QuickTime":              {"\x00\x00\x00\x14ftypqt  \x00\x00", "video/quicktime", "video/quicktime"},
		"voice note":             {"OggS\x00\x02xxxxOpusHead", "audio/ogg", "audio/ogg"},
		"voice note as MP4":      {"\x00\x00\x00\x14ftypM4A \x00\x00", "audio/m4a", "audio/mp4"},
		"voice note as film":     {"\x00\x00\x00\x14ftypisom\x00\x00", "audio/mp4", "video/mp4"},
		"AMR":                    {"#!AMR\n", "audio/amr", "audio/amr"},
		"PDF":                    {"%PDF-1.7", "application/pdf", "application/pdf"},
		"PNG called JPEG":        {"\x89PNG\r\n\x1a\n", "image/jpeg", "image/png"},
		"contact":                {"BEGIN:VCARD", "text/x-vcard", "text/vcard"},
		"text":                   {"Hello", "text/plain", "text/plain"},
		"text without a claim":   {"Hello", "", "text/plain"},
		"table":                  {"a,b", "text/csv", "text/csv"},
		"HTML":                   {"<html>", "text/html", unknownType},
		"HTML called text":       {"<script>", "text/plain", unknownType},
		"script":                 {"alert(1)", "text/javascript", unknownType},
		"SVG":                    {"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml", unknownType},
		"XML":                    {"<?xml version='1.0'?>", "text/xml", unknownType},
		"office document":        {"PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", unknownType},
		"HTML called JPEG":       {"<html>", "image/jpeg", "false"},
		"HTML called PDF":        {"<html>", "application/pdf", "false"},
		"picture called text":    {"\xff\xd8\xff\xe0", "text/plain", "false"},
		"program called a film":  {"MZ\x00\x00", "video/mp4", "false"},
		"picture without a type": {"\xff\xd8\xff\xe0", unknownType, "image/jpeg"},
	} {
		found := sniff(bytes.NewReader([]byte(c.head)))
		got := "false"
		if agree(c.claim, found) {
			got = settle(c.claim, found)
		}
		if got != c.want {
			t.Errorf("%s: %s (found %s), want %s", name, got, found, c.want)
		}
	}
}

// FuzzFit gives files of any bytes to the readers of pictures and films. A picture that is returned
// can be decoded if the original could.
func FuzzFit(f *testing.F) {
	f.Add(camera(photo(8, 6, 1), 6))
	f.Add(pngOf(photo(8, 6, 1)))
	f.Add(animation(2))
	f.Add(bomb())
	f.Add(progressive(8, 8))
	f.Add([]byte("RIFF\x12\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x10moov\x00\x00\x00\x08udta"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCollector(Options{Dir: t.TempDir(), Budget: NewBudget()})
		out, refusal := c.fit(t.Context(), []*File{fileOf(t, c.Dir, data)}, sms.MediaLimits{Each: 10_000})
		if refusal != nil {
			said(t, refusal)
			return
		}
		defer Close(out)
		if out[0].Size > 10_000 {
			t.Fatalf("%d bytes", out[0].Size)
		}
		if _, err := png.Decode(bytes.NewReader(data)); err == nil && out[0].Type == "image/png" {
			if _, err := png.Decode(out[0].Reader()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

package media

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"runtime"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The sizes that a picture is tried in, in pixels of its longer side.
const (
	maxSide = 4096
	minSide = 160
)

var decoders = map[string]func(io.Reader) (image.Image, error){
	"image/jpeg": jpeg.Decode,
	"image/png":  png.Decode,
	"image/gif":  gif.Decode,
	"image/webp": webp.Decode,
}

// redraw decodes a picture and encodes it upright, in an accepted type, in at most room bytes. It
// waits for the memory that this needs.
func (c *Collector) redraw(ctx context.Context, f *File, p *picture, l sms.MediaLimits, room int64) (*File, *sms.Refusal) {
	kinds := encodings(l)
	if len(kinds) == 0 {
		return nil, sms.RefuseAs(sms.UnsupportedContent, sms.FileType, "type", f.Type)
	}
	side, weight := p.plan(room)
	if weight > maxDecoderBytes {
		return nil, sms.RefuseAs(sms.TooLong, sms.PictureTooComplex)
	}
	if c.Budget.decoders.Acquire(ctx, weight) != nil {
		return nil, sms.RefuseAs(sms.Busy, sms.ManyPictures)
	}
	defer c.release(weight)
	img, err := decoders[f.Type](bufio.NewReader(f.Reader()))
	if err != nil || img.Bounds().Dx() > p.width || img.Bounds().Dy() > p.height {
		return nil, unreadable(errors.Join(errPicture, err))
	}
	for ; side >= minSide || side == max(p.width, p.height); side = side * 7 / 10 {
		if ctx.Err() != nil {
			return nil, sms.RefuseAs(sms.Unavailable, sms.FileSlow)
		}
		drawn := orient(shrink(img, side), p.orientation)
		for _, kind := range kinds {
			if kind == "image/png" && len(kinds) > 1 && drawn.Opaque() {
				continue // a JPEG is smaller
			}
			if out, err := c.encode(drawn, kind, p.profile, room); err == nil {
				return out, nil
			} else if !errors.Is(err, errFull) {
				return nil, noDisk(err)
			}
		}
	}
	return nil, sms.TooLargeFor(f.Size, room)
}

// release returns memory to the budget. What a large picture needed is collected first, because the
// heap may grow to twice the live memory before Go collects it.
func (c *Collector) release(weight int64) {
	if weight > maxDecoderBytes/16 {
		runtime.GC()
	}
	c.Budget.decoders.Release(weight)
}

// encodings returns the types that a picture may be encoded in.
func encodings(l sms.MediaLimits) (kinds []string) {
	for _, kind := range []string{"image/png", "image/jpeg"} {
		if l.Accepts(kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// plan returns the longer side to begin with, and the memory in bytes that decoding and drawing
// need: a smaller drawing if the larger one would exceed the budget.
func (p *picture) plan(room int64) (side int, weight int64) {
	pixels := int64(p.width) * int64(p.height)
	side = min(max(p.width, p.height), maxSide)
	// A JPEG of a camera has at least 0.1 bytes a pixel, so that larger drawings cannot fit.
	if room < pixels/10 {
		side = min(side, max(minSide, int(float64(max(p.width, p.height))*math.Sqrt(float64(room)*10/float64(pixels)))))
	}
	for {
		scale := float64(side) / float64(max(p.width, p.height))
		drawing := int64(float64(pixels)*scale*scale) * 4
		weight = pixels*p.sampleBytes/1000 + 2*drawing // the second one is turned
		if scale <= 0.5 {
			weight += drawing * 9 / 4 // the picture after boxes
		}
		if weight <= maxDecoderBytes || side <= minSide {
			return side, max(weight, 1)
		}
		side = side * 7 / 10
	}
}

// shrink draws a picture with a longer side of at most side pixels. Pixels are averaged by whole
// boxes first, because the interpolation takes only four of them into account, and kernels that take
// more need 32 bytes for each pixel of a wide strip.
func shrink(img image.Image, side int) *image.RGBA {
	b := img.Bounds()
	longer := max(b.Dx(), b.Dy())
	side = min(side, longer)
	if n := longer / side; n > 1 {
		img = boxes(img, n)
	}
	dst := image.NewRGBA(image.Rect(0, 0, max(1, b.Dx()*side/longer), max(1, b.Dy()*side/longer)))
	draw.ApproxBiLinear.Scale(dst, dst.Bounds(), img, img.Bounds(), draw.Src, nil)
	return dst
}

// boxes averages squares of n by n pixels. It reads one line at a time, because a strip of n lines of
// a very wide picture needs more memory than the picture.
func boxes(img image.Image, n int) *image.RGBA {
	b := img.Bounds()
	dst := image.NewRGBA(image.Rect(0, 0, max(1, b.Dx()/n), max(1, b.Dy()/n)))
	line, sums := image.NewRGBA(image.Rect(0, 0, b.Dx(), 1)), make([]int, 4*dst.Rect.Dx())
	for y := range dst.Rect.Dy() {
		clear(sums)
		rows := min(n, b.Dy()-y*n)
		for row := range rows {
			draw.Draw(line, line.Rect, img, image.Pt(b.Min.X, b.Min.Y+y*n+row), draw.Src)
			for x := range min(b.Dx(), n*dst.Rect.Dx()) {
				for channel := range 4 {
					sums[4*(x/n)+channel] += int(line.Pix[4*x+channel])
				}
			}
		}
		count := rows * min(n, b.Dx())
		for i, sum := range sums {
			dst.Pix[y*dst.Stride+i] = byte((sum + count/2) / count)
		}
	}
	return dst
}

// orient turns and mirrors a picture as the orientation of Exif says.
// https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, 4.6.4
func orient(src *image.RGBA, orientation int) *image.RGBA {
	if orientation <= 1 || orientation > 8 {
		return src
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	if orientation >= 5 {
		dst = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			to := [...]image.Point{
				2: {w - 1 - x, y}, 3: {w - 1 - x, h - 1 - y}, 4: {x, h - 1 - y},
				5: {y, x}, 6: {h - 1 - y, x}, 7: {h - 1 - y, w - 1 - x}, 8: {y, w - 1 - x},
			}[orientation]
			copy(dst.Pix[dst.PixOffset(to.X, to.Y):][:4], src.Pix[src.PixOffset(x, y):][:4])
		}
	}
	return dst
}

// encode writes a picture in at most room bytes.
func (c *Collector) encode(img *image.RGBA, kind string, profile []byte, room int64) (*File, error) {
	if !isRGB(profile) {
		profile = nil // of a picture in grey or CMYK, which is drawn as RGB
	}
	if kind == "image/png" {
		return c.write(kind, room, func(w io.Writer) error {
			return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&profilePNG{w: w, profile: profile}, img)
		})
	}
	flat := img
	if !img.Opaque() {
		flat = image.NewRGBA(img.Rect)
		draw.Draw(flat, flat.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(flat, flat.Rect, img, image.Point{}, draw.Over)
	}
	for _, quality := range []int{88, 75, 60} {
		f, err := c.write(kind, room, func(w io.Writer) error {
			return jpeg.Encode(&profileJPEG{w: w, profile: profile}, flat, &jpeg.Options{Quality: quality})
		})
		if !errors.Is(err, errFull) {
			return f, err
		}
	}
	return nil, errFull
}

// isRGB reports whether an ICC profile is for RGB. https://www.color.org/specification/ICC.1-2022-05.pdf, 7.2.6
func isRGB(profile []byte) bool { return len(profile) >= 128 && string(profile[16:20]) == "RGB " }

// profileJPEG inserts a colour profile behind the first two bytes of a JPEG.
type profileJPEG struct {
	w       io.Writer
	profile []byte
	started bool
}

func (p *profileJPEG) Write(data []byte) (int, error) {
	if p.started || len(data) < 2 {
		return p.w.Write(data)
	}
	p.started = true
	out := append([]byte(nil), data[:2]...)
	const most = 65533 - 14
	count := (len(p.profile) + most - 1) / most
	for i := range count {
		part := p.profile[i*most : min((i+1)*most, len(p.profile))]
		out = append(out, 0xff, 0xe2)
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)+16))
		out = append(append(append(out, iccMark...), byte(i+1), byte(count)), part...)
	}
	_, err := p.w.Write(append(out, data[2:]...))
	return len(data), err
}

// profilePNG inserts a colour profile behind the first chunk of a PNG, whose size is fixed.
type profilePNG struct {
	w       io.Writer
	profile []byte
	written int
}

// endIHDR is the length of the signature and of the first chunk.
const endIHDR = 8 + 25

func (p *profilePNG) Write(data []byte) (int, error) {
	before := p.written
	p.written += len(data)
	if before >= endIHDR || p.written < endIHDR || p.profile == nil {
		return p.w.Write(data)
	}
	var chunk bytes.Buffer
	chunk.WriteString("iCCPicc\x00\x00")
	z := zlib.NewWriter(&chunk)
	_, _ = z.Write(p.profile)
	_ = z.Close()
	out := append([]byte(nil), data[:endIHDR-before]...)
	out = binary.BigEndian.AppendUint32(out, uint32(chunk.Len()-4))
	out = append(out, chunk.Bytes()...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk.Bytes()))
	_, err := p.w.Write(append(out, data[endIHDR-before:]...))
	return len(data), err
}

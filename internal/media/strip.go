package media

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
)

// picture is what the header of a raster image says.
type picture struct {
	width, height int
	// sampleBytes is the memory of 1,000 decoded pixels in bytes.
	sampleBytes int64
	// orientation is that of Exif, 1 for upright, 0 if unknown.
	orientation int
	// animated is set if there are several frames.
	animated bool
	// profile is the ICC profile, nil if there is none.
	profile []byte
}

// upright reports whether a picture is shown as it is stored.
func (p *picture) upright() bool { return p.orientation <= 1 || p.orientation > 8 }

// Bounds on the parts of a picture.
const (
	maxProfile = 4 << 20 // bytes
	maxExif    = 64 << 10
	maxScans   = 100 // of a progressive JPEG; cameras write up to 12
	maxParts   = 100_000
)

var (
	errPicture = errors.New("not a complete picture")
	errScans   = errors.New("too many scans")
)

// strippers copy a picture without metadata and without what follows it. They return what the header
// says.
var strippers = map[string]func(*bufio.Writer, *bufio.Reader) (*picture, error){
	"image/jpeg": stripJPEG,
	"image/png":  stripPNG,
	"image/gif":  stripGIF,
	"image/webp": stripWebP,
}

// stripJPEG keeps what is needed to decode the picture: the tables and scans, the marks of JFIF and
// Adobe, and the colour profile. https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
func stripJPEG(w *bufio.Writer, r *bufio.Reader) (*picture, error) {
	p, scans := &picture{}, 0
	var begin [2]byte
	if _, err := io.ReadFull(r, begin[:]); err != nil || begin != [2]byte{0xff, 0xd8} {
		return nil, errPicture
	}
	_, _ = w.Write(begin[:])
	for marker := byte(0); marker != 0xd9; {
		var err error
		if marker == 0xda { // the data of a scan up to the next marker
			if scans++; scans > maxScans {
				return nil, errScans
			}
			marker, err = copyScan(w, r)
		} else {
			marker, err = nextMarker(r)
		}
		if err != nil {
			return nil, errPicture
		}
		if marker == 0xd9 {
			break
		}
		segment, err := readSegment(r)
		if err != nil {
			return nil, errPicture
		}
		if segment = p.keepJPEG(marker, segment); segment != nil {
			_, _ = w.Write([]byte{0xff, marker, byte((len(segment) + 2) >> 8), byte(len(segment) + 2)})
			_, _ = w.Write(segment)
		}
	}
	if p.width == 0 || p.height == 0 || scans == 0 {
		return nil, errPicture
	}
	_, err := w.Write([]byte{0xff, 0xd9})
	return p, err
}

func nextMarker(r *bufio.Reader) (byte, error) {
	b, err := r.ReadByte()
	if err != nil || b != 0xff {
		return 0, errPicture
	}
	for b == 0xff && err == nil {
		b, err = r.ReadByte()
	}
	return b, err
}

// copyScan copies the data of a scan with its restart markers, and returns the marker behind it.
func copyScan(w *bufio.Writer, r *bufio.Reader) (byte, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if b != 0xff {
			_ = w.WriteByte(b)
			continue
		}
		for b == 0xff && err == nil {
			b, err = r.ReadByte()
		}
		if err != nil {
			return 0, err
		}
		if b != 0 && (b < 0xd0 || b > 0xd7) {
			return b, nil
		}
		_, _ = w.Write([]byte{0xff, b})
	}
}

func readSegment(r *bufio.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:])) - 2
	if n < 0 {
		return nil, errPicture
	}
	segment := make([]byte, n)
	_, err := io.ReadFull(r, segment)
	return segment, err
}

const iccMark = "ICC_PROFILE\x00"

// keepJPEG reads a segment and returns what is kept of it, nil for nothing.
func (p *picture) keepJPEG(marker byte, s []byte) []byte {
	switch {
	case marker == 0xe0 && bytes.HasPrefix(s, []byte("JFIF\x00")) && len(s) >= 14:
		s = s[:14]
		s[12], s[13] = 0, 0 // no thumbnail
		return s
	case marker == 0xe1 && bytes.HasPrefix(s, []byte("Exif\x00\x00")):
		p.orientation = orientationOf(s[6:])
	case marker == 0xe2 && bytes.HasPrefix(s, []byte(iccMark)) && len(s) > 14 && len(p.profile)+len(s) <= maxProfile:
		p.profile = append(p.profile, s[14:]...)
		return s
	case marker == 0xee && bytes.HasPrefix(s, []byte("Adobe")):
		return s
	case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
		p.readFrame(marker, s)
		return s
	case marker >= 0xc0 && marker <= 0xdf:
		return s
	}
	return nil
}

// readFrame reads dimensions and sampling. A progressive picture is held as coefficients, which need
// about six times the memory of its samples.
func (p *picture) readFrame(marker byte, s []byte) {
	if len(s) < 6 || len(s) < 6+3*int(s[5]) {
		return
	}
	p.height, p.width = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	samples, widest, tallest := 0, 1, 1
	for i := range int(s[5]) {
		h, v := int(s[7+3*i]>>4), int(s[7+3*i]&15)
		samples, widest, tallest = samples+h*v, max(widest, h), max(tallest, v)
	}
	p.sampleBytes = int64(samples * 1000 / (widest * tallest))
	if marker != 0xc0 && marker != 0xc1 {
		p.sampleBytes *= 6
	}
}

// orientationOf reads the orientation of Exif data: tag 0x0112 in the first directory of the TIFF
// structure.
func orientationOf(tiff []byte) int {
	if len(tiff) < 8 {
		return 0
	}
	order := binary.ByteOrder(binary.BigEndian)
	if tiff[0] == 'I' {
		order = binary.LittleEndian
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			break
		}
		if order.Uint16(entries) == 0x0112 {
			return int(order.Uint16(entries[8:]))
		}
		entries = entries[12:]
	}
	return 0
}

// keptPNG are the chunks that concern what is shown. https://www.w3.org/TR/png-3/#4Concepts.FormatChunks
var keptPNG = map[string]bool{
	"IHDR": true, "PLTE": true, "IDAT": true, "IEND": true, "tRNS": true, "cHRM": true, "gAMA": true, "iCCP": true, "sBIT": true, "sRGB": true,
	"cICP": true, "bKGD": true, "pHYs": true, "acTL": true, "fcTL": true, "fdAT": true,
}

func stripPNG(w *bufio.Writer, r *bufio.Reader) (*picture, error) {
	p := &picture{}
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:]) != "\x89PNG\r\n\x1a\n" {
		return nil, errPicture
	}
	_, _ = w.Write(head[:])
	for range maxParts {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, errPicture
		}
		size, name := int64(binary.BigEndian.Uint32(head[:])), string(head[4:])
		peek := []byte(nil)
		if name == "IHDR" || name == "eXIf" || name == "iCCP" {
			peek, _ = r.Peek(int(min(size, maxExif)))
		}
		p.readChunk(name, peek)
		to := io.Writer(io.Discard)
		if keptPNG[name] {
			_, _ = w.Write(head[:])
			to = w
		}
		if _, err := io.CopyN(to, r, size+4); err != nil {
			return nil, errPicture
		}
		if name == "IEND" {
			if p.width <= 0 || p.height <= 0 {
				return nil, errPicture
			}
			return p, nil
		}
	}
	return nil, errPicture
}

// readChunk reads a chunk of a PNG.
func (p *picture) readChunk(name string, data []byte) {
	switch {
	case name == "IHDR" && len(data) >= 13:
		p.width, p.height = int(int32(binary.BigEndian.Uint32(data))), int(int32(binary.BigEndian.Uint32(data[4:])))
		p.sampleBytes = 4000
		if data[8] == 16 {
			p.sampleBytes = 8000
		}
		if data[12] == 1 { // each pass of an interlaced picture is decoded apart
			p.sampleBytes *= 2
		}
	case name == "acTL":
		p.animated = true
	case name == "eXIf":
		p.orientation = orientationOf(data)
	case name == "iCCP":
		if at := bytes.IndexByte(data, 0); at >= 0 && at+2 < len(data) {
			if z, err := zlib.NewReader(bytes.NewReader(data[at+2:])); err == nil {
				p.profile, _ = io.ReadAll(io.LimitReader(z, maxProfile))
			}
		}
	}
}

// stripGIF keeps frames, their timing and the number of loops.
// https://www.w3.org/Graphics/GIF/spec-gif89a.txt
func stripGIF(w *bufio.Writer, r *bufio.Reader) (*picture, error) {
	p, frames := &picture{sampleBytes: 1000}, 0
	var head [13]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, errPicture
	}
	_, _ = w.Write(head[:])
	p.width, p.height = int(binary.LittleEndian.Uint16(head[6:])), int(binary.LittleEndian.Uint16(head[8:]))
	if err := copyTable(w, r, head[10]); err != nil {
		return nil, errPicture
	}
	for range maxParts {
		kind, err := r.ReadByte()
		switch {
		case err != nil:
			return nil, errPicture
		case kind == 0x3b:
			if p.animated = frames > 1; frames == 0 || p.width == 0 || p.height == 0 {
				return nil, errPicture
			}
			return p, w.WriteByte(kind)
		case kind == 0x21:
			err = copyExtension(w, r)
		case kind == 0x2c:
			frames++
			err = copyFrame(w, r)
		default:
			err = errPicture
		}
		if err != nil {
			return nil, errPicture
		}
	}
	return nil, errPicture
}

// copyTable copies the colour table that the flags announce.
func copyTable(w io.Writer, r io.Reader, flags byte) error {
	if flags&0x80 == 0 {
		return nil
	}
	_, err := io.CopyN(w, r, 3<<(flags&7+1))
	return err
}

func copyFrame(w *bufio.Writer, r *bufio.Reader) error {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	_, _ = w.Write(append([]byte{0x2c}, head[:]...))
	if err := copyTable(w, r, head[8]); err != nil {
		return err
	}
	if _, err := io.CopyN(w, r, 1); err != nil { // size of the LZW code
		return err
	}
	return copyBlocks(w, r)
}

// copyExtension copies the extensions for timing, loops and colours, and skips others, such as
// comments.
func copyExtension(w *bufio.Writer, r *bufio.Reader) error {
	label, err := r.ReadByte()
	if err != nil {
		return err
	}
	name, _ := r.Peek(12)
	known := label == 0xff && len(name) == 12 && name[0] == 11 &&
		(string(name[1:]) == "NETSCAPE2.0" || string(name[1:]) == "ANIMEXTS1.0" || string(name[1:]) == "ICCRGBG1012")
	if label != 0xf9 && !known {
		return copyBlocks(io.Discard, r)
	}
	_, _ = w.Write([]byte{0x21, label})
	return copyBlocks(w, r)
}

// copyBlocks copies blocks of up to 255 bytes up to the empty one.
func copyBlocks(w io.Writer, r *bufio.Reader) error {
	for {
		size, err := r.ReadByte()
		if err != nil {
			return err
		}
		_, _ = w.Write([]byte{size})
		if size == 0 {
			return nil
		}
		if _, err := io.CopyN(w, r, int64(size)); err != nil {
			return err
		}
	}
}

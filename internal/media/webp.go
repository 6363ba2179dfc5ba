package media

import (
	"bufio"
	"encoding/binary"
	"io"
)

// Flags of the chunk VP8X. https://developers.google.com/speed/webp/docs/riff_container
const (
	webpAnimated = 0x02
	webpXMP      = 0x04
	webpExif     = 0x08
)

var keptWebP = map[string]bool{"VP8 ": true, "VP8L": true, "VP8X": true, "ALPH": true, "ANIM": true, "ANMF": true, "ICCP": true}

// stripWebP keeps the chunks that concern what is shown. The length in the header is that of the
// original; setLength corrects it.
func stripWebP(w *bufio.Writer, r *bufio.Reader) (*picture, error) {
	p := &picture{sampleBytes: 12_000} // the lossless format is decoded through several tables
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WEBP" {
		return nil, errPicture
	}
	_, _ = w.Write(head[:])
	left := int64(binary.LittleEndian.Uint32(head[4:])) - 4
	for left >= 8 {
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return nil, errPicture
		}
		name, size := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		size += size & 1 // chunks are padded
		if left -= 8 + size; left < 0 {
			return nil, errPicture
		}
		if err := p.copyWebP(w, r, name, head[:8], size); err != nil {
			return nil, errPicture
		}
	}
	if p.width == 0 || p.height == 0 {
		return nil, errPicture
	}
	return p, nil
}

func (p *picture) copyWebP(w *bufio.Writer, r *bufio.Reader, name string, head []byte, size int64) error {
	peek, _ := r.Peek(int(min(size, maxExif)))
	p.readWebP(name, peek)
	if !keptWebP[name] {
		_, err := io.CopyN(io.Discard, r, size)
		return err
	}
	_, _ = w.Write(head)
	if name == "VP8X" && len(peek) >= 10 {
		flags, _ := r.ReadByte()
		_ = w.WriteByte(flags &^ (webpXMP | webpExif))
		size--
	}
	_, err := io.CopyN(w, r, size)
	return err
}

// readWebP reads dimensions, orientation and colour profile.
func (p *picture) readWebP(name string, data []byte) {
	switch {
	case name == "VP8X" && len(data) >= 10:
		p.animated = data[0]&webpAnimated != 0
		p.width, p.height = 1+uint24(data[4:]), 1+uint24(data[7:])
	case name == "VP8 " && len(data) >= 10 && p.width == 0:
		p.width, p.height = int(binary.LittleEndian.Uint16(data[6:])&0x3fff), int(binary.LittleEndian.Uint16(data[8:])&0x3fff)
	case name == "VP8L" && len(data) >= 5 && p.width == 0:
		bits := int(binary.LittleEndian.Uint32(data[1:]))
		p.width, p.height = 1+bits&0x3fff, 1+bits>>14&0x3fff
	case name == "EXIF" && len(data) > 6:
		if string(data[:4]) == "Exif" { // some writers repeat the mark of JPEG
			data = data[6:]
		}
		p.orientation = orientationOf(data)
	case name == "ICCP" && len(data) < maxExif:
		p.profile = append([]byte(nil), data...)
	}
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// setLength writes the length of a WebP file into its header.
func setLength(f io.WriterAt, size int64) error {
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], uint32(size-8))
	_, err := f.WriteAt(length[:], 4)
	return err
}

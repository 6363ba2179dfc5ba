package wire

import (
	"encoding/base64"
	"io"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

// File is a file that is copied into a body while the body is sent.
type File struct {
	// Size is the number of bytes that Open's reader returns.
	Size int64
	Open func() (io.ReadCloser, error)
}

// Body is a body to send. A body with files needs memory for at most one piece of one file.
type Body struct {
	// Bytes are all bytes except those of files.
	Bytes []byte
	files []insertion
}

// insertion is a file in a body.
type insertion struct {
	File
	at     int // the number of bytes before it, without those of other files
	base64 bool
}

// pieceSize is the number of bytes of a file that are in memory at a time, divisible by 3 for base64.
const pieceSize = 24 << 10

// Whole reports whether the body contains no files, so that Bytes is all of it.
func (b *Body) Whole() bool { return len(b.files) == 0 }

// Len returns the number of bytes to send.
func (b *Body) Len() int64 {
	n := int64(len(b.Bytes))
	for _, f := range b.files {
		if f.base64 {
			n += (f.Size + 2) / 3 * 4
		} else {
			n += f.Size
		}
	}
	return n
}

// Open returns a reader of the body. A file is opened when its first byte is read, and closed after
// its last one. A file of less than its size is an error.
func (b *Body) Open() io.ReadCloser { return &bodyReader{body: b} }

// bodyReader reads bytes and files in turn.
type bodyReader struct {
	body  *Body
	read  int // bytes
	next  int // the file that comes next
	open  io.ReadCloser
	left  int64  // bytes of the open file
	piece []byte // raw bytes of a file that is written in base64
	text  []byte // the piece in base64
	sent  int    // bytes of text that were returned
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (int, error) {
	for {
		end := len(r.body.Bytes)
		if r.next < len(r.body.files) {
			end = r.body.files[r.next].at
		}
		switch {
		case len(p) == 0:
			return 0, nil
		case r.sent < len(r.text):
			n := copy(p, r.text[r.sent:])
			r.sent += n
			return n, nil
		case r.open != nil:
			if n, err := r.readFile(p); n > 0 || err != nil {
				return n, err
			}
		case r.read < end:
			n := copy(p, r.body.Bytes[r.read:end])
			r.read += n
			return n, nil
		case r.next == len(r.body.files):
			return 0, io.EOF
		default:
			f := &r.body.files[r.next]
			open, err := f.Open()
			if err != nil {
				return 0, err
			}
			r.open, r.left = open, f.Size
		}
	}
}

// readFile reads from the open file. It returns 0 and no error if the file ends, or if it has filled
// r.text.
func (r *bodyReader) readFile(p []byte) (n int, err error) {
	switch {
	case r.left == 0:
		err, r.open, r.next = r.open.Close(), nil, r.next+1
		return 0, err
	case r.body.files[r.next].base64:
		if r.piece == nil {
			r.piece = make([]byte, pieceSize)
		}
		n = int(min(r.left, pieceSize))
		_, err = io.ReadFull(r.open, r.piece[:n])
		r.text = base64.StdEncoding.AppendEncode(r.text[:0], r.piece[:n])
		r.left, r.sent, n = r.left-int64(n), 0, 0
	default:
		n, err = r.open.Read(p[:min(int64(len(p)), r.left)])
		r.left -= int64(n)
		if n > 0 {
			return n, nil
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (r *bodyReader) Close() error {
	if r.open == nil {
		return nil
	}
	open := r.open
	r.open = nil
	return open.Close()
}

// Base64 writes a text followed by a file in base64. A Form has no such values, because it escapes
// some characters of base64.
func (e *Encoder) Base64(name, text string, f File) {
	switch e.format {
	case JSON:
		e.name(name)
		e.dst = gjson.AppendJSONString(e.dst, text)
		e.dst = e.dst[:len(e.dst)-1]
		e.insert(f, true)
		e.dst = append(e.dst, '"')
	case XML:
		e.closeTag()
		e.tag("<", name)
		e.escape(text)
		e.insert(f, true)
		e.tag("</", name)
	case Multipart:
		e.part(name)
		e.dst = append(append(e.dst, "\r\n\r\n"...), text...)
		e.insert(f, true)
		e.dst = append(e.dst, "\r\n"...)
	default:
		e.err = ErrNotWritable
	}
	e.open.wrote = true
}

// Part writes a file as a part of a Multipart body.
func (e *Encoder) Part(name, filename, mediaType string, f File) {
	if e.format != Multipart {
		e.err = ErrNotWritable
		return
	}
	e.part(name)
	e.dst = append(append(append(e.dst, `; filename="`...), inHeader(filename)...), "\"\r\nContent-Type: "...)
	e.dst = append(append(e.dst, inHeader(mediaType)...), "\r\n\r\n"...)
	e.insert(f, false)
	e.dst, e.open.wrote = append(e.dst, "\r\n"...), true
}

// inHeader keeps a value within its header of a part: it replaces quotes and control characters.
func inHeader(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, s)
}

// File returns a body that is a file and nothing else.
func (f File) Body() Body { return Body{files: []insertion{{File: f}}} }

func (e *Encoder) insert(f File, base64 bool) {
	e.files = append(e.files, insertion{f, len(e.dst), base64})
}

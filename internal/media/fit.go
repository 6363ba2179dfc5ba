package media

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// maxPixels is the maximum number of pixels of a picture, maxLength that of a side, as in a JPEG.
const (
	maxPixels = 64_000_000
	maxLength = 65_535
)

// noLimit stands for a limit of 0.
const noLimit = int64(1) << 62

// fit makes files fit the limits: pictures upright, without metadata and small enough, films without
// metadata, everything else unchanged. It returns all files or none; those that it replaces are
// closed. The order stays.
func (c *Collector) fit(ctx context.Context, files []*File, l sms.MediaLimits) ([]*File, *sms.Refusal) {
	for _, f := range files {
		if strippers[f.Type] == nil {
			if refusal := c.fitOther(f, l); refusal != nil {
				return nil, refusal
			}
		}
	}
	// What cannot be made smaller is subtracted first. Small pictures leave more to large ones.
	order := make([]int, len(files))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		_, shrinksA := strippers[files[a].Type]
		_, shrinksB := strippers[files[b].Type]
		if shrinksA != shrinksB {
			return cmp.Compare(btoi(shrinksA), btoi(shrinksB))
		}
		return cmp.Compare(files[a].Size, files[b].Size)
	})
	left := orNoLimit(l.Total)
	for n, i := range order {
		room := min(orNoLimit(l.Each), left/int64(len(order)-n))
		if _, shrinks := strippers[files[i].Type]; !shrinks {
			room = min(orNoLimit(l.Each), left)
		}
		fitted, refusal := c.fitOne(ctx, files[i], l, room)
		if refusal != nil {
			return nil, refusal
		}
		files[i] = fitted
		left -= fitted.Size
	}
	return files, nil
}

func orNoLimit(n int64) int64 {
	if n == 0 {
		return noLimit
	}
	return n
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fitOther removes the metadata of a film and checks the type of what is no picture.
func (c *Collector) fitOther(f *File, l sms.MediaLimits) *sms.Refusal {
	if !l.Accepts(f.Type) {
		return sms.RefuseAs(sms.UnsupportedContent, sms.FileType, "type", f.Type)
	}
	switch f.Type {
	case "video/mp4", "video/quicktime", "video/3gpp", "audio/mp4":
		if err := stripFilm(f.temp, f.Size); err != nil {
			return unreadable(err)
		}
		sealed, err := seal(f.temp, f.Type)
		if err != nil {
			return noDisk(err)
		}
		*f = *sealed
	}
	return nil
}

// fitOne returns a file of at most room bytes. A replaced file is closed.
func (c *Collector) fitOne(ctx context.Context, f *File, l sms.MediaLimits, room int64) (*File, *sms.Refusal) {
	if strippers[f.Type] == nil {
		if f.Size > room {
			return nil, sms.TooLargeFor(f.Size, room)
		}
		return f, nil
	}
	stripped, p, refusal := c.strip(f)
	if refusal != nil {
		return nil, refusal
	}
	fits, accepted := stripped.Size <= room, l.Accepts(f.Type)
	switch {
	case fits && accepted && p.upright(), fits && accepted && p.animated:
		_ = f.Close()
		return stripped, nil
	case p.animated && !accepted:
		refusal = sms.RefuseAs(sms.UnsupportedContent, sms.FileType, "type", f.Type)
	case p.animated:
		refusal = sms.TooLargeFor(stripped.Size, room)
	}
	var redrawn *File
	if refusal == nil {
		redrawn, refusal = c.redraw(ctx, stripped, p, l, room)
	}
	_ = stripped.Close()
	if refusal != nil {
		return nil, refusal
	}
	_ = f.Close()
	return redrawn, nil
}

// strip copies a picture without its metadata.
func (c *Collector) strip(f *File) (*File, *picture, *sms.Refusal) {
	var p *picture
	out, err := c.write(f.Type, noLimit, func(w io.Writer) (err error) {
		buffered := bufio.NewWriterSize(w, 32<<10)
		p, err = strippers[f.Type](buffered, bufio.NewReaderSize(f.Reader(), maxExif))
		return errors.Join(err, buffered.Flush())
	})
	switch {
	case err != nil:
		return nil, nil, unreadable(err)
	case int64(p.width)*int64(p.height) > maxPixels, max(p.width, p.height) > maxLength:
		_ = out.Close()
		return nil, nil, sms.RefuseAs(sms.TooLong, sms.TooManyPixels, "limit", "64")
	}
	return out, p, nil
}

// errFull ends the writing of a file that becomes too large.
var errFull = errors.New("too large")

// write makes a file of at most so many bytes.
func (c *Collector) write(mediaType string, most int64, fill func(io.Writer) error) (*File, error) {
	temp, err := createTemp(c.Dir)
	if err != nil {
		return nil, err
	}
	err = fill(&bounded{temp, most})
	if err == nil && mediaType == "image/webp" {
		var size int64
		if size, err = temp.Seek(0, io.SeekEnd); err == nil {
			err = setLength(temp, size)
		}
	}
	var f *File
	if err == nil {
		f, err = seal(temp, mediaType)
	}
	if err != nil {
		_ = discard(temp)
		return nil, err
	}
	return f, nil
}

// bounded is a writer that fails after left bytes.
type bounded struct {
	to   *os.File
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errFull
	}
	return b.to.Write(p)
}

// unreadable returns the refusal of a picture or film that cannot be read, or of a full disk.
func unreadable(err error) *sms.Refusal {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return noDisk(err)
	}
	refusal := sms.RefuseAs(sms.UnsupportedContent, sms.FileUnreadable)
	switch {
	case errors.Is(err, errScans), errors.Is(err, errPicture), errors.Is(err, errFilm):
		refusal.Detail = err.Error()
	}
	return refusal
}

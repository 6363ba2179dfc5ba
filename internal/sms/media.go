package sms

import (
	"io"
	"slices"
	"strconv"
	"strings"
)

// Media is a picture or file of a message.
type Media struct {
	// URL is a public address from which the provider can download the file. It is empty if there
	// is none; then only providers that take the bytes can send the file.
	URL Hidden
	// Type is the media type in lower case without parameters, such as image/jpeg.
	Type string
	// Name is a file name that this module chose, such as 1.jpg. It never comes from the app.
	Name string
	// Size is the number of bytes that Open's reader returns.
	Size int64
	// Open returns a reader of the whole file, which must be closed. Readers are independent of each
	// other. It is nil if only the URL is known.
	Open func() (io.ReadCloser, error) `json:"-"`
}

// The variants of refusals of pictures and files.
const (
	AttachmentUnreadable    Variant = "attachment_unreadable"
	AttachmentAddress       Variant = "attachment_address"
	AttachmentKey           Variant = "attachment_key"
	NoAttachments           Variant = "no_attachments"
	TooManyFiles            Variant = "too_many_files"
	FileHost                Variant = "file_host"
	FilePrivate             Variant = "file_private"
	FileDamaged             Variant = "file_damaged"
	WrongKey                Variant = "wrong_key"
	FileTooLarge            Variant = "file_too_large"
	FileTooLargeForProvider Variant = "file_too_large_for_provider"
	TooManyPixels           Variant = "too_many_pixels"
	PictureTooComplex       Variant = "picture_too_complex"
	FileTypeFalse           Variant = "file_type_false"
	FileType                Variant = "file_type"
	FileUnreadable          Variant = "file_unreadable"
	ManyPictures            Variant = "many_pictures"
	FileGone                Variant = "file_gone"
	FileCut                 Variant = "file_cut"
	FileSlow                Variant = "file_slow"
	FileServer              Variant = "file_server"
	FileDisk                Variant = "file_disk"
	FileSpace               Variant = "file_space"
	NoMMS                   Variant = "no_mms"
)

// MediaLimits are the pictures and files that a provider accepts in a message. A limit of 0 and an
// empty list mean that there is no such limit.
type MediaLimits struct {
	// Count is the maximum number of files.
	Count int
	// Each and Total are the maximum sizes in bytes, of one file and of all together.
	Each, Total int64
	// Types are the accepted media types, such as image/jpeg or image/*.
	Types []string
}

// Accepts reports whether a media type is among the accepted ones.
func (l MediaLimits) Accepts(mediaType string) bool {
	kind, _, _ := strings.Cut(mediaType, "/")
	return len(l.Types) == 0 || slices.Contains(l.Types, mediaType) || slices.Contains(l.Types, kind+"/*")
}

// Check returns the refusal of files that exceed the limits. Types and sizes that are not known are
// not compared.
func (l MediaLimits) Check(files []Media) *Refusal {
	if l.Count > 0 && len(files) > l.Count {
		return TooMany(len(files), l.Count)
	}
	total := int64(0)
	for i := range files {
		f := &files[i]
		total += f.Size
		switch {
		case f.Type != "" && !l.Accepts(f.Type):
			return RefuseAs(UnsupportedContent, FileType, "type", f.Type)
		case l.Each > 0 && f.Size > l.Each:
			return TooLargeFor(f.Size, l.Each)
		}
	}
	if l.Total > 0 && total > l.Total {
		return TooLargeFor(total, l.Total)
	}
	return nil
}

// TooMany is the refusal of more files than a limit.
func TooMany(count, limit int) *Refusal {
	return RefuseAs(TooLong, TooManyFiles, "count", strconv.Itoa(count), "limit", strconv.Itoa(limit))
}

// TooLargeFor is the refusal of a file that exceeds a limit of the provider, in bytes.
func TooLargeFor(size, limit int64) *Refusal {
	return RefuseAs(TooLong, FileTooLargeForProvider, "size", Megabytes(size), "limit", Megabytes(max(limit, 0)))
}

// Megabytes writes a size for people, with one decimal below 10 MB.
func Megabytes(size int64) string {
	if size < 10_000_000 {
		return strconv.FormatFloat(float64(size)/1e6, 'f', 1, 64)
	}
	return strconv.FormatInt(size/1_000_000, 10)
}

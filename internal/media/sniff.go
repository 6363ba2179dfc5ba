package media

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

const unknownType = "application/octet-stream"

// extensions are the types that are told apart, and the endings of their names.
var extensions = map[string]string{
	"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp", "image/bmp": "bmp", "image/heic": "heic",
	"image/avif": "avif", "image/tiff": "tif", "video/mp4": "mp4", "video/quicktime": "mov", "video/3gpp": "3gp", "video/webm": "webm",
	"video/ogg": "ogv", "audio/ogg": "ogg", "audio/mp4": "m4a", "audio/mpeg": "mp3", "audio/amr": "amr", "audio/wav": "wav", "audio/aac": "aac",
	"application/pdf": "pdf", "text/plain": "txt", "text/vcard": "vcf", "text/calendar": "ics", "text/csv": "csv",
}

// magics are beginnings that http.DetectContentType does not know.
var magics = []struct{ begins, mediaType string }{
	{"#!AMR", "audio/amr"}, {"BEGIN:VCARD", "text/vcard"}, {"BEGIN:VCALENDAR", "text/calendar"},
	{"II*\x00", "image/tiff"}, {"MM\x00*", "image/tiff"},
	{"\xff\xf1", "audio/aac"}, {"\xff\xf9", "audio/aac"}, {"\xff\xfb", "audio/mpeg"}, {"\xff\xf3", "audio/mpeg"}, {"\xff\xfa", "audio/mpeg"},
}

// brands are the types of ISO base media files by the beginning of their major brand.
// https://mp4ra.org/registered-types/brands
var brands = []struct{ brand, mediaType string }{
	{"hei", "image/heic"}, {"hev", "image/heic"}, {"mif1", "image/heic"}, {"msf1", "image/heic"}, {"avi", "image/avif"},
	{"qt", "video/quicktime"}, {"M4A", "audio/mp4"}, {"M4B", "audio/mp4"}, {"3gp", "video/3gpp"}, {"3g2", "video/3gpp"}, {"", "video/mp4"},
}

// sniff returns the type that a file's first bytes show.
func sniff(r io.ReaderAt) string {
	var buf [512]byte
	n, _ := r.ReadAt(buf[:], 0)
	head := buf[:n]
	if n >= 12 && string(head[4:8]) == "ftyp" {
		for _, b := range brands {
			if strings.HasPrefix(string(head[8:12]), b.brand) {
				return b.mediaType
			}
		}
	}
	if n >= 8 { // films of old QuickTime begin without a brand
		if box := string(head[4:8]); box == "moov" || box == "mdat" || box == "wide" {
			return "video/quicktime"
		}
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.begins)) {
			return m.mediaType
		}
	}
	return canonical(http.DetectContentType(head), head)
}

// canonical returns the usual name for one of http.DetectContentType.
func canonical(mediaType string, head []byte) string {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	switch mediaType {
	case "application/ogg":
		if bytes.Contains(head, []byte("theora")) {
			return "video/ogg"
		}
		return "audio/ogg"
	case "audio/wave":
		return "audio/wav"
	}
	return mediaType
}

// class returns the part of a type that a claim and the bytes must have in common. A voice note and
// a film may have the same container.
func class(mediaType string) string {
	kind, _, _ := strings.Cut(mediaType, "/")
	switch {
	case mediaType == "image/svg+xml": // a document with scripts
		return ""
	case kind == "audio", kind == "video":
		return "film"
	case kind == "image", mediaType == "application/pdf":
		return kind
	}
	return ""
}

// agree reports whether a claimed type, which may be empty, is possible for bytes of another type.
func agree(claimed, found string) bool {
	return claimed == "" || class(claimed) == "" && (class(found) == "" || claimed == unknownType) || class(claimed) != "" && class(claimed) == class(found)
}

// settle returns the type under which a file is handed on. A claim counts only for documents, whose
// bytes say less; of these, those that a browser would run are never named.
func settle(claimed, found string) string {
	_, known := extensions[found]
	switch {
	case found == "text/plain" && (claimed == "text/vcard" || claimed == "text/calendar" || claimed == "text/csv"):
		return claimed
	case found == "text/plain" && claimed != "" && claimed != "text/plain", !known:
		return unknownType
	}
	return found
}

// isShown reports whether a browser may show a type in place of saving it.
func isShown(mediaType string) bool {
	kind, _, _ := strings.Cut(mediaType, "/")
	return extensions[mediaType] != "" && (kind == "image" || kind == "audio" || kind == "video")
}

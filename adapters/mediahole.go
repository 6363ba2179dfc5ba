package adapters

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// mediaPart says which file a hole stands for, and what of it.
type mediaPart struct {
	all   bool // all files
	index int  // of one file
	form  mediaForm
}

type mediaForm uint8

const (
	mediaURL    mediaForm = iota
	mediaBase64           // the bytes in base64
	mediaFile             // the bytes as a part of a multipart body
	mediaID               // the id that the upload block got
	mediaType
	mediaName
	mediaSize
)

// mediaForms are the ends of the names of holes: {sms.media.0.type}.
var mediaForms = map[string]mediaForm{
	"": mediaURL, "base64": mediaBase64, "file": mediaFile, "id": mediaID, "type": mediaType, "name": mediaName, "size": mediaSize,
}

// isMedia reports whether the part is a hole of files.
func (h part) isMedia() bool { return h.hole == mediaHole || strings.HasPrefix(h.hole, mediaHole+".") }

// carries reports whether a hole of this form contains the file.
func (f mediaForm) carries() bool { return f <= mediaID }

// isBytes reports whether a hole of this form contains the bytes of the file.
func (f mediaForm) isBytes() bool { return f == mediaBase64 || f == mediaFile }

// parseMediaHole reads the name of a hole of files: sms.media, sms.media.file, sms.media.0,
// sms.media.0.type.
func parseMediaHole(name string) (h part, ok bool) {
	rest, ok := strings.CutPrefix(name+".", mediaHole+".")
	if !ok {
		return h, false
	}
	h.hole, h.media.all, h.content = name, true, allMedia
	if index, after, _ := strings.Cut(rest, "."); index != "" {
		if n, err := strconv.Atoi(index); err == nil {
			if n < 0 || n >= maxMedia {
				return h, false
			}
			h.media, h.content, rest = mediaPart{index: n}, 1<<n, after
		}
	}
	h.media.form, ok = mediaForms[strings.TrimSuffix(rest, ".")]
	if h.media.all && !h.media.form.carries() {
		return h, false
	}
	if !h.media.form.carries() {
		h.content = 0
	}
	if !h.media.all {
		h.fill = h.media.value
	}
	return h, ok
}

// value returns the value of a hole of one file. Bytes are not values; writeFiles writes them. A
// file that can be read counts as a value, so that `when {sms.media.0.file}` holds.
func (p mediaPart) value(v *vars) string {
	if p.index >= len(v.message.Media) {
		return ""
	}
	switch m := &v.message.Media[p.index]; p.form {
	case mediaType:
		return m.Type
	case mediaName:
		return m.Name
	case mediaSize:
		return strconv.FormatInt(m.Size, 10)
	case mediaID:
		if p.index < len(v.uploaded) {
			return v.uploaded[p.index]
		}
		return m.Name // while the plan is made, before the upload
	case mediaBase64, mediaFile:
		if m.Open == nil {
			return ""
		}
		return m.Name
	default:
		return m.URL.Reveal()
	}
}

// checkFiles refuses a hole with the bytes of a file in places that cannot contain them. It reports
// whether the template has such a hole.
func (t template) checkFiles(s *syntax.Statement, f *field, kind wire.Format) (bool, error) {
	at := slices.IndexFunc(t, func(p part) bool { return p.media.form.isBytes() })
	if at < 0 {
		return false, nil
	}
	hole := t[at].hole
	switch {
	case at < len(t)-1:
		return false, s.Fail("{%s} must be the last part of its value, or the only one", hole)
	case t[at].media.form == mediaFile && (kind != wire.Multipart || len(t) > 1):
		return false, s.Fail("{%s} is a part of a form: write multipart { NAME {%s} }", hole, hole)
	case kind == wire.Form:
		return false, s.Fail("{%s} is not allowed in form and query; write multipart { … }", hole)
	case wire.IsAttribute(f.name) || f.name == wire.OwnText:
		return false, s.Fail("{%s} needs an element of its own: NAME {%s}", hole, hole)
	}
	return true, nil
}

// writeFiles writes the bytes of files and reports whether there are any.
func (val *value) writeFiles(e *wire.Encoder, name string, v *vars) bool {
	last := len(val.template) - 1
	p := val.template[last].media
	files := v.message.Media
	if !p.all {
		files = files[min(p.index, len(files)):min(p.index+1, len(files))]
	}
	before, ok := val.template[:last].value(v)
	if !ok || len(files) == 0 || slices.ContainsFunc(files, func(m sms.Media) bool { return m.Open == nil }) {
		return false
	}
	for i := range files {
		m := &files[i]
		file := wire.File{Size: m.Size, Open: m.Open}
		if p.form == mediaFile {
			e.Part(name, m.Name, cmp.Or(m.Type, "application/octet-stream"), file)
		} else {
			e.Base64(name, before, file)
		}
	}
	v.included |= val.template[last].content
	return true
}

// haveFiles reports whether members contain the bytes of files.
func haveFiles(fields []*field) bool {
	return slices.ContainsFunc(fields, func(f *field) bool {
		return haveFiles(f.children) || slices.ContainsFunc(f.values, func(v value) bool { return v.kind == fileValue })
	})
}

// streams reports whether the body may contain files, which are read while it is sent.
func (o *requestTemplate) streams() bool { return haveFiles(o.fields) }

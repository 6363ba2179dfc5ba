package params

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func (d *Decoder) tooLarge() error {
	return sms.RefuseAs(sms.TooLong, sms.RequestTooLarge, "limit", strconv.FormatInt(d.MaxSize, 10))
}

// readBody detects the form of the body. It does not trust the Content-Type, which operators set by
// hand.
func (d *Decoder) readBody(r *http.Request, claimed string, req *Caller, query, into *values) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if strings.HasPrefix(claimed, "multipart/") {
		return sms.RefuseAs(sms.UnsupportedContent, sms.UnsupportedRequest, "type", claimed)
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return sms.RefuseAs(sms.UnsupportedContent, sms.CompressedRequest)
	}
	if r.ContentLength > d.MaxSize {
		return d.tooLarge()
	}
	data, err := d.readAll(r)
	if err != nil {
		var limit *http.MaxBytesError
		var refusal *sms.Refusal // from a reader that wraps the body
		if errors.As(err, &refusal) {
			return refusal
		}
		if errors.As(err, &limit) {
			return sms.RefuseAs(sms.TooLong, sms.RequestTooLarge, "limit", strconv.FormatInt(limit.Limit, 10))
		}
		return sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "request", "offset", strconv.Itoa(len(data)))
	}
	if int64(len(data)) > d.MaxSize {
		return d.tooLarge()
	}
	doc := bytes.TrimPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("\uFEFF"))
	doc = bytes.TrimLeft(doc, " \t\r\n")
	form, refusal := d.readDocument(doc, claimed, into)
	req.source.body = doc
	if claimed == "text/plain" && query.lacksText() && !isTemplate(doc, into.any) { // the body is the text itself
		*into = values{names: d.Names}
		into.add(roleNames[RoleBody], string(bytes.ToValidUTF8(data, []byte("\uFFFD"))))
		return nil
	}
	if req.Form == FormByRequest {
		req.Form = form
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// readDocument reads the parameters of a body and returns its form.
func (d *Decoder) readDocument(doc []byte, claimed string, into *values) (Form, *sms.Refusal) {
	switch {
	case len(doc) == 0:
		return FormByRequest, nil
	case doc[0] == '{' || doc[0] == '[' || IsJSON(claimed) && !IsLetter(doc[0]):
		return JSON, readJSON(doc, into)
	case doc[0] == '<':
		return FormByRequest, readXML(doc, into)
	}
	into.pairs = true
	pairs(string(bytes.TrimRight(doc, "\r\n")), into.add)
	return FormByRequest, nil
}

// isTemplate reports whether a body that may be a bare text comes from an operator's template
// instead: it begins like a JSON object, or has the form of pairs or of a document and contains
// known names.
func isTemplate(doc []byte, known bool) bool {
	switch {
	case len(doc) == 0:
		return true
	case doc[0] == '{' && bytes.HasPrefix(bytes.TrimLeft(doc[1:], " \t\r\n"), []byte{'"'}):
		return true
	case doc[0] == '{' || doc[0] == '[' || doc[0] == '<':
		return known
	}
	return known && firstName.Match(doc)
}

// firstName matches the name at the beginning of pairs.
var firstName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.\-]*=`)

// bufferSizes are the sizes of the buffer while a body arrives, unless a smaller Content-Length is
// announced. After the last size the buffer doubles. Memory grows with the received bytes, not with
// the announced ones.
var bufferSizes = [...]int64{512, 4 << 10, 32 << 10}

// readAll reads the body, at most MaxSize+1 bytes. It reads another byte before it grows the
// buffer, so that a reader with a smaller bound can refuse the body first.
func (d *Decoder) readAll(r *http.Request) ([]byte, error) {
	most := d.MaxSize + 1
	if r.ContentLength > 0 {
		most = min(most, r.ContentLength)
	}
	size := bufferSizes[0]
	if most <= bufferSizes[1] {
		size = most
	}
	data, step := make([]byte, 0, size), 1
	for {
		room := data[len(data):cap(data)]
		if len(room) == 0 {
			room = make([]byte, 1)
		}
		n, err := r.Body.Read(room)
		if len(data) == cap(data) && n > 0 {
			size = 2 * size
			if step < len(bufferSizes) {
				size = bufferSizes[step]
			}
			data, step = append(make([]byte, 0, min(size, most)), data...), step+1
			data = append(data, room[0])
		} else {
			data = data[:len(data)+n]
		}
		switch {
		case int64(len(data)) == most, err == io.EOF && r.ContentLength <= 0:
			return data, nil
		case err == io.EOF:
			return data, io.ErrUnexpectedEOF
		case err != nil:
			return data, err
		}
	}
}

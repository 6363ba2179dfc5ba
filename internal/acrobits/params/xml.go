package params

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/charmap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// readXML reads every element that contains only text as a parameter with the element's local name.
// The place of the element does not matter. Templates often leave & and < unescaped, so the reader
// is lenient: both are text if they do not begin an entity or a tag.
func readXML(body []byte, into *values) *sms.Refusal {
	d := xml.NewDecoder(bytes.NewReader(escapeLone(body)))
	d.Strict = false
	d.CharsetReader = charsetOnce()
	var text strings.Builder
	var path []string
	leaf, elements := false, 0
	for {
		token, err := d.Token()
		if err == io.EOF && elements > 0 {
			return nil
		}
		// A token that begins inside a text, real or apparent, would split the text into
		// two values.
		if _, more := token.(xml.CharData); !more && err == nil {
			if _, end := token.(xml.EndElement); (!end || !leaf) && strings.TrimSpace(text.String()) != "" {
				err = errTorn
			}
		}
		if err != nil {
			offset := min(d.InputOffset(), int64(len(body)))
			return sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "XML", "offset", strconv.FormatInt(offset, 10))
		}
		switch t := token.(type) {
		case xml.StartElement:
			text.Reset()
			leaf, elements = true, elements+1
			if into.names.dotted {
				path = append(path, t.Name.Local)
			}
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			path = path[:max(0, len(path)-1)]
			if leaf {
				into.add(into.nameAt(path, t.Name.Local), strings.ToValidUTF8(text.String(), "\uFFFD"))
			}
			text.Reset()
			leaf = false
		}
	}
}

// errTorn is returned if a text contains elements.
var errTorn = errors.New("a text with elements in it")

// escapeLone escapes every < that cannot begin a tag. In a well-formed document such a < occurs
// only in comments, where it does not matter, and in CDATA, which escapeLone does not change.
func escapeLone(body []byte) []byte {
	var out []byte
	rest := body
	for i := 0; i < len(rest); i++ {
		if rest[i] == '<' && bytes.HasPrefix(rest[i:], []byte("<![CDATA[")) {
			end := bytes.Index(rest[i:], []byte("]]>"))
			if end < 0 {
				break
			}
			i += end
			continue
		}
		if next := i + 1; rest[i] != '<' || next < len(rest) && (IsLetter(rest[next]) || rest[next] >= 0x80 || bytes.IndexByte([]byte("_:/!?"), rest[next]) >= 0) {
			continue
		}
		out = append(append(out, rest[:i]...), "&lt;"...)
		rest, i = rest[i+1:], -1
	}
	if out == nil {
		return body
	}
	return append(out, rest...)
}

// charsetOnce returns a CharsetReader that accepts one charset declaration, because each
// declaration would wrap the previous reader in another one.
func charsetOnce() func(string, io.Reader) (io.Reader, error) {
	changed := false
	return func(label string, input io.Reader) (io.Reader, error) {
		if changed {
			return nil, errors.New("a second charset")
		}
		changed = true
		return charset(label, input)
	}
}

func charset(label string, input io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf-8", "utf8", "us-ascii":
		return input, nil
	case "iso-8859-1", "latin1", "windows-1252":
		return charmap.Windows1252.NewDecoder().Reader(input), nil
	}
	return nil, fmt.Errorf("unknown charset")
}

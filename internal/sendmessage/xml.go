package sendmessage

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

// readXML takes every element that holds text and no other element as a parameter, by its local name and wherever it
// stands. Templates often leave & and < unescaped, so the reader is a lenient one: both may be text where they begin
// nothing.
func readXML(body []byte, into *values) *sms.Refusal {
	d := xml.NewDecoder(bytes.NewReader(escapeLone(body)))
	d.Strict = false
	d.CharsetReader = charsetOnce()
	var text strings.Builder
	leaf, elements := false, 0
	for {
		token, err := d.Token()
		if err == io.EOF && elements > 0 {
			return nil
		}
		// What begins inside of a text would tear it apart, whether a tag or something that only looks like one.
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
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			if leaf {
				into.add(t.Name.Local, strings.ToValidUTF8(text.String(), "\uFFFD"))
			}
			text.Reset()
			leaf = false
		}
	}
}

// errTorn says that a text has elements in it.
var errTorn = errors.New("a text with elements in it")

// escapeLone escapes every < that cannot begin a tag. In a well-formed document such a < stands in comments, where it
// does not matter, or in CDATA, where it stays.
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
		if next := i + 1; rest[i] != '<' || next < len(rest) && (isLetter(rest[next]) || rest[next] >= 0x80 || bytes.IndexByte([]byte("_:/!?"), rest[next]) >= 0) {
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

// charsetOnce makes a CharsetReader that changes the charset once: every declaration would put another reader around the
// last.
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

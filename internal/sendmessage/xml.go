package sendmessage

import (
	"bytes"
	"encoding/xml"
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
	d.CharsetReader = charset
	var text strings.Builder
	leaf, elements := false, 0
	for {
		token, err := d.Token()
		if err == io.EOF && elements > 0 {
			return nil
		}
		if err != nil {
			return sms.RefuseAs(sms.BadRequest, sms.Unreadable, "form", "XML", "offset", strconv.FormatInt(d.InputOffset(), 10))
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
			leaf = false
		}
	}
}

// escapeLone escapes every < that cannot begin a tag. In a well-formed document such a < stands in comments, where it
// does not matter, or in CDATA, where it must stay.
func escapeLone(body []byte) []byte {
	if bytes.Contains(body, []byte("<![CDATA[")) {
		return body
	}
	var out []byte
	rest := body
	for i := 0; i < len(rest); i++ {
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

func charset(label string, input io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf-8", "utf8", "us-ascii":
		return input, nil
	case "iso-8859-1", "latin1", "windows-1252":
		return charmap.Windows1252.NewDecoder().Reader(input), nil
	}
	return nil, fmt.Errorf("unknown charset")
}

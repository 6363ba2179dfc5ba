// Package wire converts between bytes and trees of names and values: it writes the bodies of
// requests, and reads the values of documents by paths. Replies of providers are read by it; the
// bodies of requests to us can be read in the same way.
//
// The package knows no definitions, holes or rules; package adapters fills in the values and judges
// what was read. Its errors quote neither a value nor a path, because either may contain a secret.
// Documents cache the last look-up. They and encoders belong to one message and are not safe for
// concurrent use; everything else is.
package wire

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Format is the format of a body.
type Format uint8

// None is the format of an absent body. Text and Pairs are only read, Form and Multipart only
// written.
const (
	None Format = iota
	JSON
	XML
	Text
	Pairs // name=value, by default separated by &
	Form
	Multipart // https://www.rfc-editor.org/rfc/rfc7578
)

// formats are the names of the formats and the media types of those that can be written.
var formats = [...]struct{ name, mediaType string }{
	None: {"none", ""}, JSON: {"json", "application/json"}, XML: {"xml", "application/xml"}, Text: {"text", ""}, Pairs: {"pairs", ""},
	Form: {"form", "application/x-www-form-urlencoded"}, Multipart: {"multipart", ""},
}

// String returns the name of the format.
func (f Format) String() string { return formats[f].name }

// MediaType returns the usual media type of a body. It is empty for Multipart, whose media type
// contains the boundary.
func (f Format) MediaType() string { return formats[f].mediaType }

// ByName returns formats by their names.
func ByName(list ...Format) map[string]Format {
	named := make(map[string]Format, len(list))
	for _, f := range list {
		named[f.String()] = f
	}
	return named
}

// IsLiteral reports whether a word is a JSON literal: true, false, null or a number.
func IsLiteral(w string) bool {
	switch w {
	case "true", "false", "null":
		return true
	}
	return w != "" && (w[0] == '-' || w[0] >= '0' && w[0] <= '9') && gjson.Valid(w)
}

// IsInteger reports whether a text is a whole number in JSON as it is, without a change of any
// digit.
func IsInteger(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil && (s[0] != '0' || s == "0")
}

// IsAttribute reports whether a name in an XML body is that of an attribute.
func IsAttribute(name string) bool { return strings.HasPrefix(name, "@") }

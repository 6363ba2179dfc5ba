package params

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Form is the form of a reply.
type Form uint8

// The forms.
const (
	FormByRequest Form = iota
	XML
	JSON
)

// ParseForm reads a form's name, xml or json.
func ParseForm(name string) (Form, bool) {
	switch name {
	case "xml":
		return XML, true
	case "json":
		return JSON, true
	}
	return FormByRequest, false
}

// formOf returns the form that Accept prefers, or else JSON for a request with a JSON Content-Type,
// or else FormByRequest.
func formOf(accept, claimed string) Form {
	xmlWanted, jsonWanted := 0.0, 0.0 // quality values
	if accept != "" && accept != "*/*" {
		for part := range strings.SplitSeq(accept, ",") {
			t, params, err := mime.ParseMediaType(part)
			q := 1.0
			if given, absent := strconv.ParseFloat(params["q"], 64); absent == nil {
				q = given
			}
			switch {
			case err != nil:
			case IsJSON(t):
				jsonWanted = max(jsonWanted, q)
			case t == "text/xml" || t == "application/xml":
				xmlWanted = max(xmlWanted, q)
			}
		}
	}
	switch {
	case jsonWanted > xmlWanted:
		return JSON
	case xmlWanted > jsonWanted:
		return XML
	}
	if IsJSON(claimed) {
		return JSON
	}
	return FormByRequest
}

func IsJSON(MediaType string) bool {
	return MediaType == "application/json" || strings.HasSuffix(MediaType, "+json")
}

var (
	contentXML  = []string{"text/xml; charset=utf-8"}
	contentJSON = []string{"application/json"}
	noStore     = []string{"no-store"}
)

// Write writes a reply of this form.
func (f Form) Write(w http.ResponseWriter, status int, body []byte) error {
	h := w.Header()
	h["Content-Type"] = contentXML
	if f == JSON {
		h["Content-Type"] = contentJSON
	}
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

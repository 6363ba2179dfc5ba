// Package recording is the format of recorded exchanges with providers, testdata/providers/NAME/CASE.json, which hold a
// definition to what its provider says. adapters/README.md describes it.
package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// What a recorded message has of its own: our id of it, when it came, and from whom.
const (
	MessageID = "8d0c6b0e-0d8e-4a42-a3a3-6a1f3c2f1d10"
	Received  = 1795500000 // seconds since 1970
	User      = "johndow"
)

// Exchange is one message, the request that it becomes, and what the provider's reply means.
type Exchange struct {
	// Source is where request and reply are known from.
	Source  string            `json:"source"`
	Message Message           `json:"message"`
	Options map[string]string `json:"options,omitempty"`
	BaseURL string            `json:"base_url,omitempty"`
	Token   *Token            `json:"token,omitempty"`
	Request *Request          `json:"request,omitempty"`
	Reply   *Reply            `json:"reply,omitempty"`
	Receipt Receipt           `json:"receipt"`
}

// Message is a message as an app gives it.
type Message struct {
	From  string   `json:"from,omitempty"`
	To    string   `json:"to"`
	Body  string   `json:"body"`
	Media []string `json:"media,omitempty"`
}

// Token is the exchange that fetches a token before, and what comes of it.
type Token struct {
	Request  *Request `json:"request,omitempty"`
	Reply    Reply    `json:"reply"`
	Access   string   `json:"access,omitempty"`
	Lifetime float64  `json:"lifetime,omitempty"` // seconds
}

// Request is a request by what it says, not by how it is written.
type Request struct {
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers,omitempty"`
	Query     [][2]string       `json:"query,omitempty"`
	Form      [][2]string       `json:"form,omitempty"`
	Multipart [][2]string       `json:"multipart,omitempty"`
	JSON      any               `json:"json,omitempty"`
	XML       string            `json:"xml,omitempty"`
}

// Reply is what the provider answers.
type Reply struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body"`
}

// Header returns the headers of a reply as they come from the network.
func (r Reply) Header() http.Header {
	h := http.Header{}
	for name, value := range r.Headers {
		h.Set(name, value)
	}
	return h
}

// Receipt is what the answer means. ID is "own" where the API gives none.
type Receipt struct {
	Outcome string `json:"outcome"`
	Cause   string `json:"cause,omitempty"`
	ID      string `json:"id,omitempty"`
	Code    string `json:"code,omitempty"`
}

// Read reads an exchange. Members that the format does not have are refused.
func Read(data []byte) (x Exchange, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return x, d.Decode(&x)
}

// Write writes an exchange as it stands in a file.
func (x Exchange) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(x)
}

// Of records a request and its body with the decoders that servers use.
func Of(r *http.Request, body []byte) (*Request, error) {
	target := *r.URL
	out := &Request{Method: r.Method, Headers: map[string]string{}}
	var err error
	if out.Query, err = pairs(target.RawQuery); err != nil {
		return nil, err
	}
	target.RawQuery = ""
	out.URL = target.String()
	for name, values := range r.Header {
		if name != "User-Agent" && len(values) > 0 {
			out.Headers[name] = values[0]
		}
	}
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(body) == 0:
	case kind == "application/x-www-form-urlencoded":
		out.Form, err = pairs(string(body))
	case kind == "multipart/form-data":
		out.Multipart, err = parts(body, params["boundary"])
		out.Headers["Content-Type"] = "/^multipart/form-data; boundary=.+/"
	case strings.Contains(kind, "json"):
		err = json.Unmarshal(body, &out.JSON)
	case strings.Contains(kind, "xml"):
		out.XML = string(body)
	default:
		err = fmt.Errorf("a body of type %s", kind)
	}
	return out, err
}

func pairs(s string) (list [][2]string, err error) {
	for pair := range strings.SplitSeq(s, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if name, err = url.QueryUnescape(name); err != nil {
			return nil, err
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, err
		}
		list = append(list, [2]string{name, value})
	}
	return list, nil
}

func parts(body []byte, boundary string) (list [][2]string, err error) {
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		list = append(list, [2]string{part.FormName(), string(text)})
	}
}

// Package recording implements the format of recorded exchanges with providers,
// testdata/providers/NAME/CASE.json. Tests compare a definition with these exchanges.
// docs/adapter-language.md describes the format.
//
// It never sends or judges anything. internal/dryrun writes exchanges, and the tests of adapters
// read them. Its functions are safe for concurrent use.
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

// The fixed values of recorded messages: our id, the time of receipt and the user.
const (
	MessageID = "8d0c6b0e-0d8e-4a42-a3a3-6a1f3c2f1d10"
	Received  = 1795500000 // seconds since 1970
	User      = "johndow"
)

// Exchange is one message, its request, the provider's reply and the result of that reply.
type Exchange struct {
	// Source names the origin of request and reply.
	Source  string            `json:"source"`
	Message Message           `json:"message"`
	Options map[string]string `json:"options,omitempty"`
	BaseURL string            `json:"base_url,omitempty"`
	Token   *Token            `json:"token,omitempty"`
	Uploads []Upload          `json:"uploads,omitempty"`
	Request *Request          `json:"request,omitempty"`
	Reply   *Reply            `json:"reply,omitempty"`
	Result  Result            `json:"result"`
}

// Message is a message from an app. Media are URLs, or data URIs for the bytes of files.
type Message struct {
	From  string   `json:"from,omitempty"`
	To    string   `json:"to"`
	Body  string   `json:"body"`
	Media []string `json:"media,omitempty"`
}

// Token is the exchange that fetched the token, and the token that the definition reads from it.
type Token struct {
	Request  *Request `json:"request,omitempty"`
	Reply    Reply    `json:"reply"`
	Access   string   `json:"access,omitempty"`
	Lifetime float64  `json:"lifetime,omitempty"` // seconds
}

// Upload is the exchange that uploaded a file.
type Upload struct {
	Request *Request `json:"request,omitempty"`
	Reply   Reply    `json:"reply"`
}

// Request is the decoded content of a request, independent of its encoding.
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

// Reply is the provider's reply.
type Reply struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body"`
}

// Header returns the headers of a reply with canonical names.
func (r Reply) Header() http.Header {
	h := http.Header{}
	for name, value := range r.Headers {
		h.Set(name, value)
	}
	return h
}

// Result is the result of a reply. ID is "own" if the API gives no id.
type Result struct {
	Outcome string `json:"outcome"`
	Cause   string `json:"cause,omitempty"`
	For     string `json:"for,omitempty"` // whose quota is exhausted; empty for the account's
	ID      string `json:"id,omitempty"`
	Code    string `json:"code,omitempty"`
	// Detail is the reason, shown to the person who records. It is not stored.
	Detail string `json:"-"`
}

// String returns the result in a line: the outcome, the cause if it differs from the outcome, the
// id and the reason.
func (r Result) String() string {
	words := []string{r.Outcome}
	for _, word := range []string{r.Cause, r.ID} {
		if word != "" && word != r.Outcome {
			words = append(words, word)
		}
	}
	text := strings.Join(words, ", ")
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

// Read reads an exchange. It refuses members that the format does not define.
func Read(data []byte) (x Exchange, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return x, d.Decode(&x)
}

// Write writes an exchange in the format of the files.
func (x Exchange) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(x)
}

// NewRequest decodes a request and its body with the decoders that servers use.
func NewRequest(r *http.Request, body []byte) (*Request, error) {
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

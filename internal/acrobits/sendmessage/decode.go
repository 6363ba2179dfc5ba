// Package sendmessage implements the Send Message web service of Acrobits apps. It decodes every
// form of request that an app can be configured to send, and writes the reply that the app
// understands.
// https://doc.acrobits.net/api/client/send_message.html
//
// It never authenticates, and no error repeats a secret or the text. Package caddymodule calls it.
// A Decoder, Names and Pattern are safe for concurrent use; a Request belongs to one goroutine.
package sendmessage

import (
	"net/http"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// DefaultMaxSize is the default maximum size of the query and of the body of a request, each in
// bytes. It is more than a text needs, because an app puts the preview of a picture into the body.
const DefaultMaxSize = 256 << 10

// LargestMaxSize is the largest MaxSize that an operator may configure, because anybody may send
// requests.
const LargestMaxSize = 16 << 20

// Request is a decoded request of an app.
type Request struct {
	// Form is the form of the reply.
	Form Form
	// User and Secret are the credential. Without a user the secret is a token that identifies
	// the user.
	User   string
	Secret sms.Hidden
	// DigestResponse is an Authorization header of HTTP Digest.
	DigestResponse sms.Hidden
	// Bearer is set if the secret was sent as a Bearer token.
	Bearer bool
	// To contains the recipients as the app wrote them, normally one.
	To []string
	// Sender is the number that the app asks to send from, as the app wrote it. It may be
	// empty.
	Sender string
	// Body is the text, or a document of the kind that ContentType names.
	Body sms.Hidden
	// ContentType is the media type in lower case without parameters. It may be empty.
	ContentType string
	Disposition sms.Disposition
	Smart       bool
	InstallID   string

	// SecretInURL is set if the query or the path may contain parameters, which Caddy's access
	// log would show. It is set for refused requests too, because an unknown parameter may also
	// be a password.
	SecretInURL bool
	// SecretInHeader is set if a custom header contained a credential. Caddy's access log
	// redacts only well-known headers.
	SecretInHeader bool
	// Shadowed contains the names of two parameters with the same meaning and different values:
	// first the used parameter, then the ignored one.
	Shadowed [2]string
	// NoBody, NoContentType and NoDisposition are set if the app's template lacks the
	// parameter.
	NoBody, NoContentType, NoDisposition bool

	source *source // nil if no parameter is missing
}

// Decoder reads requests. It is safe for concurrent use.
type Decoder struct {
	// Names are the parameter names to understand.
	Names *Names
	// Path reads parameters from the path, nil if there are none.
	Path *Pattern
	// MaxSize bounds the query and the body, each in bytes.
	MaxSize int64
	// Stealth refuses a request that expects 100 Continue and has no credential in its URL and
	// headers, because that reply would reveal the endpoint.
	Stealth bool
}

// Decode reads a request. The Request is never nil and contains the form of the reply even if there
// is an error. The error is always a *sms.Refusal.
func (d *Decoder) Decode(r *http.Request) (*Request, error) {
	claimed := mediaType(r.Header.Get("Content-Type"))
	req := &Request{Form: formOf(r.Header.Get("Accept"), claimed), SecretInURL: r.URL.RawQuery != "" || d.Path != nil || strings.ContainsAny(r.URL.Path, "=&?")}
	header := values{names: d.Names}
	req.SecretInHeader = readHeader(r.Header, &header)
	if auth := r.Header["Authorization"]; len(auth) == 1 {
		scheme, _, more := strings.Cut(auth[0], " ")
		if more && strings.EqualFold(scheme, "Digest") {
			req.DigestResponse = sms.Hide(auth[0])
		}
		req.Bearer = strings.EqualFold(scheme, "Bearer")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodPut {
		return req, sms.Refuse(sms.Method)
	}
	req.source = &source{names: d.Names, query: r.URL.RawQuery, claimed: claimed}
	query, body := values{names: d.Names, pairs: true}, values{names: d.Names}
	path := values{names: d.Names}
	if int64(len(r.URL.RawQuery)) > d.MaxSize {
		return req, d.tooLarge()
	}
	pairs(r.URL.RawQuery, query.add)
	if d.Path != nil {
		rest := r.URL.RawQuery
		if query.any {
			rest = ""
		}
		if !d.Path.read(r.URL.EscapedPath(), rest, &path) {
			return req, sms.Refuse(sms.NotFound)
		}
	}
	if d.Stealth && r.Header.Get("Expect") != "" && req.DigestResponse.Empty() && !query.hasSecret() && !path.hasSecret() && !header.hasSecret() {
		return req, sms.RefuseAs(sms.Unauthorized, sms.NoCredential)
	}
	if err := d.readBody(r, claimed, req, &query, &body); err != nil {
		return req, err
	}
	if strings.HasPrefix(claimed, appPrefix) {
		header.add(roleNames[roleContentType], claimed) // a document without parameters around it
	}
	return req, req.fill(&query, &body, &path, &header)
}

// hasSecret reports whether the values contain a password or a token.
func (v *values) hasSecret() bool { return v.field[rolePassword].text != "" }

// lacksText reports whether the values contain a recipient and no parameter for the text.
func (v *values) lacksText() bool { return v.field[roleTo].present && !v.field[roleBody].present }

// readHeader reads credentials from Authorization and from custom headers such as X-Password or
// Token. It reports whether there was a custom header. Two different values for one role are a
// clash.
func readHeader(h http.Header, into *values) (own bool) {
	for _, auth := range h["Authorization"] {
		scheme, rest, _ := strings.Cut(auth, " ")
		if user, password, ok := (&http.Request{Header: http.Header{"Authorization": {auth}}}).BasicAuth(); ok {
			into.add(roleNames[roleUser], strings.ToValidUTF8(user, "\uFFFD"))
			into.add(roleNames[rolePassword], password)
		} else if strings.EqualFold(scheme, "Bearer") {
			into.add(roleNames[rolePassword], strings.TrimSpace(rest))
		}
	}
	for key, list := range h {
		if n, ok := into.names.find(strings.TrimPrefix(key, "X-")); ok && n.role.credential() {
			own = true
			for _, text := range list {
				into.add(roleNames[n.role], strings.ToValidUTF8(text, "\uFFFD"))
			}
		}
	}
	return own
}

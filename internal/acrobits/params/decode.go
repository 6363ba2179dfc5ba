// Package params reads the parameters of requests to the web services of Acrobits apps: Send
// Message, Fetch Messages and the reporters of push tokens. Operators write the templates of these
// requests by hand, so their names, their form and their faults are the same for all services.
// https://doc.acrobits.net/api/client/intro.html
//
// It never authenticates, and no error repeats a value. The package of each service calls it. A
// Decoder, Names and Pattern are safe for concurrent use; a Caller and Values belong to one
// goroutine.
package params

import (
	"net/http"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// DefaultMaxSize is the default maximum size of the query and of the body of a request, each in
// bytes. It is more than a text needs, because an app puts the preview of a picture into the body.
const DefaultMaxSize = 256 << 10

// MaxSizeLimit is the largest MaxSize that an operator may configure, because anybody may send
// requests.
const MaxSizeLimit = 16 << 20

// Caller is what a request of any service says about its sender and about the reply.
type Caller struct {
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
	// InstallID identifies the installation of the app, empty if the template does not send it.
	InstallID string

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

// Decode reads a request into values, and what it says about its sender into req, which contains
// the form of the reply even if there is an error. The error is always a *sms.Refusal.
func (d *Decoder) Decode(r *http.Request, req *Caller, into *Values) error {
	header := values{names: d.Names}
	claimed := d.preview(r, req, &header)
	if r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodPut {
		return sms.Refuse(sms.Method)
	}
	req.source = &source{names: d.Names, query: r.URL.RawQuery, claimed: claimed}
	query, body := values{names: d.Names, pairs: true}, values{names: d.Names}
	path := values{names: d.Names}
	if int64(len(r.URL.RawQuery)) > d.MaxSize {
		return d.tooLarge()
	}
	pairs(r.URL.RawQuery, query.add)
	if d.Path != nil {
		rest := r.URL.RawQuery
		if query.any {
			rest = ""
		}
		if !d.Path.read(r.URL.EscapedPath(), rest, &path) {
			return sms.Refuse(sms.NotFound)
		}
	}
	if d.Stealth && r.Header.Get("Expect") != "" && req.DigestResponse.Empty() && !query.hasSecret() && !path.hasSecret() && !header.hasSecret() {
		return sms.RefuseAs(sms.Unauthorized, sms.NoCredential)
	}
	if err := d.readBody(r, claimed, req, &query, &body); err != nil {
		return err
	}
	if strings.HasPrefix(claimed, AppPrefix) {
		header.add(roleNames[RoleContentType], claimed) // a document without parameters around it
	}
	if err := into.merge(req, &query, &body, &path, &header); err != nil {
		return err
	}
	return req.fill(into)
}

// Preview reads what needs neither the parameters of the URL nor the body: the form of the reply,
// the Digest response, and whether URL and headers may contain secrets.
func (d *Decoder) Preview(r *http.Request) (req Caller) {
	d.preview(r, &req, &values{names: d.Names})
	return req
}

// preview also reads the credentials of the headers, and returns the media type of the body.
func (d *Decoder) preview(r *http.Request, req *Caller, header *values) (claimed string) {
	claimed = MediaType(r.Header.Get("Content-Type"))
	*req = Caller{Form: formOf(r.Header.Get("Accept"), claimed)}
	req.SecretInURL = r.URL.RawQuery != "" || d.Path != nil || strings.ContainsAny(r.URL.Path, "=&?")
	req.SecretInHeader = readHeader(r.Header, header)
	if auth := r.Header["Authorization"]; len(auth) == 1 {
		scheme, _, more := strings.Cut(auth[0], " ")
		if more && strings.EqualFold(scheme, "Digest") {
			req.DigestResponse = sms.Hide(auth[0])
		}
		req.Bearer = strings.EqualFold(scheme, "Bearer")
	}
	return claimed
}

// AppPrefix begins the media types of the app's own documents.
const AppPrefix = "application/x-acro-"

// hasSecret reports whether the values contain a password or a token.
func (v *values) hasSecret() bool { return v.field[RolePassword].text != "" }

// lacksText reports whether the values contain a recipient and no parameter for the text.
func (v *values) lacksText() bool { return v.field[RoleTo].present && !v.field[RoleBody].present }

// readHeader reads credentials from Authorization and from custom headers such as X-Password or
// Token. It reports whether there was a custom header. Two different values for one role are a
// clash.
func readHeader(h http.Header, into *values) (own bool) {
	for _, auth := range h["Authorization"] {
		scheme, rest, _ := strings.Cut(auth, " ")
		if user, password, ok := (&http.Request{Header: http.Header{"Authorization": {auth}}}).BasicAuth(); ok {
			into.add(roleNames[RoleUser], strings.ToValidUTF8(user, "\uFFFD"))
			into.add(roleNames[RolePassword], password)
		} else if strings.EqualFold(scheme, "Bearer") {
			into.add(roleNames[RolePassword], strings.TrimSpace(rest))
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

// Package sendmessage is the Send Message web service of Acrobits apps: it reads any request that an app can be
// configured to send, and writes the reply that the app understands.
// https://doc.acrobits.net/api/client/send_message.html
package sendmessage

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/digest"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// DefaultMaxSize is how many bytes the query and the body of a request may have, each. An app puts the preview of a
// picture into the body, so it is more than a text needs.
const DefaultMaxSize = 256 << 10

// LargestMaxSize is the most that they may be set to have, since everybody may send them.
const LargestMaxSize = 16 << 20

// Request is what an app asked for, whatever form it came in.
type Request struct {
	// Form is the form of the reply.
	Form Form
	// User and Secret are the credential. Without a user the secret is a token that says by itself who sends.
	User   string
	Secret sms.Hidden
	// Answer is an Authorization header that answers a challenge of HTTP Digest.
	Answer sms.Hidden
	// To are the recipients as the app wrote them, normally one.
	To []string
	// Sender is the number that the app wishes to send from, as it wrote it. It may be empty.
	Sender string
	// Body is the text, or a document whose kind ContentType tells.
	Body sms.Hidden
	// ContentType is the media type in lower case without parameters. It may be empty.
	ContentType string
	Disposition sms.Disposition
	Smart       bool
	InstallID   string

	// SecretInURL reports that the query or the path may hold parameters, which Caddy's access log would show. It is
	// set for refused requests too: what was not understood may be a password all the same.
	SecretInURL bool
	// SecretInHeader reports that a header of the app's own held a credential. Caddy's access log takes out only those
	// headers that are known to hold one.
	SecretInHeader bool
	// NoBody, NoContentType and NoDisposition report that the app's template lacks the parameter.
	NoBody, NoContentType, NoDisposition bool
}

// Decoder reads requests. It is safe for concurrent use.
type Decoder struct {
	// Names are the parameter names to understand.
	Names *Names
	// Path reads parameters from the path, nil if there are none.
	Path *Pattern
	// MaxSize limits query and body, each, in bytes.
	MaxSize int64
}

// Decode reads a request. The Request is never nil and tells the form of the reply even when there is an error, which
// is always a *sms.Refusal.
func (d *Decoder) Decode(r *http.Request) (*Request, error) {
	claimed := mediaType(r.Header.Get("Content-Type"))
	req := &Request{Form: formOf(r.Header.Get("Accept"), claimed), SecretInURL: r.URL.RawQuery != "" || d.Path != nil || strings.ContainsAny(r.URL.Path, "=&?")}
	header := values{names: d.Names}
	req.SecretInHeader = readHeader(r.Header, &header)
	if auth := r.Header["Authorization"]; len(auth) == 1 && digest.IsAnswer(auth[0]) {
		req.Answer = sms.Hide(auth[0])
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodPut {
		return req, sms.Refuse(sms.Method)
	}
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
	if err := d.readBody(r, claimed, req, &query, &body); err != nil {
		return req, err
	}
	if strings.HasPrefix(claimed, appPrefix) {
		header.add(roleNames[roleContentType], claimed) // a document that is not wrapped into parameters
	}
	return req, req.fill(&query, &body, &path, &header)
}

func (d *Decoder) tooLarge() error {
	return sms.RefuseAs(sms.TooLong, sms.RequestTooLarge, "limit", strconv.FormatInt(d.MaxSize, 10))
}

// readBody reads the body by what it is rather than by what it claims to be: the operator of an app has to set the
// Content-Type by hand.
func (d *Decoder) readBody(r *http.Request, claimed string, req *Request, query, into *values) error {
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
	if claimed == "text/plain" && query.lacksText() && !isTemplate(doc, into.any) { // it is the text itself
		*into = values{names: d.Names}
		into.add(roleNames[roleBody], string(bytes.ToValidUTF8(data, []byte("\uFFFD"))))
		return nil
	}
	if req.Form == formByRequest {
		req.Form = form
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// readDocument reads what a body holds, and says in what form.
func (d *Decoder) readDocument(doc []byte, claimed string, into *values) (Form, *sms.Refusal) {
	switch {
	case len(doc) == 0:
		return formByRequest, nil
	case doc[0] == '{' || doc[0] == '[' || isJSON(claimed) && !isLetter(doc[0]):
		return JSON, readJSON(doc, into)
	case doc[0] == '<':
		return formByRequest, readXML(doc, into)
	}
	into.pairs = true
	pairs(string(bytes.TrimRight(doc, "\r\n")), into.add)
	return formByRequest, nil
}

// isTemplate reports whether a body that may be a text is what an operator made up around one: whether it is written like pairs or a
// document, and there are known names in it.
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

// firstName is the name that pairs begin with.
var firstName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.\-]*=`)

// lacksText reports whether all is there but the text.
func (v *values) lacksText() bool { return v.field[roleTo].present && !v.field[roleBody].present }

// firstRead is how much memory a body gets before any of it has come. Ordinary requests need no more.
const firstRead = 4096

// readAll reads the body, or one byte more than may be. Memory grows with what comes, not with what was announced.
func (d *Decoder) readAll(r *http.Request) ([]byte, error) {
	if r.ContentLength <= 0 {
		return io.ReadAll(io.LimitReader(r.Body, d.MaxSize+1))
	}
	data, n := make([]byte, min(r.ContentLength, firstRead)), 0
	for {
		more, err := io.ReadFull(r.Body, data[n:])
		if n += more; err != nil || int64(n) == r.ContentLength {
			return data[:n], err
		}
		data = append(data, make([]byte, min(int64(n), r.ContentLength-int64(n)))...)
	}
}

// readHeader takes credentials from Authorization and from headers of the app's own such as X-Password or Token, and
// reports whether there was one of these. Two that differ are no credential.
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

// fill merges the sources. What two of them say differently is refused: one of them would be wrong.
func (req *Request) fill(sources ...*values) error {
	var merged [roles]field
	for ro := range merged {
		m := &merged[ro]
		for _, source := range sources {
			if !source.any {
				continue
			}
			f := source.tidy(role(ro))
			m.present = m.present || f.present
			switch {
			case f.clash && role(ro).credential():
				return sms.Refuse(sms.Unauthorized)
			case f.clash && role(ro) != roleTo, m.contradicts(f, role(ro)):
				return sms.RefuseAs(sms.BadRequest, sms.Contradiction, "name", f.name)
			case m.text == "" && f.text != "":
				m.name, m.text, m.more = f.name, f.text, f.more
			}
		}
		if notReplaced(role(ro), m.text) {
			switch role(ro) {
			case roleUser, rolePassword, roleTo, roleBody:
				return sms.RefuseAs(sms.BadRequest, sms.NotReplaced, "name", m.name)
			case roleFrom:
				if merged[roleUser].text == "" { // it is the user, or nobody
					return sms.RefuseAs(sms.BadRequest, sms.NotReplaced, "name", m.name)
				}
			}
			m.text = ""
		}
	}
	req.User = merged[roleUser].text
	req.Secret = sms.Hide(merged[rolePassword].text)
	req.To = recipients(merged[roleTo])
	req.Sender = merged[roleSender].text
	switch from := merged[roleFrom].text; {
	case req.User == "":
		req.User = from
		if looksLikeNumber(from) { // a caller ID beside a token that needs no name
			req.Sender = cmp.Or(req.Sender, from)
		}
	case req.Sender == "" && from != req.User:
		req.Sender = from
	}
	req.Body = sms.Hide(merged[roleBody].text)
	req.NoBody = !merged[roleBody].present
	req.ContentType = merged[roleContentType].text
	req.NoContentType = !merged[roleContentType].present
	req.Disposition = parseDisposition(merged[roleDisposition].text)
	req.NoDisposition = !merged[roleDisposition].present
	req.Smart = merged[roleSmart].text == "1" || strings.EqualFold(merged[roleSmart].text, "true")
	req.InstallID = merged[roleInstallID].text
	if strings.Trim(req.Secret.Reveal(), "*") == "" && !req.Secret.Empty() {
		return sms.RefuseAs(sms.Unauthorized, sms.HiddenPassword)
	}
	return nil
}

// tidy brings what a source says about a role into the writing in which it is used. Secrets stay as they are: blanks are
// part of them.
func (v *values) tidy(ro role) *field {
	f, clean := &v.field[ro], strings.TrimSpace
	switch ro {
	case rolePassword:
		return f
	case roleBody:
		clean = cleanText
	case roleContentType:
		clean = mediaType
	case roleUser, roleTo, roleSender, roleFrom:
		if v.pairs {
			clean = restorePlus
		}
	}
	f.text = clean(f.text)
	for i, text := range f.more {
		f.more[i] = clean(text)
	}
	return f
}

// contradicts reports whether two sources say something, and not the same.
func (f *field) contradicts(other *field, ro role) bool {
	if f.text == "" || other.text == "" || f.text == other.text && slices.Equal(f.more, other.more) {
		return false
	}
	switch ro {
	case rolePassword: // one of them may have lost a +
		return strings.ReplaceAll(f.text, " ", "+") != strings.ReplaceAll(other.text, " ", "+")
	case roleTo, roleSender, roleFrom:
		return len(f.more)+len(other.more) > 0 || bareNumber(f.text) != bareNumber(other.text)
	}
	return true
}

// bareNumber takes away what people put between the digits of a number.
func bareNumber(s string) string {
	return strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "", "/", "").Replace(s)
}

// recipients splits what the app sent for one recipient at commas too: no number and no address holds one.
func recipients(f field) []string {
	var list []string
	for _, text := range append([]string{f.text}, f.more...) {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	}
	return list
}

// looksLikeNumber reports whether a name begins as telephone numbers do.
func looksLikeNumber(s string) bool {
	return s != "" && (s[0] == '+' || s[0] >= '0' && s[0] <= '9')
}

// lostPlus finds the blank that was a + before a number, at the beginning of one of a list or of an address.
var lostPlus = regexp.MustCompile(`(^|,|(?i:sips?|tel|sms):) ([0-9])`)

// restorePlus gives numbers back the + that was read as a blank because nobody escaped it.
func restorePlus(s string) string {
	if strings.Contains(s, " ") {
		s = lostPlus.ReplaceAllString(s, "${1}+${2}")
	}
	return strings.TrimSpace(s)
}

// notReplaced reports whether a value is a variable of the template that the app did not know. People may write
// %wow%, and a password may look like anything, so for these only names that a variable could have count.
func notReplaced(ro role, s string) bool {
	if ro == roleBody {
		s = strings.TrimSpace(s)
	}
	if !isVariable(s) {
		return false
	}
	name := strings.ToLower(s[1 : len(s)-1])
	known := strings.HasPrefix(name, "account[") || strings.HasPrefix(name, "sha1(")
	switch ro {
	case roleBody:
		return known || strings.HasPrefix(name, "sms_") || strings.HasSuffix(name, "body") || isAlias(ro, name)
	case rolePassword:
		return known || strings.Contains(name, "pass") || isAlias(ro, name)
	}
	return true
}

// isVariable reports whether a text has the form of a variable: a name between percent signs.
func isVariable(s string) bool {
	if len(s) < 3 || s[0] != '%' || s[len(s)-1] != '%' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		c := s[i]
		if !(c == '_' || c >= '0' && c <= '9' || isLetter(c) || strings.IndexByte("[]()%", c) >= 0) {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// cleanText gives a text LF line ends and takes trailing NULs away. Blanks stay: they are the writer's.
func cleanText(s string) string {
	s = strings.TrimRight(s, "\x00")
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s
}

// mediaType lower-cases a media type, drops its parameters and gives it back a lost +. What has no slash is no media
// type but another system's word, such as type=sms.
func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	if !strings.Contains(s, "/") {
		return ""
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "+")
}

// nothing is what programs write where they have no value. An id that all messages share would be none.
var nothing = []string{"null", "(null)", "nil", "none", "undefined"}

// parseDisposition reads id:wish,wish. A value without a colon is an id alone.
func parseDisposition(s string) sms.Disposition {
	id, list, _ := strings.Cut(s, ":")
	d := sms.Disposition{ID: strings.TrimSpace(id)}
	if slices.Contains(nothing, strings.ToLower(d.ID)) {
		d.ID = ""
	}
	for wish := range strings.SplitSeq(list, ",") {
		if wish = strings.TrimSpace(wish); wish != "" {
			d.Wishes = append(d.Wishes, wish)
		}
	}
	return d
}
